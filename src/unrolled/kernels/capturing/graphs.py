"""From a function of tensors to two graphs of pointwise operations: itself, and its gradient.

The function is run on small tensors, and differentiated, while every operation is written down.
Here it is made sure that the graphs say all that the function does, for any number of rows and
units: that it reads neither sizes nor values, and no tensors but its arguments. What the tensors
mean is not known here. PyTorch's own tracers, which do much more, take seconds to import.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch._dispatch.python import enable_python_dispatcher

from unrolled.errors import OptionError
from unrolled.kernels.capturing.errors import EquationsError, as_equations_error
from unrolled.kernels.capturing.graph_writer import ROWS, UNITS, GraphWriter, require_pointwise
from unrolled.kernels.capturing.reads import OperationWatch, SizeWatch

__all__ = ["Graphs", "Step", "pointwise_graphs"]

# Mistakes that do not depend on the tensors: the caller is to see them as they are.
_MISTAKES = (AttributeError, NameError, OptionError, TypeError)

# Takes (B, H) tensors, then (H,) vectors; returns results (B, H) to differentiate, and other values
# worth seeing, which may be anything.
Step = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


class Graphs(NamedTuple):
    """The two graphs of a step.

    forward: the arguments -> the results, the values, and what `backward` needs besides.
    backward: a gradient of each result, and the latter -> a gradient of each argument, or None.
    value_names: Those of the values: what else `step` returned, if (B, H) in float32 or bool.
    """

    forward: fx.Graph
    backward: fx.Graph
    value_names: list[str]


def pointwise_graphs(where: str, step: Step, num_inputs: int, num_vectors: int) -> Graphs:
    """Return the graphs of `step` on `num_inputs` (B, H) tensors and `num_vectors` vectors (H,).

    Args:
        where: The beginning of what errors say.
        step: The function.
        num_inputs: How many of its arguments are (B, H), at least one.
        num_vectors: How many are (H,), after these.

    Raises:
        EquationsError: `step` branches on values, reads sizes, uses a tensor from outside,
            changes its arguments, or calls what torch cannot differentiate.
    """
    calls = []
    for rows, units in ((1, 1), (ROWS, UNITS)):
        shapes = [(rows, units)] * num_inputs + [(units,)] * num_vectors
        arguments = [_tensor(shape).requires_grad_().clone() for shape in shapes]  # may be changed
        writer = GraphWriter(where, arguments)
        watch, sizes = OperationWatch(where, arguments), SizeWatch(where)
        with (
            as_equations_error(where, *_MISTAKES),
            enable_python_dispatcher(),
            writer,
            watch,
            sizes,
        ):
            results, others = step(*arguments)
        calls.append([*watch.calls, *map(watch.identity_of, results.values())])
        if calls[0] != calls[-1] or sizes.used:
            raise EquationsError(f"{where}: its equations depend on the number of units or rows")
        for name, value in results.items():
            if not _is_tensor(value, (rows, units), torch.float32):
                raise EquationsError(f"{where}: the new {name} must be (B, H) in float32")
    size, types = (ROWS, UNITS), (torch.float32, torch.bool)
    values = {name: value for name, value in others.items() if _is_tensor(value, size, *types)}
    outputs = [writer.node_of(value) for value in (*results.values(), *values.values())]
    tangents = [_tensor(size) for _ in results]
    forward, backward = writer.graph, writer.begin_gradient(tangents)
    with as_equations_error(where), writer:
        gradients = _gradients(list(results.values()), arguments, tangents)
    backward.output(tuple(g if g is None else writer.node_of(g) for g in gradients))
    require_pointwise(where, backward)
    forward.output((*outputs, *writer.saved()))
    require_pointwise(where, forward)
    return Graphs(forward, backward, list(values))


def _tensor(shape: tuple[int, ...]) -> Tensor:
    return torch.full(shape, 0.5, dtype=torch.float32, device="cpu")


def _is_tensor(value: Any, shape: tuple[int, ...], *dtypes: torch.dtype) -> bool:
    return isinstance(value, Tensor) and tuple(value.shape) == shape and value.dtype in dtypes


class _Seed(torch.autograd.Function):
    """A scalar whose gradient with respect to `results` is `tangents`.

    To hand `tangents` to `torch.autograd.grad` would import its symbolic sizes, which is slow.
    """

    @staticmethod
    def forward(ctx: Any, tangents: list[Tensor], *results: Tensor) -> Tensor:
        ctx.tangents = tangents
        return results[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.tangents


def _gradients(
    results: list[Tensor], arguments: list[Tensor], tangents: list[Tensor]
) -> Sequence[Tensor | None]:
    differentiable: Any = _Seed.apply
    seed: Tensor = differentiable(tangents, *results)
    if not seed.requires_grad:  # the results are constants
        return [None] * len(arguments)
    return torch.autograd.grad(seed, arguments, allow_unused=True)
