"""The decoder of words, with every cell and every attention."""

import pytest
import torch
from torch.nn import functional as F

from unrolled.data import IGNORE
from unrolled.errors import OptionError, ShapeError
from unrolled.networks import LAYERS, Decoder, DecoderConfig, LayerOptions, word_loss

SMALL = {"vocabulary_size": 7, "summary_size": 3, "embedding_size": 4}
DROP_ALL = 1 - 1e-9
cells = pytest.mark.parametrize("cell", LAYERS)
attentions = pytest.mark.parametrize("attention", ["additive", "multiplicative", "none"])


def build(attention="none", **layer):
    """Return a decoder, and the state before the first word of two rows."""
    options = LayerOptions(**{"hidden_size": 5} | layer)
    memory_size = None if attention == "none" else 6
    config = DecoderConfig(**SMALL, layer=options, attention=attention, memory_size=memory_size)
    decoder = Decoder(config).double().eval()
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.uniform_(-0.8, 0.8)
    return decoder, start(decoder)


def start(decoder, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    summary = torch.randn(2, 3, generator=generator).double() * scale
    if decoder.config.attention == "none":
        return decoder.start(summary)
    memory = torch.randn(2, 4, 6, generator=generator).double()
    return decoder.start(summary, memory, [4, 2])


@cells
@attentions
@pytest.mark.parametrize("num_layers", [1, 3])
def test_word_by_word_gives_what_all_words_at_once_give(cell, attention, num_layers):
    decoder, state = build(cell=cell, attention=attention, num_layers=num_layers)
    words = torch.randint(7, (2, 6))
    whole, end, weights = decoder(words, state)
    assert whole.shape == (2, 6, 7)
    assert (weights is None) == (attention == "none")
    first, state, _ = decoder(words[:, :2], state)
    pieces = [first]
    for word in words[:, 2:].T:
        scores, state = decoder.step(word, state)
        pieces.append(scores[:, None])
    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    torch.testing.assert_close(decoder.step(words[:, 0], end), decoder.step(words[:, 0], state))


@cells
@attentions
def test_rows_of_a_state_go_on_as_those_rows(cell, attention):
    decoder, state = build(cell=cell, attention=attention, num_layers=2)
    _, state, _ = decoder(torch.randint(7, (2, 3)), state)
    scores, _ = decoder.step(torch.tensor([1, 2]), state)
    turned, _ = decoder.step(torch.tensor([2, 1, 2]), state.rows(torch.tensor([1, 0, 1])))
    torch.testing.assert_close(turned, scores[[1, 0, 1]])


@cells
@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_summary_reaches_the_scores_and_learns(cell, num_layers):
    decoder, state = build(cell=cell, num_layers=num_layers)
    words = torch.randint(7, (2, 3))
    other = start(decoder, scale=-1.0)
    assert not torch.allclose(decoder(words, state)[0], decoder(words, other)[0])
    decoder(words, state)[0].square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in decoder.parameters())


@attentions
def test_later_words_change_no_earlier_score(attention):
    decoder, state = build(cell="tcn", attention=attention, num_layers=2)
    words = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 0]])
    changed = torch.tensor([[0, 1, 6, 5], [4, 5, 0, 1]])
    torch.testing.assert_close(decoder(words, state)[0][:, :2], decoder(changed, state)[0][:, :2])


def test_dropout_acts_in_training_only():
    decoder, state = build(dropout=DROP_ALL, num_layers=2)
    words = torch.randint(7, (2, 3))
    assert not torch.equal(decoder(words, state)[0], decoder.scores.bias.expand(2, 3, 7))
    decoder.train()
    assert torch.equal(decoder(words, state)[0], decoder.scores.bias.expand(2, 3, 7))


def test_what_does_not_fit_is_refused():
    decoder, _ = build()
    with pytest.raises(ShapeError, match=r"summary must be \(B, 3\), got \(2, 4\)"):
        decoder.start(torch.zeros(2, 4))
    with pytest.raises(ShapeError, match="attention is 'none', but there is a memory"):
        decoder.start(torch.zeros(2, 3), torch.zeros(2, 4, 6))
    with pytest.raises(ShapeError, match=r"words must be \(B, T\) torch.int64"):
        decoder(torch.zeros(2, 3), start(decoder))
    attending, _ = build(attention="additive")
    with pytest.raises(ShapeError, match="attention is 'additive', but there is no memory"):
        attending.start(torch.zeros(2, 3).double())
    with pytest.raises(ShapeError, match="a summary of 2 rows and a memory of 1"):
        attending.start(torch.zeros(2, 3).double(), torch.zeros(1, 4, 6).double())
    with pytest.raises(ShapeError, match="row 0 has no memory"):
        attending.start(torch.zeros(1, 3).double(), torch.zeros(1, 4, 6).double(), [0])


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"attention": "bahdanau"}, "attention must be one of additive, multiplicative, none"),
        ({"attention": "additive"}, "attention is 'additive', memory_size None"),
        ({"memory_size": 3}, "attention is 'none', memory_size 3"),
        ({"vocabulary_size": 0}, "vocabulary_size must be at least 1"),
        ({"summary_size": 0}, "summary_size must be at least 1"),
        ({"embedding_size": 0}, "embedding_size must be at least 1"),
        ({"attention": "additive", "memory_size": 0}, "memory_size must be at least 1"),
    ],
)
def test_a_config_that_makes_no_decoder_is_refused(wrong, complaint):
    with pytest.raises(OptionError, match=complaint):
        DecoderConfig(**SMALL | {"layer": LayerOptions()} | wrong)


def test_the_loss_counts_words_alone_and_smoothing_mixes_in_all_words():
    scores = torch.randn(2, 3, 5, dtype=torch.float64)
    targets = torch.tensor([[1, 2, 0], [4, IGNORE, IGNORE]])
    rows = scores.log_softmax(-1)[targets != IGNORE]
    plain = -rows[range(4), [1, 2, 0, 4]].sum()
    loss, count = word_loss(scores, targets)
    assert count == 4
    torch.testing.assert_close(loss, plain)
    smoothed, _ = word_loss(scores, targets, 0.1)
    torch.testing.assert_close(smoothed, 0.9 * plain - 0.1 * rows.mean(-1).sum())
    assert F.cross_entropy(scores[0], targets[0], reduction="sum") < loss
