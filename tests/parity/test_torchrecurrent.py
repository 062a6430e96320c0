"""Cells of the catalogue against those of torchrecurrent, which others wrote from the papers.

Not all that both have are here: its `OriginalLSTMCell` squashes by tanh, its `LEMCell` shows the
output the state before the step, its `SCRNCell` feeds its output back in the place of its hidden
units, where the papers have other things, and its `NASCell` adds in one place where the authors'
code multiplies.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

import unrolled

others: Any = pytest.importorskip("torchrecurrent")

STEPS, ROWS, INPUT, HIDDEN = 5, 3, 4, 6

Tensors = dict[str, torch.Tensor]


class HardSigmoid(nn.Module):
    """That of slope 0.2; torch's has another."""

    def forward(self, a):
        return torch.clamp(0.2 * a + 0.5, 0, 1)


@dataclass(frozen=True)
class Case:
    """Where the weights of a cell are in torchrecurrent's.

    ih and hh: our gates in the order of its rows; what is not there stays zero. vectors: ours by
    its names for them. further: its tensors of further recurrent rows, with our gates. fixed: what
    is a number for us, such as biases that we have no place for. more: ours from its tensors.
    delay: how many steps before the state its cell takes another one.
    """

    kind: str
    ih: str
    hh: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, str] = field(default_factory=dict)
    further: dict[str, str] = field(default_factory=dict)
    fixed: dict[str, float] = field(default_factory=dict)
    more: Callable[[Tensors], Tensors] = lambda _: {}
    delay: int = 0


def peepholes(theirs):
    parts = theirs["weight_ph"].chunk(3)
    return dict(zip(("p_i_l0", "p_f_l0", "p_o_l0"), parts, strict=True))


def bistable(theirs):
    return dict(zip(("w_a_l0", "w_c_l0"), theirs["weight_hh"].flatten().chunk(2), strict=True))


def fast_biases(theirs):
    b_z, b_n = (theirs["bias_ih"] + theirs["bias_hh"]).chunk(2)
    return {"b_z_l0": b_z, "b_n_l0": b_n, "bias_ih_l0": 0 * b_z, "bias_hh_l0": 0 * b_z}


def residual(theirs):
    return {
        **peepholes(theirs),
        "weight_ih_l0": torch.cat([theirs["weight_ih"], theirs["weight_res"]]),
        "weight_hh_l0": torch.cat([theirs["weight_hh"], theirs["weight_proj"]]),
    }


def before(theirs):
    rows = torch.cat([theirs["weight_ih"], theirs["weight_hh"]])
    return {"weight_ih_l0": rows}


CASES = {
    "janet": Case("JANETCell", "f g", "f g", fixed={"beta": 1.0}),
    "lstm_peephole": Case("PeepholeLSTMCell", "i f g o", "i f g o", more=peepholes),
    "lstm_residual": Case("ResLSTMCell", "i f g o", "i f g o", more=residual),
    "lstm_wmc": Case("WMCLSTMCell", "i f g o", "i f g o", further={"weight_mh": "m_i m_f m_o"}),
    "mgu": Case("MGUCell", "f n", "f n"),
    "mut1": Case("MUT1Cell", "z r n", "r n"),
    "mut2": Case("MUT2Cell", "z r n", "z r n"),
    "mut3": Case("MUT3Cell", "z r n", "z r n"),
    "light_ru": Case("LightRUCell", "n f", "f"),
    "li_gru": Case("LiGRUCell", "z n", "z n"),
    "miru1": Case("MiRU1Cell", "r n", "r n", {"update_coefficient": 0.5}),
    "miru2": Case("MiRU2Cell", "n", "n", {"update_coefficient": 0.5, "reset_coefficient": 0.5}),
    "ugrnn": Case("UGRNNCell", "n g", "n g"),
    "atr": Case("ATRCell", "p", "p"),
    "brc": Case("BRCell", "a c n", fixed={"bias_hh": 0.0}, more=bistable),
    "nbrc": Case("NBRCell", "a c n", "a c"),
    "cfn": Case("CFNCell", "theta eta n", "theta eta"),
    "ran": Case("RANCell", "g i f", "i f", fixed={"bias_ih": 0.0}),
    "sgu": Case("SGUCell", "g z", "g z", {"gate_nonlinearity": HardSigmoid()}),
    "dsgu": Case(
        "DSGUCell", "g z", "g z", {"gate_nonlinearity": HardSigmoid()}, further={"weight_ho": "k"}
    ),
    "star": Case("STARCell", "z k", "k"),
    "minimal_rnn": Case("MinimalRNNCell", "z", "z", further={"weight_mm": "g"}),
    "mlstm": Case("MultiplicativeLSTMCell", "m i f g o", "m", further={"weight_mh": "i f g o"}),
    "tau_gru": Case("tauGRUCell", "a z g r", "a z g r", delay=10),
    "t_rnn": Case("TRNNCell", "z f"),
    "t_gru": Case("TGRUCell", "z f o", fixed={"bias_hh": 0.0}, more=before),
    "t_lstm": Case("TLSTMCell", "z f o", fixed={"bias_hh": 0.0}, more=before),
    "ind_rnn": Case(
        "IndRNNCell",
        "a",
        options={"nonlinearity": "relu"},
        vectors={"vector_u": "w"},
        fixed={"bias_hh": 0.0},
    ),
    "fast_rnn": Case("FastRNNCell", "n", "n", vectors={"alpha": "alpha", "beta": "beta"}),
    "fast_grnn": Case(
        "FastGRNNCell",
        "a",
        "a",
        {"nonlinearity": "sigmoid"},
        {"zeta": "zeta", "nu": "nu"},
        more=fast_biases,
    ),
    "cornn": Case(
        "coRNNCell",
        "a",
        "a",
        {"dt": 0.042, "gamma": 2.7, "epsilon": 4.7},
        further={"weight_ch": "b"},
    ),
    "unicornn": Case(
        "UnICORNNCell",
        "a",
        options={"dt": 0.1, "alpha": 1.0},
        vectors={"weight_hh": "w", "weight_ch": "c"},
        fixed={"bias_hh": 0.0},
    ),
}


def rows_of(layer, side, gates, stacked):
    """Yield where the rows of each gate are in our tensor, and those that are to be there."""
    ours = layer.cell.feedforward if side == "ih" else layer.cell.recurrent
    for gate, rows in zip(gates.split(), stacked.split(HIDDEN), strict=True):
        start = HIDDEN * ours.index(gate)
        yield slice(start, start + HIDDEN), rows


@torch.no_grad()
def made_alike(name):
    """Return a layer of ours and a cell of theirs with the same weights, drawn by chance."""
    case, random = CASES[name], torch.Generator().manual_seed(0)
    layer = unrolled.Recurrent(name, INPUT, HIDDEN, dtype=torch.float64)
    cell = getattr(others, case.kind)(INPUT, HIDDEN, dtype=torch.float64, **case.options)
    theirs = dict(cell.named_parameters()) | dict(cell.named_buffers())
    for each, weight in theirs.items():
        draw = torch.rand(weight.shape, generator=random, dtype=torch.float64)
        weight.copy_(2 * draw - 1)
        if each in case.fixed:
            weight.fill_(case.fixed[each])
    ours = {key: torch.zeros_like(value) for key, value in layer.state_dict().items()}
    blocks = [("ih", "ih", case.ih), ("hh", "hh", case.hh)]
    blocks += [("hh", key.removeprefix("weight_"), gates) for key, gates in case.further.items()]
    for side, of_theirs, gates in blocks:
        for what in ("weight", "bias"):
            key = f"{what}_{of_theirs}"
            rows = theirs.get(key)
            if (
                rows is not None
                and key not in case.fixed
                and len(rows) == HIDDEN * len(gates.split())
            ):
                for place, block in rows_of(layer, side, gates, rows):
                    ours[f"{what}_{side}_l0"][place] = block
    for of_theirs, vector in case.vectors.items():
        ours[f"{vector}_l0"][:] = theirs[of_theirs].flatten()
    for key, value in case.more(theirs).items():
        ours[key][: len(value)] = value
    layer.load_state_dict(ours)
    return layer, cell


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_torchrecurrent(name):
    layer, cell = made_alike(name)
    delay = CASES[name].delay
    x = torch.randn(STEPS + 2 * delay, ROWS, INPUT, dtype=torch.float64, requires_grad=True)
    output, _ = layer(x)
    state, outputs = None, []
    for x_t in x:
        former = [outputs[-1 - delay] if len(outputs) > delay else None] if delay else []
        result = cell(x_t) if state is None else cell(x_t, state, *former)
        first, state = (result, result) if isinstance(result, torch.Tensor) else (result[0], result)
        if isinstance(result, tuple) and isinstance(result[1], tuple):
            state = result[1]
        outputs.append(first)
    expected = torch.stack(outputs)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    assert expected.std() > 1e-3
    y = torch.randn_like(output)
    (ours,) = torch.autograd.grad((output * y).sum(), x)
    (theirs,) = torch.autograd.grad((expected * y).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("antisymmetric", "AntisymmetricRNNCell"),
        ("gated_antisymmetric", "GatedAntisymmetricRNNCell"),
    ],
)
def test_tied_weights_make_the_antisymmetric_networks_of_torchrecurrent(name, kind):
    layer = unrolled.Recurrent(name, INPUT, HIDDEN, dtype=torch.float64)
    theirs = getattr(others, kind)(INPUT, HIDDEN, dtype=torch.float64, epsilon=0.1, gamma=0.01)
    with torch.no_grad():
        layer.bias_hh_l0.zero_()  # theirs is of the candidate alone
        ours = {
            name.removeprefix("parametrizations.").removesuffix(".original").removesuffix("_l0"): v
            for name, v in layer.state_dict().items()
        }
        theirs.load_state_dict(ours)
    x = torch.randn(STEPS, ROWS, INPUT, dtype=torch.float64)
    state, outputs = torch.zeros(ROWS, HIDDEN, dtype=torch.float64), []
    for x_t in x:
        state = theirs(x_t, state)
        outputs.append(state)
    torch.testing.assert_close(layer(x)[0], torch.stack(outputs), rtol=0, atol=1e-12)
