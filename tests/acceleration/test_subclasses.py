"""Subclasses with a forward of their own that calls torch's: that call is what kernels do."""

import copy
import functools
import pickle
from abc import ABC, abstractmethod

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled
from unrolled.acceleration.classes import is_accelerated


class Ragged(ABC, nn.RNNBase):
    """Lengths instead of a packed sequence, as pytorch-forecasting has it."""

    @abstractmethod
    def zeros(self): ...

    def forward(self, x, hx=None, lengths=None):
        """Read (T, B, 3), of each row its length."""
        if lengths is None:
            return super().forward(x, hx=hx)
        packed, state = super().forward(pack_padded_sequence(x, lengths), hx=hx)
        return pad_packed_sequence(packed)[0], state


class RaggedLSTM(Ragged, nn.LSTM):
    """Abstract above, torch's below."""

    def zeros(self): ...


class Doubled(nn.GRU):
    """Another input."""

    def forward(self, input, hx=None):
        """Do as GRU does, with the input doubled."""
        return super().forward(input * 2, hx)


class Of(Doubled):
    """A subclass of such a one."""


def decorated(forward):
    @functools.wraps(forward)
    def wrapper(*args, **kwargs):
        return forward(*args, **kwargs)

    return wrapper


class OfCell(nn.LSTMCell):
    """A cell, whose forward is wrapped."""

    @decorated
    def forward(self, input, hx=None):
        """Do as LSTMCell does, and return h."""
        return super().forward(input, hx)[0]


class Unlike(Of):
    """Between a subclass that calls and torch's there is one that does not."""

    def forward(self, input, hx=None):
        """Do as GRU does."""
        return nn.GRU.forward(self, input, hx)


KINDS = {"abstract": RaggedLSTM, "input": Doubled, "twice": Of, "cell": OfCell}


def read(layer):
    torch.manual_seed(1)
    if isinstance(layer, nn.LSTMCell):
        return layer(torch.randn(2, 3))
    lengths = {"lengths": torch.tensor([5, 2])} if isinstance(layer, Ragged) else {}
    return layer(torch.randn(5, 2, 3), **lengths)[0]


def without_torchs(monkeypatch):
    """Have torch's own code fail."""
    monkeypatch.setattr(nn.modules.rnn, "_VF", None)


@pytest.mark.parametrize("kind", KINDS)
def test_their_call_of_torchs_forward_is_a_kernels(kind, monkeypatch):
    layer = KINDS[kind](3, 4)
    expected = read(layer)
    gradients = torch.autograd.grad(expected.square().sum(), list(layer.parameters()))
    _, report = unrolled.accelerate(layer)
    assert not report.left_alone
    copies = [layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    without_torchs(monkeypatch)
    for one in copies:
        output = read(one)
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
        ours = torch.autograd.grad(output.square().sum(), list(one.parameters()))
        torch.testing.assert_close(ours, gradients, rtol=1e-5, atol=1e-5)
    unrolled.restore(layer)
    assert type(layer) is KINDS[kind]
    with pytest.raises(AttributeError):
        read(layer)


def test_a_parametrised_one_is_on_kernels_and_off_again(monkeypatch):
    layer = parametrizations.weight_norm(Of(3, 4), "weight_hh_l0")
    expected = read(layer)
    unrolled.accelerate(layer)
    with monkeypatch.context() as patch:
        without_torchs(patch)
        torch.testing.assert_close(read(layer), expected, rtol=1e-5, atol=1e-6)
    assert not is_accelerated(unrolled.restore(layer))
    assert torch.equal(read(layer), expected)


def test_smaller_weights_and_blocks_take_them():
    with unrolled.accelerated(weights="bf16") as report:
        layer = RaggedLSTM(3, 4).eval()
    assert list(report.on_kernels) == ["0"]
    plain = RaggedLSTM(3, 4).eval()
    plain.load_state_dict({k: w.bfloat16().float() for k, w in layer.state_dict().items()})
    for name in ("bias_ih_l0", "bias_hh_l0"):
        setattr(plain, name, getattr(layer, name))
    with torch.no_grad():
        torch.testing.assert_close(read(layer), read(plain), rtol=1e-5, atol=1e-6)


def test_compiled_they_give_what_they_gave():
    layer = Doubled(3, 4)
    expected = read(layer)
    unrolled.accelerate(layer)
    torch.testing.assert_close(
        read(torch.compile(layer, backend="eager")), expected, rtol=1e-5, atol=1e-6
    )


def test_one_that_calls_torchs_by_name_is_left_alone():
    _, report = unrolled.accelerate(Unlike(3, 4))
    assert "Unlike has a forward of its own, without super().forward" in str(report)
