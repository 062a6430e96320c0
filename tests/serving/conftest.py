import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

starlette = pytest.importorskip("starlette.testclient", reason="the page needs fastapi and httpx2")

from unrolled.serving.app import create_app  # noqa: E402
from unrolled.serving.guard import Access  # noqa: E402
from unrolled.serving.limits import Limits  # noqa: E402
from unrolled.serving.runs import Runs  # noqa: E402
from unrolled.tasks import Loaded, find_task, load, options_of, prepare  # noqa: E402
from unrolled.training import save_weights  # noqa: E402

HERE = "http://127.0.0.1:8000"
NUMBERS = ("zero", "one", "two", "three", "four", "five")


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def runs(small_runs) -> Runs:
    return Runs(list(small_runs.values()))


@pytest.fixture(scope="session")
def loaded(small_runs) -> dict[str, Loaded]:
    """The language models of `small_runs`, as the library loads them."""
    return {name: load(path) for name, path in small_runs.items()}


@pytest.fixture
def serve(runs) -> Callable[..., "starlette.TestClient"]:
    """Start a server with given limits; its client has a session."""
    clients = []

    def start(access=None, base_url=HERE, session=True, served=None, **limits):
        app = create_app(served or runs, access or Access(None, True), Limits(**limits))
        client = starlette.TestClient(app, base_url=base_url, raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        if session:
            answer = client.post("/api/session")
            client.headers["X-Session"] = answer.json()["session"]
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def visit() -> Iterator[Callable[[Runs], "starlette.TestClient"]]:
    """Ask a server that shows some runs, as a visitor whom it has not seen.

    It is started once for a file, which takes longer than most questions, and has no limits that a
    test would reach. For tests that ask; those of what a server does with others start their own.
    """
    with ExitStack() as stack:
        clients: dict[Runs, tuple[starlette.TestClient, dict[str, str]]] = {}

        def of(served):
            if served not in clients:
                limits = Limits(requests_per_second=10**6, burst=10**6)
                app = create_app(served, Access(None, True), limits)
                client = starlette.TestClient(app, HERE, raise_server_exceptions=False)
                clients[served] = stack.enter_context(client), dict(client.headers)
            client, headers = clients[served]
            client.cookies.clear()
            client.headers = headers
            client.headers["X-Session"] = client.post("/api/session").json()["session"]
            return client

        yield of


@pytest.fixture
def client(visit, runs) -> "starlette.TestClient":
    return visit(runs)


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """Make a run as a training would leave it, with random weights."""

    def make(task: str, path: Path, data: dict[str, Any], **model: Any) -> Path:
        options = options_of(task)
        trainer = prepare(
            find_task(task),
            options.DataOptions(**data),
            path,
            model=options.ModelOptions(**{"hidden_size": 6, "num_layers": 1} | model),
            training=options.TrainingOptions(epochs=1, batch_size=8, seed=1),
        ).trainer
        with torch.no_grad():
            for name, weight in trainer.model.named_parameters():
                if "layer" in name:
                    # so that gates are not all half open, and units differ in all they have
                    factors = torch.linspace(1.5, 2.5, len(weight))
                    weight.mul_(factors.reshape(-1, *[1] * (weight.dim() - 1)))
        save_weights(trainer.run.weights_path, trainer.model)
        return path

    return make


@pytest.fixture(scope="session")
def task_runs(make_run, tmp_path_factory) -> dict[str, Path]:
    """Runs of every task but language models, by what they do."""
    image = pytest.importorskip("PIL.Image", reason="pictures need pillow")
    folder = tmp_path_factory.mktemp("tasks")

    reviews = [f"{a} {b} is,{'good' if a < b else 'bad'}" for a in NUMBERS for b in NUMBERS]
    (folder / "reviews.csv").write_text("\n".join(["text,class", *reviews]) + "\n")
    cases = [",".join(str(n * k % 7) for k in range(2 + n % 4)) + f":{n % 2}" for n in range(1, 40)]
    (folder / "cases.ts").write_text("\n".join(["@classLabel true 0 1", "@data", *cases]) + "\n")
    sentences = [f"{a}\tB-X\n{b}\tI-X\nruns\tO\n" for a in NUMBERS for b in NUMBERS]
    (folder / "sentences.conll").write_text("\n".join(sentences))
    pairs = [f"{a} and {b}\t{b} et {a}\n" for a in NUMBERS for b in NUMBERS]
    (folder / "pairs.tsv").write_text("".join(pairs))
    pictures = ["file\twords"]
    for number in range(24):
        image.new("RGB", (8, 8), (10 * number, 100, 50)).save(folder / f"{number}.png")
        pictures.append(f"{number}.png\tpicture {NUMBERS[number % 6]} of {number}")
    (folder / "pictures.tsv").write_text("\n".join(pictures) + "\n")
    kinds = ["file,kind", *(f"{number}.png,{'ab'[number > 11]}" for number in range(24))]
    (folder / "kinds.csv").write_text("\n".join(kinds) + "\n")

    days = [f"2024-{n // 28 + 1:02d}-{n % 28 + 1:02d},{n % 7 + n / 50}" for n in range(28)]
    (folder / "days.csv").write_text("\n".join(["day,y", *days]) + "\n")

    of_reviews = {
        "files": (str(folder / "reviews.csv"),),
        "input": ("text",),
        "target": "class",
        "tokens": "word",
    }
    of_pairs = {"file": str(folder / "pairs.tsv"), "tokens": "word", "test": 0.1, "held_out": 0.1}
    of_pictures = {
        "file": str(folder / "pictures.tsv"),
        "media": "file",
        "text": "words",
        "picture_size": 8,
    }
    made: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "reviews": ("classify", of_reviews, {"cell": "lstm", "bidirectional": True}),
        "last word": (
            "classify",
            of_reviews,
            {"cell": "gru", "num_layers": 2, "bidirectional": False, "pooling": "last"},
        ),
        "series": (
            "classify",
            {"files": (str(folder / "cases.ts"),)},
            {"cell": "gru_reset_before", "bidirectional": False},
        ),
        "tags": ("tag", {"file": str(folder / "sentences.conll")}, {"cell": "janet", "delay": 1}),
        "translator": ("translate", of_pairs, {"cell": "gru", "attention": "additive"}),
        "convolution": ("translate", of_pairs, {"cell": "tcn", "attention": "none"}),
        "delayed": ("translate", of_pairs, {"cell": "rnn", "delay": 3}),
        "captions": ("caption", of_pictures, {"cell": "lstm", "channels": 4}),
        "kinds": (
            "classify",
            {
                "files": (str(folder / "kinds.csv"),),
                "media": "file",
                "target": "kind",
                "picture_size": 8,
            },
            {"cell": "gru", "channels": 4},
        ),
        "forecasts": (
            "forecast",
            {
                "file": str(folder / "days.csv"),
                "time": "day",
                "target": ("y",),
                "horizon": 2,
                "lookback": 3,
            },
            {"cell": "gru"},
        ),
        "symbols": ("toy", {"problem": "reber", "num_examples": 24}, {"cell": "rnn_relu"}),
        "values": (
            "toy",
            {"problem": "adding", "num_examples": 24, "length": 8},
            {"cell": "lstm"},
        ),
    }
    return {
        name: make_run(task, folder / name, data, **model)
        for name, (task, data, model) in made.items()
    }


@pytest.fixture(scope="session")
def served_tasks(task_runs, small_runs) -> Runs:
    """One run of each kind, a language model among them."""
    return Runs([*task_runs.values(), small_runs["gru"]])


@pytest.fixture
def tasks_client(visit, served_tasks) -> "starlette.TestClient":
    return visit(served_tasks)


@pytest.fixture(scope="session")
def picture() -> bytes:
    image = pytest.importorskip("PIL.Image", reason="pictures need pillow")
    file = io.BytesIO()
    image.new("RGB", (9, 7), (200, 0, 0)).save(file, "PNG")
    return file.getvalue()
