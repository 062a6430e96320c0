"""Cases from `.ts` files, checked on real ones where they are."""

import math

import pytest

from unrolled.errors import DataError
from unrolled.tasks.classify.ts_files import read_ts_cases, read_ts_file

HEADER = "#a comment\n@problemName x\n@classLabel true a e\n@data\n"


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "x.ts"
        path.write_text(content)
        return path

    return write


def test_cases_are_ragged_of_several_dimensions_and_miss_values(write):
    first, second = read_ts_file(write(f"{HEADER}1,2,3:4,?,6:a\n\n7 : 8 : e\r\n"))
    assert (first.label, first.id, first.where[-12:]) == ("a", "5", "x.ts, line 5")
    assert first.steps[::2] == ((1, 4), (3, 6))
    assert first.steps[1][0] == 2
    assert math.isnan(first.steps[1][1])
    assert (second.label, second.id, second.steps) == ("e", "7", ((7, 8),))


def test_lines_are_read_without_header_and_without_labels():
    cases = list(read_ts_cases("-", ["1,2:3,4", "5:6:a"], num_dimensions=2, labelled=False))
    assert [(case.steps, case.label) for case in cases] == [
        (((1, 3), (2, 4)), None),
        (((5, 6),), "a"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}1,2:3,4:a\n1,2:e\n", r"line 6: 1 dimensions, expected 2"),
        (f"{HEADER}1,2:3:a\n", r"line 5: dimensions of different lengths, 1, 2"),
        (f"{HEADER}1,x:3,4:a\n", r"line 5: dimension 1: no finite number: 'x'"),
        (f"{HEADER}1,inf:3,4:a\n", r"line 5: dimension 1: no finite number: 'inf'"),
        (f"{HEADER}1:2:i\n", r"line 5: the label 'i' is none of @classLabel: a, e"),
        (f"{HEADER}a\n", r"line 5: 0 dimensions, expected at least 1"),
        (f"{HEADER}(0,1),(1,2):a\n", r"line 5: cases with time stamps"),
        (f"@timeStamps true\n{HEADER}", r"line 1: cases with time stamps"),
        (HEADER, "no cases"),
        ("1,2:a\n", "no @classLabel"),
        ("@classLabel false\n@data\n1,2\n", "line 1: the cases have no labels"),
        ("@targetlabel true\n@data\n1,2:0.5\n", "line 1: the targets are numbers"),
    ],
)
def test_a_mistake_is_named_with_its_line(write, content, message):
    with pytest.raises(DataError, match=message):
        read_ts_file(write(content))


def test_the_archives_have_what_they_say(shared_data):
    folder = shared_data / "time_series" / "ucr-uea"
    vowels = read_ts_file(folder / "JapaneseVowels_TRAIN.ts")
    assert (len(vowels), len({case.label for case in vowels})) == (270, 9)
    assert {len(step) for case in vowels for step in case.steps} == {12}
    assert (min(len(c.steps) for c in vowels), max(len(c.steps) for c in vowels)) == (7, 26)
    motions = read_ts_file(folder / "BasicMotions_TEST.ts")
    assert (len(motions), {len(case.steps) for case in motions}) == (40, {100})
