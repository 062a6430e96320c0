import random
import resource

import numpy as np
import pytest
import safetensors.torch
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


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def test_a_bit_that_is_flipped_anywhere_in_a_checkpoint_is_told(tmp_path):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, CONTENT | {"log_length": 3, "log_sha256": "0" * 64})
    whole = path.read_bytes()
    for place in [*range(0, len(whole) - 400, 5), *range(len(whole) - 400, len(whole))]:
        path.write_bytes(flipped(whole, place, place % 8))
        with pytest.raises(RunError, match=r"last\.ckpt: (has changed|damaged)"):
            load_checkpoint(path)


def test_a_bit_that_is_flipped_anywhere_in_the_weights_is_told(tmp_path):
    path, model = tmp_path / "weights.safetensors", nn.Linear(2, 3)
    save_weights(path, model)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (place % 8, (place + 5) % 8):
            path.write_bytes(flipped(whole, place, bit))
            with pytest.raises(RunError, match=r"weights\.safetensors: (has changed|damaged)"):
                load_weights(path, model)


def test_weights_cut_anywhere_are_told(tmp_path):
    path, model = tmp_path / "weights.safetensors", nn.Linear(2, 3)
    save_weights(path, model)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError, match=r"weights\.safetensors: .* \(put back an earlier copy"):
            load_weights(path, model)


def test_a_checkpoint_cut_anywhere_is_told_or_has_lost_its_checksum_alone(tmp_path):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, CONTENT)
    whole = path.read_bytes()
    only_seal = len(whole) - len(b'\n{"sha256": ""}\n') - 64
    for length in [*range(0, only_seal, 7), *range(only_seal - 30, len(whole))]:
        path.write_bytes(whole[:length])
        if length == only_seal:
            assert torch.equal(load_checkpoint(path)["weights"], CONTENT["weights"])
            continue
        with pytest.raises(RunError, match=r"last\.ckpt: (has changed|damaged)"):
            load_checkpoint(path)


def test_files_of_older_versions_have_no_checksum_and_are_read(tmp_path):
    torch.save({"format": 3, **CONTENT}, tmp_path / "last.ckpt")
    assert load_checkpoint(tmp_path / "last.ckpt")["nested"] == CONTENT["nested"]
    model = nn.Linear(2, 3)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "w")
    load_weights(tmp_path / "w", nn.Linear(2, 3))


def test_other_programs_read_what_is_written(tmp_path):
    model = nn.LSTM(3, 4)
    save_weights(tmp_path / "w", model)
    tensors = safetensors.torch.load_file(tmp_path / "w")
    assert all(torch.equal(tensors[name], x) for name, x in model.state_dict().items())
    save_checkpoint(tmp_path / "last.ckpt", CONTENT)
    loaded = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert torch.equal(loaded["weights"], CONTENT["weights"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_told(tmp_path, value):
    model = nn.Linear(2, 3)
    with torch.no_grad():
        model.weight[1, 1] = value
    save_weights(tmp_path / "w", model)
    with pytest.raises(RunError, match="w: weight has numbers that are infinite or not a number"):
        load_weights(tmp_path / "w", nn.Linear(2, 3))


@pytest.mark.parametrize(
    "load", [load_checkpoint, lambda path: load_weights(path, nn.Linear(1, 1))]
)
def test_what_is_not_a_plain_file_is_not_read(tmp_path, load):
    (tmp_path / "file").symlink_to("/dev/zero")
    with pytest.raises(RunError, match="file: cannot be read: it is a link, which is not followed"):
        load(tmp_path / "file")


def test_random_generators_go_on_from_a_checkpoint(tmp_path):
    def draw() -> tuple[float, float, float, float]:
        return torch.rand(()).item(), np.random.standard_normal(), random.gauss(), random.random()

    draw()  # an odd number of normal deviates: numpy and python each hold one back
    save_checkpoint(tmp_path / "last.ckpt", random_state())
    first = draw(), draw()
    restore_random_state(load_checkpoint(tmp_path / "last.ckpt"))
    assert (draw(), draw()) == first
