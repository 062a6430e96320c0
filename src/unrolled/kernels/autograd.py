"""A kernel on tensors that may require gradients; second derivatives go through the reference."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.kernels import reference
from unrolled.kernels.fused import Kernel
from unrolled.kernels.reference import Weights
from unrolled.kernels.rows import Rows

__all__ = ["run"]


def run(
    kernel: Kernel,
    x: Tensor,
    batch_sizes: Sequence[int],
    weights: Weights,
    states: tuple[Tensor, ...],
    *,
    reverse: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Do what `reference.run` does, for float32 tensors on CPU, without a projection."""
    rows = kernel.lay_out(x, batch_sizes, weights, states)
    tensors = (x, *states, *weights.tensors())
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        biased = weights.bias_ih is not None
        differentiable: Any = _Recurrence.apply
        output, *after = differentiable(kernel, rows, reverse, biased, len(states), *tensors)
        return output, tuple(after)
    result = kernel.forward(x, rows, weights, states, reverse)
    return result.output, tuple(result.after)


class _Recurrence(torch.autograd.Function):
    """A kernel with its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Kernel,
        rows: Rows,
        reverse: bool,
        biased: bool,
        num_states: int,
        x: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        weights = Weights.of(kernel.cell, tensors[num_states:], biased=biased)
        result = kernel.forward(x, rows, weights, tensors[:num_states], reverse, train=True)
        ctx.save_for_backward(x, *tensors, *result.histories, result.gates)
        ctx.fixed = (kernel, rows, reverse, biased, num_states, len(tensors))
        ctx.spent = False
        ctx.set_materialize_grads(False)
        return (result.output, *result.after)

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> Any:
        batched = torch._C._functorch.is_functorch_wrapped_tensor
        if torch.is_grad_enabled() or any(g is not None and batched(g) for g in given):
            # create_graph=True: the gradient is to be differentiated; or many are asked for at once
            with torch.enable_grad():
                return (None,) * 5 + _differentiable_gradients(ctx, given)
        kernel, rows, reverse, biased, num_states, num_tensors = ctx.fixed
        x, *others, gates = ctx.saved_tensors
        states, histories = tuple(others[:num_states]), others[num_tensors:]
        weights = Weights.of(kernel.cell, others[num_states:num_tensors], biased=biased)
        if ctx.spent:  # a second backward pass: the first has overwritten the gates
            gates = kernel.forward(x, rows, weights, states, reverse, train=True).gates
        ctx.spent = True
        wanted = ctx.needs_input_grad[5:]
        kept = (gates, histories)
        found = kernel.backward(x, rows, weights, states, reverse, kept, given, wanted)
        return (None,) * 5 + tuple(found)


def _differentiable_gradients(
    ctx: Any, given: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """Return the gradients by the reference, with a graph of their own."""
    kernel, rows, reverse, biased, num_states, num_tensors = ctx.fixed
    # views, so that the gradient stops here and does not run on into what they were made from
    x, *tensors = (tensor.view_as(tensor) for tensor in ctx.saved_tensors[: 1 + num_tensors])
    output, after = reference.run(
        kernel.cell,
        x,
        rows.batch_sizes.tolist(),
        Weights.of(kernel.cell, tensors[num_states:], biased=biased),
        tuple(tensors[:num_states]),
        reverse=reverse,
    )
    wanted = [tensor for tensor in (x, *tensors) if tensor.requires_grad]
    results = zip((output, *after), given, strict=True)
    pairs = [(r, g) for r, g in results if g is not None and r.requires_grad]
    if not pairs:
        return tuple(None for _ in range(1 + num_tensors))
    found = iter(
        torch.autograd.grad(
            [r for r, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return tuple(next(found) if tensor.requires_grad else None for tensor in (x, *tensors))
