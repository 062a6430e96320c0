"""Attention: the equations of the papers, and places that do not exist."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import OptionError, ShapeError
from unrolled.networks.attention import AdditiveAttention, MultiplicativeAttention

both = pytest.mark.parametrize("kind", [AdditiveAttention, MultiplicativeAttention])


def test_additive_scores_are_those_of_bahdanau():
    attention = AdditiveAttention(2, 3).double()
    query, memory = torch.randn(1, 1, 2).double(), torch.randn(1, 4, 3).double()
    w, u, v = (part.weight for part in (attention.query, attention.key, attention.score))
    e = torch.stack([(v @ torch.tanh(w @ query[0, 0] + u @ h))[0] for h in memory[0]])
    context, weights = attention(query, attention.read(memory))
    torch.testing.assert_close(weights[0, 0], e.exp() / e.exp().sum())
    torch.testing.assert_close(context[0, 0], (e.softmax(0)[:, None] * memory[0]).sum(0))


def test_multiplicative_scores_are_those_of_luong():
    attention = MultiplicativeAttention(2, 3).double()
    query, memory = torch.randn(1, 1, 2).double(), torch.randn(1, 4, 3).double()
    e = torch.stack([query[0, 0] @ attention.key.weight @ h for h in memory[0]])
    context, weights = attention(query, attention.read(memory))
    torch.testing.assert_close(weights[0, 0], e.exp() / e.exp().sum())
    torch.testing.assert_close(context[0, 0], (e.softmax(0)[:, None] * memory[0]).sum(0))


@both
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 2**31))
def test_places_past_the_length_do_not_exist_not_even_when_they_are_nan(kind, lengths, seed):
    torch.manual_seed(seed)
    attention = kind(2, 3).double()
    query, memory = torch.randn(len(lengths), 2, 2).double(), torch.randn(len(lengths), 5, 3)
    missing = torch.arange(5) >= torch.tensor(lengths)[:, None]
    dirty = memory.double().masked_fill(missing[:, :, None], math.nan).requires_grad_()
    context, weights = attention(query, attention.read(dirty, lengths))
    context.sum().backward()
    assert not weights.transpose(1, 2)[missing].any()
    assert torch.isfinite(dirty.grad).all()
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        alone, own = attention(query[one], attention.read(dirty[one, :length]))
        torch.testing.assert_close(context[one], alone)
        torch.testing.assert_close(weights[one, :, :length], own)


@both
def test_a_row_without_memory_is_refused(kind):
    with pytest.raises(ShapeError, match="row 1 has no memory to attend to"):
        kind(2, 3).read(torch.zeros(2, 4, 3), lengths=[4, 0])


@both
def test_wrong_shapes_are_refused(kind):
    attention = kind(2, 3)
    with pytest.raises(ShapeError, match=r"memory must be \(B, S, 3\), got \(2, 4, 2\)"):
        attention.read(torch.zeros(2, 4, 2))
    with pytest.raises(ShapeError, match=r"lengths must lie in 0..4, got 1..5"):
        attention.read(torch.zeros(2, 4, 3), lengths=[1, 5])
    with pytest.raises(ShapeError, match=r"query must be \(2, T, 2\), got \(1, 1, 2\)"):
        attention(torch.zeros(1, 1, 2), attention.read(torch.zeros(2, 4, 3)))
    with pytest.raises(OptionError, match="memory_size must be at least 1, got 0"):
        kind(2, 0)
