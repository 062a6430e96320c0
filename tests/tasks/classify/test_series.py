"""Cases from long tables: in order of time, and every mistake with its line."""

import math

import pytest

from unrolled.data.numbers import parse_number
from unrolled.errors import DataError
from unrolled.tasks.classify.series import read_long_table

LONG = """case,t,x,y,label
b,2,5,50,run
a,10,3,30,sit
b,1,4,40,run
a,9,2,,sit
"""


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "long.csv"
        path.write_text(content)
        return path

    return write


def read(path, **options):
    defaults = {"id": "case", "time": "t", "inputs": None, "target": "label"}
    return read_long_table(path, **(defaults | options))


def test_the_steps_of_a_case_are_in_order_of_time_and_not_of_text(write):
    b, a = read(write(LONG))
    assert b.names == ("x", "y")
    assert (b.id, b.label, b.steps) == ("b", "run", ((4, 40), (5, 50)))
    assert (a.id, a.label, a.steps[1]) == ("a", "sit", (3, 30))
    assert a.steps[0][0] == 2
    assert math.isnan(a.steps[0][1])
    assert a.where.endswith("long.csv, line 5")


def test_without_a_time_the_order_is_that_of_the_file(write):
    b, a = read(write(LONG), time=None, inputs=["x"])
    assert (b.steps, a.steps) == (((5,), (4,)), ((3,), (2,)))


def test_dates_are_times(write):
    path = write("case,t,x\na,2024-10-01,2\na,2024-09-30T23:59,1\n")
    (a,) = read(path, target=None)
    assert (a.steps, a.label) == (((1,), (2,)), None)


@pytest.mark.parametrize("text", ["", " ", "?", "NaN", "null", None])
def test_missing_numbers_are_nan(text):
    assert math.isnan(parse_number(text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("b,1,4", "b,1,four", r"line 4: 'x' is not a finite number: 'four'"),
        ("b,1,4", "b,1,1e999", r"line 4: 'x' is not a finite number: '1e999'"),
        ("b,1,4", "b,1,1.8e300", r"line 4: 'x' is not a finite number: '1.8e300'"),
        ("b,1,4", "b,2,4", r"rows 2 and 4 have the same 't', '2', of one case"),
        ("b,1,4", ",1,4", r"line 4: no 'case'"),
        ("b,1,4", "b,soon,4", r"line 4: 't' is neither a number nor a date: 'soon'"),
        ("b,1,4", "b,2024-01-01,4", r"'t' of this case is written in two ways"),
        ("b,1,4", "b,nan,4", r"line 4: 't' is neither"),
        ("40,run", "40,sit", r"case 'b' has more than one 'label': 'run' .* 'sit' \(line 4\)"),
        ("label", "lbl", r"no column 'label'"),
    ],
)
def test_a_mistake_is_named_with_its_line(write, old, new, message):
    with pytest.raises(DataError, match=message):
        read(write(LONG.replace(old, new, 1)))


def test_dates_with_and_without_a_zone_are_not_compared(write):
    path = write("case,t,x\na,2024-10-01T00:00,2\na,2024-09-30T23:59+02:00,1\n")
    with pytest.raises(DataError, match="written in two ways"):
        read(path, target=None)


def test_a_table_without_numbers_is_refused(write):
    with pytest.raises(DataError, match="no column is left"):
        read(write("case,t,label\na,1,run\n"))
