"""No input ends in a traceback, and none that is wrong in silence: every third case of the corpus.

`make malformed` runs all of them.
"""

from pathlib import Path

import pytest
from corpus import cases
from running import fault_of, make_runs, run

CASES = cases()[::3]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_runs(tmp_path_factory.mktemp("runs"))


def test_the_corpus_is_large_and_the_same_at_every_call() -> None:
    assert len(CASES) >= 300
    assert [case.name for case in cases()] == [case.name for case in cases()]
    assert len({case.name for case in cases()}) == len(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_input_ends_as_it_must(case, runs, tmp_path) -> None:
    assert fault_of(case, run(case, runs, tmp_path)) == ""
