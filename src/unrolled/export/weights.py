"""The weights of layers elsewhere: Keras, ONNX, flax and the JANET paper's, to ours and back.

Each function is of one layer in one direction, on arrays of float32 or float64, and returns new
ones. Ours are a dict by the names without a layer: "weight_ih" (G H, I), "weight_hh" (G H, H),
"bias_ih" (G H,), "bias_hh" (G H,), the gates in the order that docs/conventions.md gives: LSTM
i f g o, GRU r z n, JANET f g. `load` puts them into a layer, `weights_of` takes them out.

Ours of a GRU have the same shapes whether it resets after the product or before it: of which of the
two they are is for the caller to know.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.errors import OptionError, ShapeError
from unrolled.export.weight_arrays import (
    array_of,
    check,
    from_order,
    order_of,
    ours_of,
    to_order,
    units_of,
)
from unrolled.layers import RecurrentLayer

__all__ = [
    "from_flax",
    "from_janet_paper",
    "from_keras",
    "from_onnx",
    "load",
    "to_flax",
    "to_janet_paper",
    "to_keras",
    "to_onnx_weights",
    "weights_of",
]

Array = NDArray[Any]
Weights = dict[str, Array]
Kind = Literal["rnn", "lstm", "gru"]

# Which of our gates comes where: ours are RNN a, LSTM i f g o, GRU r z n.
_KERAS: dict[str, tuple[int, ...]] = {"rnn": (0,), "lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}
_ONNX: dict[str, tuple[int, ...]] = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
_FLAX: dict[str, tuple[str, ...]] = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}


def load(layer: RecurrentLayer, weights: Mapping[str, Array], suffix: str = "l0") -> None:
    """Put the weights of one layer and direction into `layer`.

    Args:
        layer: The layer; a GRU with the `reset` of the one that they are of, which nothing shows.
        weights: As this module's functions return them.
        suffix: Which one: "l0", "l0_reverse", "l1" ...

    Raises:
        OptionError: There is no such layer or direction, or no such weight; or it is no layer of
            ours, or not one layer's weights.
        ShapeError: A weight has another shape, another type, or numbers beyond float32.
    """
    where = f"{type(layer).__name__}"
    given: tuple[Any, Any] = (layer, weights)
    if not isinstance(given[0], RecurrentLayer):
        hint = "make an unrolled.LSTM, GRU, RNN or JANET of these sizes"
        got = f"got {type(layer).__module__.partition('.')[0]}.{where}"
        raise OptionError(f"load: layer must be a recurrent one of unrolled, {got}", hint)
    if not isinstance(given[1], Mapping):
        got = f"got {type(weights).__name__}"
        hint = "from_onnx returns a list, with a dict for each direction"
        raise OptionError(f"load: weights must be a dict of one layer and direction, {got}", hint)
    own = weights_of(layer, suffix)
    if own.keys() != weights.keys():
        takes = "takes no biases: bias=False" if len(own) == 2 else "has biases; bias=False: none"
        message = f"{where}: needs {', '.join(own)}, got {', '.join(weights)}"
        raise OptionError(message, f"as it was made, the layer {takes}")
    arrays = {name: array_of(where, name, value) for name, value in weights.items()}
    for name, value in arrays.items():
        check(where, name, value, own[name].shape)
        if np.abs(value[np.isfinite(value)]).max(initial=0) > np.finfo(np.float32).max:
            raise ShapeError(f"{where}: {name} has numbers beyond those of float32")
    with torch.no_grad():
        for name, value in arrays.items():
            getattr(layer, f"{name}_{suffix}").copy_(torch.from_numpy(np.array(value)))


def weights_of(layer: RecurrentLayer, suffix: str = "l0") -> Weights:
    """Return copies of the weights of one layer and direction, by name.

    Raises:
        OptionError: There is no such layer or direction, or it has a projection, which others lack.
    """
    where = f"{type(layer).__name__}"
    if not hasattr(layer, f"weight_ih_{suffix}"):
        own = [name for name, _ in layer.named_parameters() if name.startswith("weight_ih_")]
        hint = f"it has {', '.join(name.removeprefix('weight_ih_') for name in own)}"
        raise OptionError(f"{where}: no layer {suffix}", hint)
    if getattr(layer, "proj_size", 0):
        raise OptionError(f"{where}: proj_size={layer.proj_size} has no place in the others")
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    tensors = {name: getattr(layer, f"{name}_{suffix}", None) for name in names}
    return {name: t.numpy(force=True).copy() for name, t in tensors.items() if t is not None}


# ---- Keras 3 -------------------------------------------------------------------------------------


def from_keras(kind: Kind, weights: Sequence[Array], *, reset_after: bool = True) -> Weights:
    """Return the weights of a Keras layer, as its `get_weights()` gives them.

    Keras has kernel (I, G H), recurrent_kernel (H, G H) and bias; LSTM gates i f c o, GRU z r h.
    The bias is (G H,), or (2, G H) of a GRU with `reset_after`; without biases there is none.
    Its one bias becomes our bias_ih, and bias_hh is zero.

    Args:
        kind: "rnn" (SimpleRNN), "lstm" or "gru".
        weights: The two or three arrays, in Keras's order.
        reset_after: Of a GRU, as it was made: our `reset="after"` if so, else `reset="before"`. Its
            bias has to be of that kind; without biases nothing shows another.

    Raises:
        ShapeError: Arrays of other shapes, or another number of them.
    """
    order = order_of("from_keras", _KERAS, kind)
    if len(weights) not in (2, 3):
        message = f"from_keras: {kind} has 2 or 3 weights, got {len(weights)}"
        raise ShapeError(message, "Bidirectional gives three of each direction: one at a time")
    names = ("kernel", "recurrent_kernel", "bias")
    kernel, recurrent, *_ = (
        array_of("from_keras", *each) for each in zip(names, weights, strict=False)
    )
    hidden_size = recurrent.shape[0] if recurrent.ndim else 0
    hint = "in the order of get_weights(): kernel (I, G H), recurrent_kernel (H, G H), bias"
    check("from_keras", names[1], recurrent, (hidden_size, len(order) * hidden_size), hint)
    if kernel.ndim != 2:
        raise ShapeError(f"from_keras: kernel must be 2-D, got {kernel.shape}", hint)
    check("from_keras", "kernel", kernel, (kernel.shape[0], len(order) * hidden_size))
    ours = {
        "weight_ih": from_order(kernel.T, order),
        "weight_hh": from_order(recurrent.T, order),
    }
    if len(weights) == 3:
        double = kind == "gru" and reset_after
        width = len(order) * hidden_size
        bias = array_of("from_keras", "bias", weights[2])
        hint = f"of a GRU made with reset_after={not reset_after}?" if kind == "gru" else ""
        check("from_keras", "bias", bias, (2, width) if double else (width,), hint)
        rows = bias if double else np.stack([bias, np.zeros_like(bias)])
        ours["bias_ih"], ours["bias_hh"] = (from_order(row, order) for row in rows)
    return ours


def to_keras(kind: Kind, weights: Mapping[str, Array], *, reset_after: bool = True) -> list[Array]:
    """Return our weights as the `set_weights()` of a Keras layer takes them.

    Where Keras has one bias, it is the sum of our two: of a GRU with the reset before the product
    too, as there both are added to the same number. `reset_after` is that of our layer, which its
    weights do not say.
    """
    order = order_of("to_keras", _KERAS, kind)
    weights = ours_of("to_keras", weights, len(order))
    theirs = [to_order(weights[name], order).T for name in ("weight_ih", "weight_hh")]
    if "bias_ih" in weights:
        biases = [to_order(weights[name], order) for name in ("bias_ih", "bias_hh")]
        double = kind == "gru" and reset_after
        theirs.append(np.stack(biases) if double else biases[0] + biases[1])
    return theirs


# ---- ONNX ----------------------------------------------------------------------------------------


def from_onnx(kind: Kind, w: Array, r: Array, b: Array | None = None) -> list[Weights]:
    """Return the weights of a node LSTM, GRU or RNN of ONNX, for each of its directions.

    A GRU with `linear_before_reset` 1 is our `reset="after"`, with 0, ONNX's default,
    `reset="before"`: an attribute of the node, which its weights do not say. Peepholes (P) have no
    place in our LSTM.

    Args:
        kind: "rnn", "lstm" or "gru".
        w: (D, G H, I), D directions, the second the one that reads from the end.
        r: (D, G H, H).
        b: (D, 2 G H), None where there are no biases.

    Raises:
        ShapeError: Arrays of other shapes.
    """
    order, all_ours = order_of("from_onnx", _ONNX, kind), []
    w, r = array_of("from_onnx", "W", w), array_of("from_onnx", "R", r)
    b = None if b is None else array_of("from_onnx", "B", b)
    if w.ndim != 3 or r.ndim != 3:
        message = f"from_onnx: W and R must be 3-D, got {w.shape} and {r.shape}"
        raise ShapeError(message, "the first dimension is the directions, 1 or 2: W[None]")
    hidden_size = units_of("from_onnx", r[0], len(order))
    rows = len(order) * hidden_size
    check("from_onnx", "R", r, (len(w), rows, hidden_size))
    check("from_onnx", "W", w, (len(w), rows, w.shape[-1]))
    if b is not None:
        check("from_onnx", "B", b, (len(w), 2 * rows))
    for direction in range(len(w)):
        ours = {
            "weight_ih": from_order(w[direction], order),
            "weight_hh": from_order(r[direction], order),
        }
        if b is not None:
            ours["bias_ih"] = from_order(b[direction, :rows], order)
            ours["bias_hh"] = from_order(b[direction, rows:], order)
        all_ours.append(ours)
    return all_ours


def to_onnx_weights(
    kind: Kind, directions: Sequence[Mapping[str, Array]]
) -> tuple[Array, Array, Array | None]:
    """Return W, R and B of a node of ONNX, of the weights of its one or two directions."""
    order = order_of("to_onnx_weights", _ONNX, kind)
    directions = [ours_of("to_onnx_weights", each, len(order)) for each in directions]
    w, r = (
        np.stack([to_order(ours[name], order) for ours in directions])
        for name in ("weight_ih", "weight_hh")
    )
    if "bias_ih" not in directions[0]:
        return w, r, None
    biases = [
        np.concatenate([to_order(ours[name], order) for name in ("bias_ih", "bias_hh")])
        for ours in directions
    ]
    return w, r, np.stack(biases)


# ---- flax ----------------------------------------------------------------------------------------


def from_flax(kind: Literal["lstm", "gru"], params: Mapping[str, Any]) -> Weights:
    """Return the weights of flax's `LSTMCell` or `OptimizedLSTMCell`, or its `GRUCell`.

    Flax has a dense layer for each part of each gate: "ii" ... "io" (I, H) of the input, "hi" ...
    "ho" (H, H); "ir" "iz" "in" and "hr" "hz" "hn" of a GRU, which resets after the product. A bias
    that a part lacks is zero.

    Args:
        kind: "lstm" or "gru".
        params: {"ii": {"kernel": ..., "bias": ...}, ...}.

    Raises:
        OptionError: A part is missing.
        ShapeError: Kernels of different shapes.
    """
    gates = order_of("from_flax", _FLAX, kind)
    ours: Weights = {}
    for ends, prefix in (("ih", "i"), ("hh", "h")):
        parts = [f"{prefix}{gate}" for gate in gates]
        if missing := [part for part in parts if part not in params]:
            message = f"from_flax: {kind} lacks {', '.join(missing)}, got {', '.join(params)}"
            raise OptionError(message, "give the params of the cell itself")
        kernels = [array_of("from_flax", part, params[part]["kernel"]) for part in parts]
        for part, kernel in zip(parts, kernels, strict=True):
            check("from_flax", part, kernel, kernels[0].shape)
        zeros = np.zeros(kernels[0].shape[1], kernels[0].dtype)
        ours[f"weight_{ends}"] = np.concatenate([kernel.T for kernel in kernels])
        biases = [np.asarray(params[part].get("bias", zeros)) for part in parts]
        ours[f"bias_{ends}"] = np.concatenate(biases)
    return {name: ours[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}


def to_flax(
    kind: Literal["lstm", "gru"], weights: Mapping[str, Array]
) -> dict[str, dict[str, Array]]:
    """Return our weights as the params of flax's cell.

    Where flax has one bias for a gate, it is the sum of our two: in the recurrent part of an LSTM;
    in the input part of r and z of a GRU.
    """
    gates = order_of("to_flax", _FLAX, kind)
    weights = ours_of("to_flax", weights, len(gates))
    split = {name: np.split(np.asarray(array), len(gates)) for name, array in weights.items()}
    params: dict[str, dict[str, Array]] = {}
    for number, gate in enumerate(gates):
        params[f"i{gate}"] = {"kernel": split["weight_ih"][number].T}
        params[f"h{gate}"] = {"kernel": split["weight_hh"][number].T}
        if "bias_ih" not in weights:
            continue
        own, recurrent = split["bias_ih"][number], split["bias_hh"][number]
        if kind == "gru" and gate == "n":
            params["in"]["bias"], params["hn"]["bias"] = own, recurrent
        else:
            params[f"{'i' if kind == 'gru' else 'h'}{gate}"]["bias"] = own + recurrent
    return params


# ---- JANET ---------------------------------------------------------------------------------------


def from_janet_paper(
    kernels: tuple[Array, Array], recurrents: tuple[Array, Array], biases: tuple[Array, Array]
) -> Weights:
    """Return the weights of the JANET paper's equations 7-8: W_f, W_c, U_f, U_c, b_f, b_c.

    s_t = U_f h + W_f x + b_f and c~ = tanh(U_c h + W_c x + b_c), with rows of units: (H, I), (H, H)
    and (H,). The candidate c is our g; its beta is 1, which our cell has too.

    Raises:
        ShapeError: Arrays of other shapes.
    """
    hidden_size, input_size = np.shape(kernels[0])
    pairs = (("W", kernels, (hidden_size, input_size)), ("U", recurrents, (hidden_size,) * 2))
    for letter, pair, shape in (*pairs, ("b", biases, (hidden_size,))):
        for gate, each in zip("fc", pair, strict=True):
            check("from_janet_paper", f"{letter}_{gate}", np.asarray(each), shape)
    bias = np.concatenate(biases)
    return {
        "weight_ih": np.concatenate(kernels),
        "weight_hh": np.concatenate(recurrents),
        "bias_ih": bias,
        "bias_hh": np.zeros_like(bias),
    }


def to_janet_paper(
    weights: Mapping[str, Array],
) -> tuple[tuple[Array, ...], tuple[Array, ...], tuple[Array, ...]]:
    """Return W_f W_c, U_f U_c and b_f b_c, the bias the sum of our two."""
    weights = ours_of("to_janet_paper", weights, 2)
    if "bias_ih" not in weights:
        raise OptionError("to_janet_paper: the paper has biases, got none", "bias=True")
    bias = weights["bias_ih"] + weights["bias_hh"]
    kernels, recurrents, biases = (
        tuple(np.split(each, 2)) for each in (weights["weight_ih"], weights["weight_hh"], bias)
    )
    return kernels, recurrents, biases
