"""The captioner of every cell, with its two ways from what is seen to the words."""

import copy
from dataclasses import asdict, replace

import pytest
import torch

from unrolled.errors import OptionError
from unrolled.networks.decoder import word_loss
from unrolled.networks.sequence_layers import CELLS
from unrolled.tasks.caption.model import Captioner, CaptionerConfig

HEARD = CaptionerConfig(vocabulary_size=9, num_bands=4, hidden_size=6, embedding_size=5)
SEEN = CaptionerConfig(
    vocabulary_size=9, picture_size=8, channels=8, hidden_size=6, embedding_size=5
)
WORDS = torch.tensor([[1, 4, 5], [1, 3, 8]])


def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("attention", ["additive", "multiplicative", "none"])
def test_words_do_not_depend_on_the_padding_of_recordings(cell, attention):
    captioner = Captioner(replace(HEARD, cell=cell, attention=attention)).double().eval()
    frames = torch.randn(2, 12, 4, dtype=torch.float64)
    lengths = torch.tensor([12, 5])
    scores, weights = captioner(frames, WORDS, lengths)
    alone, own_weights = captioner(frames[1:, :5], WORDS[1:], lengths[1:])
    torch.testing.assert_close(scores[1:], alone)
    if attention == "none":
        assert weights is None
    else:
        torch.testing.assert_close(weights[1:, :, :2], own_weights)
        assert (weights[1, :, 2:] == 0).all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("config", [HEARD, SEEN], ids=["heard", "seen"])
@pytest.mark.parametrize(("attention", "summary"), [("additive", False), ("none", True)])
def test_what_is_seen_or_heard_reaches_the_words_each_way(cell, config, attention, summary):
    captioner = Captioner(replace(config, cell=cell, attention=attention, summary=summary))
    media = [pictures() if config is SEEN else torch.randn(2, 6, 4) for _ in range(2)]
    first, second = (captioner(one, WORDS)[0] for one in media)
    assert (first - second).abs().amax((1, 2)).min() > 0


@pytest.mark.parametrize("config", [HEARD, SEEN], ids=["heard", "seen"])
@pytest.mark.parametrize(
    ("attention", "summary"), [("additive", True), ("multiplicative", False), ("none", True)]
)
def test_every_parameter_is_learned(config, attention, summary):
    captioner = Captioner(replace(config, attention=attention, summary=summary))
    media = pictures() if config is SEEN else torch.randn(2, 6, 4)
    scores, _ = captioner(media, WORDS)
    word_loss(scores, WORDS)[0].backward()
    assert [name for name, p in captioner.named_parameters() if p.grad is None] == []


def test_step_by_step_gives_what_all_at_once_does():
    captioner = Captioner(HEARD).double()
    frames, lengths = torch.randn(2, 6, 4, dtype=torch.float64), torch.tensor([6, 2])
    whole, _ = captioner(frames, WORDS, lengths)
    state = captioner.start(frames, lengths)
    for step in range(3):
        scores, state = captioner.decoder.step(WORDS[:, step], state)
        torch.testing.assert_close(scores, whole[:, step])


def test_a_few_updates_learn_two_pictures():
    captioner = Captioner(SEEN)
    media = pictures()
    targets = torch.tensor([[4, 5, 2], [3, 8, 2]])
    optimizer = torch.optim.Adam(captioner.parameters(), lr=0.01)
    for _ in range(60):
        scores, _ = captioner(media, WORDS)
        optimizer.zero_grad()
        word_loss(scores, targets)[0].backward()
        optimizer.step()
    assert torch.equal(captioner(media, WORDS)[0].argmax(-1), targets)


def test_a_copy_built_from_plain_values_gives_the_same_scores():
    config = replace(HEARD, cell="gru", num_layers=2, encoder_layers=2, frames_per_step=2)
    captioner = Captioner(config)
    rebuilt = Captioner(CaptionerConfig(**asdict(config)))
    rebuilt.load_state_dict(copy.deepcopy(captioner).state_dict())
    frames = torch.randn(2, 6, 4)
    assert torch.equal(rebuilt(frames, WORDS)[0], captioner(frames, WORDS)[0])


@pytest.mark.parametrize("sizes", [{}, {"picture_size": 8, "num_bands": 4}])
def test_pictures_or_recordings_not_both_or_neither(sizes):
    with pytest.raises(OptionError, match="either picture_size or num_bands"):
        CaptionerConfig(vocabulary_size=9, **sizes)


def test_a_captioner_without_any_way_to_the_words_is_refused():
    with pytest.raises(OptionError, match="nothing reaches the decoder"):
        replace(SEEN, attention="none", summary=False)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"cell": "lstn"}, "did you mean lstm"),
        ({"attention": "dot"}, "attention must be one of"),
        ({"dropout": 2.0}, "dropout must be a probability"),
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"encoder_layers": 0}, "encoder_layers must be at least 1"),
        ({"frames_per_step": 0}, "frames_per_step must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(option, message):
    with pytest.raises(OptionError, match=message):
        replace(HEARD, **option)
