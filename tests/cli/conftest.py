import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from unrolled.cli.main import main
from unrolled.tasks import prepare
from unrolled.tasks.lm import DataOptions, LanguageModelTask, ModelOptions, TrainingOptions

BOTTLES = "".join(f"{n} bottles of beer on the wall.\n" for n in range(60))
SMALL = ("--hidden-size", "8", "--batch-size", "4", "--k1", "16", "--epochs", "1")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def unrolled(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Result]:
    """Run the command line in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return Result(ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "bottles.txt"
    path.write_text(BOTTLES)
    return path


@pytest.fixture
def train(unrolled: Callable[..., Result], text_file: Path) -> Callable[..., Result]:
    """Train a tiny model on `text_file` into a folder."""
    return lambda run, *options: unrolled("train", "lm", text_file, "--run", run, *SMALL, *options)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished")
    text, run = path / "bottles.txt", path / "run"
    text.write_text(BOTTLES)
    prepare(
        LanguageModelTask,
        DataOptions(files=(str(text),)),
        run,
        model=ModelOptions(hidden_size=8),
        training=TrainingOptions(epochs=1, batch_size=4, k1=16),
    ).trainer.fit()
    return run


@pytest.fixture
def trained(finished_run: Path, tmp_path: Path) -> Path:
    """The folder of a finished run, to do with as one likes."""
    return shutil.copytree(finished_run, tmp_path / "trained")
