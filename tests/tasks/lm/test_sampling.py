import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from unrolled import LanguageModel
from unrolled.data import ByteVocabulary, CharVocabulary
from unrolled.errors import OptionError, VocabularyError
from unrolled.networks import LayerOptions
from unrolled.tasks.lm import default_prompt, generate
from unrolled.tasks.lm.drawing import filter_scores

VOCABULARY = CharVocabulary.from_text("hello world")


def language_model(cell: str = "lstm", dropout: float = 0.0) -> LanguageModel:
    torch.manual_seed(0)
    options = LayerOptions(cell=cell, hidden_size=8, dropout=dropout)
    model = LanguageModel(options, vocabulary_size=len(VOCABULARY))
    for parameter in model.parameters():
        nn.init.normal_(parameter)  # wide enough for the scores to differ
    return model


def text(*args: object, **options: object) -> str:
    return "".join(generate(*args, **options))


class Parrot(nn.Module):
    """Says the bytes of `line`, whatever it hears. Its state is the next position."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = nn.Parameter(torch.tensor(list(line.encode())).double())

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        position = torch.zeros(1, 1, 1).long() if state is None else state
        scores = nn.functional.one_hot(self.line[position[0, 0]].long(), 256) * 100.0
        return scores.expand(1, tokens.shape[1], 256), position + 1


def probabilities(*args: object) -> list[float]:
    return filter_scores(*args).softmax(-1).tolist()


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, [1 / 7, 2 / 7, 4 / 7]), (0.5, [1 / 21, 4 / 21, 16 / 21]), (0.0, [0, 0, 1])],
)
def test_temperature_raises_probabilities_to_its_inverse(temperature, expected):
    scores = torch.tensor([1.0, 2.0, 4.0]).log() + 5
    assert probabilities(scores, temperature, None, None) == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1e-300, 1e-3, 1e300])
def test_no_temperature_overflows(temperature):
    scores = torch.tensor([-3e38, 80.0, 3e38])
    assert math.isclose(sum(probabilities(scores, temperature, None, None)), 1.0)


@pytest.mark.parametrize(("top_k", "kept"), [(1, [1]), (2, [1, 3]), (3, [0, 1, 3]), (9, range(4))])
def test_top_k_keeps_the_k_largest_and_the_first_of_equals(top_k, kept):
    scores = torch.tensor([1.0, 3.0, 1.0, 2.0])
    filtered = filter_scores(scores, 1.0, top_k, None)
    assert filtered.isfinite().nonzero().flatten().tolist() == list(kept)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(1e-9, [2]), (0.39, [2]), (0.41, [0, 2]), (0.69, [0, 2]), (0.71, [0, 2, 3]), (1.0, range(4))],
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(top_p, kept):
    scores = torch.tensor([0.3, 0.1, 0.4, 0.2]).log()
    filtered = filter_scores(scores, 1.0, None, top_p)
    assert filtered.isfinite().nonzero().flatten().tolist() == list(kept)


def test_top_p_is_a_share_of_what_top_k_left():
    scores = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()  # the first two alone: 4/7 and 3/7
    assert probabilities(scores, 1.0, 2, 0.55) == pytest.approx([1, 0, 0, 0])
    assert probabilities(scores, 1.0, 2, 0.6) == pytest.approx([4 / 7, 3 / 7, 0, 0])


@given(
    st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=8),
    st.floats(0.01, 1.0),
)
def test_top_p_needs_every_token_it_keeps(scores, top_p):
    whole = torch.tensor(scores).double().softmax(-1)
    kept = whole[filter_scores(torch.tensor(scores), 1.0, None, top_p).isfinite()]
    assert kept.sum() >= top_p - 1e-9
    assert kept.sum() - kept.min() < top_p + 1e-9


@pytest.mark.parametrize("cell", ["rnn", "gru", "tcn", "dense", "conv"])
def test_greedy_text_is_the_most_likely_token_after_each_prefix(cell):
    model = language_model(cell).eval()
    continuation = text(model, VOCABULARY, "hell", length=12, temperature=0)
    for end in range(12):
        with torch.no_grad():
            scores, _ = model(VOCABULARY.encode("hell" + continuation[:end]).unsqueeze(0))
        assert VOCABULARY.encode(continuation[end]).item() == scores[0, -1].argmax()


def test_tokens_are_drawn_as_often_as_the_model_says():
    model = language_model("dense")
    expected = torch.linspace(1, 3, len(VOCABULARY)).softmax(-1)
    nn.init.zeros_(model.scores.weight)
    with torch.no_grad():
        model.scores.bias.copy_(expected.log())
    drawn = VOCABULARY.encode(text(model, VOCABULARY, "h", length=4000, seed=0))
    counts = drawn.bincount(minlength=len(VOCABULARY))
    deviation = (counts - 4000 * expected) / (4000 * expected * (1 - expected)).sqrt()
    assert deviation.abs().max() < 4


def test_the_seed_decides_the_text():
    model = language_model()
    first, again, other, fresh = (
        text(model, VOCABULARY, "h", length=40, seed=seed) for seed in (7, 7, 8, None)
    )
    assert first == again
    assert len({first, other, fresh}) == 3


def test_the_global_generator_is_left_alone():
    model = language_model()
    before = torch.get_rng_state()
    text(model, VOCABULARY, "h", length=5, seed=3)
    text(model, VOCABULARY, "h", length=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_modes_are_the_callers_between_two_pieces():
    model = language_model(dropout=0.5).train()
    model.layer.eval()  # as one who fine-tunes might
    modes = [module.training for module in model.modules()]
    pieces = generate(model, VOCABULARY, "h", length=5)
    next(pieces)
    assert [module.training for module in model.modules()] == modes
    assert not torch.is_inference_mode_enabled()
    pieces.close()
    assert [module.training for module in model.modules()] == modes


def test_dropout_does_not_disturb_the_text():
    model = language_model(dropout=0.9)
    training = text(model.train(), VOCABULARY, "h", length=30, seed=1)
    assert text(model.eval(), VOCABULARY, "h", length=30, seed=1) == training


def test_characters_of_several_tokens_come_whole():
    assert list(generate(Parrot("aé€𝄞"), ByteVocabulary(), "x", length=10)) == list("aé€𝄞")


def test_a_character_cut_off_by_the_length_is_marked():
    assert text(Parrot("a€"), ByteVocabulary(), "x", length=3) == "a\ufffd"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("length", 0),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("prompt", ""),
        ("seed", -1),
    ],
)
def test_options_out_of_range_are_refused_before_iterating(option, value):
    options = {"prompt": "h", "length": 3, option: value}
    with pytest.raises(OptionError, match=option):
        generate(language_model(), VOCABULARY, **options)


@pytest.mark.parametrize(
    ("options", "name"),
    [((-1.0, None, None), "temperature"), ((1.0, 0, None), "top_k"), ((1.0, None, 2.0), "top_p")],
)
def test_scores_are_not_filtered_by_options_out_of_range(options, name):
    with pytest.raises(OptionError, match=f"{name} must be"):
        filter_scores(torch.zeros(3), *options)


def test_prompts_with_unknown_characters_are_refused_before_iterating():
    with pytest.raises(VocabularyError, match="é"):
        generate(language_model(), VOCABULARY, "é", length=3)


def test_the_default_prompt_can_be_read():
    assert default_prompt(ByteVocabulary()) == "\n"
    assert default_prompt(CharVocabulary.from_text("ab\n")) == "\n"
    assert default_prompt(CharVocabulary.from_text("hello")) in "hello"
