import json

import pytest
import torch

from unrolled.data import IGNORE, Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks import TaskOptions, load, prepare, resume
from unrolled.tasks.toy import DataOptions, ModelOptions, PredictOptions, ToyTask, TrainingOptions
from unrolled.tasks.toy.problems import TOYS

SMALL = {"adding": {"length": 9}, "copy": {"length": 3}, "echo": {"length": 5, "delay": 2}}


def task_and_model(problem, **options):
    data = DataOptions(problem=problem, num_examples=6, **{**SMALL.get(problem, {}), **options})
    options = TaskOptions(data, ModelOptions(hidden_size=5), TrainingOptions())
    splits = ToyTask.read(options)
    task = ToyTask.fit(options, splits)
    return task, task.make_model(options.model).eval(), splits


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


def test_a_run_can_be_finished_loaded_and_resumed(tmp_path):
    prepared = prepare(
        ToyTask,
        DataOptions(problem="reber", num_examples=8),
        tmp_path / "run",
        model=ModelOptions(cell="gru", hidden_size=4, initialize="chrono"),
        training=TrainingOptions(epochs=2, learning_rate=0.01, batch_size=4),
    )
    prepared.trainer.fit()
    results = prepared.finish()
    assert (results.part, results.cell) == ("test", "gru")
    assert [meaning.name for meaning in results.meanings] == ["legal_symbols", "loss"]
    assert results.meanings[-1].unit == "nats/step"
    saved = json.loads((tmp_path / "run" / "results.json").read_text())
    assert saved["baselines"]["solved"]["legal_symbols"] == 1
    loaded = load(tmp_path / "run")
    metrics = loaded.task.evaluate(loaded.model, prepared.splits.test)
    assert metrics == pytest.approx(results.metrics)
    assert resume(tmp_path / "run").trainer.finished


def test_the_sum_is_measured_by_squared_errors():
    task, _, _ = task_and_model("adding")
    units = {metric.name: metric.unit for metric in task.metrics}
    assert units == {"correct_sums": "", "loss": "squared error"}


def test_predictions_are_answers_to_lines():
    task, model, _ = task_and_model("hello")
    first, second = task.predict(model, Source.text("hell\no\n"), PredictOptions())
    assert first["input"] == "hell"
    assert len(first["answers"]) == 4
    assert set(first["answers"]) <= set("helo")
    assert task.to_text(second) == second["answers"]
    task, model, _ = task_and_model("adding")
    (prediction,) = task.predict(model, Source.text("0.5 0.25*\n"), PredictOptions())
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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"problem": "hello", "num_examples": 0}, "num_examples must be at least 1, got 0"),
        ({"problem": "ecko"}, "no problem 'ecko', there are .*did you mean echo"),
        ({"problem": "hello", "length": 3}, "length is for adding and copy and echo"),
        ({"problem": "copy", "length": 0}, "length .* must be at least 1, got 0"),
    ],
)
def test_problems_that_there_are_not_are_refused(data, message):
    with pytest.raises(OptionError, match=message):
        DataOptions(**data)


@pytest.mark.parametrize("problem", TOYS)
def test_the_seed_of_the_training_makes_the_examples(problem):
    def held_out(seed):
        data = DataOptions(problem=problem, num_examples=2, **SMALL.get(problem, {}))
        options = TaskOptions(data, ModelOptions(), TrainingOptions(seed=seed))
        return [example.inputs.tolist() for example in ToyTask.read(options).held_out]

    assert held_out(1) == held_out(1)
    assert (held_out(1) == held_out(2)) == (problem == "hello")  # of which there is one
