"""Sequences of label sets as text: there and back, and what is no sequence."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import DataError
from unrolled.tasks.multilabel.lines import format_steps, parse_line, pieces_of

LABELS = st.text(min_size=1, max_size=5).map(str.strip).filter(bool)
SEQUENCES = st.lists(st.lists(LABELS, unique=True, max_size=4).map(tuple), min_size=1, max_size=6)


@given(SEQUENCES.map(tuple))
def test_a_sequence_is_read_as_it_was_written(steps):
    line = format_steps(steps)
    assert parse_line(line, "here") == steps
    assert "".join(pieces_of(line, steps)) == line
    assert len(pieces_of(line, steps)) == len(steps)


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        ("60 64 67 | 62", (("60", "64", "67"), ("62",))),
        ("60|62", (("60",), ("62",))),
        ("", ((),)),
        ("|", ((), ())),
        (" | 60 |", ((), ("60",), ())),
        ("60 64 60", (("60", "64"),)),  # a set has each label once
        ('"a | b" c | "d \\" e"', (("a | b", "c"), ('d " e',))),
        ("[[60, 64], [], [62.0]]", (("60", "64"), (), ("62",))),
        ('[["a b", 1]]', (("a b", "1"),)),
    ],
)
def test_a_bar_stands_between_two_steps(line, steps):
    assert parse_line(line, "here") == steps


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('60 "open', "here: a quote is not closed, at character 4"),
        ('60 "" 64', "here: not a label: ''"),
        ('"\\x"', "here: a label in quotes is not JSON"),
        ("[[60, 64]", "here: not JSON"),
        ("[]", "here: not a sequence but []"),
        ("[60, 64]", "here, step 1: not a set but 60"),
        ("[[60], [[64]]]", "here, step 2: not a label: [64]"),
        ("[[60], [1.5]]", "here, step 2: not a label: 1.5"),
        ("[[60], [true]]", "here, step 2: not a label: True"),
        ("[[60], [null]]", "here, step 2: not a label: None"),
        ("[" * 100_000, "here: nested too deep"),
    ],
)
def test_what_is_no_sequence_is_refused_with_its_place(line, message):
    with pytest.raises(DataError, match=re.escape(message)):
        parse_line(line, "here")
