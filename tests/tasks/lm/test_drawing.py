"""A token read and the next one drawn in one call: the text that torch's operations draw."""

import pytest
import torch
from torch import nn

from unrolled import LanguageModel
from unrolled.data import CharVocabulary
from unrolled.errors import DivergedError
from unrolled.kernels import WeightCache, caching_weights, using_path
from unrolled.networks import GenerateOptions, LayerOptions
from unrolled.tasks.lm import generate, generate_many
from unrolled.tasks.lm.drawing import Drawing

VOCABULARY = CharVocabulary.from_text("the quick brown fox")
OPTIONS = {
    "all": {},
    "cold": {"temperature": 0.3},
    "hot": {"temperature": 3.0},
    "greedy": {"temperature": 0.0},
    "top_k": {"top_k": 3},
    "more than all": {"top_k": 100},
    "top_p": {"top_p": 0.5},
    "top_k and top_p": {"top_k": 5, "top_p": 0.6, "temperature": 2.0},
}
MODELS = {
    "lstm": {"cell": "lstm"},
    "gru of two layers": {"cell": "gru", "num_layers": 2},
    "rnn": {"cell": "rnn", "hidden_size": 33},
    "embedding": {"cell": "janet", "embedding_size": 7},
    "tcn": {"cell": "tcn", "num_layers": 2},
}


def made(embedding_size=None, **options):
    torch.manual_seed(0)
    model = LanguageModel(
        LayerOptions(**{"hidden_size": 20, **options}),
        vocabulary_size=len(VOCABULARY),
        embedding_size=embedding_size,
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2 if options.get("cell") == "tcn" else 0.7)
    for name, weight in model.layer.named_parameters():
        if name.startswith("weight_hh"):  # so that a rounding does not grow from step to step
            nn.init.normal_(weight, std=0.1)
    return model.eval()


def text(model, **options):
    return "".join(generate(model, VOCABULARY, "the ", **{"length": 80, "seed": 3, **options}))


def drawing_of(model, count=1, **options):
    return Drawing(model, VOCABULARY.encode("the "), [GenerateOptions(**options)] * count)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("name", [name for name in MODELS if name != "tcn"])
def test_one_call_draws_what_torch_draws(name, options):
    model = made(**MODELS[name])
    drawing = drawing_of(model, length=3, **options)
    drawing.token(0, 2)
    assert drawing._writer is not None
    with using_path("reference"):
        expected = text(model, **options)
    assert text(model, **options) == expected


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [OPTIONS["all"], OPTIONS["top_k and top_p"]])
def test_a_text_does_not_depend_on_those_beside_it(name, options):
    model = made(**MODELS[name])
    seeds = (3, 4, 5, 3, 9)
    alone = [text(model, **{**options, "seed": seed}) for seed in seeds]
    samples = [GenerateOptions(length=80, seed=seed, **options) for seed in seeds]
    together = generate_many(model, VOCABULARY, "the ", samples)
    assert len(set(alone)) == 4
    assert ["".join(pieces) for pieces in reversed(together)] == alone[::-1]  # the last is first


def test_more_texts_than_are_drawn_at_once_are_all_there():
    model = made()
    samples = [GenerateOptions(length=5, seed=seed) for seed in range(70)]
    texts = ["".join(t) for t in generate_many(model, VOCABULARY, "the ", samples)]
    assert texts[69] == text(model, length=5, seed=69)
    assert len(texts) == 70


def test_tokens_are_drawn_as_often_as_the_model_says():
    model, count = made(), 6000
    expected = torch.linspace(1, 3, len(VOCABULARY)).softmax(-1)
    nn.init.zeros_(model.scores.weight)
    with torch.no_grad():
        model.scores.bias.copy_(expected.log())
    drawn = VOCABULARY.encode(text(model, length=count))
    counts = drawn.bincount(minlength=len(VOCABULARY))
    deviation = (counts - count * expected) / (count * expected * (1 - expected)).sqrt()
    assert deviation.abs().max() < 4


def test_a_top_p_of_a_flat_model_keeps_the_smallest_set():
    model = made()
    nn.init.zeros_(model.scores.weight)
    nn.init.zeros_(model.scores.bias)  # all alike: the first of equals stay
    kept = {text(model, length=300, top_p=share).count("z") for share in (0.2,)}
    drawn = set(text(model, length=300, top_p=0.2))
    assert kept == {0}
    assert drawn == {VOCABULARY.decode([n]) for n in range(-(-len(VOCABULARY) // 5))}


CHANGES = {
    "in place": lambda m: m.layer.weight_hh_l0.detach().mul_(-1),
    "the scores": lambda m: m.scores.weight.detach().mul_(-1),
    "the bias of the scores": lambda m: m.scores.bias.detach().add_(torch.arange(16) * 2.0),
    "other memory": lambda m: setattr(m.scores.weight, "data", -m.scores.weight.data),
    "of the layer": lambda m: setattr(m.layer.weight_ih_l0, "data", -m.layer.weight_ih_l0.data),
    "turned in its place": lambda m: setattr(
        m.layer.weight_hh_l0,
        "data",
        m.layer.weight_hh_l0.data.view(4, 20, 20).transpose(1, 2).contiguous().view(80, 20),
    ),
    "another parameter": lambda m: setattr(m.scores, "weight", nn.Parameter(-m.scores.weight)),
    "another layer's": lambda m: setattr(
        m.layer, "weight_hh_l0", nn.Parameter(-m.layer.weight_hh_l0.detach())
    ),
    "a loaded state": lambda m: m.load_state_dict({k: -v for k, v in m.state_dict().items()}),
    "a hook": lambda m: m.scores.register_forward_hook(lambda _m, _x, scores: -scores),
    "a hook of the layer": lambda m: m.layer.register_forward_hook(
        lambda _m, _x, result: (-result[0], result[1])
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_what_changes_between_two_pieces_is_used(change):
    def written():
        model = made()
        pieces = generate(model, VOCABULARY, "the ", length=60, seed=1)
        begin = [next(pieces) for _ in range(20)]
        change(model)
        return "".join(begin + list(pieces))

    with using_path("reference"):
        expected = written()
    assert written() == expected
    assert expected != text(made(), length=60, seed=1)


@pytest.mark.parametrize("path", [None, "reference"])
def test_scores_that_are_no_numbers_are_an_error(path):
    model = made()
    pieces = generate(model, VOCABULARY, "the ", length=9, seed=1)
    next(pieces), next(pieces)
    nn.init.constant_(model.scores.bias, torch.inf)
    with using_path(path or "kernel"), pytest.raises(DivergedError, match="not finite numbers"):
        next(pieces)


@pytest.mark.parametrize("path", ["kernel", "reference"])
@pytest.mark.parametrize("embedding_size", [None, 7])
def test_a_text_that_diverges_ends_alone(path, embedding_size):
    samples = [GenerateOptions(length=9, seed=seed) for seed in (1, 2, 3)]
    with using_path(path):
        whole, drawing = (
            Drawing(made(embedding_size), VOCABULARY.encode("the "), samples) for _ in range(2)
        )
        drawing.token(0, 3)
        states = drawing._writer.states if drawing._writer else drawing._state
        with torch.inference_mode():
            states[0][:, 1] = torch.nan
        for _ in range(2):  # the second time it stands among the tokens that are read
            for number in (4, 5, 8):
                with pytest.raises(DivergedError, match="not finite numbers"):
                    drawing.token(1, number)
        for row in (0, 2):
            assert [drawing.token(row, n) for n in range(9)] == [
                whole.token(row, n) for n in range(9)
            ]


def test_within_a_cache_of_weights_its_copy_is_used():
    """As a server has it, where many write with one model."""
    drawing = drawing_of(made(), length=9)
    with caching_weights(WeightCache()):
        drawing.token(0, 5)
    assert drawing._writer is None
