"""The encoder-decoder of every cell: padding, one step at a time, what it can learn."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data import IGNORE
from unrolled.errors import OptionError, ShapeError
from unrolled.networks import LAYERS, word_loss
from unrolled.tasks.translate import EncoderDecoder, ModelOptions

SIZES = {"source_size": 6, "target_size": 7}
SMALL = {"hidden_size": 4, "embedding_size": 3}
cells = pytest.mark.parametrize("cell", LAYERS)
attentions = pytest.mark.parametrize("attention", ["additive", "multiplicative", "none"])


def build(**changes):
    torch.manual_seed(0)
    model = EncoderDecoder(ModelOptions(**SMALL | changes), **SIZES).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.uniform_(-0.8, 0.8)
    return model


@cells
@pytest.mark.parametrize("bidirectional", [True, False])
@settings(max_examples=15)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=4),
    extra=st.integers(0, 3),
    attention=st.sampled_from(["additive", "multiplicative", "none"]),
)
def test_a_pair_alone_gives_what_it_gives_in_a_padded_batch(
    cell, bidirectional, lengths, extra, attention
):
    model = build(cell=cell, bidirectional=bidirectional, attention=attention, num_layers=2)
    rows, source_lengths = len(lengths), torch.tensor([s for s, _ in lengths])
    source = torch.randint(6, (rows, int(source_lengths.max()) + extra))
    words = torch.randint(7, (rows, max(t for _, t in lengths) + extra))
    scores, weights = model(source, source_lengths, words)
    for row, (s, t) in enumerate(lengths):
        one = slice(row, row + 1)
        alone, own = model(source[one, :s], torch.tensor([s]), words[one, :t])
        torch.testing.assert_close(scores[one, :t], alone)
        if own is not None:
            torch.testing.assert_close(weights[one, :t, :s], own)
            assert not weights[row, :, s:].any()


@cells
@attentions
def test_padding_changes_no_gradient(cell, attention):
    model = build(cell=cell, attention=attention)
    source, words = torch.randint(6, (2, 4)), torch.randint(7, (2, 3))
    lengths = torch.tensor([4, 2])
    targets = torch.tensor([[3, 4, 2], [5, 2, IGNORE]])
    gradients = []
    for filling in (0, 5):
        source[1, 2:], words[1, 2:] = filling, filling
        model.zero_grad()
        word_loss(model(source, lengths, words)[0], targets)[0].backward()
        gradients.append([weight.grad for weight in model.parameters()])
    for clean, other in zip(*gradients, strict=True):
        torch.testing.assert_close(clean, other)


@cells
@attentions
def test_word_by_word_gives_what_all_words_at_once_give(cell, attention):
    model = build(cell=cell, attention=attention, num_layers=2)
    source, lengths = torch.randint(6, (2, 5)), torch.tensor([5, 3])
    words = torch.randint(7, (2, 4))
    whole, _ = model(source, lengths, words)
    state, pieces = model.start(source, lengths), []
    for word in words.T:
        scores, state = model.decoder.step(word, state)
        pieces.append(scores)
    torch.testing.assert_close(torch.stack(pieces, 1), whole)


@cells
@pytest.mark.parametrize("bidirectional", [True, False])
def test_every_token_of_the_source_counts_without_attention(cell, bidirectional):
    model = build(cell=cell, attention="none", bidirectional=bidirectional)
    source, lengths, words = torch.tensor([[1, 2, 3, 0]]), torch.tensor([3]), torch.tensor([[1]])
    scores, weights = model(source, lengths, words)
    assert weights is None
    for step in range(4):
        changed = source.clone()
        changed[0, step] = 5
        same = torch.allclose(model(changed, lengths, words)[0], scores)
        assert same == (step >= 3)


@attentions
def test_a_few_updates_learn_to_turn_a_sequence_round(attention):
    torch.manual_seed(0)
    options = ModelOptions(
        cell="gru", hidden_size=32, embedding_size=16, attention=attention, dropout=0.0
    )
    model = EncoderDecoder(options, source_size=8, target_size=8)
    content = torch.randint(3, 8, (32, 4))
    begin, end = torch.full((32, 1), 1), torch.full((32, 1), 2)
    targets = torch.cat([content.flip(1), end], 1)
    words, lengths = torch.cat([begin, targets[:, :-1]], 1), torch.full((32,), 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        scores, _ = model(content, lengths, words)
        optimizer.zero_grad()
        word_loss(scores, targets)[0].backward()
        optimizer.step()
    assert (model(content, lengths, words)[0].argmax(-1) == targets).float().mean() > 0.95


# ---- scheduled sampling -----------------------------------------------------------------------


def test_sampling_of_zero_is_teacher_forcing_and_of_one_reads_only_its_own_words():
    source, lengths = torch.randint(6, (2, 5)), torch.tensor([5, 3])
    words = torch.randint(7, (2, 4))
    model = build(sampling=1.0, sampling_updates=2, dropout=0.0).train()
    plain, _ = model.eval()(source, lengths, words)
    model.train()
    torch.testing.assert_close(model(source, lengths, words)[0], plain)  # the schedule begins at 0
    model.num_updates.fill_(2)
    torch.manual_seed(1)
    sampled, weights = model(source, lengths, words)
    assert weights.shape == (2, 4, 5)
    torch.testing.assert_close(sampled[:, 0], plain[:, 0])
    others = words.clone()
    others[:, 1:] = (others[:, 1:] + 1) % 7
    model.num_updates.fill_(2)
    torch.manual_seed(1)
    torch.testing.assert_close(model(source, lengths, others)[0], sampled)
    torch.testing.assert_close(model.eval()(source, lengths, words)[0], plain)


def test_the_share_of_sampled_words_rises_linearly_and_is_kept_with_the_weights():
    model = build(sampling=0.5, sampling_updates=10).train()
    source, lengths = torch.randint(6, (1, 2)), torch.tensor([2])
    read = []
    model.decoder.embedding.register_forward_hook(lambda _, words, __: read.append(words[0]))
    words = torch.zeros(1, 400, dtype=torch.int64)
    shares = []
    for done in (0, 5, 10, 1000):
        model.num_updates.fill_(done)
        read.clear()
        model(source, lengths, words)
        shares.append((torch.cat(read, 1) != 0).float().mean().item())
    own = 6 / 7  # about the share of drawn words that are not 0
    assert shares[0] == 0
    assert shares[1] == pytest.approx(0.25 * own, abs=0.12)
    assert shares[2] == pytest.approx(0.5 * own, abs=0.15)
    assert shares[3] == pytest.approx(0.5 * own, abs=0.15)
    assert model.state_dict()["num_updates"] == 1001
    assert "num_updates" not in build().state_dict()


# ---- what does not fit ------------------------------------------------------------------------


def test_a_source_without_a_token_is_refused():
    with pytest.raises(ShapeError, match="row 1 of the source has no token"):
        build()(
            torch.zeros(2, 3, dtype=torch.int64), torch.tensor([3, 0]), torch.tensor([[1], [1]])
        )


def test_a_source_of_another_type_is_refused():
    with pytest.raises(ShapeError, match=r"source must be \(B, S\) torch.int64, got \(2, 3\)"):
        build()(torch.zeros(2, 3), torch.tensor([3, 1]), torch.tensor([[1], [1]]))


@pytest.mark.parametrize("size", SIZES)
def test_a_language_without_a_token_is_refused(size):
    with pytest.raises(OptionError, match=f"EncoderDecoder: {size} must be at least 1, got 0"):
        EncoderDecoder(ModelOptions(), **SIZES | {size: 0})


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"embedding_size": 0}, "embedding_size must be at least 1"),
        ({"cell": "lst"}, "cell must be one of"),
        ({"attention": "dot"}, "attention must be one of additive"),
        ({"sampling": 1.5}, r"sampling must be in \[0, 1\], got 1.5"),
        ({"sampling": math.nan}, r"sampling must be in \[0, 1\]"),
        ({"sampling_updates": 0}, "sampling_updates must be at least 1"),
        ({"kernel_size": 3}, "kernel_size is for convolutions"),
        ({"delay": -1}, "delay must be at least 0"),
        ({"delay": 1, "attention": "additive"}, "attention is for an encoder and a decoder"),
        ({"delay": 0, "bidirectional": True}, "bidirectional is for an encoder and a decoder"),
        ({"delay": 0, "sampling": 0.5}, "sampling is for an encoder and a decoder"),
    ],
)
def test_options_that_make_no_model_are_refused(wrong, complaint):
    with pytest.raises(OptionError, match=complaint):
        ModelOptions(**SMALL | wrong)


def test_an_encoder_reads_both_ways_and_attends_unless_it_is_told_not_to():
    for options, ways, attention in (
        ({}, 2, "AdditiveAttention"),
        ({"bidirectional": True, "attention": "additive"}, 2, "AdditiveAttention"),
        ({"bidirectional": False, "attention": "multiplicative"}, 1, "MultiplicativeAttention"),
        ({"bidirectional": False, "attention": "none"}, 1, "NoneType"),
    ):
        model = build(**options)
        memory, _ = model.encoder(torch.randint(6, (1, 3)), torch.tensor([3]))
        assert memory.shape[2] == 4 * ways
        assert type(model.decoder.attention).__name__ == attention


def test_a_copy_built_from_plain_values_gives_the_same_scores():
    model = build(cell="conv", kernel_size=2)
    options = ModelOptions(**json.loads(json.dumps(model.options.to_dict())))
    rebuilt = EncoderDecoder(options, **SIZES).double().eval()
    rebuilt.load_state_dict(model.state_dict())
    source, lengths, words = torch.randint(6, (1, 3)), torch.tensor([3]), torch.randint(7, (1, 2))
    assert torch.equal(rebuilt(source, lengths, words)[0], model(source, lengths, words)[0])
