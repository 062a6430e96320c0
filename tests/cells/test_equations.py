"""Each cell against its equations, written down again in numpy in float64."""

import numpy as np
import pytest
import torch

import unrolled
from unrolled import cells
from unrolled.kernels import using_path
from unrolled.layers import state_tensors

STEPS, ROWS, INPUT, HIDDEN = 6, 3, 4, 5


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def rnn(w, x, s):
    return {"h": np.tanh(w.x("a", x) + w.u("a", s["h"]))}


def rnn_relu(w, x, s):
    return {"h": np.maximum(w.x("a", x) + w.u("a", s["h"]), 0)}


def lstm(w, x, s):
    i, f, o = (sigmoid(w.x(k, x) + w.u(k, s["h"])) for k in "ifo")
    c = f * s["c"] + i * np.tanh(w.x("g", x) + w.u("g", s["h"]))
    return {"h": o * np.tanh(c), "c": c}


def gru_reset_after(w, x, s):
    r, z = (sigmoid(w.x(k, x) + w.u(k, s["h"])) for k in "rz")
    n = np.tanh(w.x("n", x) + r * w.u("n", s["h"]))
    return {"h": (1 - z) * n + z * s["h"]}


def gru_reset_before(w, x, s):
    """Cho et al. (2014), equations 5-8: the candidate sees U (r * h)."""
    r, z = (sigmoid(w.x(k, x) + w.u(k, s["h"])) for k in "rz")
    n = np.tanh(w.x("n", x) + w.u("n", r * s["h"]))
    return {"h": z * s["h"] + (1 - z) * n}


def janet(w, x, s):
    """Van der Westhuizen and Lasenby (2018), equations 7-8, with beta = 1."""
    a = w.x("f", x) + w.u("f", s["h"])
    g = np.tanh(w.x("g", x) + w.u("g", s["h"]))
    return {"h": sigmoid(a) * s["h"] + (1 - sigmoid(a - 1)) * g}


class Weights:
    """The blocks of a layer's weights, by the name of the gate."""

    def __init__(self, layer):
        self.gates = layer.cell.gates
        self.arrays = {name: w.detach().numpy() for name, w in layer.named_parameters()}

    def term(self, side, gate, v):
        rows = slice(HIDDEN * self.gates.index(gate), HIDDEN * (self.gates.index(gate) + 1))
        weight, bias = self.arrays[f"weight_{side}_l0"], self.arrays[f"bias_{side}_l0"]
        return v @ weight[rows].T + bias[rows]

    def x(self, gate, v):
        return self.term("ih", gate, v)

    def u(self, gate, v):
        return self.term("hh", gate, v)


CASES = {
    "rnn": (lambda **k: unrolled.RNN(INPUT, HIDDEN, **k), rnn),
    "rnn relu": (lambda **k: unrolled.RNN(INPUT, HIDDEN, nonlinearity="relu", **k), rnn_relu),
    "lstm": (lambda **k: unrolled.LSTM(INPUT, HIDDEN, **k), lstm),
    "gru": (lambda **k: unrolled.GRU(INPUT, HIDDEN, **k), gru_reset_after),
    "gru reset before": (
        lambda **k: unrolled.GRU(INPUT, HIDDEN, reset="before", **k),
        gru_reset_before,
    ),
    "janet": (lambda **k: unrolled.JANET(INPUT, HIDDEN, **k), janet),
}


def test_the_equations_of_every_built_in_cell_are_written_down_here():
    written = {make().cell for make, _ in CASES.values()}
    assert [name for name, cell in cells.CELLS.items() if cell not in written] == []


@pytest.mark.parametrize("name", CASES)
def test_a_layer_computes_the_equations(name):
    make, equations = CASES[name]
    layer = make(dtype=torch.float64)
    for weight in layer.parameters():
        torch.nn.init.uniform_(weight, -1.0, 1.0)
    weights = Weights(layer)
    x = np.random.default_rng(0).normal(size=(STEPS, ROWS, INPUT))
    state = {name: np.zeros((ROWS, HIDDEN)) for name in layer.cell.states}
    expected = []
    for x_t in x:
        state = equations(weights, x_t, state)
        expected.append(state["h"])
    for path in ("reference", "torch")[: 1 + (name in ("rnn", "rnn relu", "lstm", "gru"))]:
        with using_path(path):
            output, end = layer(torch.from_numpy(x))
        np.testing.assert_allclose(output.detach(), np.stack(expected), rtol=0, atol=1e-12)
        for part, value in zip(state_tensors(end), state.values(), strict=True):
            np.testing.assert_allclose(part[0].detach(), value, rtol=0, atol=1e-12)


def test_gates_are_recorded_by_their_names():
    for cell in (cells.lstm, cells.gru_reset_after, cells.janet):
        ones = {gate: torch.ones(1) for gate in cell.gates}
        values = cell(ones, ones, {state: torch.ones(1) for state in cell.states}, {})
        assert {*cell.gates, *cell.states} <= set(values)
    assert values["f"].item() == pytest.approx(sigmoid(2.0))
