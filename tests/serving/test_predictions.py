"""Runs of other tasks on the page, with random weights: what goes in, and what may not."""

import base64
import io
import random

import pytest

from unrolled.serving.runs import Runs
from unrolled.tasks.classify.options import ClassifyOptions
from unrolled.tasks.classify.task import ClassifyTask
from unrolled.tasks.runs import load, prepare
from unrolled.training import TrainingOptions
from unrolled.training.checkpoint import save_weights

Image = pytest.importorskip("PIL.Image", reason="pictures need pillow")

SECRET = "root:x:0:0:the contents of a file of the server"


def made(task, options, path, model):
    prepared = prepare(
        task, options, path, training=TrainingOptions(epochs=1), batch_size=8, model=model
    )
    save_weights(path / "weights.safetensors", prepared.trainer.model)
    return path


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reviews")
    chance = random.Random(0)
    rows = [
        f"a {chance.choice(['good', 'bad'])} film of {1900 + number},{number % 2}"
        for number in range(60)
    ]
    (folder / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    options = ClassifyOptions(
        files=(str(folder / "reviews.csv"),), inputs=("text",), target="label"
    )
    return made(ClassifyTask, options, folder / "run", {"hidden_size": 6, "embedding_size": 4})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    from unrolled.tasks.caption.reader import CaptionOptions
    from unrolled.tasks.caption.task import CaptionTask

    folder = tmp_path_factory.mktemp("pictures")
    rows = ["file\twords"]
    for number in range(24):
        Image.new("RGB", (8, 8), (10 * number, 0, 0)).save(folder / f"{number}.png")
        rows.append(f"{number}.png\ta {'red' if number % 2 else 'dark'} thing.")
    (folder / "pictures.tsv").write_text("\n".join(rows) + "\n")
    options = CaptionOptions(
        path=str(folder / "pictures.tsv"),
        media="file",
        text="words",
        picture_size=8,
        split_by="media",
    )
    model = {"hidden_size": 6, "embedding_size": 4, "channels": 4}
    return made(CaptionTask, options, folder / "captions", model)


@pytest.fixture
def client(serve, reviews, pictures):
    return serve(served=Runs([reviews, pictures]), requests_per_second=9999, burst=9999)


def picture_bytes():
    file = io.BytesIO()
    Image.new("RGB", (9, 7), (200, 0, 0)).save(file, "PNG")
    return file.getvalue()


def caption(client, content, **question):
    data = base64.b64encode(content).decode()
    return client.post("/api/caption", json={"run": "captions", "data": data} | question)


def test_the_runs_say_what_they_read(client):
    runs = {run["name"]: run for run in client.get("/api/runs").json()["runs"]}
    assert (runs["run"]["task"], runs["run"]["medium"]) == ("classify", None)
    assert (runs["captions"]["task"], runs["captions"]["medium"]) == ("caption", "picture")
    assert runs["run"]["predict_options"] == ["running"]


def test_a_classifier_says_what_it_says_on_the_command_line(client, reviews, tmp_path):
    from unrolled.data.source import Source

    task, model = load(reviews, ClassifyTask)
    (tmp_path / "text.txt").write_text("a bad bad film\n")
    (expected,) = task.predict(model, Source(tmp_path / "text.txt"), running=True)
    question = {"run": "run", "text": "a bad bad film", "options": {"running": True}}
    got = client.post("/api/predict", json=question).json()["prediction"]
    assert got == expected
    assert [step["token"] for step in got["running"]] == ["a", "bad", "bad", "film"]


def test_a_picture_is_described(client):
    answer = caption(client, picture_bytes(), options={"n_best": 2})
    assert answer.status_code == 200, answer.text
    got = answer.json()["prediction"]
    assert got["media"] == "the input"
    assert len(got["alternatives"]) == 2


def test_no_file_of_the_server_can_be_named(client, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    stolen = tmp_path / "stolen.png"
    stolen.write_bytes(picture_bytes())
    for path in (secret, stolen):
        answer = client.post("/api/predict", json={"run": "captions", "text": str(path)})
        assert answer.status_code == 422
        assert "/api/caption" in answer.json()["error"]["hint"]
        answer = caption(client, f"{path}\n".encode())
        assert answer.status_code == 422
        assert "is no picture" in answer.json()["error"]["message"]
        assert SECRET not in answer.text


DAMAGED = {
    "nothing": b"",
    "a beginning": b"GIF89a",
    "half a picture": picture_bytes()[:40],
    "a recording's beginning": b"RIFF????WAVE",
    "zeros": b"\0" * 99,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_media_are_refused_in_words(client, content):
    answer = caption(client, content)
    assert answer.status_code == 422, answer.text
    message = answer.json()["error"]["message"]
    assert message
    assert "/tmp" not in answer.text
    assert "unrolled-" not in answer.text


def test_what_does_not_fit_is_refused(client):
    for path, question in (
        ("caption", {"run": "run", "data": ""}),
        ("caption", {"run": "captions", "data": "no base64!"}),
        ("predict", {"run": "run", "text": "a", "options": {"beam": 3}}),
        ("predict", {"run": "run", "text": "a", "options": {"nonsense": 3}}),
        ("caption", {"run": "captions", "data": "", "options": {"beam": 10**6}}),
        ("caption", {"run": "captions", "data": "", "options": {"n_best": 33}}),
        ("caption", {"run": "captions", "data": "", "options": {"beam": 2.5}}),
        ("caption", {"run": "captions", "data": "", "options": {"no_repeat": True}}),
        ("predict", {"run": "run", "text": "A" * 4001}),
    ):
        answer = client.post(f"/api/{path}", json=question)
        assert answer.status_code == 422
        for name in question.get("options", {}).keys() & {"n_best", "no_repeat"}:
            assert f"{name} must be a whole number in 1..32" in answer.text
    for path in ("read", "generate", "gradient"):
        answer = client.post(f"/api/{path}", json={"run": "run", "text": "a"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "task")


def test_pictures_may_be_larger_than_texts(serve, pictures):
    client = serve(served=Runs([pictures]), body_bytes=1000, media_bytes=2000)
    assert caption(client, b"A" * 1000).status_code == 422
    assert caption(client, b"A" * 2000).status_code == 413
    assert client.post("/api/predict", content=b"A" * 1500).status_code == 413
