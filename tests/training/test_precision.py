from typing import NamedTuple

import pytest
import torch
from torch import nn

from unrolled import LSTM
from unrolled.errors import OptionError
from unrolled.training.options import TrainingOptions
from unrolled.training.precision import in_precision


class Said(NamedTuple):
    scores: torch.Tensor
    lengths: torch.Tensor
    nothing: None = None


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.output = LSTM(3, 8), nn.Linear(8, 2)

    def forward(self, x, *, lengths):
        hidden, state = self.layer(x)
        return Said(self.output(hidden), lengths), state


def test_what_comes_out_is_float32_of_what_autocast_gives():
    torch.manual_seed(0)
    model, x, lengths = Network(), torch.randn(4, 5, 3), torch.tensor([5, 4, 3, 2])
    said, state = in_precision(model, "bfloat16")(x, lengths=lengths)
    with torch.autocast("cpu", torch.bfloat16):
        wanted, wanted_state = model(x, lengths=lengths)
    assert wanted.scores.dtype is torch.bfloat16
    assert said.scores.dtype is state.h.dtype is state.c.dtype is torch.float32
    assert torch.equal(said.scores, wanted.scores.float())
    assert torch.equal(state.c, wanted_state.c.float())
    assert said.lengths is lengths
    assert said.nothing is None
    said.scores.sum().backward()
    assert all(weight.grad.dtype is torch.float32 for weight in model.parameters())
    assert in_precision(model, "float32") is model


def test_another_precision_is_refused():
    with pytest.raises(OptionError, match="one of float32, bfloat16, got 'float16'"):
        TrainingOptions(precision="float16")


def test_a_device_without_mixed_precision_is_named(monkeypatch):
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda device: device != "cpu")
    with pytest.raises(OptionError, match="precision bfloat16: device cpu has no mixed") as error:
        in_precision(Network(), "bfloat16")
    assert error.value.hint == "train with precision float32"
