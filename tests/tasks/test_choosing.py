"""Which weights a run keeps, and how one run goes on from another: the same for every task."""

import json
import shutil

import pytest
import torch

from support.runs import change_config, stop_at
from tasks.test_every_task import RUNS, SMALL, prepare_small
from unrolled.errors import DataError, OptionError, RunError
from unrolled.serving.runs import Runs
from unrolled.tasks import TASKS, find_task, load, options_of, prepare, resume
from unrolled.training import LengthOptions

OTHERS = [name for name in TASKS if name not in ("sign", "toy")]  # whose examples are read


def classify(
    tmp_path, run, *, rows=80, model=None, held_out=0.5, stratify=True, min_count=None, **training
):
    table = tmp_path / f"{rows}.csv"
    table.write_text("text,label\n" + "".join(f"w{i} x,{'ab'[i % 2]}\n" for i in range(rows)))
    options = options_of("classify")
    data = options.DataOptions(
        **{"files": (str(table),), "input": ("text",), "target": "label"},
        **{"held_out": held_out, "test": 0.1, "stratify": stratify, "min_count": min_count},
    )
    small = {"hidden_size": 4, "embedding_size": 4, **(model or {})}
    return prepare(
        find_task("classify"),
        data,
        tmp_path / run,
        model=options.ModelOptions(**small),
        training=options.TrainingOptions(**training),
    )


def weights(path):
    return (path / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("task", [name for name in TASKS if name != "sign"])
def test_a_metric_that_the_task_does_not_have_is_refused_with_those_it_has(task, tmp_path):
    options, (_, data, *_) = options_of(task), RUNS[task]
    with pytest.raises(OptionError, match="has no metric 'nonsense'") as refused:
        prepare(
            find_task(task),
            options.DataOptions(**data(tmp_path)),
            tmp_path / "run",
            training=options.TrainingOptions(select="nonsense"),
        )
    assert "loss" in refused.value.hint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", OTHERS)
def test_with_nothing_held_out_all_is_learned_from_and_the_last_weights_are_kept(task, tmp_path):
    options, (_, data, *_) = options_of(task), RUNS[task]
    given = data(tmp_path)
    nothing = {"held_out": 0.0} | ({} if task == "lm" else {"test": 0.0})
    both = [
        prepare(
            find_task(task),
            options.DataOptions(**given | changes),
            tmp_path / f"run{number}",
            model=options.ModelOptions(hidden_size=2),
            training=options.TrainingOptions(updates=2, batch_size=2),
        )
        for number, changes in enumerate([{}, nothing])
    ]
    sizes = [sum(map(len, part)) if task == "lm" else len(part) for part in zip_parts(both)]
    assert sizes[0] < sizes[1]
    assert both[1].splits.held_out == []
    both[1].trainer.fit()
    results = both[1].finish()
    assert (results.part, results.metrics, results.selected_by) == ("none", {}, "last")
    assert (results.kept_update, results.num_held_out) == (2, 0)
    assert '"held_out"' not in (tmp_path / "run1" / "metrics.jsonl").read_text()
    with pytest.raises(OptionError, match="needs a held-out part"):
        prepare(
            find_task(task),
            options.DataOptions(**given | nothing),
            tmp_path / "other",
            training=options.TrainingOptions(patience=1),
        )


def zip_parts(prepared):
    return [each.splits.training for each in prepared]


@pytest.mark.parametrize(
    ("rows", "select", "expected"),
    [(80, None, "accuracy"), (40, None, "last"), (40, "loss", "loss"), (80, "last", "last")],
)
def test_few_held_out_examples_choose_nothing_unless_they_are_asked(
    rows, select, expected, tmp_path
):
    prepared = classify(tmp_path, "run", rows=rows, select=select, updates=6, evaluate_every=2)
    progress = prepared.trainer.progress
    evaluate = prepared.trainer.objective.evaluate

    def worse_and_worse(model):
        update = progress.update
        return {**evaluate(model), "accuracy": 1 - update / 10, "loss": 1.0 + update}

    prepared.trainer.objective.evaluate = worse_and_worse
    result = prepared.trainer.fit()
    results = prepared.finish()
    kept = 6 if expected == "last" else 0
    assert (results.selected_by, results.kept_update) == (expected, kept)
    assert result.kept_update == kept
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["training"]["select"] == expected  # for a version with other defaults


def test_a_run_of_before_there_was_a_choice_goes_on_as_it_began(tmp_path):
    """By the loss, however few are held out, and with its examples in the parts they were in."""
    whole = classify(tmp_path, "whole", rows=40, select="loss", updates=4)
    whole.trainer.fit()
    old = classify(tmp_path, "old", rows=40, stratify=False, select="loss", updates=4)
    stop_at(old.trainer, 1)
    old.trainer.fit()

    def of_before(config):
        for name in ("select", "start_from", "updates"):
            del config["training"][name]
        config["training"]["epochs"] = 4 / old.trainer.objective.updates_per_epoch
        del config["data"]["options"]["stratify"]

    change_config(tmp_path / "old", of_before)
    task = load(tmp_path / "old").task
    assert not task.options.data.stratify
    again = resume(tmp_path / "old")
    assert again.trainer.metric.name == "loss"
    assert not again.trainer.keeps_last
    expected = type(task).read(task.options)
    assert [e.content for e in again.splits.held_out] == [e.content for e in expected.held_out]


def test_a_finished_run_goes_on_with_more_and_is_then_finished_again(tmp_path):
    classify(tmp_path, "run", updates=4).trainer.fit()
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    prepared = resume(tmp_path / "run", length=LengthOptions(updates=9))
    assert prepared.trainer.fit().update == 9
    prepared.finish()
    for length in ({"updates": 9}, {"epochs": 0.1}, {"minutes": 1e-9}):
        with pytest.raises(OptionError, match="has already been trained for 9 updates"):
            resume(tmp_path / "run", length=LengthOptions(**length))
    assert resume(tmp_path / "run").trainer.finished
    assert (tmp_path / "run" / "results.json").exists()
    # interrupted on the way, it ends with the same bits
    stopped = resume(tmp_path / "killed", length=LengthOptions(updates=9))
    stop_at(stopped.trainer, 5)
    assert stopped.trainer.fit().reason == "interrupted"
    assert resume(tmp_path / "killed").trainer.fit().reason == "finished"
    for one, other in zip(
        load(tmp_path / "run").model.state_dict().values(),
        load(tmp_path / "killed").model.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_going_on_takes_away_the_results_that_are_no_longer_true(tmp_path):
    prepared = classify(tmp_path, "run", updates=4, patience=1)
    prepared.trainer.fit()
    prepared.finish()
    resume(tmp_path / "run", length=LengthOptions(epochs=50))
    assert not (tmp_path / "run" / "results.json").exists()
    assert load(tmp_path / "run").task.options.training.epochs == 50
    assert load(tmp_path / "run").task.options.training.updates is None


def test_a_stop_before_the_first_evaluation_keeps_what_was_learned_until_the_run_goes_on(tmp_path):
    def run(name, *stops):
        options = {"updates": 12, "evaluate_every": 6, "learning_rate": 0.1}
        prepared = classify(tmp_path, name, min_count=2, **options)
        for stop in stops:
            stop_at(prepared.trainer, stop - 1)
            assert prepared.trainer.fit().reason == "interrupted"
            yield tmp_path / name
            prepared = resume(tmp_path / name)
        assert prepared.trainer.fit().reason == "finished"
        yield tmp_path / name

    (whole,) = run("whole")
    for stop in (2, 5, 8):
        stopped = run(f"stopped{stop}", stop)
        path = next(stopped)
        if stop < 6:
            assert load(path).notes == ()  # it was better than nothing, or it would be told
        assert weights(next(stopped)) == weights(whole)


def test_weights_of_a_stop_are_replaced_by_the_best_where_nothing_after_it_is_better(tmp_path):
    """An uninterrupted run never saw them."""
    figures = {0: 0.5, 2: 0.9, 4: 0.4}

    def make(name):
        prepared = classify(tmp_path, name, updates=4, evaluate_every=4)
        dictate(prepared)
        return prepared

    def dictate(prepared):
        progress = prepared.trainer.progress
        evaluate = prepared.trainer.objective.evaluate
        prepared.trainer.objective.evaluate = lambda model: {
            **evaluate(model),
            "accuracy": figures[prepared.trainer.progress.update],
        }
        return progress

    whole = make("whole")
    whole.trainer.fit()
    stopped = make("stopped")
    stop_at(stopped.trainer, 1)
    result = stopped.trainer.fit()
    assert (result.best_figure, result.kept_update) == (0.9, 2)
    assert weights(tmp_path / "stopped") != weights(tmp_path / "whole")
    again = resume(tmp_path / "stopped")
    assert weights(tmp_path / "stopped") != weights(tmp_path / "whole")  # until it is measured
    dictate(again)
    assert again.trainer.fit().kept_update == 0
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    assert again.finish().kept_update == 0


def test_whoever_loads_weights_of_no_update_is_told(tmp_path, capsys):
    prepared = classify(tmp_path, "run", updates=4)
    prepared.trainer.objective.evaluate = lambda model: {"loss": 1.0, "accuracy": 0.5}
    prepared.trainer.fit()
    (note,) = load(tmp_path / "run").notes
    assert Runs([tmp_path / "run"]).notes == [note]
    assert "has learned nothing yet" in note
    from unrolled.cli.main import main

    source = tmp_path / "in.txt"
    source.write_text("w1 x\n")
    for command in (["predict"], ["evaluate"]):
        file = source if command == ["predict"] else tmp_path / "80.csv"
        with pytest.raises(SystemExit):
            main([*command, str(tmp_path / "run"), str(file)])
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith("note: ")
        assert "has learned nothing yet" in said
    prepared.finish()  # there is nothing to go on with
    (note,) = load(tmp_path / "run").notes
    assert "no update predicted what is held out better than the weights before" in note
    assert "resume" not in note


def test_a_run_starts_from_another_with_its_vocabulary(tmp_path):
    first = classify(tmp_path, "first", updates=4)
    first.trainer.fit()
    start = str(tmp_path / "first")
    second = classify(tmp_path, "second", rows=120, updates=2, start_from=start)
    assert second.task.to_dict() == first.task.to_dict()
    theirs = load(tmp_path / "first").model.state_dict()
    for name, tensor in second.trainer.model.state_dict().items():
        assert torch.equal(tensor, theirs[name])
    shutil.rmtree(tmp_path / "first" / "tensorboard", ignore_errors=True)
    before = second.trainer.model.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    again = resume(tmp_path / "second")  # as if it had been killed before its first checkpoint
    for name, tensor in again.trainer.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    second.trainer.fit()
    shutil.rmtree(tmp_path / "first")  # from then on it needs the other no more
    assert load(tmp_path / "second").task.to_dict() == first.task.to_dict()
    assert resume(tmp_path / "second").trainer.finished


@pytest.mark.parametrize(
    ("model", "message", "hint"),
    [
        ({"cell": "gru"}, r"has cell lstm, got gru", "cell lstm"),
        ({"hidden_size": 5}, r"has hidden_size 4, got 5", "hidden_size 4"),
        ({"pooling": "last"}, r"has pooling max, got last", "pooling max"),
        ({"evidence": False}, r"has evidence True, got False", "have evidence as it is there"),
    ],
)
def test_a_run_starts_only_from_the_same_model(model, message, hint, tmp_path):
    classify(tmp_path, "first", updates=1).trainer.fit()
    start = str(tmp_path / "first")
    classify(tmp_path, "dropout", model={"dropout": 0.1}, start_from=start)
    with pytest.raises(OptionError, match=message) as refused:
        classify(tmp_path, "second", model=model, start_from=start)
    assert refused.value.hint == hint
    assert not (tmp_path / "second").exists()


def test_what_a_run_cannot_start_from_is_refused(tmp_path):
    classify(tmp_path, "first", updates=1).trainer.fit()
    tag, (_, data, *_) = options_of("tag"), RUNS["tag"]
    with pytest.raises(OptionError, match="is of classify, not of tag"):
        prepare(
            find_task("tag"),
            tag.DataOptions(**data(tmp_path)),
            tmp_path / "tags",
            training=tag.TrainingOptions(start_from=str(tmp_path / "first")),
        )
    with pytest.raises(RunError, match="no such folder"):
        classify(tmp_path, "second", start_from=str(tmp_path / "nowhere"))
    (tmp_path / "80.csv").write_text(
        "text,label\n" + "".join(f"{i},{'ac'[i % 2]}\n" for i in range(80))
    )
    options = options_of("classify")
    with pytest.raises(DataError, match="the run to start from does not know the class 'c'"):
        prepare(
            find_task("classify"),
            options.DataOptions(files=(str(tmp_path / "80.csv"),), input=("text",), target="label"),
            tmp_path / "third",
            model=options.ModelOptions(hidden_size=4, embedding_size=4),
            training=options.TrainingOptions(start_from=str(tmp_path / "first")),
        )


def start_from(first, name, tmp_path, *, data=None, model=None):
    """Prepare a run that starts from another one, on the same data."""
    task, write, small, _ = RUNS[name]
    options = options_of(task)
    return prepare(
        find_task(task),
        options.DataOptions(**write(tmp_path) | (data or {})),
        tmp_path / "second",
        model=options.ModelOptions(**SMALL | small | (model or {})),
        training=options.TrainingOptions(updates=1, start_from=str(first)),
    )


def test_what_a_run_left_to_the_task_is_not_given_to_those_that_start_from_it(tmp_path):
    prepare_small("tag", tmp_path, "first").trainer.fit()
    with pytest.raises(OptionError, match="was trained without crf, got False") as refused:
        start_from(tmp_path / "first", "tag", tmp_path, model={"crf": False})
    assert refused.value.hint == "leave crf out"


@pytest.mark.parametrize("task", ["tag", "classify", "translate"])
def test_vectors_are_not_ignored_beside_a_run_to_start_from(task, tmp_path):
    prepare_small(task, tmp_path, "first").trainer.fit()
    with pytest.raises(OptionError, match="vectors and start_from both say what to begin with"):
        start_from(tmp_path / "first", task, tmp_path, data={"vectors": "vectors.txt"})
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("number", [True, False])
def test_numbers_do_not_start_from_classes_nor_classes_from_numbers(number, tmp_path):
    table, options = tmp_path / "t.csv", options_of("classify")
    table.write_text("text,y\n" + "".join(f"w{i},{i % 3}\n" for i in range(60)))

    def begin(run, number, start):
        return prepare(
            find_task("classify"),
            options.DataOptions(files=(str(table),), input=("text",), target="y", number=number),
            tmp_path / run,
            model=options.ModelOptions(hidden_size=2),
            training=options.TrainingOptions(updates=1, start_from=start),
        )

    begin("first", number, None).trainer.fit()
    message = f"first has number {number}, got {not number}"
    with pytest.raises(OptionError, match=message) as refused:
        begin("second", not number, str(tmp_path / "first"))
    assert refused.value.hint == "have number as it is there"


def test_series_are_scaled_as_in_the_run_that_they_start_from(tmp_path):
    prepare_small("classify-series", tmp_path, "first").trainer.fit()
    with pytest.raises(OptionError, match="was trained without scale, got series") as refused:
        start_from(tmp_path / "first", "classify-series", tmp_path, data={"scale": "series"})
    assert refused.value.hint == "leave scale out"


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        ("classify", {"min_count": 3}, "trained without min_count, got 3"),
        ("translate", {"vocabulary_size": 300}, "without vocabulary_size, got 300"),
        ("toy", {"problem": "hello"}, "first has problem reber, got hello"),
    ],
)
def test_what_decides_a_vocabulary_is_as_in_the_run_to_start_from(task, data, message, tmp_path):
    prepare_small(task, tmp_path, "first").trainer.fit()
    with pytest.raises(OptionError, match=message):
        start_from(tmp_path / "first", task, tmp_path, data=data)
    assert not (tmp_path / "second").exists()


CELL = """
import unrolled
from torch import sigmoid, tanh


@unrolled.cell(gates="f g", keeps="f")
def mine(x, u, h):
    f = sigmoid(x.f + u.f)
    g = tanh(x.g + u.g)
    return dict(h=f * h + (1 - f) * g)
"""


def test_a_run_with_a_cell_of_its_own_is_started_from_only_if_it_is_trusted_and_the_same(tmp_path):
    cell = f"{tmp_path / 'cells.py'}:mine"
    (tmp_path / "cells.py").write_text(CELL)
    classify(tmp_path, "first", model={"cell": cell}, updates=1).trainer.fit()
    start, options = str(tmp_path / "first"), options_of("classify")

    def begin(run, trust_code):
        return prepare(
            find_task("classify"),
            load(tmp_path / "first", trust_code=True).task.options.data,
            tmp_path / run,
            model=options.ModelOptions(cell=cell, hidden_size=4, embedding_size=4),
            training=options.TrainingOptions(start_from=start),
            trust_code=trust_code,
        )

    with pytest.raises(RunError, match="which has not been run"):
        begin("second", False)
    begin("second", True)
    (tmp_path / "cells.py").write_text(CELL.replace("* g)", "* g * 1.0)"))
    with pytest.raises(OptionError, match="has cell mine, got other equations under the name"):
        begin("third", True)


@pytest.mark.parametrize("task", ["translate", "caption"])
def test_what_takes_a_search_is_measured_on_some_of_many_and_the_loss_on_all(
    task, tmp_path, monkeypatch
):
    prepared = prepare_small(task, tmp_path, "run")
    model, examples = prepared.trainer.model.eval(), prepared.splits.training
    whole = prepared.task.evaluate(model, examples)
    assert prepared.task.monitor(model, examples)["chrf"] == whole["chrf"]
    monkeypatch.setattr(type(prepared.task), "most_monitored", 5)
    figures = prepared.task.monitor(model, examples)
    some = examples[:: -(-len(examples) // 5)]
    assert 2 <= len(some) <= 5
    prepared.trainer.objective.held_out = examples
    assert prepared.trainer.objective.num_judged("chrf") == len(some)
    assert figures["chrf"] == prepared.task.evaluate(model, some)["chrf"]
    assert figures["loss"] == pytest.approx(whole["loss"])
