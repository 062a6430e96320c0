"""What holds for the runs of every task: killed and resumed, shared by two processes, and the same
by library and by command.

Run by torchrun, this file trains those that argv[2:] names, in the folder argv[1].
"""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from support.runs import change_config
from unrolled.cells.catalogue import CATALOGUE
from unrolled.cli.main import main
from unrolled.errors import OptionError, RunError
from unrolled.export.c import proof
from unrolled.export.c.program import program_of
from unrolled.inspection import attribute
from unrolled.kernels import find_compiler
from unrolled.networks import device_of, devices
from unrolled.options import option_fields
from unrolled.tasks import (
    TASKS,
    Prepared,
    find_task,
    from_pretrained,
    load,
    options_of,
    prepare,
    resume,
)
from unrolled.training import ALONE, Processes, initialize_distributed

SMALL: dict[str, Any] = {"cell": "lstm", "hidden_size": 6, "num_layers": 1, "dropout": 0.2}
TRAINING: dict[str, Any] = {"epochs": 3, "log_every": 1, "evaluate_every": 4, "seed": 1}
NUMBERS = ("zero", "one", "two", "three", "four", "five")


def write_text(folder: Path) -> dict[str, Any]:
    text = "; ".join(f"{a} and {b}" for a in NUMBERS for b in NUMBERS)
    (folder / "text.txt").write_text(text * 5)
    return {"files": (str(folder / "text.txt"),)}


def write_reviews(folder: Path) -> dict[str, Any]:
    rows = [f"{a} {b} is,{'good' if a < b else 'bad'}" for a in NUMBERS for b in NUMBERS]
    (folder / "reviews.csv").write_text("\n".join(["text,class", *rows]) + "\n")
    files = (str(folder / "reviews.csv"),)
    return {"files": files, "input": ("text",), "target": "class"}


def write_series(folder: Path) -> dict[str, Any]:
    cases = [",".join(str(n * k % 7) for k in range(2 + n % 4)) + f":{n % 2}" for n in range(1, 40)]
    (folder / "cases.ts").write_text("\n".join(["@classLabel true 0 1", "@data", *cases]) + "\n")
    return {"files": (str(folder / "cases.ts"),)}


def write_numbers(folder: Path) -> dict[str, Any]:
    return write_series(folder) | {"number": True}


def write_sentences(folder: Path) -> dict[str, Any]:
    words = [f"{a}\tB-X\n{b}\tI-X\nruns\tO\n" for a in NUMBERS for b in NUMBERS]
    (folder / "sentences.conll").write_text("\n".join(words))
    return {"file": str(folder / "sentences.conll")}


def with_vectors(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same data, and vectors of its words."""
    rows = [f"{word} {n} 0.5 -1\n" for n, word in enumerate((*NUMBERS, "RUNS", "and"))]
    (folder / "vectors.txt").write_text("".join(rows))
    return data | {"vectors": str(folder / "vectors.txt")}


def write_sentences_with_vectors(folder: Path) -> dict[str, Any]:
    return with_vectors(write_sentences(folder), folder)


def write_reviews_with_vectors(folder: Path) -> dict[str, Any]:
    return with_vectors(write_reviews(folder), folder)


def write_pairs_with_vectors(folder: Path) -> dict[str, Any]:
    return with_vectors(write_pairs(folder), folder)


def write_pairs(folder: Path) -> dict[str, Any]:
    pairs = [f"{a} and {b}\t{b} et {a}\n" for a in NUMBERS for b in NUMBERS]
    (folder / "pairs.tsv").write_text("".join(pairs))
    return {"file": str(folder / "pairs.tsv"), "tokens": "word", "test": 0.1, "held_out": 0.1}


def write_pictures(folder: Path) -> dict[str, Any]:
    rows = ["file\twords"]
    for number in range(24):
        Image.new("RGB", (8, 8), (10 * number, 100, 50)).save(folder / f"{number}.png")
        rows.append(f"{number}.png\tpicture {NUMBERS[number % 6]} of {number}")
    (folder / "pictures.tsv").write_text("\n".join(rows) + "\n")
    table = str(folder / "pictures.tsv")
    return {"file": table, "media": "file", "text": "words", "picture_size": 8}


def write_nothing(folder: Path) -> dict[str, Any]:
    return {"problem": "reber", "num_examples": 24}


def write_table(folder: Path) -> dict[str, Any]:
    first = date(2024, 1, 1)
    rows = [f"{first + timedelta(n)},{n % 5 + n / 10},{n % 2}" for n in range(60)]
    rows[9] = f"{first + timedelta(9)},,0"
    (folder / "table.csv").write_text("\n".join(["day,sales,open", *rows]) + "\n")
    data = {"file": str(folder / "table.csv"), "time": "day", "target": ("sales",)}
    return data | {"horizon": 2, "lookback": 4, "known": ("open",)}


def write_sets(folder: Path) -> dict[str, Any]:
    lines = [f"{n % 5} {n % 3} | {n % 4} | | a {n % 5}" + " | b" * (n % 3) for n in range(60)]
    (folder / "sets.txt").write_text("\n".join(lines) + "\n")
    return {"file": str(folder / "sets.txt")}


BALANCED = {"class_weights": "balanced"}
RUNS: dict[str, tuple[str, Any, dict[str, Any], dict[str, Any]]] = {
    "lm": ("lm", write_text, {}, {"k1": 8, "k2": 12}),
    "classify": (
        "classify",
        write_reviews,
        {"token_dropout": 0.2, "pooling": "attention"},
        BALANCED,
    ),
    "classify-series": (
        "classify",
        write_series,
        {"pooling": "last"},
        BALANCED | {"augment": True},
    ),
    "classify-number": ("classify", write_numbers, {"pooling": "mean"}, {}),
    "tag": ("tag", write_sentences, {}, {}),
    "tag-delay-0": ("tag", write_sentences, {"delay": 0, "crf": False, "affix_size": 0}, {}),
    "tag-vectors": ("tag", write_sentences_with_vectors, {"freeze_vectors": True}, {}),
    "classify-vectors": ("classify", write_reviews_with_vectors, {"embedding_size": 4}, {}),
    "translate-vectors": ("translate", write_pairs_with_vectors, {}, {}),
    "translate": ("translate", write_pairs, {"sampling": 0.9, "sampling_updates": 2}, {}),
    "translate-tcn": ("translate", write_pairs, {"cell": "tcn", "attention": "none"}, {}),
    "translate-delay": ("translate", write_pairs, {"delay": 3}, {}),
    "caption": ("caption", write_pictures, {"channels": 4}, {}),
    "caption-no-summary": ("caption", write_pictures, {"channels": 4, "summary": False}, {}),
    "forecast": ("forecast", write_table, {}, {}),
    "forecast-recursive": ("forecast", write_table, {"method": "recursive"}, {}),
    "forecast-segment": ("forecast", write_table, {"method": "segment", "loss": "mae"}, {}),
    "multilabel": ("multilabel", write_sets, {}, {}),
    "toy": ("toy", write_nothing, {}, {}),
}
"""Of each run its task, what writes its data, and options of its model and its training."""


def prepare_small(
    name: str,
    folder: Path,
    run: str,
    processes: Processes = ALONE,
    **more: Any,
) -> Prepared:
    """Return run `run` of the task of `name`, its data in `folder`; `more` options of its model."""
    task, write, model, training = RUNS[name]
    model = model | more
    data = processes.from_first(lambda: write(folder))
    options = options_of(task)
    return prepare(
        find_task(task),
        options.DataOptions(**data),
        folder / run,
        model=options.ModelOptions(**SMALL | model),
        training=options.TrainingOptions(**TRAINING | {"batch_size": 8} | training),
        processes=processes,
    )


class Killed(BaseException):
    """Nothing that the training could catch."""


@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "float32") for name in RUNS), ("lm", "bfloat16")]
)
def test_a_killed_run_that_is_resumed_ends_with_the_same_bits(
    name, precision, tmp_path, monkeypatch
):
    monkeypatch.setitem(TRAINING, "precision", precision)
    whole = prepare_small(name, tmp_path, "whole")
    whole.trainer.fit()
    killed = prepare_small(name, tmp_path, "killed")
    next_loss = killed.trainer.objective.next_loss

    def dying(model):
        if killed.trainer.progress.update == 6:
            raise Killed
        return next_loss(model)

    killed.trainer.objective.next_loss = dying
    with pytest.raises(Killed):
        killed.trainer.fit()
    torch.rand(7)  # the state of the generators is the run's own
    resumed = resume(tmp_path / "killed")
    assert resumed.trainer.progress.update in (0, 4)  # the last evaluation that was the best
    assert resumed.trainer.fit().reason == "finished"
    ends = (prepared.trainer.model.state_dict() for prepared in (resumed, whole))
    for mine, other in zip(*(end.values() for end in ends), strict=True):
        assert torch.equal(mine, other)
    assert resumed.finish().metrics == whole.finish().metrics


WITHOUT_CHANCE: dict[str, dict[str, Any]] = {
    "classify": {"token_dropout": 0.0},
    "tag": {"word_dropout": 0.0},
    "translate": {"sampling": 0.0},
}
PARTS = {"lm": {"k1": 64, "k2": 70}, "caption": {"augment": False}}


@pytest.mark.parametrize("name", [name for name in TASKS if name != "sign"])
def test_an_update_in_parts_is_the_update_of_the_whole_batch(name, tmp_path, monkeypatch):
    """Also where the last batch has fewer examples than there are parts."""
    measured = []
    no_chance = {"dropout": 0.0} | WITHOUT_CHANCE.get(name, {})
    options = {"epochs": 1, "evaluate_every": 99} | PARTS.get(name, {})
    for option, value in options.items():
        monkeypatch.setitem(RUNS[name][3], option, value)
    for parts in (1, 5):
        monkeypatch.setitem(TRAINING, "accumulate", parts)
        prepared = prepare_small(name, tmp_path, f"in-{parts}", **no_chance)
        prepared.trainer.fit()
        lines = prepared.trainer.run.metrics_path.read_text().splitlines()
        train = [line for line in map(json.loads, lines) if line["kind"] == "train"]
        measured.append([(line["loss"], line["gradient_norm"]) for line in train])
    assert len(measured[0]) > 2
    for whole, parts in zip(*measured, strict=True):
        assert parts == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "sign"])
def test_training_in_bfloat16_is_near_that_in_float32(name, tmp_path, monkeypatch):
    losses = {}
    for precision in ("float32", "bfloat16"):
        monkeypatch.setitem(TRAINING, "precision", precision)
        prepared = prepare_small(name, tmp_path, precision)
        prepared.trainer.fit()
        lines = prepared.trainer.run.metrics_path.read_text().splitlines()
        logged = [line for line in map(json.loads, lines) if line["kind"] == "train"]
        losses[precision] = [line["loss"] for line in logged]
    assert all(weight.dtype is torch.float32 for weight in prepared.trainer.model.parameters())
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "sign"])
def test_a_folder_to_publish_is_a_run_under_the_names_that_others_know(name, tmp_path):
    prepared = prepare_small(name, tmp_path, "run")
    prepared.trainer.fit()
    metrics = prepared.finish().metrics
    folder = tmp_path / "to" / "publish"
    load(tmp_path / "run").save_pretrained(folder, licence="cc-by-4.0")
    files = ["README.md", "config.json", "model.safetensors", "results.json", "vocabulary.json"]
    assert sorted(path.name for path in folder.iterdir()) == files
    published = from_pretrained(str(folder))
    splits = prepared.splits
    examples = splits.test or splits.held_out
    assert published.task.evaluate(published.model, examples) == metrics
    card = (folder / "README.md").read_text()
    assert card.startswith('---\nlibrary_name: unrolled\nlicense: "cc-by-4.0"\n')
    assert f"for its task {name}: 1 x 6 units of lstm" in card
    assert str(tmp_path) not in card
    figure = metrics[prepared.task.metrics[0].name]
    assert f"| {prepared.task.metrics[0].label} | {figure:,.4f}" in card


BY_STEPS = [name for name in RUNS if not name.endswith("vectors") and RUNS[name][0] != "forecast"]
ONE_WAY: dict[str, dict[str, Any]] = {
    "classify": {"bidirectional": False},
    "classify-series": {"bidirectional": False, "evidence": False},
    "classify-number": {"bidirectional": False, "evidence": False},
    "tag": {"delay": 2},
}


@pytest.mark.parametrize("name", BY_STEPS)
def test_a_model_to_export_gives_the_same_scores_step_by_step(name, tmp_path):
    prepared = prepare_small(name, tmp_path, "run", **ONE_WAY.get(name, {}))
    graphs = prepared.task.graphs(prepared.trainer.model.eval())
    examples = prepared.splits.held_out or prepared.splits.test
    whole, steps = graphs.whole(), graphs.steps()
    counted = 0
    with torch.inference_mode():
        for batch in graphs.batches(examples):
            assert list(batch) == list(whole.inputs)
            scores = dict(zip(whole.outputs, whole.run(*batch.values()), strict=True))["scores"]
            first, pairs = graphs.in_steps(batch, scores)
            given = dict(first)
            if steps.start is not None:
                results = steps.start.run(*(first[each] for each in steps.start.inputs))
                given = dict(zip(steps.start.outputs, results, strict=True))
            for read, expected in pairs:
                inputs = given | read
                results = steps.step.run(*(inputs[each] for each in steps.step.inputs))
                outputs = dict(zip(steps.step.outputs, results, strict=True))
                counts = ~expected.isnan()
                counted += int(counts.sum())
                torch.testing.assert_close(outputs["scores"][counts], expected[counts])
                ends = {n.removesuffix("_after"): t for n, t in outputs.items()}
                given |= {each: ends[each] for each in given if each in ends}
    assert counted


STRICT = ("-std=c99", "-ffp-contract=off", "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror")
STRICT += ("-Wconversion", "-Wshadow")
IN_C: dict[str, tuple[str, dict[str, Any]]] = {
    name: (name, ONE_WAY.get(name, {})) for name in RUNS if not name.endswith("vectors")
}
IN_C |= {
    "tag both ways": ("tag", {}),
    "evidence of numbers": ("classify-series", {"bidirectional": False}),
    "captions of layers": ("caption", {"num_layers": 2, "attention": "multiplicative"}),
    "pictures": ("classify-pictures", {"channels": 4}),
    "distributions": ("forecast-recursive", {"loss": "normal", "independent": True}),
}


def write_labelled_pictures(folder: Path) -> dict[str, Any]:
    rows = write_pictures(folder) and [f"{n}.png,{n % 3}" for n in range(24)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    files = (str(folder / "labels.csv"),)
    return {"files": files, "media": "file", "target": "label", "picture_size": 8}


@pytest.mark.skipif(find_compiler() is None, reason="needs a C compiler")
@pytest.mark.parametrize("name", IN_C)
def test_a_model_is_the_same_as_plain_c_that_compiles_without_a_warning(
    name, tmp_path, monkeypatch
):
    monkeypatch.setattr(proof, "_C99", STRICT)
    pictures = ("classify", write_labelled_pictures, {}, {})
    monkeypatch.setitem(RUNS, "classify-pictures", pictures)
    run, options = IN_C[name]
    prepared = prepare_small(run, tmp_path, "run", **options)
    model = prepared.trainer.model.eval()
    with torch.no_grad():  # of some the first weights are zeros
        for weight in model.parameters():
            weight += 0.3 * torch.randn(weight.shape)
        if hasattr(model, "spread"):
            model.spread.fill_(1.5)
    graphs = prepared.task.graphs(model)
    program = program_of(graphs.parts(), "model", "f32")
    examples = prepared.splits.held_out or prepared.splits.test
    proved = proof.prove_run(program, graphs, examples, "f32")
    assert proved.num_rows
    assert proved.difference < 1e-6
    writes = "model_read(" in program.header
    assert proved.num_written == (proved.num_rows if writes else 0)
    if name == "caption":
        other = program.text.replace("scores[n] > scores[best]", "n > best")  # the last word
        with pytest.raises(RunError, match="not written: word 1 of a held-out sequence is number"):
            proof.prove_run(replace(program, text=other), graphs, examples, "f32")
    functions = re.findall(r"^(?:INL|static) .*?(\w+)\(", program.text, re.MULTILINE)
    assert functions
    assert not re.search(r"^\s*(?:for|if|while|else)\b[^{]*;(?: *\\)?$", program.text, re.MULTILINE)
    assert all(program.text.count(f"{each}(") > 1 for each in functions)  # of which clang warns


SAYING = ("lm", "classify", "classify-series", "tag", "translate", "translate-delay", "caption")


@pytest.mark.parametrize("name", [*SAYING, "multilabel"])
def test_what_is_said_is_made_of_what_was_read(name, tmp_path):
    prepared = prepare_small(name, tmp_path, "run")
    subject = prepared.task.subject(prepared.trainer.model.eval())
    examples = prepared.splits.held_out or prepared.splits.test
    passage = next(iter(subject.passages(examples[:1])))
    found = attribute(subject, passage)
    added_up = float(found.values.sum()) + found.residual
    assert added_up == pytest.approx(found.score - found.baseline_score, abs=1e-6)
    assert abs(found.residual) <= 0.005 * max(1, abs(found.score - found.baseline_score))
    assert found.values.any()


def test_what_a_taggers_scores_lack_goes_beside_them(tmp_path):
    prepared = prepare_small("tag", tmp_path, "run")
    model = prepared.trainer.model
    torch.nn.init.normal_(model.transitions)
    beside = json.loads(json.dumps(prepared.task.graphs(model.eval()).beside()))
    assert torch.equal(torch.tensor(beside["transitions"]), model.transitions)
    without = prepare_small("tag-delay-0", tmp_path, "other")
    assert without.task.graphs(without.trainer.model.eval()).beside() == {}


@pytest.mark.parametrize("name", [name for name in RUNS if name.endswith("vectors")])
def test_vectors_are_weights_of_the_run_and_their_file_is_needed_no_more(name, tmp_path):
    prepared = prepare_small(name, tmp_path, "run")
    assert any("vectors of 3 numbers for" in note for note in prepared.splits.notes)
    untrained = prepare_small(name, tmp_path, "other")
    (tmp_path / "vectors.txt").unlink()
    prepared.trainer.fit()
    run = prepared.trainer.run
    assert "vectors.txt" not in run.config_path.read_text()
    loaded = load(run.path)
    expected = loaded.task.evaluate(loaded.model, prepared.splits.test)
    assert prepared.finish().metrics == expected
    with pytest.raises(RunError, match="it has no path to the vectors"):
        resume(untrained.trainer.run.path)


def test_vectors_that_cannot_serve_are_refused_before_there_is_a_run(tmp_path):
    for name, wrong, expected in (
        ("tag", {}, "freeze_vectors needs vectors"),
        ("classify", {"vectors": "v", "tokens": "char"}, "vectors is for words"),
        ("classify-series", {"vectors": "v"}, "vectors is for text"),
        ("translate", {"vectors": "v", "tokens": "bpe"}, "vectors is for words"),
        ("translate-delay", {"vectors": "v"}, "vectors is for an encoder and a decoder"),
    ):
        task, write, model, _ = RUNS[name]
        options = options_of(task)
        if not wrong:
            model = model | {"freeze_vectors": True}
        with pytest.raises(OptionError, match=expected):
            prepare(
                find_task(task),
                options.DataOptions(**write(tmp_path) | wrong),
                tmp_path / "run",
                model=options.ModelOptions(**SMALL | model),
            )
        assert not (tmp_path / "run").exists()


def wrong(value: Any) -> Any:
    """Something like `value` that nothing was ever fitted to; None where there is none."""
    if isinstance(value, list):
        return [*value, value[0]] if value else ["a"]
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return value + value if value else "a"
    return math.nan if isinstance(value, float) else -value


def places(content: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Every entry of a nest of dicts, as the keys that lead to it."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from places(value, *path, key)
        else:
            yield *path, key


@pytest.mark.parametrize("name", RUNS)
def test_an_entry_of_the_vocabulary_that_cannot_be_is_refused(name, tmp_path):
    prepared = prepare_small(name, tmp_path, "run")
    if prepared.task.begins_with_a_file:
        prepared.trainer.fit()  # without weights such a run cannot be resumed
    run = prepared.trainer.run
    config = json.loads(run.config_path.read_text())
    run.config_path.write_text(json.dumps(config | {"sha256": {}}))
    whole = json.loads(run.vocabulary_path.read_text())
    entries = [*places(whole)]
    assert entries
    for *outer, key in entries:
        content = json.loads(run.vocabulary_path.read_text())
        inner = content
        for step in outer:
            inner = inner[step]
        inner[key] = wrong(inner[key])
        run.vocabulary_path.write_text(json.dumps(content))
        with pytest.raises(RunError):
            resume(run.path)
        run.vocabulary_path.write_text(json.dumps(whole))
    resume(run.path)


def with_support() -> dict[str, str]:
    """The surroundings of a program that imports what tests share."""
    tests = str(Path(__file__).parents[1])
    paths = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": paths}


def test_two_processes_train_what_one_can(tmp_path):
    names = ("lm", "classify", "tag-delay-0", "translate", "translate-delay", "caption", "toy")
    names += ("forecast", "multilabel")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    finished = subprocess.run(
        [*command, __file__, tmp_path, *names], env=with_support(), capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    for name in names:
        assert (tmp_path / name / "run" / "results.json").exists()


BY_THEIR_PROBLEM = {("toy", "length"), ("toy", "delay")}


@pytest.mark.parametrize("task", [name for name in TASKS if name != "sign"])
def test_every_number_that_can_be_chosen_has_a_range(task):
    """Which is then checked, and said in help; toys check the sizes that a problem has."""
    module = options_of(task)
    classes = [getattr(module, name) for name in module.__all__ if name != "HELP"]
    assert len(classes) >= 4
    for cls in classes:
        for each in option_fields(cls):
            has_range = each.option.within is not None or (task, each.name) in BY_THEIR_PROBLEM
            assert has_range or each.type not in (int, float), f"{cls}: {each.name}"


def arguments_of(cls: Any, values: dict[str, Any]) -> list[str]:
    """What is typed for some options of a class."""
    arguments = []
    for each in option_fields(cls):
        several = values.get(each.name, ())
        for value in several if isinstance(several, tuple) else (several,):
            arguments += [*([] if each.option.positional else [each.flag]), str(value)]
    return arguments


@pytest.mark.parametrize("cell", [None, "tcn", "conv"])
@pytest.mark.parametrize("task", [name for name in TASKS if name != "sign"])
def test_what_nobody_chooses_is_the_same_by_library_and_by_command(
    task, cell, tmp_path, monkeypatch
):
    """Also where the layer is chosen: the number of layers depends on it."""
    data, options = RUNS[task][1](tmp_path), options_of(task)
    model = {} if cell is None else {"cell": cell}
    prepare(
        find_task(task),
        options.DataOptions(**data),
        tmp_path / "library",
        model=options.ModelOptions(**model) if model else None,
    )
    monkeypatch.setattr("unrolled.cli.fit.fit", lambda prepared: None)  # which would train it
    arguments = arguments_of(options.DataOptions, data) + arguments_of(options.ModelOptions, model)
    with pytest.raises(SystemExit) as ended:
        main(["train", task, *arguments, "--run", str(tmp_path / "command")])
    assert not ended.value.code
    runs = tmp_path / "library", tmp_path / "command"
    for file in ("config.json", "vocabulary.json"):
        by_library, by_command = ((run / file).read_text() for run in runs)
        assert by_command == by_library
    config = json.loads((runs[0] / "config.json").read_text())
    assert config["model"]["num_layers"] == (4 if cell == "tcn" else 1)
    assert config["training"]["epochs"] or config["training"]["updates"]


# ---- devices ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [
        sys.executable,
        Path(__file__).with_name("device_worker.py"),
        tmp_path_factory.mktemp("devices"),
    ]
    result = subprocess.run(
        command, env=with_support(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    outcomes: dict[str, Any] = json.loads(result.stdout)
    return outcomes


def assert_alike(here: Any, there: Any) -> None:
    """Assert that two JSON values are the same but for rounding."""
    assert type(here) is type(there)
    if isinstance(here, dict):
        assert here.keys() == there.keys()
        for name in here:
            assert_alike(here[name], there[name])
    elif isinstance(here, list):
        assert len(here) == len(there)
        for pair in zip(here, there, strict=True):
            assert_alike(*pair)
    elif isinstance(here, float):
        same = math.isnan(here) and math.isnan(there)
        assert same or there == pytest.approx(here, rel=1e-3, abs=2e-4)
    else:
        assert here == there


@pytest.mark.parametrize("name", [*RUNS, *CATALOGUE])
def test_on_a_device_everything_is_there_and_says_the_same(name, outcomes):
    assert isinstance(outcomes[name], list), outcomes[name]
    assert_alike(*outcomes[name])


def test_a_run_goes_on_elsewhere_says_so_and_stays_there(outcomes):
    ((away, back),) = outcomes["crossing"]
    assert away.startswith("trained so far with device pretend, now with device cpu: ")
    assert back.startswith("trained so far with device cpu, now with device pretend: ")


def test_a_run_of_a_device_that_is_not_here_goes_on_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_count", lambda kind: 0)
    monkeypatch.setitem(TRAINING, "device", "cuda")
    with pytest.raises(OptionError, match="no cuda on this computer"):
        prepare_small("multilabel", tmp_path, "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setitem(TRAINING, "device", None)
    prepare_small("multilabel", tmp_path, "run")
    change_config(tmp_path / "run", lambda config: config["training"].update(device="cuda"))
    with pytest.raises(OptionError, match="no cuda on this computer"):
        resume(tmp_path / "run")
    run = tmp_path / "run"
    resumed = resume(run, device="auto")
    assert json.loads((run / "config.json").read_text())["training"]["device"] == "auto"
    assert device_of(resumed.trainer.model) == torch.device("cpu")


def check_that_sharing_changes_no_figure(prepared: Prepared, processes: Processes) -> None:
    """Of enough held-out examples that there is work for both."""
    objective, model = prepared.trainer.objective, prepared.trainer.learner.average
    if isinstance(objective.held_out, torch.Tensor):
        objective.held_out = objective.held_out.repeat(30)
    else:
        objective.held_out = [*objective.held_out] * 30
    alone = objective.evaluate(model)
    with processes.sharing():
        together = objective.evaluate(model)
    if isinstance(objective.held_out, torch.Tensor):  # columns of a text are divided otherwise
        assert together == pytest.approx(alone, rel=1e-5)
    else:
        assert together == alone


if __name__ == "__main__":
    sys.modules["torch.utils.tensorboard"] = None  # type: ignore[assignment]  # slow to import
    torch.set_num_threads(1)
    TRAINING["epochs"] = 1  # in which there are updates, evaluations and a checkpoint
    with initialize_distributed() as processes:
        for name in sys.argv[2:]:
            folder = Path(sys.argv[1], name)
            processes.from_first(lambda folder=folder: folder.mkdir())
            prepared = prepare_small(name, folder, "run", processes)
            assert prepared.trainer.fit().reason == "finished", name
            if processes.is_first:
                prepared.finish()
            check_that_sharing_changes_no_figure(prepared, processes)
    # gloo's own threads abort a process that ends while they run
    names = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    assert not [name for name in names if "gloo" in name], names
