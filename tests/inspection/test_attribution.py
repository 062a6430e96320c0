"""Attributions where algebra knows them, and that they add up where they must."""

import pytest
import torch
from torch import nn
from torch.nn.functional import logsigmoid

import unrolled
from unrolled.data import CharVocabulary, Source
from unrolled.errors import DivergedError, OptionError, ShapeError
from unrolled.inspection import Passage, Subject, attribute
from unrolled.networks import LayerOptions
from unrolled.tasks.classify import Classifier, DataOptions, ModelOptions
from unrolled.tasks.classify.encoders import WordEncoder
from unrolled.tasks.classify.examples import Labelled
from unrolled.tasks.classify.subject import ClassifierSubject
from unrolled.tasks.lm import LanguageModel
from unrolled.tasks.lm.subject import LanguageSubject


@unrolled.cell(gates="a", recurrent="")
def total(x, h):
    return dict(h=h + x.a)


class Counting(Subject):
    """Says after each step how likely the sum of what was read is above 0: log s(w . sum x)."""

    def read(self, source):
        raise NotImplementedError

    def passages(self, examples):
        for x in examples:
            yield Passage(tuple("abcdefghij"[: len(x)]), x)

    def readout(self, output):
        return torch.cat([output, torch.zeros_like(output)], dim=-1)


@pytest.fixture
def counting():
    layer = unrolled.Recurrent(total, 2, 1, bias=False, batch_first=True)
    return Counting(nn.ModuleList([layer]), layer, "step", ("above", "below"))


def test_all_three_are_those_of_algebra(counting):
    x = torch.randn(5, 2)
    (passage,) = counting.passages([x])
    parts = (x @ counting.layer.weight_ih_l0[0]).detach().double()[:4]
    whole, half = parts.sum(), torch.log(torch.tensor(0.5).double())
    of = {
        method: attribute(counting, passage, step=3, label=0, method=method) for method in METHODS
    }
    for found in of.values():
        assert found.values[4] == 0  # it comes later
        assert found.score == pytest.approx(float(logsigmoid(whole)), rel=1e-5)
        assert found.baseline_score == pytest.approx(float(half))
        assert (found.step, found.label, found.text, len(found.pieces)) == (3, 0, "above", 5)
    expected = {
        "gradient": parts * torch.sigmoid(-whole),
        "integrated": parts / whole * (logsigmoid(whole) - half),
        "leave-one-out": logsigmoid(whole) - logsigmoid(whole - parts),
    }
    for method, values in expected.items():
        torch.testing.assert_close(of[method].values[:4], values, rtol=1e-4, atol=1e-6)
    assert abs(of["integrated"].residual) < 1e-5
    assert of["gradient"].residual is None


METHODS = ("gradient", "integrated", "leave-one-out")


def test_a_baseline_of_ones_own_stands_for_no_input(counting):
    x, base = torch.randn(5, 2), torch.randn(2)
    (passage,) = counting.passages([x])
    for baseline in (base, base.expand(5, 2)):
        found = attribute(counting, passage, baseline=baseline)
        assert found.step == 4
        at = (base.expand(5, 2) @ counting.layer.weight_ih_l0[0].detach()).sum().double()
        expected = float(logsigmoid(-at if found.label else at))
        assert found.baseline_score == pytest.approx(expected, rel=1e-4)
    same = attribute(counting, passage, baseline=x)
    assert not same.values.any()


def language_subject():
    vocabulary = CharVocabulary.from_text("to be or not")
    options = LayerOptions(hidden_size=12, num_layers=2)
    model = LanguageModel(options, vocabulary_size=len(vocabulary)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 4  # far from linear
    subject = LanguageSubject(model, vocabulary)
    return subject, next(iter(subject.read(Source.text("to be or not to be"))))


def test_what_came_next_is_explained_and_integrated_gradients_add_up():
    subject, passage = language_subject()
    found = attribute(subject, passage, step=5)
    assert found.text == passage.pieces[6]
    with torch.no_grad():
        output, _ = subject.layer(passage.features[None])
        scores = subject.log_probabilities(passage, output[0])
    assert found.score == pytest.approx(float(scores[5, found.label]), rel=1e-4)
    difference = found.score - found.baseline_score
    assert abs(found.residual) <= 0.005 * max(1, abs(difference))
    assert float(found.values.sum()) == pytest.approx(difference - found.residual)
    assert not found.values[6:].any()
    assert found.values[:6].all()
    last = attribute(subject, passage)
    assert last.step == len(passage) - 1
    assert last.label == int(scores[-1].argmax())  # nothing is known to come


def test_leaving_one_out_is_reading_without_it():
    subject, passage = language_subject()
    found = attribute(subject, passage, step=9, method="leave-one-out")
    changed = passage.features.clone()
    changed[4] = 0
    with torch.no_grad():
        output, _ = subject.layer(changed[None])
        without = float(subject.readout(output[0, 9]).double().log_softmax(-1)[found.label])
    assert float(found.values[4]) == pytest.approx(found.score - without, rel=1e-4, abs=1e-6)


def test_only_what_is_said_at_the_step_is_computed():
    subject, passage = language_subject()
    num_scored, whole = [], attribute(subject, passage, step=15)
    subject.model.scores.register_forward_hook(lambda _, args, out: num_scored.append(len(args[0])))
    found = attribute(subject, passage, step=15)
    torch.testing.assert_close(found.values, whole.values)
    assert sum(num_scored) <= len(passage) + 2 + 2 * found.num_points  # of one text, then of rows


def test_a_classifier_of_two_directions_reads_each_text_once():
    text = "a good film , and not a bad one"
    encoder = WordEncoder.fit([text], lowercase=True, min_count=1)
    options = ModelOptions(hidden_size=4, embedding_size=3, bidirectional=True)
    model = Classifier(options, num_classes=2, vocabulary_size=encoder.size).eval()
    subject = ClassifierSubject(
        model, DataOptions(files=["pos=a.txt", "neg=b.txt"]), encoder, ("neg", "pos")
    )
    (passage,) = subject.passages([Labelled("a line", text, "pos")])
    num_read = []
    model.layer.register_forward_hook(lambda _, args, out: num_read.append(args[0][..., 0].numel()))
    for method in METHODS:
        found = attribute(subject, passage, step=4, method=method)
        opinions = model.opinions(passage.context).log_softmax(-1)
        assert found.score == pytest.approx(float(opinions[4, found.label]), rel=1e-5)
        assert not found.values[5:].any()
    longest = found.num_points or 64
    assert sum(num_read) <= 5 * (3 * 2 + longest * 2 + len(passage)) + 6 * len(passage) ** 2


def test_no_gradient_is_left_on_the_weights():
    subject, passage = language_subject()
    attribute(subject, passage, method="gradient")
    assert all(weight.grad is None for weight in subject.model.parameters())


def test_what_cannot_be_explained_is_said(counting):
    (passage,) = counting.passages([torch.randn(5, 2)])
    for wrong, problem in (
        ({"step": 5}, r"said at steps 0\.\.4, got 5"),
        ({"label": 2}, r"label must lie in 0\.\.1, got 2"),
        ({"method": "guess"}, "method must be one of gradient, integrated, leave-one-out"),
        ({"step": "1"}, r"said at steps 0\.\.4, got '1'"),
        ({"label": "above"}, r"label must lie in 0\.\.1, got 'above' .*labels.index"),
        ({"most_points": 3}, "most_points must be at least 16, got 3"),
    ):
        with pytest.raises(OptionError, match=problem):
            attribute(counting, passage, **wrong)
    with pytest.raises(ShapeError, match="baseline must be"):
        attribute(counting, passage, baseline=torch.zeros(3))

    class Silent(Counting):
        def readout(self, output):  # noqa: ARG002
            return None

    silent = Silent(counting.model, counting.layer, "step")
    with pytest.raises(OptionError, match="says nothing with a probability"):
        attribute(silent, passage)


def test_numbers_that_are_not_finite_are_said(counting):
    (passage,) = counting.passages([torch.randn(5, 2)])
    with torch.no_grad():
        counting.layer.weight_ih_l0[0, 1] = float("nan")
    for method in METHODS:
        with pytest.raises(DivergedError, match="is not a finite number"):
            attribute(counting, passage, method=method)


def test_nothing_is_said_of_nothing(counting):
    (passage,) = counting.passages([torch.zeros(0, 2)])
    with pytest.raises(OptionError, match="says nothing with a probability"):
        attribute(counting, passage)
