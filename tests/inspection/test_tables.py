"""Exports hold what was traced, as independent readers see it."""

import json
import sys

import polars
import pytest
import safetensors
import torch

import unrolled
from unrolled.inspection import save_lstmvis, save_safetensors, to_polars


@pytest.fixture
def records() -> list[unrolled.Record]:
    layer = unrolled.GRU(3, 4, num_layers=2, bidirectional=True)
    return unrolled.trace(layer, torch.randn(5, 3, 3), lengths=[2, 5, 0])


def test_a_table_has_a_line_for_every_value_and_none_for_padding(records):
    table = to_polars(records)
    assert len(table) == 4 * (2 + 5) * 4  # layers and directions, steps, units
    line = table.filter(layer=1, reverse=True, row=1, step=3, unit=2)
    for name in ("h", "r", "z", "n"):
        assert line[name].item() == records[3].values[name][3, 1, 2].item()
    assert table.filter(polars.col("row") == 0)["step"].max() == 1


def test_layers_of_different_values_share_a_table():
    both = [
        *unrolled.trace(unrolled.GRU(3, 4), torch.randn(2, 1, 3)),
        *unrolled.trace(unrolled.TCN(3, 4), torch.randn(2, 1, 3)),
    ]
    table = to_polars(both)
    assert {"h", "z", "y"} <= set(table.columns)
    assert table["y"].null_count() == table["h"].null_count() == 8


def test_safetensors_hold_every_value_by_name(records, tmp_path):
    save_safetensors(records, tmp_path / "trace.safetensors")
    with safetensors.safe_open(tmp_path / "trace.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("l1_reverse.z"), records[3].values["z"])
        assert file.get_tensor("l0.lengths").tolist() == [2, 5, 0]
        layers = json.loads(file.metadata()["layers"])
    assert [layer["name"] for layer in layers] == ["l0", "l0_reverse", "l1", "l1_reverse"]
    assert layers[0]["cell"] == "gru_reset_after"
    with pytest.raises(unrolled.UnrolledError, match="two records of layer 0"):
        save_safetensors([*records, *records], tmp_path / "twice.safetensors")


def test_lstmvis_gets_its_three_files_and_what_ties_them(tmp_path):
    h5py = pytest.importorskip("h5py")
    (record,) = unrolled.trace(unrolled.LSTM(3, 4), 9 * torch.randn(5, 1, 3))
    folder = tmp_path / "vis"
    save_lstmvis([record], ["a", " ", "\n", "a", "b"], folder)
    with h5py.File(folder / "states.hdf5") as file:
        assert torch.equal(torch.tensor(file["c_l0"][:]), record.values["c"][:, 0])
    words = dict(line.split() for line in (folder / "words.dict").read_text().splitlines())
    with h5py.File(folder / "train.hdf5") as file:
        ids = file["word_ids"][:].tolist()
    assert len(words) == 4
    assert ids == [int(words[word]) for word in ["a", "␣", "↵", "a", "b"]]
    config = (folder / "lstm.yml").read_text()
    assert "{type: f, layer: 1, path: f_l0, transform: none}" in config
    with pytest.raises(unrolled.UnrolledError, match="not empty"):
        save_lstmvis([record], list("abcde"), folder)


def test_lstmvis_takes_one_text_and_its_tokens(records, tmp_path):
    with pytest.raises(unrolled.UnrolledError, match="got 3 rows of 5 steps and 2 tokens"):
        save_lstmvis(records, ["a", "b"], tmp_path / "vis")


@pytest.mark.parametrize("extra", ["tables", "hdf5"])
def test_a_missing_library_names_its_extra(records, tmp_path, monkeypatch, extra):
    for package in ("polars", "h5py"):
        monkeypatch.setitem(sys.modules, package, None)
    export = to_polars if extra == "tables" else lambda r: save_lstmvis(r, [], tmp_path / "vis")
    with pytest.raises(unrolled.UnrolledError, match=rf"unrolled\[{extra}\]"):
        export(records)
