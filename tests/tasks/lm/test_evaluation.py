import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from unrolled import LanguageModel
from unrolled.errors import DataError
from unrolled.networks import LayerOptions
from unrolled.tasks.lm import TextSize, evaluate_language_model

V = 7


def model_of(cell: str) -> LanguageModel:
    torch.manual_seed(0)
    options = LayerOptions(cell=cell, hidden_size=6, num_layers=2)
    return LanguageModel(options, vocabulary_size=V).double()


def tokens_of(num_tokens: int) -> torch.Tensor:
    return torch.randint(V, (num_tokens,), generator=torch.Generator().manual_seed(3))


def in_one_pass(model: LanguageModel, tokens: torch.Tensor) -> float:
    with torch.no_grad():
        scores, _ = model(tokens[None, :-1])
    return F.cross_entropy(scores[0], tokens[1:]).item()


@pytest.mark.parametrize("cell", ["lstm", "gru", "tcn", "dense"])
def test_one_column_is_exact(cell):
    model, tokens = model_of(cell), tokens_of(900)
    metrics = evaluate_language_model(model, tokens, TextSize(899, 180), num_columns=1)
    assert metrics.nats_per_token == pytest.approx(in_one_pass(model, tokens), rel=1e-12)


@given(
    num_tokens=st.integers(2, 90),
    num_columns=st.integers(1, 9),
    cell=st.sampled_from(["conv", "dense"]),
)
@settings(deadline=None, max_examples=30)
def test_columns_change_nothing_if_the_context_covers_the_memory(num_tokens, num_columns, cell):
    model, tokens = model_of(cell), tokens_of(num_tokens)  # conv sees 8 tokens
    long_enough = -(-(num_tokens - 1) // num_columns) >= 8 or cell == "dense" or num_columns == 1
    metrics = evaluate_language_model(
        model, tokens, TextSize(num_tokens, 1), num_columns=num_columns
    )
    assert metrics.num_tokens == num_tokens - 1
    if long_enough:
        assert metrics.nats_per_token == pytest.approx(in_one_pass(model, tokens), rel=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_warmed_columns_are_close_to_one_column_and_cold_ones_are_not(cell):
    model, tokens = model_of(cell), tokens_of(2000)
    exact = in_one_pass(model, tokens)
    warm = evaluate_language_model(model, tokens, TextSize(1999, 400), num_columns=40, context=45)
    cold = evaluate_language_model(model, tokens, TextSize(1999, 400), num_columns=40, context=0)
    assert abs(warm.nats_per_token - exact) < 1e-9
    assert abs(cold.nats_per_token - exact) > 1e-6


def test_bits_are_counted_by_character_and_perplexity_by_token_and_word():
    model, tokens = model_of("gru"), tokens_of(101)
    metrics = evaluate_language_model(model, tokens, TextSize(characters=50, words=12))
    nats = in_one_pass(model, tokens) * 100
    assert metrics.num_tokens == 100
    assert metrics.num_characters == 50
    assert metrics.bits_per_character == pytest.approx(nats / math.log(2) / 50)
    assert metrics.perplexity_per_token == pytest.approx(math.exp(nats / 100))
    assert metrics.perplexity_per_word == pytest.approx(math.exp(nats / 12))


def test_an_enormous_loss_has_an_infinite_perplexity():
    model = model_of("dense")
    with torch.no_grad():
        model.scores.bias[0] = 1e5
    metrics = evaluate_language_model(model, torch.ones(50, dtype=torch.int64), TextSize(49, 9))
    assert metrics.nats_per_token == pytest.approx(1e5, rel=1e-3)
    assert metrics.perplexity_per_token == math.inf


@pytest.mark.parametrize("training", [True, False])
def test_the_model_keeps_its_mode_and_dropout_is_off(training):
    options = LayerOptions(hidden_size=6, dropout=0.5)
    model = LanguageModel(options, vocabulary_size=V).train(training)
    one, two = (evaluate_language_model(model, tokens_of(50), TextSize(49, 9)) for _ in range(2))
    assert one == two
    assert model.training == training


def test_a_single_token_has_nothing_to_predict():
    with pytest.raises(DataError, match="too short"):
        evaluate_language_model(model_of("rnn"), tokens_of(1), TextSize(1, 1))
