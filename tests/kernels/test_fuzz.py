"""What `make fuzz` has found: the arguments of each outcome, called again."""

import shutil

import pytest

import fuzz


@pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)
@pytest.mark.filterwarnings("ignore")  # torch's own, of kinds that are prototypes
def test_inputs_that_were_found_end_in_numbers_or_an_error():
    found = fuzz.corpus()
    assert len(found) > 200
    outcomes = {fuzz.outcome_of(data) for data in found}
    assert len(outcomes) > 100  # they are still many different ones
