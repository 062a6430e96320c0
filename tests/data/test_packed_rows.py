"""Rows of a table that are packed come back as they were."""

import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.packed_rows import PackedRows, Row
from unrolled.data.tables import read_table
from unrolled.data.text import lines_of, split_lines

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=())),
    st.lists(st.integers(), max_size=2),
)
ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), max_size=8)


def same(one, other):
    """Equal and of one type; NaN is the same as NaN, 0.0 is not -0.0, nor True 1."""
    return repr(one) == repr(other)


@given(ROWS, st.integers(1, 4))
def test_rows_come_back_as_they_were(rows, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unrolled.data.packed_rows._BLOCK", block)
        packed = PackedRows()
        for line, values in enumerate(rows):
            packed.add(3 * line, values)
        names = [*dict.fromkeys(name for values in rows for name in values)]
        expected = [
            Row(3 * line, {name: values.get(name) for name in names})
            for line, values in enumerate(rows)
        ]
        assert len(packed) == len(rows)
        assert {*names} == {name for row in packed for name in row.values}
        in_order = [Row(row.line, {name: row.values[name] for name in names}) for row in packed]
        assert same(in_order, expected)
        assert same([packed[index] for index in range(len(rows))], [*packed])
        assert same([packed[index - len(rows)] for index in range(len(rows))], packed[:])
        with pytest.raises(IndexError):
            packed[len(rows)]
        kept = packed[:]
        assert same([*packed.emptied()], kept)
        assert len(packed) == 0


@pytest.mark.parametrize("values", [["x" * 70_000, "é", ""], [2**63, 1], [-(2**63), 1], [True, 1]])
def test_what_does_not_fit_one_way_is_kept_another(values):
    packed = PackedRows(["a", "b"])
    for line, value in enumerate(values):
        packed.add(line, {"a": value, "c": 0})
    assert same([row.values for row in packed], [{"a": value, "b": None} for value in values])
    packed.drop("a")
    assert packed[1].values == {"b": None}


def test_a_table_takes_less_than_three_times_its_file(tmp_path):
    """Of short numbers, of which a text for each takes seven times as much."""
    path = tmp_path / "numbers.csv"
    lines = [f"{number},{math.sin(number):.6f},{math.cos(number):.6f}" for number in range(60_000)]
    path.write_text("time,a,b\n" + "\n".join(lines))
    read_table(path)
    tracemalloc.start()
    table = read_table(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * path.stat().st_size
    assert [",".join(row.values.values()) for row in table.rows] == lines


@given(st.text("a\r\n\u2028"))
def test_lines_one_after_the_other_are_those_of_the_whole_text(text):
    assert [*lines_of(text)] == split_lines(text)
