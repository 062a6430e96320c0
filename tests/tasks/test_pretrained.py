"""What a folder to publish is made of, and what is never in it or taken over in silence."""

import json
import shutil
import sys

import pytest
import torch

from unrolled.errors import RunError
from unrolled.tasks import from_pretrained, load, prepare, resume
from unrolled.tasks.toy import DataOptions, ModelOptions, ToyTask, TrainingOptions

CELL = """
import torch, unrolled

@unrolled.cell(gates="a")
def plain(x, u):
    return dict(h=torch.tanh(x.a + u.a))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = tmp_path_factory.mktemp("trained") / "run"
    prepared = prepare(
        ToyTask,
        DataOptions(problem="reber", num_examples=24),
        run,
        model=ModelOptions(hidden_size=6),
        training=TrainingOptions(epochs=1),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch.utils.tensorboard", None)  # slow to import
        prepared.trainer.fit()
    prepared.finish()
    return run


@pytest.fixture
def loaded(trained):
    return load(str(trained))


def files_of(folder):
    return {path.name for path in folder.iterdir()}


def test_without_a_licence_it_is_to_be_filled_in(loaded, tmp_path):
    loaded.save_pretrained(tmp_path / "folder")
    card = (tmp_path / "folder" / "README.md").read_text()
    assert "\nlicense:" not in card
    assert "## Licence\n\nTo be filled in" in card
    assert "made by the program" in card


def test_figures_of_other_weights_are_left_out(loaded, tmp_path):
    with torch.no_grad():
        next(loaded.model.parameters()).add_(1.0)
    loaded.save_pretrained(tmp_path / "folder")
    assert "results.json" not in files_of(tmp_path / "folder")
    assert "## Figures\n\nNone." in (tmp_path / "folder" / "README.md").read_text()
    again = from_pretrained(tmp_path / "folder").model.state_dict()
    for name, weight in loaded.model.state_dict().items():
        assert torch.equal(again[name], weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: next(model.parameters()).fill_(torch.nan), "infinite or not a number"),
        (lambda model: model.register_buffer("more", torch.zeros(1)), "other weights than its run"),
    ],
)
def test_weights_that_could_not_be_loaded_are_not_saved(change, message, loaded, tmp_path):
    with torch.no_grad():
        change(loaded.model)
    with pytest.raises(RunError, match=message):
        loaded.save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("name", ["README.md", "model.safetensors", "weights.safetensors"])
def test_what_is_in_the_way_stays_and_other_files_too(name, loaded, tmp_path):
    (tmp_path / ".gitattributes").write_text("theirs")
    (tmp_path / name).write_text("theirs")
    with pytest.raises(RunError, match=f"{name}: is in the way"):
        loaded.save_pretrained(tmp_path)
    assert files_of(tmp_path) == {".gitattributes", name}
    (tmp_path / name).unlink()
    loaded.save_pretrained(tmp_path)
    assert (tmp_path / ".gitattributes").read_text() == "theirs"


def test_a_place_that_cannot_be_a_folder_is_one_line(loaded, tmp_path):
    (tmp_path / "file").write_text("theirs")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match=r"cannot be written: .*choose another folder"):
            loaded.save_pretrained(folder)


def test_a_damaged_or_halved_folder_is_said(loaded, tmp_path):
    folder = tmp_path / "folder"
    loaded.save_pretrained(folder)
    with pytest.raises(RunError, match=r"last\.ckpt: no such file"):
        resume(folder)
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RunError, match=r"model\.safetensors: has changed since"):
        from_pretrained(folder)
    weights.unlink()
    with pytest.raises(RunError, match=r"weights\.safetensors: no such file"):
        from_pretrained(folder)


def test_a_name_on_a_hub_is_no_folder_and_the_error_says_how_to_get_one():
    with pytest.raises(RunError, match=r"no such folder.*hf download someone/lm --local-dir"):
        from_pretrained("someone/lm")


def test_a_results_file_that_is_not_ours_is_refused(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    content = json.loads((run / "results.json").read_text())
    del content["selected_by"], content["sha256"]
    (run / "results.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="lacks 'selected_by'"):
        load(run).save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_name_does_not_break_the_table_of_files(loaded, tmp_path):
    files = [{"path": f"/home/me/a|b\n{n}", "bytes": 3, "sha256": "0"} for n in range(12)]
    loaded.run.config["data"]["files"] = files
    loaded.save_pretrained(tmp_path / "folder")
    card = (tmp_path / "folder" / "README.md").read_text()
    assert "| a\\|b 9 | 3 | `0` |\n\nAnd 2 more" in card
    assert "/home" not in card


def test_a_cell_of_ones_own_goes_along_and_is_run_when_trusted(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    (tmp_path / "mine.py").write_text(CELL)
    prepared = prepare(
        ToyTask,
        DataOptions(problem="reber", num_examples=24),
        tmp_path / "run",
        model=ModelOptions(hidden_size=6, cell=f"{tmp_path}/mine.py:plain"),
        training=TrainingOptions(updates=1),
    )
    prepared.trainer.fit()
    folder = tmp_path / "folder"
    load(tmp_path / "run", trust_code=True).save_pretrained(folder)
    assert (folder / "cell.py").read_text() == CELL
    assert "`cell.py` is code" in (folder / "README.md").read_text()
    with pytest.raises(RunError, match="its cell plain is code"):
        from_pretrained(folder)
    assert from_pretrained(folder, trust_code=True).task.options.model.kind.name == "plain"
