import random
import resource

import numpy as np
import pytest
import torch
from torch import nn

from unrolled.errors import RunError
from unrolled.training.checkpoint import (
    load_checkpoint,
    load_weights,
    random_state,
    restore_random_state,
    save_checkpoint,
    save_weights,
)

CONTENT = {"weights": torch.arange(3.0), "nested": [{"a": (1, None)}], "loss": float("inf")}


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    save_checkpoint(tmp_path / "last.ckpt", CONTENT)
    loaded = load_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(loaded["weights"], CONTENT["weights"])
    assert (loaded["nested"], loaded["loss"]) == (CONTENT["nested"], CONTENT["loss"])


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(tmp_path, part):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, CONTENT)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(RunError, match=r"last\.ckpt: damaged, or not a checkpoint"):
        load_checkpoint(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(RunError, match=r"last\.ckpt: no such file"):
        load_checkpoint(tmp_path / "last.ckpt")


def test_another_file_of_torch_is_no_checkpoint(tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "last.ckpt")
    with pytest.raises(RunError, match="not a checkpoint of format"):
        load_checkpoint(tmp_path / "last.ckpt")


def test_no_code_in_a_checkpoint_is_executed(tmp_path):
    torch.save({"format": 2, "evil": Malicious(tmp_path / "owned")}, tmp_path / "last.ckpt")
    with pytest.raises(RunError, match="damaged, or not a checkpoint"):
        load_checkpoint(tmp_path / "last.ckpt")
    assert not (tmp_path / "owned").exists()


def test_a_failed_save_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, CONTENT)
    before = path.read_bytes()

    def disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        save_checkpoint(path, {"other": 1})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_in_the_middle_of_a_checkpoint_is_named(tmp_path):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, CONTENT)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(RunError, match=r"last\.ckpt: cannot be written: File too large"):
            save_checkpoint(path, {"weights": torch.zeros(50_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_weights_come_back_as_they_were(tmp_path):
    one, two = nn.LSTM(3, 4), nn.LSTM(3, 4)
    save_weights(tmp_path / "w", one)
    load_weights(tmp_path / "w", two)
    assert all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))


def test_weights_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(RunError, match=r"no such file .*unrolled resume"):
        load_weights(path, nn.Linear(2, 3))
    save_weights(path, nn.Linear(2, 4))
    with pytest.raises(RunError, match="another model"):
        load_weights(path, nn.Linear(2, 3))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RunError, match="damaged"):
        load_weights(path, nn.Linear(2, 4))


def test_random_generators_go_on_from_a_checkpoint(tmp_path):
    def draw() -> tuple[float, float, float, float]:
        return torch.rand(()).item(), np.random.standard_normal(), random.gauss(), random.random()

    draw()  # an odd number of normal deviates: numpy and python each hold one back
    save_checkpoint(tmp_path / "last.ckpt", random_state())
    first = draw(), draw()
    restore_random_state(load_checkpoint(tmp_path / "last.ckpt"))
    assert (draw(), draw()) == first
