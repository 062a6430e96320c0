"""What `accelerate` says it did, what it leaves alone, and what is broken input."""

import copy
import threading
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import unrolled
from unrolled.acceleration import Report, changing
from unrolled.acceleration.classes import is_accelerated


class OwnForward(nn.LSTM):
    """A subclass that names the forward it calls, so that none can come between."""

    def forward(self, input, hx=None):
        """Do as LSTM does, with the input doubled."""
        return nn.LSTM.forward(self, input * 2, hx)


class OwnCheck(nn.GRU):
    """A subclass that replaces what forward calls."""

    def check_forward_args(self, input, hidden, batch_sizes):
        """Check nothing."""


class Unfinished(nn.Module):
    """A lazy module, as libraries have them."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(3, 4)
        self.layer.weight_ih_l0 = nn.UninitializedParameter()


def replaced():
    layer = nn.GRU(3, 4)
    layer.forward = lambda input, hx=None: (input, hx)
    return layer


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(3, 4)), {nn.LSTM})


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(nn.LSTM(3, 4)))


def without_init():
    layer = nn.LSTM.__new__(nn.LSTM)
    nn.Module.__init__(layer)
    return layer


LEFT_ALONE = {
    "own forward": (
        OwnForward(3, 4),
        "OwnForward has a forward of its own, without super().forward",
    ),
    "own check": (OwnCheck(3, 4), "OwnCheck has a check_forward_args of its own"),
    "replaced forward": (replaced(), "its forward was replaced"),
    "projection": (nn.LSTM(3, 4, proj_size=2), "proj_size=2: kernels have no projection"),
    "float64": (nn.GRU(3, 4).double(), "its weights are torch.float64; kernels take torch.float32"),
    "bfloat16": (nn.LSTMCell(3, 4).bfloat16(), "its weights are torch.bfloat16"),
    "meta": (nn.GRU(3, 4, device="meta"), "half made: its weights are on the device meta"),
    "lazy": (Unfinished().layer, "half made: its weights have no shape yet"),
    "without weights": (without_init(), "half made: it has no weights yet"),
    "base": (nn.RNNBase("LSTM", 3, 4), "it has no forward"),
    "scripted": (scripted(), "TorchScript runs what it has compiled"),
    "quantised": (quantised()[0], "it computes in whole numbers"),
}


@pytest.mark.parametrize("kind", LEFT_ALONE)
def test_what_is_left_alone_is_said_with_the_reason(kind):
    layer, words = LEFT_ALONE[kind]
    before = type(layer)
    model = nn.Sequential(nn.Linear(2, 2), layer) if kind != "scripted" else layer
    returned, report = unrolled.accelerate(model)
    assert returned is model
    assert not report.on_kernels
    ((name, reason),) = report.left_alone.items()
    assert name == ("1" if kind != "scripted" else "")
    assert words in reason
    assert type(layer) is before
    assert str(report).startswith("left alone: 1\n  ")
    assert reason in str(report)


def test_another_device_is_left_alone(monkeypatch):
    layer = nn.LSTM(3, 4)
    elsewhere = type("P", (), {"is_meta": False, "device": torch.device("cuda:0")})()
    monkeypatch.setattr(changing, "is_lazy", lambda _: False)
    layer.__dict__["_parameters"] = {"weight_ih_l0": elsewhere}
    reason = changing._reason_of_weights(layer)
    assert reason == "its weights are on cuda:0; kernels run on the CPU"


def test_without_a_kernel_a_layer_is_left_alone(monkeypatch):
    monkeypatch.setattr(changing, "kernel_or_reason", lambda _: "there is no C compiler")
    layer, report = unrolled.accelerate(nn.LSTM(3, 4))
    assert report.left_alone == {"": "LSTM(3, 4): there is no C compiler"}
    assert not is_accelerated(layer)


def test_a_report_names_every_layer_where_it_is():
    model = nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.LSTM(3, 4, num_layers=2), nn.GRU(4, 4)),
            "own": unrolled.LSTM(3, 4),
            "head": nn.Linear(4, 2),
            "odd": OwnForward(3, 4),
        }
    )
    _, report = unrolled.accelerate(model)
    assert report.on_kernels == {
        "encoder.0": "LSTM(3, 4, num_layers=2)",
        "encoder.1": "GRU(4, 4)",
        "own": "LSTM(3, 4)",
    }
    assert str(report).splitlines() == [
        "on kernels: 3",
        "  encoder.0: LSTM(3, 4, num_layers=2)",
        "  encoder.1: GRU(4, 4)",
        "  own: LSTM(3, 4)",
        "left alone: 1",
        "  odd: OwnForward(3, 4): its class OwnForward has a forward of its own, "
        "without super().forward",
    ]
    assert type(model["own"]) is unrolled.LSTM


def test_a_scripted_module_is_named_once_for_all_inside():
    _, report = unrolled.accelerate(nn.Sequential(scripted(), nn.GRU(3, 4)))
    assert list(report.left_alone) == ["0"]
    assert list(report.on_kernels) == ["1"]


def test_nothing_to_do_is_said():
    _, report = unrolled.accelerate(nn.Linear(2, 2))
    assert str(report) == "no recurrent layer of torch in this model"
    assert report == Report()


def test_accelerating_twice_is_accelerating_once():
    layer, first = unrolled.accelerate(nn.LSTM(3, 4))
    cls = type(layer)
    again, second = unrolled.accelerate(layer)
    assert again is layer
    assert type(layer) is cls
    assert first == second
    assert type(unrolled.restore(layer)) is nn.LSTM


def test_restoring_what_was_not_accelerated_changes_nothing():
    model = nn.Sequential(
        nn.LSTM(3, 4), OwnForward(4, 4), parametrizations.weight_norm(nn.GRU(4, 4), "weight_hh_l0")
    )
    before = [type(module) for module in model.modules()]
    assert unrolled.restore(model) is model
    assert [type(module) for module in model.modules()] == before
    assert unrolled.restore(unrolled.restore(model)) is model


def test_restored_layers_are_torchs_to_the_bit():
    layer = nn.GRU(3, 16)
    x = torch.randn(50, 3, 3)
    before = layer(x)[0]
    unrolled.accelerate(layer)
    layer(x)
    assert torch.equal(unrolled.restore(layer)(x)[0], before)
    assert type(layer) is nn.GRU


@pytest.mark.parametrize("function", [unrolled.accelerate, unrolled.restore])
@pytest.mark.parametrize("given", [None, "model.pt", nn.LSTM, {"weight": torch.zeros(1)}])
def test_what_is_not_a_module_is_refused_in_one_line(function, given):
    with pytest.raises(unrolled.UnrolledError, match=r"model must be a torch\.nn\.Module, got "):
        function(given)


# ---- Blocks --------------------------------------------------------------------------------------


def test_layers_made_inside_a_block_are_accelerated_and_others_are_not():
    before = nn.RNNBase.__init__
    with unrolled.accelerated() as report:
        inside = nn.Sequential(nn.LSTM(3, 4), nn.GRUCell(3, 4), OwnForward(3, 4))
    outside = nn.LSTM(3, 4)
    assert nn.RNNBase.__init__ is before
    assert [is_accelerated(layer) for layer in inside] == [True, True, False]
    assert report.on_kernels == {"0": "LSTM(3, 4)", "1": "GRUCell(3, 4)"}
    assert list(report.left_alone) == ["2"]
    assert not is_accelerated(outside)
    copied = copy.deepcopy(inside)
    assert torch.allclose(copied[0](torch.ones(5, 1, 3))[0], inside[0](torch.ones(5, 1, 3))[0])


def make_one_in_each_block_and_fail(reports):
    with unrolled.accelerated() as outer:
        with unrolled.accelerated() as inner:
            nn.LSTM(3, 4)
        nn.GRU(3, 4)
        reports += [inner, outer]
        raise KeyError


def test_blocks_may_be_nested_and_end_by_an_error():
    reports = []
    with pytest.raises(KeyError):
        make_one_in_each_block_and_fail(reports)
    layers = [list(report.on_kernels.values()) for report in reports]
    assert layers == [["LSTM(3, 4)"], ["GRU(3, 4)"]]
    assert not is_accelerated(nn.GRU(3, 4))


def test_a_block_is_of_its_own_thread():
    made = []
    with unrolled.accelerated():
        thread = threading.Thread(target=lambda: made.append(nn.LSTM(3, 4)))
        thread.start()
        thread.join()
    assert not is_accelerated(made[0])


def test_layers_made_without_numbers_inside_a_block_run_once_they_have_some():
    with unrolled.accelerated(), torch.device("meta"):
        layer = nn.LSTM(3, 4)
    weights = nn.LSTM(3, 4)
    layer.load_state_dict(weights.state_dict(), assign=True)
    assert is_accelerated(layer)
    x = torch.randn(5, 2, 3)
    torch.testing.assert_close(layer(x)[0], weights(x)[0])
