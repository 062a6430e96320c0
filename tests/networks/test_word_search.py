"""The words of a decoder: never unknown ones, and what was found is read again as it was."""

import pytest
import torch

from unrolled.data.words import BEGIN, END, UNKNOWN
from unrolled.networks import (
    BeamOptions,
    Decoder,
    DecoderConfig,
    Hypothesis,
    LayerOptions,
    known_words,
    search_words,
)


@pytest.fixture
def decoder() -> Decoder:
    layer = LayerOptions(hidden_size=6)
    decoder = Decoder(DecoderConfig(vocabulary_size=8, summary_size=3, layer=layer)).eval()
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.uniform_(-0.8, 0.8)
        decoder.scores.bias[[UNKNOWN, BEGIN]] = 9.0  # the likeliest of all
    return decoder


def test_unknown_words_and_beginnings_are_never_written(decoder):
    options = BeamOptions(beam=4, n_best=4, max_length=6)
    rows = search_words(decoder, decoder.start(torch.randn(3, 3)), 3, options)
    assert [len(row) for row in rows] == [4, 4, 4]
    written = {token for row in rows for hypothesis in row for token in hypothesis.tokens}
    assert written
    assert not written & {UNKNOWN, BEGIN, END}


def test_words_that_were_found_are_as_likely_when_they_are_read_again(decoder):
    summary = torch.randn(1, 3)
    options = BeamOptions(beam=3, n_best=3, max_length=6)
    (hypotheses,) = search_words(decoder, decoder.start(summary), 1, options)
    words, lengths = known_words(hypotheses)
    state = decoder.start(summary.expand(len(hypotheses), 3))
    scores, _, _ = decoder(words, state)
    scores[..., [UNKNOWN, BEGIN]] = -torch.inf
    logs = scores.log_softmax(-1)
    for row, (hypothesis, length) in enumerate(zip(hypotheses, lengths, strict=True)):
        steps = enumerate(hypothesis.with_end(END))
        total = sum(logs[row, step, token].item() for step, token in steps)
        assert length == len(hypothesis.tokens) + hypothesis.complete
        assert total == pytest.approx(hypothesis.log_probability, abs=1e-5)


def test_words_are_read_behind_the_beginning_and_without_the_end():
    ended = Hypothesis((5, 6), -1.0, -1.0, complete=True)
    cut = Hypothesis((7, 5, 6), -1.0, -1.0, complete=False)
    words, lengths = known_words([ended, cut])
    assert words[0].tolist() == [BEGIN, 5, 6]
    assert words[1].tolist() == [BEGIN, 7, 5]
    assert lengths == [3, 3]
