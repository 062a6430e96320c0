"""Encoders: fitted to training data, kept in JSON, and the same afterwards."""

import json
import math

import pytest
import torch

from unrolled.tasks.classify.encoders import BPEEncoder, CharEncoder, NumberEncoder, WordEncoder

TEXTS = ["A good film, good fun.", "a bad film"]
TEXT_ENCODERS = [
    WordEncoder.fit(TEXTS, lowercase=True, min_count=1),
    WordEncoder.fit(TEXTS, lowercase=False, min_count=2),
    CharEncoder.fit(TEXTS, lowercase=True, min_count=2),
    BPEEncoder.fit(TEXTS, lowercase=True, size=262),
    BPEEncoder.fit(TEXTS, lowercase=False, size=256),
]


@pytest.mark.parametrize("encoder", TEXT_ENCODERS, ids=["word", "cased", "char", "bpe", "bytes"])
def test_each_token_has_a_number_that_json_keeps(encoder):
    again = type(encoder).from_dict(json.loads(json.dumps(encoder.to_dict())))
    for text in (*TEXTS, "New ☃ words", ""):
        ids = encoder.encode(text)
        assert ids.shape == (len(encoder.tokens(text)),)
        assert ids.dtype == torch.int64
        assert not len(ids) or 0 <= ids.min() <= ids.max() < encoder.size
        assert torch.equal(again.encode(text), ids)
        assert again.tokens(text) == encoder.tokens(text)


@pytest.mark.parametrize("size", [2**16, 2**16 + 1])
def test_packed_numbers_come_back_whatever_the_vocabulary_holds(size, monkeypatch):
    encoder = WordEncoder.fit(TEXTS, lowercase=True, min_count=1)
    monkeypatch.setattr(WordEncoder, "size", size)
    monkeypatch.setattr(encoder, "encode", lambda text: torch.tensor([0, size - 1, len(text)]))
    assert encoder.unpacked(encoder.packed("one")).tolist() == [0, size - 1, 3]
    assert encoder.unpacked(encoder.packed("one")).dtype == torch.int64


def test_tokens_are_what_their_names_say():
    word, cased, char, bpe, _ = TEXT_ENCODERS
    assert word.tokens("A film!") == ["a", "film", "!"]
    assert cased.tokens("A film!") == ["A", "film", "!"]
    assert char.tokens("Ab ☃") == ["a", "b", " ", "☃"]
    assert "".join(bpe.tokens("A film")) == "a film"
    assert len(bpe.tokens("A film")) < 6


def test_rare_words_are_one():
    encoder = TEXT_ENCODERS[1]  # film, good: twice
    assert encoder.encode("good film, bad sky").tolist() == [4, 3, 0, 0, 0]


def test_numbers_are_on_the_scale_of_the_training_part():
    chance = torch.Generator().manual_seed(0)
    data = torch.randn(40, 3, generator=chance) * torch.tensor([1.0, 50.0, 0.0]) + 7
    encoder = NumberEncoder.fit("xyz", [data[:10].tolist(), [], data[10:].tolist()])
    encoder = NumberEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    scaled = encoder.encode(data.tolist())
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]))
    assert encoder.encode([(math.nan,) * 3]).tolist() == [[0, 0, 0]]
    assert encoder.encode([]).shape == (0, 3)


def test_numbers_are_on_the_scale_of_their_series():
    fitted = NumberEncoder.fit("xyz", [[(0.0, 5.0, 1.0), (200.0, 7.0, 1.0)]])
    steps = [(1.0, 2.0, 8.0), (3.0, 2.0, math.nan), (5.0, 2.0, 4.0)]
    encoder = NumberEncoder.from_dict(json.loads(json.dumps(fitted.scaled_by("series").to_dict())))
    scaled = encoder.encode(steps)
    side = 1.5**0.5  # 1, 3, 5: mean 3, spread sqrt(8 / 3)
    expected = torch.tensor([[-side, 0, 1], [0, 0, 0], [side, 0, -1]])
    torch.testing.assert_close(scaled, expected)
    moved = [tuple(10 * x + 3 for x in step) for step in steps]
    torch.testing.assert_close(encoder.encode(moved), expected)
    both = fitted.scaled_by("both")
    assert both.size == 6
    torch.testing.assert_close(both.encode(steps), torch.cat([fitted.encode(steps), scaled], 1))
    assert encoder.encode([(1.0, 2.0, 3.0)]).tolist() == [[0, 0, 0]]
    assert both.encode([]).shape == (0, 6)


def test_a_feature_that_is_always_missing_tells_nothing():
    encoder = NumberEncoder.fit("x", [[(math.nan,)]])
    assert encoder.encode([(math.nan,), (2.0,)]).tolist() == [[0.0], [2.0]]


def test_a_feature_that_never_changes_in_training_keeps_its_scale():
    encoder = NumberEncoder.fit("x", [[(0.1,)] * 1000])  # whose mean is not 0.1 to the last bit
    torch.testing.assert_close(encoder.encode([(0.1,), (0.3,)]), torch.tensor([[0.0], [0.2]]))
