"""The numbers that all contestants of a work are given, and what a contestant is. numpy alone."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unrolled.benchmark.grid import TAPS, Work

__all__ = ["STEPS_ANSWERED", "Array", "Contestant", "Problem", "pose"]

Array = NDArray[np.float32]

STEPS_ANSWERED = 5  # of a stream: enough to see that the state is carried


@dataclass(frozen=True)
class Contestant:
    """What a worker runs.

    Args:
        repeat: One repeat; all of it is timed.
        answers: What the work's numbers are by this contestant, by name: the output, (T, B, H),
            zero past a row's end, and in training the gradients of the input and of weights.
        forget: Called before each repeat, not timed: puts all gradients to None.
        flop: The floating point operations of a repeat, where that is what is measured.
    """

    repeat: Callable[[], object]
    answers: Callable[[], dict[str, Array]]
    forget: Callable[[], object] = lambda: None
    flop: float | None = None


@dataclass(frozen=True)
class Problem:
    """Inputs and weights. They depend on the work alone.

    x: (T, B, I), of a stream (STEPS_ANSWERED, 1, I). d_output: (T, B, H * D), zero past a row's
    end. valid: (T, B, 1), 1 up to a row's end. lengths: (B,). weights: by torch's names, with
    torch's layout.
    """

    x: Array
    d_output: Array
    valid: Array
    lengths: NDArray[np.int64]
    weights: dict[str, Array]


def pose(work: Work) -> Problem:
    """Return the numbers of a work."""
    random = np.random.default_rng(0)
    steps = STEPS_ANSWERED if work.mode == "step" else work.steps
    lengths = np.full(work.rows, steps, np.int64)
    if work.ragged:
        lengths = random.integers(work.steps // 4, work.steps, work.rows, endpoint=True)
        lengths[0] = work.steps  # the batch is as long as it says
    valid = (np.arange(steps)[:, None] < lengths)[:, :, None].astype(np.float32)
    width = work.hidden_size * (1 + work.bidirectional)
    bound = 1 / math.sqrt(work.hidden_size)
    d_output = random.standard_normal((steps, work.rows, width), np.float32)
    d_output *= valid  # in place: where memory is measured, nothing may have gone before
    return Problem(
        random.standard_normal((steps, work.rows, work.input_size), np.float32),
        d_output,
        valid,
        lengths,
        {
            name: _rounded(random.uniform(-bound, bound, shape).astype(np.float32), work)
            for name, shape in _weight_shapes(work)
        },
    )


def _rounded(weight: Array, work: Work) -> Array:
    """Return weights that the work's format need not round, so that all contestants agree."""
    if weight.ndim == 1 or work.weights == "f32":
        return weight
    if work.weights == "bf16":
        return (weight.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    scale = np.abs(weight).max(1, keepdims=True) / np.float32(127)
    rounded: Array = np.round(weight / scale) * scale
    return rounded


def _weight_shapes(work: Work) -> Iterator[tuple[str, tuple[int, ...]]]:
    if work.cell == "tcn":
        yield from _block_shapes(work)
        return
    rows = work.num_gates * work.hidden_size
    directions = ("", "_reverse") if work.bidirectional else ("",)
    for layer in range(work.num_layers):
        width = work.hidden_size * len(directions) if layer else work.input_size
        for direction in directions:
            suffix = f"l{layer}{direction}"
            yield f"weight_ih_{suffix}", (rows, width)
            yield f"weight_hh_{suffix}", (rows, work.hidden_size)
            yield f"bias_ih_{suffix}", (rows,)
            yield f"bias_hh_{suffix}", (rows,)


def _block_shapes(work: Work) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield names and shapes of residual blocks, as `unrolled.TCN` names them."""
    units = work.hidden_size
    for level in range(work.num_layers):
        width = units if level else work.input_size
        for conv, inputs in (("conv1", width), ("conv2", units)):
            name = f"blocks.{level}.{conv}"
            yield f"{name}.bias", (units,)
            yield f"{name}.parametrizations.weight.original0", (units, 1, 1)
            yield f"{name}.parametrizations.weight.original1", (units, inputs, TAPS)
        if width != units:
            yield f"blocks.{level}.shortcut.weight", (units, width, 1)
            yield f"blocks.{level}.shortcut.bias", (units,)
