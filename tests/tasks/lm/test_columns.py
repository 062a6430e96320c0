from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import IGNORE
from unrolled.errors import DataError, OptionError
from unrolled.tasks.lm.columns import Columns


@st.composite
def columns(draw: st.DrawFn) -> tuple[torch.Tensor, Columns]:
    tokens = torch.arange(draw(st.integers(2, 60))) + 1  # each token names its place
    return tokens, Columns(tokens, draw(st.integers(1, 12)))


@given(columns())
def test_every_token_after_the_first_is_a_target_once_and_in_order(laid_out):
    tokens, columns = laid_out
    _, targets = columns.window(0, columns.num_steps)
    assert targets[targets != IGNORE].tolist() == tokens[1:].tolist()


@given(columns())
def test_a_target_follows_its_input(laid_out):
    _, columns = laid_out
    inputs, targets = columns.window(0, columns.num_steps)
    counted = targets != IGNORE
    assert (targets[counted] == inputs[counted] + 1).all()
    assert (inputs >= 0).all()  # filled up with a real token, which an embedding accepts


@given(columns())
def test_all_columns_but_the_last_tokens_are_full(laid_out):
    _, columns = laid_out
    _, targets = columns.window(0, columns.num_steps)
    rows = (targets != IGNORE).sum(1).tolist()
    assert len(rows) == columns.num_columns
    assert columns.num_steps == max(rows)
    assert rows == sorted(rows, reverse=True)
    assert sum(0 < row < columns.num_steps for row in rows) <= 1


@given(columns(), st.data())
def test_windows_in_a_row_are_the_whole(laid_out, data):
    _, columns = laid_out
    cuts = data.draw(st.sets(st.integers(1, columns.num_steps)))
    edges = sorted({0, columns.num_steps} | cuts)
    windows = [columns.window(start, stop) for start, stop in pairwise(edges)]
    whole = columns.window(0, columns.num_steps)
    for part, expected in zip(zip(*windows, strict=True), whole, strict=True):
        assert torch.cat(part, 1).equal(expected)


@given(columns(), st.data())
def test_processes_share_out_the_columns_in_order(laid_out, data):
    _, columns = laid_out
    world_size = data.draw(st.integers(1, columns.num_columns))
    start = data.draw(st.integers(0, columns.num_steps - 1))
    shares = [columns.window(start, columns.num_steps, r, world_size) for r in range(world_size)]
    sizes = [len(inputs) for inputs, _ in shares]
    assert max(sizes) - min(sizes) <= 1
    whole = columns.window(start, columns.num_steps)
    for part, expected in zip(zip(*shares, strict=True), whole, strict=True):
        assert torch.cat(part).equal(expected)


def test_the_alphabet_stands_as_drawn():
    alphabet = torch.tensor([ord(letter) for letter in "abcdefghijklmnopqrstuvwxyz"])
    columns = Columns(alphabet, num_columns=4)
    inputs, targets = columns.window(0, columns.num_steps)
    rows = ["".join(chr(token) for token in row if token > 0) for row in inputs.tolist()]
    assert rows == ["abcdefg", "hijklmn", "opqrstu", "vwxyz"]
    assert targets[0, -1] == ord("h")
    assert targets[3].tolist() == [*b"wxyz", IGNORE, IGNORE, IGNORE]


def test_a_window_is_the_callers_own():
    tokens = torch.arange(9)
    columns = Columns(tokens, 2)
    for part in columns.window(0, 4):
        part.fill_(7)
    assert tokens.equal(torch.arange(9))
    assert columns.window(0, 4)[1].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


@given(st.integers(1, 9), st.integers(1, 9))
def test_a_text_is_long_enough_from_the_first_token_that_fills_the_least_steps(
    num_columns, min_steps
):
    tokens = torch.arange(num_columns * (min_steps - 1) + 2)  # one target beyond the steps before
    assert Columns(tokens, num_columns, min_steps).num_steps == min_steps
    with pytest.raises(DataError, match=f"need {len(tokens)} tokens, got {len(tokens) - 1}"):
        Columns(tokens[:-1], num_columns, min_steps)


@pytest.mark.parametrize("steps", [(-1, 2), (2, 2), (3, 2), (0, 5)])
def test_steps_outside_of_the_columns_are_refused(steps):
    with pytest.raises(OptionError, match="not within 0 to 4"):
        Columns(torch.arange(9), 2).window(*steps)


@pytest.mark.parametrize("share", [(-1, 1), (1, 1), (0, 3)])
def test_a_process_without_columns_is_refused(share):
    with pytest.raises(OptionError, match="none of 2 columns"):
        Columns(torch.arange(9), 2).window(0, 1, *share)


def test_no_columns_at_all_is_refused():
    with pytest.raises(OptionError, match="at least 1, got 0"):
        Columns(torch.arange(9), 0)
