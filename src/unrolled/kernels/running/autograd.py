"""The gradient of a recurrence, whatever runs it: the one autograd function.

What runs a recurrence gives its first derivatives. Second ones, and many gradients at once, go
through the reference loop, here and nowhere else.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from unrolled.kernels.memory import check_memory, is_transformed, materialised

__all__ = ["Forward", "Passes", "RecurrenceFunction", "gradients_by", "gradients_of_rerun"]


class Forward(NamedTuple):
    """What a forward pass leaves.

    results: The output and the states at the end. tape: In training, what the backward pass reads
    besides the inputs. records: All that the cell named, (N, names, H), if asked for.
    """

    results: tuple[Tensor, ...]
    tape: Sequence[Tensor]
    records: Tensor | None = None


class Passes(Protocol):
    """The two passes of one recurrence, forward and backward.

    Between them, autograd keeps the inputs, a flat list of tensors (and None); `fill` makes of them
    what the passes take. Hooks may give others back than were kept: `backward` looks at them.
    """

    def fill(self, inputs: Sequence[Any]) -> Any:
        """Return the problem that has these inputs."""

    def forward(self, problem: Any, *, train: bool) -> Forward:
        """Run all steps."""

    def can_read(self, d_results: Sequence[Tensor | None]) -> bool:
        """Whether `backward` takes these gradients."""

    def backward(
        self,
        problem: Any,
        tape: Sequence[Tensor] | None,
        d_results: Sequence[Tensor | None],
        wanted: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        """Return the gradient of each input that is wanted.

        `d_results` None is zero; without a tape, it runs forwards once more.
        """

    def reference(self, problem: Any) -> Sequence[Tensor]:
        """Return the results, differentiable as often as wanted."""


class RecurrenceFunction(torch.autograd.Function):
    """A recurrence with its gradient: `apply(passes, *inputs)` returns its results."""

    @staticmethod
    def forward(ctx: Any, passes: Passes, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """Run all steps and keep what the backward pass reads."""
        results, tape, _ = passes.forward(passes.fill(inputs), train=True)
        ctx.output_counter = None
        first = results[0]  # a tracer's, or a wrapper, looks for changes itself
        if type(first) is Tensor and not is_transformed(first):
            ctx.output_counter = _ChangeCounter(first)
            tape = [tensor.data if tensor is first else tensor for tensor in tape]
        ctx.save_for_backward(*inputs, *tape)
        ctx.passes, ctx.num_inputs = passes, len(inputs)
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    def backward(ctx: Any, *d_results: Tensor | None) -> Any:
        """Return the gradients of `passes`, which has none, and of the inputs."""
        passes, saved, wanted = ctx.passes, ctx.saved_tensors, ctx.needs_input_grad[1:]
        inputs, tape = saved[: ctx.num_inputs], saved[ctx.num_inputs :]
        changed = ctx.output_counter is not None and ctx.output_counter.has_moved()
        own_tape = None if changed else tape
        return (None, *gradients_by(passes, inputs, own_tape, d_results, wanted))


def gradients_by(
    passes: Passes,
    inputs: Sequence[Any],
    tape: Sequence[Tensor] | None,
    d_results: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> Sequence[Tensor | None]:
    """Return the gradients of `inputs` by `passes`, or where they cannot, by the reference loop."""
    is_readable = passes.can_read(d_results)
    if not is_readable:
        d_results = tuple(None if d is None else materialised(d) for d in d_results)
        is_readable = passes.can_read(d_results)
    # create_graph=True: the gradient is to be differentiated; or many are asked for at once
    if torch.is_grad_enabled() or not is_readable:
        return gradients_of_rerun(
            lambda leaves: passes.reference(passes.fill(leaves)),
            inputs,
            d_results,
            wanted,
            create_graph=True,
        )
    return passes.backward(passes.fill(inputs), tape, d_results, wanted)


def gradients_of_rerun(
    solve: Callable[[Sequence[Any]], Sequence[Tensor]],
    inputs: Sequence[Tensor | None],
    d_results: Sequence[Tensor | None],
    wanted: Sequence[bool],
    *,
    create_graph: bool,
) -> list[Tensor | None]:
    """Return the gradients of the `wanted` inputs by running forwards once more, with a graph.

    Args:
        solve: Returns the results for inputs such as these.
        inputs: What it read.
        d_results: The gradient of each result; None for zero.
        wanted: Whose gradients.
        create_graph: Whether these are to be differentiated again.

    Returns:
        A gradient for each input; None if it is not wanted, or has no part in the results.

    Raises:
        ShapeError: The storage of one of them was freed or cut.
    """
    for tensor in (*inputs, *d_results):
        if tensor is not None:
            check_memory("a gradient, or a tensor that was kept for it,", tensor)
    device = next(tensor.device for tensor in inputs if tensor is not None)
    with _with_autograd(device.type):
        leaves = [_leaf(*pair, create_graph) for pair in zip(inputs, wanted, strict=True)]
        pairs = zip(solve(leaves), d_results, strict=True)
        reached = [(result, d) for result, d in pairs if d is not None and result.requires_grad]
        sought: Any = [leaf for leaf, is_wanted in zip(leaves, wanted, strict=True) if is_wanted]
        if not reached:
            return [None] * len(inputs)
        gradients = iter(
            torch.autograd.grad(
                [result for result, _ in reached],
                sought,
                [d for _, d in reached],
                create_graph=create_graph,
                allow_unused=True,
            )
        )
    return [next(gradients) if is_wanted else None for is_wanted in wanted]


def _leaf(tensor: Tensor | None, is_wanted: bool, create_graph: bool) -> Tensor | None:
    """Return `tensor` as one at which a gradient stops, and does not run on into its past.

    A view does that, and second derivatives go on through it.
    """
    if tensor is None:
        return None
    if create_graph and tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_(is_wanted)


_NOTHING = torch.empty(0, device="cpu")


class _ChangeCounter:
    """Whether a tensor has been changed in place since; its memory is not held.

    So that a user may write over an output, as with torch's own layers.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._alias = tensor.detach()  # has the same counter
        self._alias.data = _NOTHING if tensor.is_cpu else tensor.new_empty(0)
        self._version = tensor._version

    def has_moved(self) -> bool:
        return self._alias._version != self._version


@contextmanager
def _with_autograd(device: str) -> Iterator[None]:
    """Make graphs, inside of an operator too, where the dispatcher may pass autograd by."""
    included = torch._C._dispatch_tls_local_include_set()
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in ("AutogradFunctionality", "AutogradOther", "AutogradNestedTensor"):
        excluded = excluded.remove(getattr(torch._C.DispatchKey, key))
    with (
        torch._C._ForceDispatchKeyGuard(included, excluded),
        torch.enable_grad(),
        torch.autocast(device, enabled=False),
    ):
        yield
