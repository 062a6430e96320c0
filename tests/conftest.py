"""What all tests share: one thread, fixed seeds, and real data where there is any."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)  # the same sums on every machine, and none in another test's way

# Hypothesis' own default, which is repeatable where CI is set, with no clock: machines are shared.
settings.register_profile("unrolled", settings.default, deadline=None)
settings.load_profile("unrolled")


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The kernels that tests compile: not in the user's cache, shared by the workers of a run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "kernels"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["UNROLLED_CACHE"] = str(folder)


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data(pytestconfig: pytest.Config) -> Path:
    """The folder of real data that the repository does not carry."""
    folder = Path(os.environ.get("UNROLLED_DATA", pytestconfig.rootpath.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set UNROLLED_DATA to its folder")
    return folder


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
    from unrolled.tasks.lm.task import prepare_language_model
    from unrolled.training import TrainingOptions
    from unrolled.training.checkpoint import save_weights

    folder = tmp_path_factory.mktemp("runs")
    text = folder / "text.txt"
    text.write_text(SERVED_TEXT * 400)
    runs = {}
    models = {cell: {"cell": cell, "num_layers": 1} for cell in ("lstm", "gru", "janet", "rnn")}
    models |= {"tcn": {"cell": "tcn", "num_layers": 2}}
    models |= {"deep": {"cell": "lstm", "num_layers": 2, "embedding_size": 5}}
    for name, model in models.items():
        trainer = prepare_language_model(
            [text],
            folder / name,
            training=TrainingOptions(epochs=1, seed=len(name)),
            hidden_size=24,
            **model,
        )
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
