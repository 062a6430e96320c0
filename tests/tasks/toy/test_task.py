import json
from pathlib import Path

import pytest
import torch

from unrolled.data import IGNORE
from unrolled.data.source import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks.runs import load, prepare, resume
from unrolled.tasks.toy.problems import TOYS
from unrolled.tasks.toy.task import ToyOptions, ToyTask
from unrolled.training import TrainingOptions

SMALL = {"adding": {"length": 9}, "copy": {"length": 3}, "echo": {"length": 5, "delay": 2}}


def task_and_model(problem, **options):
    options = ToyOptions(problem=problem, num_examples=6, **{**SMALL.get(problem, {}), **options})
    splits = ToyTask.read(options)
    task = ToyTask.fit(options, splits.training)
    model = ToyTask.Model(ToyTask.Config(**task.sizes, hidden_size=5)).eval()
    return task, model, splits


@pytest.mark.parametrize("problem", TOYS)
def test_metrics_are_those_of_the_known_levels(problem):
    task, model, splits = task_and_model(problem)
    metrics = task.evaluate(model, splits.test[:20])
    for levels in task.baselines(splits.training, splits.test).values():
        assert levels.keys() == metrics.keys()
    assert next(iter(metrics)) == "loss"
    assert metrics["loss"] == pytest.approx(task.mean_loss(model, splits.test[:20]), rel=1e-5)
    assert all(0 <= share <= 1 for name, share in metrics.items() if name != "loss")


@pytest.mark.parametrize("problem", TOYS)
def test_metrics_do_not_depend_on_how_examples_are_batched(problem, monkeypatch):
    task, model, splits = task_and_model(problem)
    examples = splits.test[:30]
    together = task.monitor(model, examples)
    alone = [[index] for index in range(30)]
    monkeypatch.setattr(ToyTask, "in_batches", lambda *_: iter(alone))
    assert task.monitor(model, examples) == pytest.approx(together, rel=1e-5)


@pytest.mark.parametrize("problem", ["copy", "echo", "embedded-reber"])
def test_the_loss_is_the_mean_cross_entropy_of_what_is_asked(problem):
    task, model, splits = task_and_model(problem)
    example = splits.test[0]
    answers = model(example.inputs[None], torch.tensor([len(example.inputs)]))[0].log_softmax(-1)
    asked = [(t, y) for t, y in enumerate(example.targets.tolist()) if y != IGNORE]
    expected = -sum(answers[t, y].item() for t, y in asked)
    loss, count = task.loss(model, [example])
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert count == len(asked)


def test_the_sum_is_asked_for_at_the_last_step():
    task, model, splits = task_and_model("adding")
    short, long = task_and_model("adding", length=3)[2].test[0], splits.test[0]
    loss, count = task.loss(model, [short, long])
    expected = 0.0
    for example in (short, long):
        answers = model(example.inputs[None], torch.tensor([len(example.inputs)]))
        expected += (answers[0, -1, 0] - example.targets).item() ** 2
    assert (loss.item(), count) == (pytest.approx(expected, rel=1e-5), 2)


def inputs_of(examples):
    return {tuple(example.inputs.flatten().tolist()) for example in examples}


def test_no_example_comes_twice_and_none_is_measured_on_that_was_learned_from():
    task, _, splits = task_and_model("adding")
    passes = [task.epoch(splits.training, number) for number in range(4)]
    assert [len(examples) for examples in passes] == [6] * 4
    parts = [*passes, splits.held_out, splits.test]
    assert len(set().union(*map(inputs_of, parts))) == sum(map(len, parts))
    again = task.epoch(splits.training, 2)
    assert inputs_of(again) == inputs_of(passes[2])


def run(tmp_path, *, epochs=2.0, **model):
    training = TrainingOptions(epochs=epochs, learning_rate=0.01)
    options = ToyOptions(problem="reber", num_examples=8)
    return prepare(
        ToyTask,
        options,
        Path(tmp_path),
        training=training,
        model={"hidden_size": 4, **model},
        batch_size=4,
    )


def test_a_run_can_be_finished_loaded_and_resumed(tmp_path):
    prepared = run(tmp_path / "run", cell="gru", initialize="chrono")
    prepared.trainer.fit()
    results = prepared.finish()
    assert (results.unit, results.part, results.cell) == ("nats/step", "test", "gru")
    saved = json.loads((tmp_path / "run" / "results.json").read_text())
    assert saved["baselines"]["solved"]["legal_symbols"] == 1
    task, model = load(tmp_path / "run", ToyTask)
    assert task.evaluate(model, prepared.splits.test) == pytest.approx(results.metrics)
    assert resume(tmp_path / "run", ToyTask).trainer.finished


def test_predictions_are_answers_to_lines(tmp_path):
    task, model, _ = task_and_model("hello")
    (tmp_path / "words.txt").write_text("hell\no\n")
    first, second = task.predict(model, Source(tmp_path / "words.txt"))
    assert first["input"] == "hell"
    assert len(first["answers"]) == 4
    assert set(first["answers"]) <= set("helo")
    assert task.to_text(second) == second["answers"]
    task, model, _ = task_and_model("adding")
    (tmp_path / "values.txt").write_text("0.5 0.25*\n")
    (prediction,) = task.predict(model, Source(tmp_path / "values.txt"))
    answers = model(torch.tensor([[[0.5, 0], [0.25, 1]]]), torch.tensor([2]))
    assert prediction["answer"] == pytest.approx(answers[0, 1, 0].item())


def test_examples_of_a_file_are_measured(tmp_path):
    task, model, _ = task_and_model("hello")
    path = tmp_path / "examples.txt"
    path.write_text("hell\tello\nhel\tell\n")
    examples, notes = task.read_examples(path)
    assert [example.targets.tolist() for example in examples] == [[1, 2, 2, 3], [1, 2, 2]]
    assert notes == []
    assert 0 <= task.evaluate(model, examples)["accuracy"] <= 1
    path.write_text("hell\tello\nhell\n")
    with pytest.raises(DataError, match=r"examples\.txt, line 2: no tab"):
        task.read_examples(path)
    path.write_text("")
    with pytest.raises(DataError, match=r"examples\.txt: the file is empty"):
        task.read_examples(path)


def test_no_examples_at_all_are_refused():
    with pytest.raises(OptionError, match="num_examples must be at least 1, got 0"):
        ToyOptions(problem="hello", num_examples=0)
