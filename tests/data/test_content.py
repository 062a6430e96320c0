import pytest

from unrolled.data import content as module
from unrolled.data.content import (
    flag_of,
    letters_of,
    number_of,
    numbers_of,
    one_of,
    strings_of,
    whole_number_of,
    whole_numbers_of,
)


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (lambda c: strings_of(c, "x", least=1), ["a"], [[], ["a", "a"], ["a", 1], "ab", None, {}]),
        (lambda c: letters_of(c, "x"), "ab", ["aa", ["a"], None]),
        (lambda c: numbers_of(c, "x", 2), [1, -2.5], [[1], [1, None], [1, True], [1, 1e999], "12"]),
        (lambda c: number_of(c, "x", above=0), 0.5, [0, -1, "1", None, float("nan"), True]),
        (
            lambda c: whole_numbers_of(c, "x", 2, least=1),
            [1, 2],
            [[1], [1, 0], [1, 2.0], [1, True]],
        ),
        (lambda c: whole_number_of(c, "x"), 3, [0, 1.5, "3", None, True]),
        (lambda c: flag_of(c, "x"), False, [0, "false", None]),
        (lambda c: one_of(c, "x", ("a", "b")), "b", ["c", None, ["a"]]),
    ],
)
def test_content_is_what_it_should_be_or_is_named(read, good, bad):
    assert read({"x": good}) == good
    for value in bad:
        with pytest.raises(ValueError, match="x must be "):
            read({"x": value})
    with pytest.raises(KeyError):
        read({})


def test_all_are_tried_here():
    assert set(module.__all__) <= set(globals())
