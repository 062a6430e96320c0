"""A cell of somebody's own in a run: its text is kept, and run again only for who trusts it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from support.runs import change_config, stop_at, without_checksums
from unrolled import cells
from unrolled.errors import OptionError, RunError
from unrolled.tasks import Prepared, find_task, load, options_of, prepare, resume

CELL = """
import torch, unrolled
from pathlib import Path

with Path({marker!r}).open("a") as file:
    file.write("run;")

@unrolled.cell(gates="k g", keeps="k")
def leaky(x, u, h, *, slope=1.5):
    k = torch.sigmoid(x.k + u.k)
    g = torch.tanh(slope * (x.g + u.g))
    return dict(h=k * h + (1 - k) * g, k=k, g=g)
"""


@pytest.fixture
def marker(tmp_path) -> Path:
    """What the cell's file adds to each time that it is run."""
    return tmp_path / "marker"


@pytest.fixture
def file(tmp_path, marker) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CELL.format(marker=str(marker)))
    return path


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch):
    """As if the extra were not installed: it is slow to import, and has a test of its own."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


@pytest.fixture
def importing(tmp_path, monkeypatch):
    """Import modules of the test's folder, which other tests do not see."""
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", "")).startswith(f"{tmp_path}/"):
            del sys.modules[name]


def as_in_another_process(marker: Path) -> None:
    """Forget the cells from files that were run here."""
    for name in [name for name in sys.modules if name.startswith("unrolled_cell_")]:
        del sys.modules[name]
    marker.unlink(missing_ok=True)


def data_of(task: str, folder: Path) -> dict[str, Any]:
    """Write data for a task, and return its options."""
    if task == "toy":
        return {"problem": "echo", "num_examples": 24, "length": 5, "delay": 1}
    words = [f"{a} {b}" for a in ("one", "two", "three") for b in ("four", "five", "six")] * 4
    if task == "lm":
        (folder / "text.txt").write_text("; ".join(words))
        return {"files": (str(folder / "text.txt"),)}
    rows = [f"{n} {text},{n % 2}" for n, text in enumerate(words)]
    (folder / "texts.csv").write_text("\n".join(["text,class", *rows]) + "\n")
    return {"files": (str(folder / "texts.csv"),), "input": ("text",), "target": "class"}


SIZE = {"hidden_size": 5}


def prepared(task: str, folder: Path, cell: Any, run: str = "run", **model: Any) -> Prepared:
    options = options_of(task)
    training = {"epochs": 2, "batch_size": 8, "seed": 1} | ({"k1": 8} if task == "lm" else {})
    return prepare(
        find_task(task),
        options.DataOptions(**data_of(task, folder)),
        folder / run,
        model=options.ModelOptions(
            cell=cell, **({} if "num_parameters" in model else SIZE) | model
        ),
        training=options.TrainingOptions(**training),
    )


every_task = pytest.mark.parametrize("task", ["lm", "classify", "toy"])


@every_task
def test_a_run_has_the_text_of_its_cell_and_runs_it_for_those_who_trust_it(
    task, file, marker, tmp_path
):
    trained = prepared(task, tmp_path, f"{file}:leaky")
    trained.trainer.fit()
    results = trained.finish()
    run = tmp_path / "run"
    assert results.cell == "leaky"
    assert (run / "cell.py").read_text() == file.read_text()
    assert json.loads((run / "config.json").read_text())["model"]["cell"] == {"own": "leaky"}
    assert marker.read_text() == "run;"

    as_in_another_process(marker)
    for refuse in (load, resume):
        with pytest.raises(RunError) as caught:
            refuse(run)
        lines = len(file.read_text().splitlines())
        where = f"{run}: its cell leaky is code, {lines} lines in {run / 'cell.py'}"
        assert caught.value.message == f"{where}, which has not been run"
        assert caught.value.hint == "read that file; if you trust it, add trust_code"
        assert caught.value.render(lambda name: f"<{name}>")[1].endswith("add <trust_code>")
    assert not marker.exists()

    loaded = load(run, trust_code=True)
    assert marker.read_text() == "run;"
    part = trained.splits.test or trained.splits.held_out
    assert loaded.task.evaluate(loaded.model, part) == results.metrics
    assert loaded.task.options.model.kind.cell.keeps == "k"


@every_task
@pytest.mark.parametrize("fate", ["gone", "changed"])
def test_a_run_does_not_need_the_file_that_its_cell_was_in(task, fate, file, marker, tmp_path):
    trained = prepared(task, tmp_path, f"{file}:leaky")
    trained.trainer.fit()
    results = trained.finish()
    file.unlink()
    if fate == "changed":
        file.write_text(CELL.format(marker=str(marker)).replace("1 - k", "2 - k"))
    as_in_another_process(marker)
    loaded = load(tmp_path / "run", trust_code=True)
    part = trained.splits.test or trained.splits.held_out
    assert loaded.task.evaluate(loaded.model, part) == results.metrics
    assert resume(tmp_path / "run", trust_code=True).trainer.finished


@every_task
def test_an_interrupted_run_ends_with_the_bits_of_one_that_was_not(task, file, marker, tmp_path):
    whole = prepared(task, tmp_path, f"{file}:leaky", "whole")
    whole.trainer.fit()
    parted = prepared(task, tmp_path, f"{file}:leaky", "parted")
    stop_at(parted.trainer, 2)
    assert parted.trainer.fit().reason == "interrupted"
    file.unlink()
    as_in_another_process(marker)
    torch.rand(7)  # the state of the generators is the run's own
    resumed = resume(tmp_path / "parted", trust_code=True)
    assert resumed.trainer.fit().reason == "finished"
    weights = (each.trainer.model.state_dict() for each in (resumed, whole))
    for mine, other in zip(*(each.values() for each in weights), strict=True):
        assert torch.equal(mine, other)
    assert resumed.finish().metrics == whole.finish().metrics


@pytest.mark.parametrize("trust_code", [False, True])
@pytest.mark.parametrize("reference", ["{file}:leaky", "mine:leaky", "cell.py:leaky"])
def test_a_config_that_names_code_is_refused_even_for_those_who_trust(
    reference, trust_code, file, marker, tmp_path, monkeypatch
):
    """A run has its code in its own folder: what it names elsewhere was not looked at."""
    run = prepared("toy", tmp_path, "lstm").trainer.run
    cell = reference.format(file=file)
    change_config(run.path, lambda config: config["model"].update(cell=cell))
    monkeypatch.chdir(tmp_path)
    for refuse in (load, resume):
        with pytest.raises(RunError, match=r"not what `unrolled` wrote: .*leaky"):
            refuse(run.path, trust_code=trust_code)
    assert not marker.exists()


def test_a_cell_may_be_an_object_from_a_module(file, marker, tmp_path, importing):
    trained = prepared("toy", tmp_path, importing("mine").leaky)
    trained.trainer.fit()
    assert (tmp_path / "run" / "cell.py").read_text() == file.read_text()
    file.unlink()
    as_in_another_process(marker)
    loaded = load(tmp_path / "run", trust_code=True)
    weights = trained.trainer.learner.average.state_dict()
    for name, weight in loaded.model.state_dict().items():
        assert torch.equal(weight, weights[name])


def test_a_cell_is_found_again_by_the_name_that_its_file_has_for_it(tmp_path, marker):
    text = """
import unrolled

def step(x, u, h):
    return dict(h=(x.a + u.a).tanh())

plain = unrolled.cell(gates="a")(step)
lstm = unrolled.cell(gates="a b")(step)  # called like a built-in one
"""
    (tmp_path / "two.py").write_text(text)
    for name, gates in (("plain", ("a",)), ("lstm", ("a", "b"))):
        prepared("toy", tmp_path, f"{tmp_path}/two.py:{name}", name).trainer.fit()
        as_in_another_process(marker)
        loaded = load(tmp_path / name, trust_code=True)
        assert loaded.run.config["model"]["cell"] == {"own": name}
        assert loaded.model.layer.cell.gates == gates


def test_a_built_in_cell_is_nobodys_code_however_it_is_given(tmp_path):
    for name, cell in (("lstm", cells.lstm), ("gru", "unrolled.cells:gru_reset_after")):
        run = prepared("toy", tmp_path, cell, name).trainer.run
        assert run.config["model"]["cell"] == name
        assert not run.cell_path.exists()
    assert resume(tmp_path / "lstm", trust_code=True).task.options.model.cell == "lstm"


def inside():
    import unrolled

    @unrolled.cell(gates="a")
    def inner(x, u, h):
        return dict(h=(x.a + u.a).tanh())

    return inner


def test_a_cell_without_a_file_that_a_run_could_keep_is_refused_before_there_is_a_run(tmp_path):
    with pytest.raises(OptionError, match="cell inner: has no file that a run could") as caught:
        prepared("toy", tmp_path, inside())
    assert caught.value.hint == "declare it at the top of a .py file, and import it from there"
    assert not (tmp_path / "run").exists()


PROGRAM = """
import sys
from pathlib import Path

import unrolled
from unrolled.tasks import find_task, options_of, prepare

@unrolled.cell(gates="a")
def own(x, u, h):
    return dict(h=(x.a + u.a).tanh())

if __name__ == "__main__":
    toy = options_of("toy")
    data, model = toy.DataOptions(problem="hello"), toy.ModelOptions(cell=own)
    try:
        prepare(find_task("toy"), data, Path(sys.argv[1]), model=model)
    except unrolled.UnrolledError as error:
        print(error)
"""


def test_a_cell_of_the_program_itself_is_refused_with_what_to_do(tmp_path):
    """Its text is the whole program, which a run must not start again."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == (
        "cell own: has no file that a run could keep "
        "(declare it at the top of a .py file, and import it from there)\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_file_that_does_not_stand_alone_is_refused_before_the_training(tmp_path, importing):
    """It would not be found out before somebody loads what was trained."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("SLOPE = 2.0\n")
    text = CELL.format(marker=str(tmp_path / "marker")).replace("1.5", "SLOPE")
    (package / "mine.py").write_text("from .helper import SLOPE\n" + text)
    cell = importing("package.mine").leaky
    with pytest.raises(OptionError, match=r"cannot run .*mine\.py: ImportError: .*relative"):
        prepared("toy", tmp_path, cell)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"cell\.py: cannot be read"),
        ("import unrolled", r"run: cell leaky of .*cell\.py: does not exist .*no cell"),
        ("import no_such_library", r"run: cell leaky: cannot run .*no_such_library"),
    ],
)
def test_a_cell_of_a_run_that_cannot_be_had_is_named(text, message, file, tmp_path):
    prepared("toy", tmp_path, f"{file}:leaky").trainer.fit()
    path = without_checksums(tmp_path / "run") / "cell.py"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(RunError, match=message):
        load(tmp_path / "run", trust_code=True)


def test_initial_values_are_about_the_gate_that_the_cell_declares(file, tmp_path):
    model = prepared("toy", tmp_path, f"{file}:leaky", initialize="forget-bias").trainer.model
    layer = model.layer
    assert layer.cell.gates == ("k", "g")
    torch.testing.assert_close((layer.bias_ih_l0 + layer.bias_hh_l0)[:5], torch.ones(5))


def test_a_budget_counts_the_weights_of_an_own_cell(file, tmp_path):
    trainer = prepared("toy", tmp_path, f"{file}:leaky", num_parameters=500).trainer
    size = trainer.run.config["model"]["hidden_size"]

    def count(h):  # two gates on five symbols, a slope for each unit, five answers
        return 2 * h * (5 + h + 2) + h + 5 * (h + 1)

    assert count(size) <= 500 < count(size + 1)
