import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.split import split
from unrolled.errors import DataError, OptionError

keys = st.lists(st.integers(0, 20), min_size=10, max_size=60).filter(lambda k: len(set(k)) > 8)


@given(keys, st.integers(0, 9))
def test_every_example_is_in_one_part_and_equal_keys_are_together(keys, seed):
    parts = split(keys, held_out=0.2, test=0.2, seed=seed)
    assert sorted(index for part in parts for index in part) == list(range(len(keys)))
    of_parts = [{keys[index] for index in part} for part in parts]
    assert not of_parts[0] & of_parts[1]
    assert not of_parts[0] & of_parts[2]
    assert not of_parts[1] & of_parts[2]


def test_parts_of_different_keys_have_the_sizes_asked_for():
    parts = split(range(100), held_out=0.1, test=0.25)
    assert [len(part) for part in parts] == [65, 10, 25]


def test_the_seed_decides():
    assert split(range(50), held_out=0.2, seed=1) == split(range(50), held_out=0.2, seed=1)
    assert split(range(50), held_out=0.2, seed=1) != split(range(50), held_out=0.2, seed=2)


@pytest.mark.parametrize("keys", [["a", "a", "a"], ["a", "b"], []])
def test_too_few_different_keys_are_refused(keys):
    with pytest.raises(DataError, match=rf"{len(keys)} examples \({len(set(keys))} different\)"):
        split(keys, held_out=0.4, test=0.4)


def test_parts_that_leave_nothing_to_learn_from_are_refused():
    message = "held_out and test together must be below 1, got 1.1"
    with pytest.raises(OptionError, match=message):
        split(range(100), held_out=0.5, test=0.6)
