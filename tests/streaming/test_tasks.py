"""The models of tasks as streams: where a stream of them has a meaning, it is that of the whole."""

import pytest
import torch
from torch import nn

import unrolled
from unrolled.errors import OptionError
from unrolled.networks import LayerOptions
from unrolled.tasks.classify.model import Classifier
from unrolled.tasks.classify.options import ModelOptions as ClassifierOptions
from unrolled.tasks.tag.model import Sentences, Tagger
from unrolled.tasks.tag.options import ModelOptions as TaggerOptions
from unrolled.tasks.translate.delayed_model import DelayedModel


def wide(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.eval()


def pushed(stream, x, *lengths):
    pieces = torch.split(x, [*lengths, x.shape[1] - sum(lengths)], 1)
    return torch.cat([stream.push(piece) for piece in pieces], 1)


@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before", "janet", "tcn", "conv", "dense"])
@pytest.mark.parametrize("embedding_size", [None, 4])
def test_a_language_model_streams(cell, embedding_size):
    options = LayerOptions(cell=cell, hidden_size=6)
    model = unrolled.LanguageModel(options, vocabulary_size=9, embedding_size=embedding_size)
    model, tokens = wide(model), torch.randint(9, (2, 15))
    stream = unrolled.stream(model, 2)
    assert (stream.delay, stream.rate) == (0, 1)
    torch.testing.assert_close(pushed(stream, tokens, 1, 7), model(tokens)[0])


def test_a_delayed_translator_streams():
    model = DelayedModel(LayerOptions(hidden_size=6), vocabulary_size=9, num_classes=5)
    model, tokens = wide(model), torch.randint(9, (2, 15))
    torch.testing.assert_close(pushed(unrolled.stream(model, 2), tokens, 4), model(tokens))


INPUTS = {
    "tokens": ({"vocabulary_size": 9}, {}, lambda: torch.randint(9, (1, 12))),
    "numbers": ({"input_size": 3}, {"evidence": False}, lambda: torch.randn(1, 12, 3)),
    "frames": (
        {"num_bands": 4},
        {"evidence": False, "frames_per_step": 3},
        lambda: torch.randn(1, 12, 4),
    ),
}


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("name", INPUTS)
def test_a_classifier_says_what_it_thinks_so_far(pooling, name):
    sizes, options, make = INPUTS[name]
    chosen = ClassifierOptions(pooling=pooling, bidirectional=False, hidden_size=6, **options)
    model, x = wide(Classifier(chosen, num_classes=4, **sizes)), make()
    stream = unrolled.stream(model)
    expected = model.opinions(x[0])
    torch.testing.assert_close(pushed(stream, x, 1, 4)[0], expected.clone())
    assert stream.rate == (3 if name == "frames" else 1)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_rows_of_a_running_opinion_begin_again(pooling):
    chosen = ClassifierOptions(pooling=pooling, bidirectional=False, hidden_size=6)
    model = wide(Classifier(chosen, num_classes=4, vocabulary_size=9))
    stream, x = unrolled.stream(model, 2), torch.randint(9, (2, 12))
    stream.push(x[:, :5])
    stream.reset([0])
    both = stream.push(x[:, 5:])
    torch.testing.assert_close(both[0], model.opinions(x[0, 5:]).clone())
    torch.testing.assert_close(both[1], model.opinions(x[1])[5:].clone())


@pytest.mark.parametrize("delay", [0, 2])
def test_a_tagger_tags_words_as_they_come(delay):
    sizes = {"vocabulary_size": 9, "alphabet_size": 7, "num_affixes": 6, "num_classes": 5}
    model = wide(Tagger(TaggerOptions(delay=delay, hidden_size=6), **sizes, crf=False))
    words = torch.arange(8).reshape(1, 8)
    letters, affixes = torch.randint(1, 7, (8, 3)), torch.randint(6, (8, 4))
    lengths = torch.tensor([8])
    sentences = Sentences(words, lengths, words, letters, torch.full((8,), 3), affixes)
    stream = unrolled.stream(model)
    assert stream.delay == delay
    with torch.no_grad():
        torch.testing.assert_close(pushed(stream, model.inputs(sentences), 3), model(sentences)[0])


SIZES = {"num_classes": 3}
REFUSED = {
    "from both ends": (
        lambda: Classifier(ClassifierOptions(bidirectional=True), vocabulary_size=9, **SIZES),
        "Recurrent 'classifier.layer'.*its end",
    ),
    "pictures": (
        lambda: Classifier(ClassifierOptions(bidirectional=False), picture_size=16, **SIZES),
        "Classifier of pictures",
    ),
    "evidence of series": (
        lambda: Classifier(ClassifierOptions(bidirectional=False), input_size=2, **SIZES),
        "evidence of a Classifier",
    ),
    "a tagger from both ends": (
        lambda: Tagger(
            TaggerOptions(),
            **{"vocabulary_size": 9, "alphabet_size": 7, "num_affixes": 6, "num_classes": 5},
            crf=False,
        ),
        "Recurrent 'tagger.layer'.*its end",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_needs_the_end_is_refused(name):
    make, words = REFUSED[name]
    with pytest.raises(OptionError, match=words):
        unrolled.stream(make().eval())
