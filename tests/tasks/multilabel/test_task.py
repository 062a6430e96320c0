"""Models of label sets: their loss against arithmetic, their figures, what they say and write."""

import json
import math
import re

import numpy as np
import pytest
import torch

from unrolled.data import Source
from unrolled.errors import DataError, DivergedError, OptionError, VocabularyError
from unrolled.networks.options import GenerateOptions
from unrolled.tasks import TaskOptions, load, prepare
from unrolled.tasks.multilabel import (
    DataOptions,
    ModelOptions,
    MultilabelTask,
    PredictOptions,
    TrainingOptions,
)
from unrolled.tasks.multilabel.baselines import baseline_figures
from unrolled.tasks.multilabel.measures import Counts
from unrolled.tasks.multilabel.reader import SetSequence

LABELS = ("a", "b", "c", "d")
CIRCLE = ("a b", "b c", "c d", "d a")  # what comes next is known once two sets are


def task_of(labels=LABELS, opening=("a",)):
    options = TaskOptions(DataOptions(file="none"), ModelOptions(), TrainingOptions())
    return MultilabelTask(options, labels, opening)


def model_of(task, **options):
    torch.manual_seed(0)
    return task.make_model(ModelOptions(**{"hidden_size": 5} | options)).eval()


def random_sequences(count, seed=0, most=7):
    chance = np.random.default_rng(seed)
    return [
        SetSequence(
            tuple(
                tuple(label for label in LABELS if chance.random() < 0.4)
                for _ in range(chance.integers(2, most))
            )
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    lines = [
        " | ".join(CIRCLE[(start + step * way) % 4] for step in range(6 + start))
        for start in range(4)
        for way in (1, -1)
    ]
    (folder / "circle.txt").write_text("\n".join(lines) + "\n")
    prepared = prepare(
        MultilabelTask,
        DataOptions(file=str(folder / "circle.txt"), held_out=0.0, test=0.0),
        folder / "run",
        model=ModelOptions(hidden_size=16, dropout=0.0),
        training=TrainingOptions(epochs=80, batch_size=4, learning_rate=0.03),
    )
    prepared.trainer.fit()
    prepared.finish()
    return prepared


def test_the_loss_is_summed_over_labels_and_its_mean_is_over_the_steps_of_all_sequences():
    """As Bai, Kolter and Koltun (2018) measure it: here a sequence at a time, in numpy."""
    task = task_of()
    model, examples = model_of(task), random_sequences(9)
    total, steps = 0.0, 0
    for example in examples:
        sets = np.array([[label in step for label in LABELS] for step in example.steps], float)
        with torch.no_grad():
            h, _ = model.layer(torch.from_numpy(sets[:-1]).float()[None])
            said = model.scores(h)[0].double().numpy()
        p, y = 1 / (1 + np.exp(-said)), sets[1:]
        total -= np.trace(y @ np.log(p).T + (1 - y) @ np.log(1 - p).T)
        steps += len(y)
    figures = task.evaluate(model, examples)
    assert figures["loss"] == pytest.approx(total / steps, rel=1e-6)
    assert figures["num_steps"] == steps
    loss, count = task.loss(model, examples)
    assert (loss.item() / count, count) == (pytest.approx(total / steps, rel=1e-5), steps)


@pytest.mark.parametrize("cell", ["lstm", "tcn"])
def test_figures_do_not_depend_on_what_is_measured_together(cell, monkeypatch):
    task = task_of()
    model, examples = model_of(task, cell=cell), random_sequences(8)
    together = task.evaluate(model, examples)
    alone = [[index] for index in range(len(examples))]
    monkeypatch.setattr(MultilabelTask, "in_batches", lambda *_: iter(alone))
    assert task.evaluate(model, examples) == pytest.approx(together)


def test_accuracy_leaves_out_what_is_in_neither_set():
    counts = Counts()
    scores = torch.tensor([[2.0, 2.0, -2.0, -2.0], [-2.0, -2.0, -2.0, -2.0]])
    counts.add(scores, torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]))
    figures = counts.figures()
    assert figures["frame_accuracy"] == 1 / 4  # one right, one wrong, two missed
    assert figures["precision"] == 1 / 2
    assert figures["recall"] == 1 / 3
    assert figures["f1"] == 2 / 5
    silent = Counts()
    silent.add(torch.full((3, 4), -9.0), torch.zeros(3, 4))
    assert silent.figures()["frame_accuracy"] is None


def test_a_label_that_is_not_known_counts_as_missed_and_is_in_no_loss():
    task = task_of()
    model = model_of(task)
    known = [SetSequence((("a",), ("b",), ("c",)))]
    with_others = [SetSequence((("a",), ("b", "x"), ("c", "y", "x")))]
    figures, others = task.evaluate(model, known), task.evaluate(model, with_others)
    assert others["loss"] == figures["loss"]
    there = 2
    assert figures["recall"] * there == others["recall"] * (there + 3)


def test_a_new_model_begins_with_the_frequencies_of_the_labels(trained):
    task = trained.task
    splits = trained.splits
    model = task.make_model(task.options.model)
    task.initialize(model, splits)
    after = [step for each in splits.training for step in each.steps[1:]]
    counts = torch.tensor([float(sum(label in step for step in after)) for label in task.labels])
    expected = (counts + 0.5) / (len(after) + 1)
    torch.testing.assert_close(model.scores.bias.sigmoid(), expected)


def test_baselines_are_those_of_arithmetic():
    training = [torch.tensor([[1.0], [1.0], [0.0], [0.0], [1.0]])]
    examples = [torch.tensor([[0.0], [1.0], [1.0]])]
    figures = baseline_figures(training, examples)
    share = 2.5 / 5  # two of the four that are predicted, and half of one more
    assert figures["each label's frequency"]["loss"] == pytest.approx(-math.log(share))
    stays, comes = 1.5 / 3, 1.5 / 3
    expected = -(math.log(comes) + math.log(stays)) / 2
    assert figures["each label after itself"]["loss"] == pytest.approx(expected)
    again = figures["the last set again"]
    assert "loss" not in again
    assert (again["frame_accuracy"], again["num_steps"]) == (1 / 2, 2)


def test_what_only_the_past_tells_is_learned_and_no_baseline_knows_it(trained):
    task, model = trained.task, trained.trainer.model.eval()
    figures = task.evaluate(model, trained.splits.training)
    # the way is unknown at the first of the steps that are predicted, of 6 + 6 + 7 + 7 + 8 ...
    assert figures["frame_accuracy"] > 0.85
    best = min(
        each.get("loss", math.inf)
        for each in task.baselines(trained.splits.training, trained.splits.training).values()
    )
    assert figures["loss"] < 0.3 * best


def predict(trained, text, **options):
    loaded = load(trained.trainer.run.path)
    return [*loaded.task.predict(loaded.model, Source.text(text), PredictOptions(**options))]


def test_a_run_loaded_again_says_the_next_set_and_how_likely_each_label_is(trained):
    forwards, backwards, first = predict(trained, "a b | b c | c d\nc d | b c\na b")
    assert forwards["next"] == ["a", "d"]
    assert backwards["next"] == ["a", "b"]
    assert [*forwards["probabilities"]][:2] in (["a", "d"], ["d", "a"])
    assert forwards["num_steps"], first["loss"] == (3, None)
    assert 0 < forwards["loss"] < 4 * math.log(2)
    assert trained.task.to_text(forwards) == "a d"
    assert json.loads(json.dumps(forwards)) == forwards


def test_the_threshold_decides_which_labels_are_said(trained):
    ((none,), (all_of_them,)) = (predict(trained, "a b", threshold=t) for t in (0.999, 0.0001))
    assert none["next"] == []
    assert all_of_them["next"] == ["a", "b", "c", "d"]


def test_a_label_that_the_model_does_not_know_is_refused_with_its_line(trained):
    with pytest.raises(VocabularyError, match=re.escape("line 2: labels that the model does not")):
        predict(trained, "a b\na | z")


def write(trained, prompt="a b | b c", **options):
    task, model = trained.task, trained.trainer.model
    return "".join(task.generate(model, prompt, GenerateOptions(**{"seed": 0} | options)))


def test_a_model_goes_on_as_it_learned(trained):
    assert write(trained, length=5, temperature=0.0) == " | c d | a d | a b | b c | c d"
    assert write(trained, "b c | a b", length=3, temperature=0.0) == " | a d | c d | b c"


def test_a_seed_writes_the_same_again_and_leaves_global_chance_alone(trained):
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    texts = {write(trained, length=30, temperature=3.0, seed=seed) for seed in (1, 1, 2)}
    assert len(texts) == 2
    assert torch.equal(torch.rand(1), before)


def test_what_is_written_is_read_again_as_sets_of_known_labels(trained):
    text = "a b | b c" + write(trained, length=40, temperature=5.0)
    ((_, pieces),) = (one for one in trained.task.sequences(Source.text(text)))
    assert len(pieces) == 42


def test_at_most_so_many_labels_are_in_a_set_that_is_written(trained):
    one = write(trained, length=20, temperature=5.0, top_k=1)
    assert all(len(step.split()) <= 1 for step in one.split("|"))
    many = write(trained, length=20, temperature=5.0)
    assert any(len(step.split()) > 1 for step in many.split("|"))


@pytest.mark.parametrize("options", [{"top_p": 0.9}, {"until": "|"}])
def test_what_is_for_text_is_refused(options, trained):
    with pytest.raises(OptionError, match=f"{next(iter(options))} is for text"):
        write(trained, **options)


@pytest.mark.parametrize(
    ("prompt", "error", "message"),
    [
        ("a | z", VocabularyError, "the beginning: labels that the model does not know: z"),
        ("a | b\nc", DataError, "several lines"),
        ('a | "b', DataError, "the beginning: a quote is not closed"),
    ],
)
def test_a_beginning_that_cannot_be_read_is_refused_at_once(prompt, error, message, trained):
    with pytest.raises(error, match=message):
        trained.task.generate(trained.trainer.model, prompt, GenerateOptions())


def test_scores_that_are_no_numbers_are_not_drawn_from(trained):
    model = model_of(trained.task)
    torch.nn.init.constant_(model.scores.weight, math.nan)
    with pytest.raises(DivergedError):
        next(trained.task.generate(model, "a", GenerateOptions()))


def test_the_opening_is_the_set_that_most_sequences_begin_with():
    steps = [("b a",), ("a b",), ("c",)]
    sequences = [SetSequence((tuple(first.split()), ("d",))) for (first,) in steps]
    options = TaskOptions(DataOptions(file="none"), ModelOptions(), TrainingOptions())
    from unrolled.tasks import Splits

    task = MultilabelTask.fit(options, Splits(sequences, [], [], []))
    assert (task.labels, task.opening, task.prompt) == (LABELS, ("a", "b"), "a b")


def test_what_is_said_of_a_step_is_each_labels_own_probability(trained):
    task, model = trained.task, trained.trainer.model.eval()
    subject = task.subject(model)
    (passage,) = subject.read(Source.text("a b | b c | c d"))
    assert "".join(passage.pieces) == "a b | b c | c d"
    _, (output,) = subject.run([passage])
    said = subject.log_probabilities(passage, output).exp()
    ((prediction),) = predict(trained, "a b | b c | c d")
    for label, probability in prediction["probabilities"].items():
        assert said[-1, task.labels.index(label)].item() == pytest.approx(probability, abs=1e-5)
    assert passage.marks["with a"].tolist() == [True, False, False]
    loss = subject.loss(None)(output[-1:])
    shares = said[-1]
    expected = -(torch.maximum(shares, 1 - shares).log().sum())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_another_runs_labels_must_know_those_that_are_learned(trained, tmp_path):
    (tmp_path / "s.txt").write_text("a | z\nz | a\n")
    with pytest.raises(DataError, match="does not know these labels: z"):
        prepare(
            MultilabelTask,
            DataOptions(file=str(tmp_path / "s.txt"), held_out=0.0, test=0.0),
            tmp_path / "run",
            model=trained.task.options.model,
            training=TrainingOptions(start_from=str(trained.trainer.run.path)),
        )


def test_sets_that_are_all_empty_are_refused(tmp_path):
    (tmp_path / "s.txt").write_text(" | \n | \n")
    with pytest.raises(DataError, match="all sets of the training part are empty"):
        prepare(
            MultilabelTask,
            DataOptions(file=str(tmp_path / "s.txt"), held_out=0.0, test=0.0),
            tmp_path / "run",
        )


def test_of_jsb_chorales_the_figures_are_those_of_the_paper_s_files(shared_data):
    path = shared_data / "seq_benchmarks" / "poly-music" / "JSB_Chorales.mat"
    options = TaskOptions(DataOptions(file=str(path)), ModelOptions(), TrainingOptions())
    splits = MultilabelTask.read(options)
    assert [len(part) for part in (splits.training, splits.held_out, splits.test)] == [229, 76, 77]
    task = MultilabelTask.fit(options, splits)
    assert len(task.labels) == 88
    figures = task.baselines(splits.training, splits.held_out)
    assert figures["each label's frequency"]["num_steps"] == 4602 - 76
