"""What is written for others is proved first, or not written."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import unrolled
from support.cells import of_bessel, that_decides
from unrolled.errors import OptionError, RunError
from unrolled.export import onnx as exporting
from unrolled.export import to_onnx, writing
from unrolled.tasks import load, prepare
from unrolled.tasks.lm import DataOptions, LanguageModelTask, ModelOptions, TrainingOptions

TEXT = "".join(f"{n} bottles of beer.\n" for n in range(60))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT)
    prepare(
        LanguageModelTask,
        DataOptions(files=(str(folder / "text.txt"),)),
        folder / "run",
        model=ModelOptions(hidden_size=8, cell="janet"),
        training=TrainingOptions(epochs=1, batch_size=4, k1=16),
    ).trainer.fit()
    return folder / "run"


def test_a_run_is_written_whole_and_step_by_step_with_its_vocabulary(trained, tmp_path):
    whole, step = to_onnx(str(trained), tmp_path / "lm.onnx", stream=True)
    assert 0 < whole.difference < 1e-6
    assert 0 < step.difference < 1e-6
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == ["lm.json", "lm.onnx", "lm.step.onnx"]
    content = json.loads((tmp_path / "lm.json").read_text())
    loaded = load(trained)
    assert content["vocabulary"] == loaded.task.to_dict()
    assert content["reading"] == {"tokens": "char", "vocabulary_size": None}
    assert content["model"]["cell"] == "janet"
    assert content["files"]["lm.onnx"]["inputs"]["tokens"]["shape"] == ["batch", "time"]
    assert content["files"]["lm.onnx"]["greatest_difference"] == whole.difference
    graph = onnx.load(step.path).graph
    assert [each.name for each in graph.output] == ["scores", "state_0_after"]

    tokens = loaded.task.vocabulary.encode("7 bottles")
    session = onnxruntime.InferenceSession(str(step.path), providers=["CPUExecutionProvider"])
    state = np.zeros((1, 1, 8), np.float32)
    for token in tokens:
        given = {"tokens": np.array([token]), "state_0": state}
        scores, state = session.run(["scores", "state_0_after"], given)
    with torch.no_grad():
        expected = loaded.model(tokens[None])[0][0, -1]
    np.testing.assert_allclose(scores[0], expected.numpy(), atol=1e-5)


def test_a_layer_is_written_and_another_one_in_its_place_is_not(monkeypatch, tmp_path):
    layer = unrolled.GRU(3, 4, batch_first=True)
    (file,) = to_onnx(layer, tmp_path / "gru.onnx")
    assert file.inputs["x"]["shape"] == ["batch", "time", 3]
    assert [*tmp_path.iterdir()] == [file.path]
    written = file.path.read_bytes()
    monkeypatch.setattr(exporting, "onnx_bytes", lambda graph, opset: written)
    file.path.write_text("before")
    with pytest.raises(RunError, match="not written: ONNX Runtime's scores differ by"):
        to_onnx(unrolled.GRU(3, 4, batch_first=True), file.path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_what_onnx_runtime_refuses_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "onnx_bytes", lambda graph, opset: b"nothing that is a model")
    with pytest.raises(RunError, match="ONNX Runtime cannot run the model") as told:
        to_onnx(unrolled.GRU(3, 4), tmp_path / "gru.onnx")
    assert "\n" not in str(told.value)
    assert not [*tmp_path.iterdir()]


@pytest.fixture
def at_once(monkeypatch):
    """Have nothing exported: what is wrong is said before."""
    monkeypatch.setattr(exporting, "onnx_bytes", None)


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        (torch.nn.Linear(3, 4), {}, "takes a run or a layer of unrolled, got Linear"),
        (unrolled.GRU(3, 4, bidirectional=True), {"stream": True}, "reads both ways"),
        (unrolled.TCN(3, 4, dropout=0.5), {}, "is in training mode"),
        (unrolled.LSTM(3, 4).half(), {}, "must be of float32 or float64 on the CPU, got float16"),
        (unrolled.LSTM(3, 4, device="meta"), {}, "on the CPU, got float32 on meta"),
        (unrolled.GRU(3, 4), {"opset": 12}, r"opset must be 18 \.\.\. \d+, got 12"),
    ],
)
def test_what_cannot_be_exported_is_said(layer, options, message, tmp_path, at_once):
    with pytest.raises(OptionError, match=message):
        to_onnx(layer, tmp_path / "layer.onnx", **options)


@pytest.mark.parametrize("name", ["", "none/layer.onnx"])
def test_a_place_that_cannot_be_written_is_said_before_anything_is_exported(
    name, tmp_path, at_once
):
    with pytest.raises(RunError, match=r"is a folder|there is no folder for it"):
        to_onnx(unrolled.GRU(3, 4), tmp_path / name)


@pytest.mark.parametrize(
    ("name", "in_the_way", "message"),
    [
        ("lm.json", None, "lm.json: is the name of what goes beside the model"),
        ("lm.onnx", "lm.json", "lm.json: is in the way of what goes beside the model"),
        ("lm.onnx", "lm.json/", "lm.json: is a folder"),
        ("lm.onnx", "lm.step.onnx/", "lm.step.onnx: is a folder"),
    ],
)
def test_nothing_of_others_is_lost_and_no_part_is_written_alone(
    name, in_the_way, message, trained, tmp_path, at_once
):
    if in_the_way is not None:
        place = tmp_path / in_the_way
        place.mkdir() if in_the_way.endswith("/") else place.write_text('{"files": []}')
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RunError, match=message):
        to_onnx(trained, tmp_path / name, stream=True)
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_not_proved_on_anything_is_not_written(trained, tmp_path, at_once, monkeypatch):
    loaded = load(trained)
    monkeypatch.setattr(type(loaded.task.graphs(loaded.model)), "batches", lambda *_: iter(()))
    with pytest.raises(RunError, match="so it cannot be proved"):
        to_onnx(loaded, tmp_path / "lm.onnx")


def test_a_model_in_training_mode_is_refused(trained, tmp_path, at_once):
    loaded = load(trained)
    loaded.model.train()
    with pytest.raises(OptionError, match=r"in training mode.*model\.eval\(\)"):
        to_onnx(loaded, tmp_path / "lm.onnx")


def test_a_missing_library_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(writing, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(OptionError, match=r'needs onnxscript.*pip install "unrolled\[export\]"'):
        to_onnx(unrolled.GRU(3, 4), tmp_path / "gru.onnx")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (of_bessel, "no operator for bessel_j0"),
        (that_decides, "decides by the numbers that it reads"),
    ],
)
def test_a_cell_that_onnx_cannot_have_is_said_in_a_line(cell, message, tmp_path):
    with pytest.raises(OptionError, match=message) as told:
        to_onnx(unrolled.Recurrent(cell, 3, 4), tmp_path / "cell.onnx")
    assert "\n" not in str(told.value)
    assert not [*tmp_path.iterdir()]


def test_a_run_without_anything_held_out_or_its_data_is_refused(trained, tmp_path, at_once):
    run: Path = shutil.copytree(trained, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["data"]["options"]["held_out"] = 0
    config.pop("sha256")
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="held nothing out that the files could be proved on"):
        to_onnx(run, tmp_path / "run.onnx")
    with pytest.raises(RunError, match="no such folder"):
        to_onnx(tmp_path / "none", tmp_path / "run.onnx")
