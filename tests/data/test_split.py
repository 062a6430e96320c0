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


@pytest.mark.parametrize(
    ("test", "hint"),
    [
        (0.4, "give more different examples, or set held_out and test to 0"),
        (0.0, "give more different examples, or set held_out to 0"),
    ],
)
def test_a_refusal_says_which_parts_can_be_left_out(test, hint):
    with pytest.raises(DataError) as refused:
        split(["a", "a", "a"], held_out=0.4, test=test)
    assert refused.value.hint == hint


def test_parts_that_leave_nothing_to_learn_from_are_refused():
    message = "held_out and test together must be below 1, got 1.1"
    with pytest.raises(OptionError, match=message):
        split(range(100), held_out=0.5, test=0.6)


@given(st.lists(st.sampled_from("aab"), min_size=20, max_size=80), st.integers(0, 9))
def test_each_part_has_its_share_of_every_class(classes, seed):
    parts = split(range(len(classes)), held_out=0.2, test=0.2, seed=seed, classes=classes)
    assert sorted(index for part in parts for index in part) == list(range(len(classes)))
    for name in set(classes):
        total = classes.count(name)
        for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
            number = sum(classes[index] == name for index in part)
            assert abs(number - share * total) < 3


@pytest.mark.parametrize("seed", range(20))
def test_training_keeps_one_of_each_class(seed):
    classes = ["a"] * 30 + ["b", "b", "c"]
    parts = split(range(33), held_out=0.2, test=0.2, seed=seed, classes=classes)
    assert {classes[index] for index in parts.training} == {"a", "b", "c"}


def test_a_rare_class_is_in_each_part_as_often_as_its_share_says():
    """In 400 splits the second of two is held out about 0.1 x 2 x 400 = 80 times."""
    classes = ["a"] * 38 + ["b"] * 2
    parts = [split(range(40), held_out=0.1, seed=seed, classes=classes) for seed in range(400)]
    assert 50 < sum(classes[index] == "b" for part in parts for index in part.held_out) < 110


def test_equal_keys_stay_together_whatever_their_classes():
    keys, classes = [i // 2 for i in range(60)], ["ab"[i % 2] for i in range(60)]
    parts = split(keys, held_out=0.2, test=0.2, seed=3, classes=classes)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not {keys[i] for i in parts[one]} & {keys[i] for i in parts[other]}
