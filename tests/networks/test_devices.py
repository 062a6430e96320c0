"""The names of devices, and batches that are moved to one."""

import pytest
import torch
from torch import nn

from unrolled.errors import OptionError
from unrolled.networks import available_devices, device_of, devices, find_device, moved
from unrolled.tasks import load
from unrolled.training import Processes, TrainingOptions


def test_what_is_not_here_is_named_with_what_is(monkeypatch):
    counts = {"cuda": 2, "mps": 1}
    monkeypatch.setattr(devices, "_count", lambda kind: counts.get(kind, 0))
    assert available_devices() == {"cpu": 1, **counts}
    choose = r"choose one of cpu, cuda:0, cuda:1, mps, or auto"
    with pytest.raises(OptionError, match=rf"no xpu on this computer \({choose}"):
        find_device("xpu:1")
    with pytest.raises(OptionError, match=rf"no cuda:7, this computer has 2 cuda \({choose}"):
        find_device("cuda:7")
    assert find_device("auto") == torch.device("cuda:0")
    assert [str(find_device("cuda", rank)) for rank in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert find_device("cuda:1", 0) == torch.device("cuda:1")
    counts.clear()
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")


NO_NAMES = ("gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "", "CUDA", "cuda:1²", "cuda:123456")


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_of_a_device_is_refused_wherever_it_is_given(name, tmp_path):
    expected = "device must be auto or one of cpu, cuda, xpu, mps, got "
    with pytest.raises(OptionError, match=expected):
        TrainingOptions(device=name)
    with pytest.raises(OptionError, match=expected):
        load(tmp_path, device=name)


def test_a_batch_is_moved_whole_and_what_is_no_tensor_stays():
    batch = ([torch.ones(2)], None, "text", (torch.zeros(1, dtype=torch.int64), 3))
    there = moved(batch, torch.device("meta"))
    assert there[0][0].is_meta
    assert there[3][0].is_meta
    assert (*there[1:3], there[3][1]) == (None, "text", 3)
    assert device_of(nn.Linear(1, 1, device="meta")).type == "meta"
    assert device_of(nn.ReLU()).type == "cpu"
    assert Processes(3, 4).local_rank == 0
