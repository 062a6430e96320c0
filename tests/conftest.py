"""What all tests share: real data where there is any, and small texts and runs."""

import os
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parent
# Programs that import what stands beside them.
collect_ignore = ["tasks/device_worker.py", "training/restart_worker.py"]
# What `make quick` leaves out: what compiles many kernels, trains, or starts other programs.
SLOW = [
    *("acceleration", "benchmark", "browser", "cli", "kernels", "layers", "parity", "properties"),
    "sklearn",
    *("comparison/test_runner.py", "inspection/test_report.py", "tasks/test_every_task.py"),
    *("serving/test_bombs.py", "serving/test_description.py", "serving/test_odd_questions.py"),
    *("serving/test_step.py", "serving/test_views.py", "tasks/test_own_cells.py"),
    *(
        "training/test_damage.py",
        "training/test_distributed.py",
        "training/test_faults.py",
        "training/test_resume.py",
    ),
    *("test_docs.py", "test_examples.py", "test_repeatable.py"),
]


# The files that take longest, by what they took. A file's tests are run by one of two processes:
# one that began late would be what a run waits for.
LONGEST = [
    *("tasks/test_every_task.py", "kernels/test_programs.py", "cli/test_compare.py"),
    *("browser/test_lecture.py", "browser/test_step.py", "kernels/test_exporting.py"),
    *("browser/test_page.py", "sklearn/test_estimator_checks.py", "browser/test_tasks.py"),
    *("kernels/test_equations.py", "kernels/test_operator.py"),
    *("kernels/test_what_a_cell_says.py", "training/test_distributed.py"),
    *("browser/test_living.py", "benchmark/test_lines.py", "tasks/test_own_cells.py"),
    *("serving/test_odd_questions.py", "kernels/test_threads.py", "test_docs.py"),
    *("cli/test_own_cells.py", "properties/test_sequence_layers.py", "serving/test_bombs.py"),
    *("test_examples.py", "test_repeatable.py", "kernels/test_cache.py"),
    *("serving/test_connections.py", "browser/test_tour.py", "sklearn/test_sequences.py"),
    *("export/test_c.py", "kernels/test_proof.py", "wrappers/test_zoneout.py"),
    *("kernels/test_arena.py", "tasks/forecast/test_exports.py"),
    *("layers/test_smaller_weights.py", "kernels/test_networks.py", "kernels/test_mixed.py"),
    *("kernels/test_reductions.py", "cells/test_catalogue.py", "training/test_resume.py"),
    *("cli/test_inspect.py",),
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow, longest = [TESTS / name for name in SLOW], [TESTS / name for name in LONGEST]
    assert all(path.exists() for path in (*slow, *longest)), "a slow test has moved"
    if not config.getoption("randomly_reorganize"):  # `make explore` shuffles
        places = {path: place for place, path in enumerate(longest)}
        items.sort(key=lambda item: places.get(item.path, len(places)))
    for item in items:
        if any(map(item.path.is_relative_to, slow)):
            item.add_marker("slow")


@pytest.fixture
def write(tmp_path):
    """A function that writes a file of a name, of text or bytes, and returns its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture(scope="session")
def shared_data(pytestconfig: pytest.Config) -> Path:
    """The folder of real data that the repository does not carry."""
    folder = Path(os.environ.get("UNROLLED_DATA", pytestconfig.rootpath.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set UNROLLED_DATA to its folder")
    return folder


@pytest.fixture
def without_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No C compiler, here and in programs started from here.

    None is on PATH, CC names none, and ziglang cannot be imported, even where it is installed.
    """
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setitem(sys.modules, "ziglang", None)
    site = tmp_path / "site"
    site.mkdir()
    # Python runs it as it starts
    (site / "sitecustomize.py").write_text("import sys\nsys.modules['ziglang'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)


@pytest.fixture(scope="module")
def quick_kernels() -> Iterator[None]:
    """Kernels compiled without optimisation, in a sixth of the time.

    For tests of which equations have a kernel, and when. What a process has loaded it keeps: not
    beyond these tests.
    """
    from unrolled.kernels.building import archiving, cache, compiler, prebuilt
    from unrolled.kernels.running.paths import _outcomes

    # and without what is inlined at any level, which is most of what is left to compile
    quick = {"-O2": ("-O0", "-Dalways_inline=unused")}
    flags = tuple(chain.from_iterable(quick.get(flag, (flag,)) for flag in compiler.FLAGS))
    with pytest.MonkeyPatch.context() as patch:
        for module in (archiving, cache, compiler, prebuilt):
            patch.setattr(module, "FLAGS", flags)
        _outcomes.clear()
        yield
        _outcomes.clear()


SERVED_TEXT = (
    "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n"
)


@pytest.fixture(scope="session")
def small_text() -> str:
    """A text of the characters that `small_runs` know."""
    return SERVED_TEXT


@pytest.fixture(scope="session")
def small_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of language models as a training would leave them, with random weights."""
    from unrolled.tasks import prepare
    from unrolled.tasks.lm import DataOptions, LanguageModelTask, ModelOptions, TrainingOptions
    from unrolled.training import save_weights

    folder = tmp_path_factory.mktemp("runs")
    text = folder / "text.txt"
    text.write_text(SERVED_TEXT * 400)
    runs = {}
    models = {cell: {"cell": cell, "num_layers": 1} for cell in ("lstm", "gru", "janet", "rnn")}
    models |= {"tcn": {"cell": "tcn", "num_layers": 2}}
    models |= {"deep": {"cell": "lstm", "num_layers": 2, "embedding_size": 5}}
    for name, model in models.items():
        trainer = prepare(
            LanguageModelTask,
            DataOptions(files=(str(text),)),
            folder / name,
            model=ModelOptions(hidden_size=24, **model),
            training=TrainingOptions(epochs=1, seed=len(name)),
        ).trainer
        with torch.no_grad():
            for weight in trainer.model.parameters():
                weight.mul_(3)  # so that gates are not all half open
        save_weights(trainer.run.weights_path, trainer.model)
        runs[name] = folder / name
    return runs


@pytest.fixture
def text_file(tmp_path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{n} times {n} is {n * n}; " for n in range(200)))
    return path
