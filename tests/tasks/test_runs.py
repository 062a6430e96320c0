import json
import shlex

import pytest
import torch

from support.runs import change_config, stop_at, without_checksums
from unrolled.cli.main import main
from unrolled.errors import OptionError, RunError
from unrolled.tasks import TASKS, find_task, load, options_of, prepare, resume
from unrolled.training import ALONE, Processes


def prepare_signs(numbers, run, processes=ALONE, *, model=None, **training):
    sign = options_of("sign")
    return prepare(
        find_task("sign"),
        sign.DataOptions(path=str(numbers)),
        run,
        model=sign.ModelOptions(**(model or {})),
        training=sign.TrainingOptions(**training),
        processes=processes,
    )


def test_a_run_that_torchrun_may_restart_goes_on_where_it_is_and_only_that(numbers, tmp_path):
    """Whether this torchrun made it or one before: the same command is enough."""
    again = Processes(may_restart=True)
    first = prepare_signs(numbers, tmp_path / "run", again, epochs=2)
    first.trainer.fit()
    second = prepare_signs(numbers, tmp_path / "run", again, epochs=2)
    assert second.trainer.finished
    assert not second.trainer.is_new
    with pytest.raises(RunError, match="there is a run already, of other data or options"):
        prepare_signs(numbers, tmp_path / "run", again, epochs=3)
    with pytest.raises(RunError, match="there is a run already"):
        prepare_signs(numbers, tmp_path / "run", epochs=2)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_a_run_learns_keeps_its_best_and_says_what_it_is_worth(numbers, tmp_path):
    prepared = prepare_signs(numbers, tmp_path / "run", epochs=40)
    result = prepared.trainer.fit()
    results = prepared.finish()
    assert results.part == "test"
    assert results.metrics["loss"] < results.baselines["shares"]["loss"] / 2
    assert results.updates == result.update == 40 * 8
    said = json.loads((tmp_path / "run" / "results.json").read_text())
    assert said["metrics"] == results.metrics
    meaning = {"name": "loss", "better": "lower", "unit": "nats/example", "share": False}
    assert said["meanings"] == [meaning]
    assert said["parameters"] == sum(p.numel() for p in prepared.trainer.model.parameters())
    assert said["peak_memory_bytes"] > 50e6
    loaded = load(tmp_path / "run")
    assert loaded.task.evaluate(loaded.model, prepared.splits.test) == results.metrics


def test_an_interrupted_run_ends_as_one_that_was_not(numbers, tmp_path):
    whole = prepare_signs(numbers, tmp_path / "whole")
    whole.trainer.fit()
    parted = prepare_signs(numbers, tmp_path / "parted")
    stop_at(parted.trainer, 12)  # in the middle of the second pass
    assert parted.trainer.fit().reason == "interrupted"
    torch.rand(7)  # the state of the generators is the run's own
    resumed = resume(tmp_path / "parted")
    assert resumed.trainer.fit().reason == "finished"
    for mine, other in zip(
        weights(resumed.trainer.model).values(), weights(whole.trainer.model).values(), strict=True
    ):
        assert torch.equal(mine, other)
    assert resumed.finish().metrics == whole.finish().metrics


def test_every_pass_has_all_examples_in_another_order(numbers, tmp_path):
    objective = prepare_signs(numbers, tmp_path / "run").trainer.objective
    seen = []
    objective.learner.loss = lambda model, examples: seen.extend(examples)
    for _ in range(2 * objective.updates_per_epoch):
        objective.next_loss(None)
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert first != second
    assert sorted(first) == sorted(second) == sorted(objective.training)


def test_a_budget_decides_the_hidden_size(numbers, tmp_path):
    prepared = prepare_signs(numbers, tmp_path / "run", model={"num_parameters": 1000})
    size = prepared.trainer.run.config["model"]["hidden_size"]
    num_parameters = [4 * (h + h * h + 2 * h) + 2 * h + 2 for h in (size, size + 1)]
    assert num_parameters[0] <= 1000 < num_parameters[1]
    with pytest.raises(OptionError, match="fits in 3 parameters"):
        prepare_signs(numbers, tmp_path / "other", model={"num_parameters": 3})
    assert not (tmp_path / "other").exists()


def test_changed_data_are_refused(numbers, tmp_path):
    prepare_signs(numbers, tmp_path / "run").trainer.fit()
    numbers.write_text(numbers.read_text() + "1 2 3\n")
    with pytest.raises(RunError, match="has changed since the run began"):
        resume(tmp_path / "run")


def change(run, key, value):
    def set_it(config):
        config[key] = config[key] | value if isinstance(value, dict) else value

    change_config(run, set_it)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model", {"units": 3}, r"not what `unrolled` wrote: .*units"),
        ("model", {"hidden_size": 0}, "run: hidden_size must be at least 1, got 0"),
        ("model", {"hidden_size": 7}, "weights of another model"),
        ("model", {"hidden_size": 10**5}, "weights of another model"),
        ("model", {"hidden_size": 10**12}, "not what `unrolled` wrote"),
        ("model", {"num_layers": 10**9}, "weights of another model"),
        ("model", {"cell": "lstn"}, "did you mean lstm"),
        ("model", {"cell": None}, "not what `unrolled` wrote"),
        ("model", {"cell": {}}, "not what `unrolled` wrote"),
        ("training", {"epochs": "six"}, "run: epochs must be a number, got 'six'"),
        ("data", {"options": {"file": "x"}}, "not what `unrolled` wrote"),
        ("data", [], "not what `unrolled` wrote"),
        ("task", "lm", "run"),
        ("task", None, "names no task"),
    ],
)
def test_a_config_that_was_changed_is_refused(numbers, tmp_path, key, value, message):
    prepare_signs(numbers, tmp_path / "run", epochs=1).trainer.fit()
    change(tmp_path / "run", key, value)
    with pytest.raises(RunError, match=message):
        load(tmp_path / "run")


@pytest.mark.parametrize("files", [[], [{"path": "x"}], [{"path": "x"}] * 2, [{}], 3])
def test_other_files_than_those_of_the_data_are_refused(numbers, tmp_path, files):
    prepare_signs(numbers, tmp_path / "run", epochs=1).trainer.fit()
    change(tmp_path / "run", "data", {"files": files})
    with pytest.raises(RunError):
        resume(tmp_path / "run")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"vocabulary\.json: cannot be read: No such file"),
        ("{}", r"vocabulary\.json: not what `unrolled` wrote: lacks 'classes'"),
        ("no JSON", r"vocabulary\.json: damaged"),
    ],
)
def test_a_damaged_vocabulary_is_refused(numbers, tmp_path, content, message):
    prepare_signs(numbers, tmp_path / "run", epochs=1).trainer.fit()
    path = without_checksums(tmp_path / "run") / "vocabulary.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(RunError, match=message):
        load(tmp_path / "run")


def test_every_named_task_has_its_class():
    for name in TASKS.keys() - {"sign"}:
        task = find_task(name)
        assert task.name == name
        module = options_of(name)
        chosen = ("DataOptions", "ModelOptions", "TrainingOptions", "PredictOptions")
        assert task.option_classes == tuple(getattr(module, cls) for cls in chosen)


def unrolled(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0


def test_the_command_line_predicts_evaluates_and_resumes(numbers, tmp_path, capsys):
    run = tmp_path / "run"
    prepare_signs(numbers, run, epochs=30).trainer.fit()
    source = tmp_path / "in.txt"
    source.write_text("1 1 1\n-1 -1\n")
    assert unrolled("predict", run, source) == 0
    assert capsys.readouterr().out == "above\nbelow\n"
    assert unrolled("predict", run, source, "--json", "--running") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0]) == {"class": 1, "running": True}
    assert unrolled("predict", run, source, "--beam", "2") == 1
    assert "--beam is not for runs of sign" in capsys.readouterr().err
    assert unrolled("evaluate", run, numbers, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["num_examples"] == 96
    assert said.err == "note: read\n"
    assert unrolled("evaluate", run, numbers) == 0
    assert "loss (nats/example)" in capsys.readouterr().out
    assert unrolled("resume", run) == 0
    said = capsys.readouterr().err
    assert "is finished" in said
    assert "on the test part" in said
    assert "shares" in said


def test_an_unknown_task_is_refused(numbers, tmp_path):
    with pytest.raises(RunError, match="unknown task 'sing'"):
        find_task("sing")
    prepare_signs(numbers, tmp_path / "run", epochs=1)
    change(tmp_path / "run", "task", "sing")
    with pytest.raises(RunError, match="unknown task 'sing'"):
        load(tmp_path / "run")


def test_a_run_without_epochs_and_minutes_has_those_of_its_task_written_down(numbers, tmp_path):
    prepared = prepare_signs(numbers, tmp_path / "run")
    assert prepared.trainer.options.epochs == 6
    assert prepared.trainer.run.config["training"]["epochs"] == 6
    assert prepared.trainer.schedule.total_updates == 6 * 8
    assert prepare_signs(numbers, tmp_path / "long", minutes=1).trainer.options.epochs is None


def test_a_figure_that_no_metric_declares_is_a_mistake_of_ours(numbers, tmp_path):
    prepared = prepare_signs(numbers, tmp_path / "run", epochs=1)
    prepared.trainer.fit()
    baselines = prepared.task.baselines
    prepared.task.baselines = lambda *parts: {"a": {"hits": 1}, **baselines(*parts)}
    with pytest.raises(AssertionError, match="no metric declares hits"):
        prepared.finish()


@pytest.mark.parametrize("lost", [["last.ckpt", "weights.safetensors"], ["last.ckpt"]])
def test_a_trained_run_that_lost_its_checkpoint_does_not_begin_again(numbers, tmp_path, lost):
    run = tmp_path / "run"
    prepare_signs(numbers, run, epochs=1).trainer.fit()
    for name in lost:
        (run / name).unlink()
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(RunError, match=r"last\.ckpt: no such file") as error:
        resume(run)
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert ("predict" in error.value.hint) == ((run / "weights.safetensors").exists())


def test_the_command_that_a_lost_checkpoint_leaves_can_be_pasted(numbers, tmp_path, capsys):
    run = tmp_path / "a run"
    prepare_signs(numbers, run, epochs=1).trainer.fit()
    (run / "last.ckpt").unlink()
    with pytest.raises(RunError) as error:
        resume(run)
    words = shlex.split(error.value.hint.split("`")[1])
    assert words[0] == "unrolled"
    assert words[-1] == "-"
    with pytest.raises(SystemExit) as ended:
        main([*words[1:-1], str(numbers)])
    assert not ended.value.code, capsys.readouterr().err


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_at_the_start(numbers, tmp_path):
    run = tmp_path / "run"
    prepare_signs(numbers, run, epochs=1)
    (run / "metrics.jsonl").touch()  # opened, when the process was killed
    assert resume(run).trainer.progress.update == 0


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (lambda content: content["classes"].__setitem__(1, "positive"), "classes[1] is 'positive'"),
        (lambda content: content["counts"].__setitem__(0, 99), "counts[0] is 99"),
        (lambda content: content["encoder"].pop("words", None), "lacks 'words'"),
    ],
)
def test_a_vocabulary_that_its_owner_changed_is_no_ground_to_train_on(tmp_path, edit, place):
    table, run = tmp_path / "table.csv", tmp_path / "run"
    lines = (f"film {i % 5} {('bad,neg', 'good,pos')[i % 2]}" for i in range(60))
    table.write_text("\n".join(["text,class", *lines]) + "\n")
    options = options_of("classify")
    prepare(
        find_task("classify"),
        options.DataOptions(files=(str(table),), input=("text",), target="class"),
        run,
        model=options.ModelOptions(hidden_size=4),
        training=options.TrainingOptions(epochs=1),
    ).trainer.fit()
    content = json.loads((run / "vocabulary.json").read_text())
    assert resume(without_checksums(run))  # as its owner left it
    older = json.loads((run / "vocabulary.json").read_text())
    del older["encoder"]["text_version"]  # words were cut otherwise, and others came of it
    older["encoder"]["words"][0] = "film-0"
    (run / "vocabulary.json").write_text(json.dumps(older))
    assert resume(run)
    edit(content)
    (run / "vocabulary.json").write_text(json.dumps(content))
    with pytest.raises(RunError) as error:
        resume(run)
    assert "vocabulary.json" in error.value.message
    assert place in error.value.message


def test_a_hidden_size_and_a_budget_are_one_too_many(numbers, tmp_path):
    with pytest.raises(OptionError, match="hidden_size is given beside num_parameters"):
        prepare_signs(numbers, tmp_path / "run", model={"hidden_size": 3, "num_parameters": 500})
    assert not (tmp_path / "run").exists()
    run = tmp_path / "fits"  # what a budget has decided is no second decision when it is loaded
    prepare_signs(numbers, run, model={"num_parameters": 500}, epochs=1).trainer.fit()
    assert load(run).task.options.model.hidden_size > 1
