"""The captioner of every cell, with its two ways from what is seen to the words."""

import json

import pytest
import torch

from unrolled.errors import OptionError
from unrolled.networks import LAYERS, word_loss
from unrolled.tasks.caption import Captioner, ModelOptions

HEARD = {"vocabulary_size": 9, "num_bands": 4}
SEEN = {"vocabulary_size": 9, "picture_size": 8}
SMALL = {"hidden_size": 6, "embedding_size": 5, "channels": 8, "dropout": 0.0}
kinds = pytest.mark.parametrize("sizes", [HEARD, SEEN], ids=["heard", "seen"])
WORDS = torch.tensor([[1, 4, 5], [1, 3, 8]])


def make(sizes, **options) -> Captioner:
    return Captioner(ModelOptions(**SMALL | options), **sizes)


def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("attention", ["additive", "multiplicative", "none"])
def test_words_do_not_depend_on_the_padding_of_recordings(cell, attention):
    captioner = make(HEARD, cell=cell, attention=attention).double().eval()
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


@pytest.mark.parametrize("cell", LAYERS)
@kinds
@pytest.mark.parametrize(("attention", "summary"), [("additive", False), ("none", True)])
def test_what_is_seen_or_heard_reaches_the_words_each_way(cell, sizes, attention, summary):
    captioner = make(sizes, cell=cell, attention=attention, summary=summary)
    media = [pictures() if sizes is SEEN else torch.randn(2, 6, 4) for _ in range(2)]
    first, second = (captioner(one, WORDS)[0] for one in media)
    assert (first - second).abs().amax((1, 2)).min() > 0


@kinds
@pytest.mark.parametrize(
    ("attention", "summary"), [("additive", True), ("multiplicative", False), ("none", True)]
)
def test_every_parameter_is_learned(sizes, attention, summary):
    captioner = make(sizes, attention=attention, summary=summary)
    media = pictures() if sizes is SEEN else torch.randn(2, 6, 4)
    scores, _ = captioner(media, WORDS)
    word_loss(scores, WORDS)[0].backward()
    assert [name for name, p in captioner.named_parameters() if p.grad is None] == []


def test_step_by_step_gives_what_all_at_once_does():
    captioner = make(HEARD).double()
    frames, lengths = torch.randn(2, 6, 4, dtype=torch.float64), torch.tensor([6, 2])
    whole, _ = captioner(frames, WORDS, lengths)
    state = captioner.start(frames, lengths)
    for step in range(3):
        scores, state = captioner.decoder.step(WORDS[:, step], state)
        torch.testing.assert_close(scores, whole[:, step])


def test_a_few_updates_learn_two_pictures():
    torch.manual_seed(0)
    captioner = make(SEEN)
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
    captioner = make(HEARD, cell="gru", num_layers=2, encoder_layers=3, frames_per_step=2)
    options = ModelOptions(**json.loads(json.dumps(captioner.options.to_dict())))
    rebuilt = Captioner(options, **HEARD)
    rebuilt.load_state_dict(captioner.state_dict())
    frames = torch.randn(2, 6, 4)
    assert torch.equal(rebuilt(frames, WORDS)[0], captioner(frames, WORDS)[0])


def test_the_encoder_has_as_many_layers_as_the_decoder_unless_it_is_told():
    for options, num_encoder in (({}, 2), ({"encoder_layers": 3}, 3)):
        captioner = make(HEARD, num_layers=2, **options)
        assert captioner.encoder.layer.num_layers == num_encoder
        assert captioner.decoder.layer.num_layers + captioner.decoder.further.num_layers == 2


@pytest.mark.parametrize("sizes", [{}, {"picture_size": 8, "num_bands": 4}])
def test_pictures_or_recordings_not_both_or_neither(sizes):
    with pytest.raises(OptionError, match="one of picture_size and num_bands must be given"):
        make({"vocabulary_size": 9} | sizes)


@kinds
def test_sizes_below_one_are_refused(sizes):
    for name in sizes:
        with pytest.raises(OptionError, match=f"{name} must be at least 1, got 0"):
            make(sizes | {name: 0})


def test_a_captioner_without_any_way_to_the_words_is_refused():
    with pytest.raises(OptionError, match="nothing reaches the decoder"):
        ModelOptions(attention="none", summary=False)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"cell": "lstn"}, "did you mean lstm"),
        ({"attention": "dot"}, "attention must be one of"),
        ({"dropout": 2.0}, r"dropout must be in \[0, 1\)"),
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"encoder_layers": 0}, "encoder_layers must be at least 1"),
        ({"frames_per_step": 0}, "frames_per_step must be at least 1"),
        ({"channels": 0}, "channels must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(option, message):
    with pytest.raises(OptionError, match=message):
        ModelOptions(**option)
