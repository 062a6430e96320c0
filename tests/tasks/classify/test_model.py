"""Whole sequences into one class: padding has no effect, and an opinion at every step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import OptionError, ShapeError
from unrolled.networks import LAYERS
from unrolled.options import option_fields
from unrolled.tasks.classify import Classifier, ModelOptions

TOKENS = {"num_classes": 3, "vocabulary_size": 11}
NUMBERS = {"num_classes": 3, "input_size": 2}
(POOLINGS,) = (f.option.choices for f in option_fields(ModelOptions) if f.name == "pooling")


def make(sizes, **options):
    return Classifier(ModelOptions(**{"hidden_size": 4, "embedding_size": 5} | options), **sizes)


def build(sizes, **options):
    return make(sizes, **options).double().eval()


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_nothing_depends_on_padding(cell, pooling, bidirectional):
    model = build(TOKENS, cell=cell, pooling=pooling, bidirectional=bidirectional)
    tokens = torch.randint(11, (4, 7))
    lengths = torch.tensor([3, 7, 0, 1])
    scores = model(tokens, lengths)
    other = torch.where(torch.arange(7) < lengths[:, None], tokens, 10 - tokens)
    assert torch.equal(model(other, lengths), scores)
    for row, length in enumerate(lengths.tolist()):
        alone = model(tokens[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(alone[0], scores[row])


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    more=st.integers(0, 3),
    pooling=st.sampled_from(POOLINGS),
)
def test_numbers_of_any_lengths_are_as_if_alone(lengths, more, pooling):
    model = build(NUMBERS, pooling=pooling)
    x = torch.randn(len(lengths), max(lengths) + more, 2, dtype=torch.float64)
    scores = model(x, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = model(x[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(alone[0], scores[row])


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["gru", "tcn"])
def test_an_opinion_is_what_the_prefix_alone_gets(pooling, bidirectional, cell, monkeypatch):
    monkeypatch.setattr("unrolled.tasks.classify.model._STEPS_AT_ONCE", 12)  # several batches
    model = build(TOKENS, cell=cell, pooling=pooling, bidirectional=bidirectional)
    tokens = torch.randint(11, (9,))
    opinions = model.opinions(tokens)
    assert opinions.shape == (9, 3)
    for t in range(9):
        prefix = model(tokens[None, : t + 1], torch.tensor([t + 1]))
        torch.testing.assert_close(opinions[t], prefix[0], check_dtype=False)
    x, own = model.features(tokens[None]), model.own_evidence(tokens)
    last = model.opinions_at_end(x.expand(2, -1, -1), None if own is None else own.expand(2, 9, 3))
    torch.testing.assert_close(last, opinions[-1:].expand(2, 3), check_dtype=False)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_no_steps_have_no_opinions(pooling, bidirectional):
    model = build(NUMBERS, pooling=pooling, bidirectional=bidirectional)
    assert model.opinions(torch.zeros(0, 2, dtype=torch.float64)).shape == (0, 3)


def test_poolings_are_what_their_names_say():
    x = torch.randn(1, 5, 2, dtype=torch.float64)
    lengths = torch.tensor([4])
    for pooling in POOLINGS:
        model = build(NUMBERS, pooling=pooling, bidirectional=True)
        h = model.layer(x[:, :4])[0][0]  # (T, 2 H): forwards, then backwards
        if model.attention is not None:
            weights = model.attention(h).softmax(0)
        expected = {
            "last": lambda h=h: torch.cat([h[3, :4], h[0, 4:]]),
            "mean": lambda h=h: h.mean(0),
            "max": lambda h=h: h.max(0).values,
            "attention": lambda h=h: (weights * h).sum(0),  # noqa: B023
        }[pooling]()
        torch.testing.assert_close(model(x, lengths)[0], model.scores(expected))


def test_dropout_and_unreadable_tokens_are_for_training_alone():
    tokens, lengths = torch.randint(11, (2, 6)), torch.tensor([6, 6])
    for options in ({"token_dropout": 0.0}, {"dropout": 0.0, "token_dropout": 0.5}):
        model = build(TOKENS, **options)
        assert torch.equal(model(tokens, lengths), model(tokens, lengths))
        model.train()
        assert not torch.equal(model(tokens, lengths), model(tokens, lengths))
    model = build(TOKENS, dropout=0.0, token_dropout=0.0).train()
    assert torch.equal(model(tokens, lengths), model(tokens, lengths))


def test_an_unreadable_token_loses_all_of_its_features():
    model = build(TOKENS, cell="dense", bidirectional=False, dropout=0.0, token_dropout=1 - 1e-9)
    model.train()
    tokens, lengths = torch.randint(11, (1, 6)), torch.tensor([6])
    nothing = model.layer(torch.zeros(1, 6, 5, dtype=torch.float64))[0].amax(1)
    torch.testing.assert_close(model(tokens, lengths), model.scores(nothing))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (TOKENS | {"num_classes": 0}, "num_classes must be at least 1, got 0"),
        (TOKENS | {"input_size": 2}, "one of vocabulary_size, input_size, .*, got 11, 2, None"),
        ({"num_classes": 3}, "one of vocabulary_size, input_size, picture_size and num_bands"),
        (TOKENS | {"vocabulary_size": 0}, "must be at least 1, got 0"),
        (NUMBERS | {"input_size": 0}, "must be at least 1, got 0"),
    ],
)
def test_data_that_make_no_classifier_are_refused(sizes, message):
    with pytest.raises(OptionError, match=message):
        make(sizes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "sum"}, "pooling must be one of last, mean, max, attention, got 'sum'"),
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"embedding_size": 0}, "embedding_size must be at least 1"),
        ({"dropout": 2.0}, r"dropout must be in \[0, 1\)"),
        ({"token_dropout": -1.0}, r"token_dropout must be in \[0, 1\)"),
        ({"cell": "LSTM"}, "did you mean lstm"),
        ({"kernel_size": 3}, "kernel_size is for convolutions"),
    ],
)
def test_a_value_out_of_range_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        ModelOptions(**options)


@pytest.mark.parametrize(
    ("sizes", "inputs", "message"),
    [
        (TOKENS, torch.zeros(2, 3), r"tokens must be \(B, T\) torch.int64"),
        (TOKENS, torch.zeros(2, 3, 1, dtype=torch.int64), r"tokens must be \(B, T\)"),
        (NUMBERS, torch.zeros(2, 3, 3), r"numbers must be \(B, T, 2\), got \(2, 3, 3\)"),
    ],
)
def test_inputs_of_another_kind_are_refused(sizes, inputs, message):
    with pytest.raises(ShapeError, match=message):
        make(sizes)(inputs, torch.tensor([3, 3]))
    with pytest.raises(ShapeError, match="lengths must lie in"):
        build(NUMBERS)(torch.zeros(1, 3, 2, dtype=torch.float64), torch.tensor([4]))


def test_evidence_is_a_sum_over_the_tokens_of_a_row_wherever_they_stand():
    sizes = {"num_classes": 2, "vocabulary_size": 5}
    model = make(sizes).eval()
    tokens, lengths = torch.tensor([[1, 2, 2], [3, 0, 0]]), torch.tensor([3, 1])
    before = model(tokens, lengths)
    with torch.no_grad():
        model.evidence.weight.copy_(torch.arange(10.0).view(5, 2))
    difference = model(tokens, lengths) - before
    expected = torch.tensor([[2.0 + 4 + 4, 3 + 5 + 5], [6, 7]])
    torch.testing.assert_close(difference, expected)
    for directions in (True, False):
        other = make(sizes, bidirectional=directions).eval()
        with torch.no_grad():
            other.evidence.weight.copy_(torch.arange(10.0).view(5, 2))
        opinions = other.opinions(tokens[0])
        whole = other(tokens[:1], lengths[:1])
        torch.testing.assert_close(opinions[-1:], whole)


def test_evidence_of_numbers_is_linear_in_what_stands_at_16_places():
    model, other = (make(NUMBERS, bidirectional=each).double().eval() for each in (True, False))
    x, lengths = torch.randn(2, 16, 2, dtype=torch.float64), torch.tensor([16, 7])
    before = model(x, lengths)
    weight = torch.randn(3, 32, dtype=torch.float64)
    with torch.no_grad():
        model.shape.weight.copy_(weight)
        other.shape.weight.copy_(weight)
    torch.testing.assert_close(model(x, lengths)[0] - before[0], weight @ x[0].flatten())
    beyond = x.clone()
    beyond[1, 7:] = 9.0
    torch.testing.assert_close(model(beyond, lengths)[1], model(x, lengths)[1])
    for each in (model, other):
        opinions = each.opinions(x[0])
        prefixes = [each(x[:1, :t], torch.tensor([t]))[0] for t in range(1, 17)]
        torch.testing.assert_close(opinions, torch.stack(prefixes))


def test_evidence_is_left_out_where_it_is_not_wanted():
    assert make(TOKENS).evidence is not None
    assert make(TOKENS).shape is None
    assert make(TOKENS, evidence=False).evidence is None
    assert make(NUMBERS).evidence is None
    assert make(NUMBERS).shape is not None
    assert make(NUMBERS, evidence=False).shape is None
