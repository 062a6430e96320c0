"""The recurrence as an operator of torch: what torch.compile and torch.export see of a layer.

A tracer cannot follow lengths, which are data, nor enter a kernel, and would write out every step
of the reference. To it, one layer in one direction is one node, `unrolled::recurrence`, whatever
path it takes when it runs. Not for eager calls, which need no dispatcher: see `recurrent.py`.

Three operators. `recurrence` is what a layer calls and an exported program holds; its autograd
formula runs `recurrence_train`, which also returns what `recurrence_backward` will read.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.cells.registry import find_cell
from unrolled.errors import UnrolledError
from unrolled.kernels import Weights, recurrence, using_path
from unrolled.kernels.dispatch import kernel_of, kernel_taken
from unrolled.kernels.fused import Kernel
from unrolled.layers.lengths import Packing, check_lengths, pack_even, pack_lengths

__all__ = ["Padded", "padded_recurrence"]

_Flat = list[Tensor]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Padded:
    """What a `Packing` is, of a batch that stays padded, (T, B, ...): the operator packs it.

    lengths: (B,), to be checked when the operator runs; None where nothing is padded.
    """

    lengths: Tensor | None
    batch_size: int

    def sort(self, state: Tensor) -> Tensor:
        """Return `state`."""
        return state

    unsort = unpack = sort


def padded_recurrence(
    cell: Cell,
    x: Tensor,
    lengths: Tensor | None,
    weights: Weights,
    states: tuple[Tensor, ...],
    *,
    reverse: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run `cell` over a padded batch by the operator.

    It computes in the type of the weights, under autocast too.

    Args:
        cell: The equations.
        x: The input, (T, B, I).
        lengths: The number of steps of each row, (B,); None for T.
        weights: The weights of this layer and direction.
        states: The states before the first step, (B, P) or (B, H) each.
        reverse: Read each row from its own end to its beginning.

    Returns:
        The output (T, B, P), zero where a row has ended, and the states at the end of each row.

    Raises:
        ShapeError: when it runs: impossible lengths.
    """
    output, *after = torch.ops.unrolled.recurrence(
        x.to(weights.weight_ih.dtype),
        lengths,
        list(states),
        weights.tensors(),
        cell.key,
        weights.bias_ih is not None,
        weights.weight_hr is not None,
        reverse,
    )
    return output, tuple(after)


class _How(NamedTuple):
    """The arguments that say how to run, the last ones of every operator."""

    cell: str
    biased: bool
    projected: bool
    reverse: bool


class _Pass(NamedTuple):
    """An operator's arguments as `kernels` takes them: packed, the longest row first."""

    cell: Cell
    x: Tensor
    packing: Packing
    weights: Weights
    states: tuple[Tensor, ...]
    reverse: bool

    def run(self) -> _Flat:
        """Return the results of `unrolled::recurrence`, which may share memory."""
        sizes = self.packing.batch_sizes
        output, after = recurrence(
            self.cell, self.x, sizes, self.weights, self.states, reverse=self.reverse
        )
        return self.padded(output, after)

    def padded(self, output: Tensor, after: Sequence[Tensor]) -> _Flat:
        return [self.packing.unpack(output), *(self.packing.unsort(state) for state in after)]


def _pass(
    x: Tensor, lengths: Tensor | None, states: _Flat, weights: Sequence[Tensor], how: _How
) -> _Pass:
    cell = find_cell(how.cell)
    num_steps, batch_size, _ = x.shape
    packing = pack_even(num_steps, batch_size)
    if lengths is not None:
        where = f"cell {cell.name}"
        checked = check_lengths(where, lengths, num_steps, batch_size, x.device)
        packing = pack_lengths(checked, num_steps)
    named = Weights.of(cell, weights, biased=how.biased, projected=how.projected)
    before = tuple(packing.sort(state) for state in states)
    return _Pass(cell, packing.pack(x), packing, named, before, how.reverse)


def _run(x: Tensor, lengths: Tensor | None, states: _Flat, weights: _Flat, *how: Any) -> _Flat:
    """Run a layer in one direction: [output (T, B, P), *states at the end (B, ...)]."""
    with _without_autograd(x):
        return _apart(_pass(x, lengths, states, weights, _How(*how)).run(), [x, *states])


def _run_train(
    x: Tensor,
    lengths: Tensor | None,
    states: _Flat,
    weights: _Flat,
    gate_width: int,
    *how: Any,
) -> _Flat:
    """Return what `_run` does and then, unless `gate_width` is 0, what backward may use.

    That is whether a kernel has run, () boolean, its gates, (T * B, gate_width), and the histories
    of all states but the output, (T * B, H) each: rows that are packed, with room for any lengths.
    """
    with _without_autograd(x):
        this = _pass(x, lengths, states, weights, _How(*how))
        kernel = _kernel(this) if gate_width else None
        if kernel is None or kernel.gate_width(states[0].shape[1]) != gate_width:
            return _apart(this.run(), [x, *states]) + _nothing_kept(x, states, gate_width)
        result = kernel.forward(
            this.x,
            kernel.lay_out(this.x, this.packing.batch_sizes, this.weights, this.states),
            this.weights,
            this.states,
            this.reverse,
            train=True,
            capacity=x.shape[0] * x.shape[1],
        )
        kept = [_flag(True), result.gates, *result.histories[1:]]
        return this.padded(result.output, result.after) + kept


def _run_backward(
    given: list[Tensor | None],
    x: Tensor,
    lengths: Tensor | None,
    states: _Flat,
    weights: _Flat,
    output: Tensor,
    kept: _Flat,
    wanted: list[bool],
    *how: Any,
) -> _Flat:
    """Return the `wanted` gradients by x, states and weights; `given` are those by the results."""
    if not kept or not kept[0]:
        return _differentiate(given, x, lengths, states, weights, wanted, _How(*how))
    with _without_autograd(x):
        this = _pass(x, lengths, states, weights, _How(*how))
        packing, kernel = this.packing, kernel_of(this.cell)
        assert kernel is not None
        rows = kernel.lay_out(this.x, packing.batch_sizes, this.weights, this.states)
        d_output, *d_after = given
        found = kernel.backward(
            this.x,
            rows,
            this.weights,
            this.states,
            this.reverse,
            # copied, because an operator must not change what it is given
            (kernel.copy_gates(kept[1], rows), [packing.pack(output), *kept[2:]]),
            (
                None if d_output is None else packing.pack(d_output),
                *(None if d is None else packing.sort(d) for d in d_after),
            ),
            wanted,
        )
        asked = [d if is_wanted else None for d, is_wanted in zip(found, wanted, strict=True)]
        d_x, d_states, d_weights = _split(asked, len(states))
        padded = None if d_x is None else packing.unpack(d_x)
        unsorted = [None if d is None else packing.unsort(d) for d in d_states]
        return [d for d in (padded, *unsorted, *d_weights) if d is not None]


def _differentiate(
    given: Sequence[Tensor | None],
    x: Tensor,
    lengths: Tensor | None,
    states: _Flat,
    weights: _Flat,
    wanted: Sequence[bool],
    how: _How,
    *,
    again: bool = False,
) -> _Flat:
    """Do what `_run_backward` does by running forwards with a graph, differentiable `again`."""
    with _with_autograd(x), using_path("reference") if again else nullcontext():
        # views, so that the gradient stops here and does not run on into what they were made from
        leaves = [
            tensor.view_as(tensor) if again else tensor.detach().requires_grad_(is_wanted)
            for tensor, is_wanted in zip([x, *states, *weights], wanted, strict=True)
        ]
        x, states, weights = _split(leaves, len(states))
        results = _pass(x, lengths, states, weights, how).run()
        pairs = zip(results, given, strict=True)
        reached = [(result, d) for result, d in pairs if d is not None and result.requires_grad]
        sought = [leaf for leaf, is_wanted in zip(leaves, wanted, strict=True) if is_wanted]
        if not reached:
            return [torch.zeros_like(leaf) for leaf in sought]
        return list(
            torch.autograd.grad(
                [result for result, _ in reached],
                sought,
                [d for _, d in reached],
                create_graph=again,
                materialize_grads=True,
            )
        )


def _kernel(this: _Pass) -> Kernel | None:
    return kernel_taken(this.cell, this.x, this.packing.batch_sizes, this.weights, this.states)


def _flag(value: bool) -> Tensor:
    return torch.full((), value, dtype=torch.bool, device="cpu")


def _nothing_kept(x: Tensor, states: _Flat, gate_width: int) -> _Flat:
    """Return what `_run_train` keeps where no kernel ran: the same shapes, nothing in them."""
    if not gate_width:
        return []
    num_rows = x.shape[0] * x.shape[1]
    histories = [x.new_empty(num_rows, state.shape[1]) for state in states[1:]]
    return [_flag(False), x.new_empty(num_rows, gate_width), *histories]


def _apart(results: _Flat, given: _Flat) -> _Flat:
    """Return `results` contiguous and in memory of their own, as an operator must."""
    taken = {tensor.untyped_storage().data_ptr() for tensor in given}
    own = []
    for result in results:
        dense = result.contiguous()
        dense = dense.clone() if dense.untyped_storage().data_ptr() in taken else dense
        taken.add(dense.untyped_storage().data_ptr())
        own.append(dense)
    return own


def _split(tensors: Sequence[_T], num_states: int) -> tuple[_T, list[_T], list[_T]]:
    """Return the input's, the states' and the weights'."""
    x, *others = tensors
    return x, others[:num_states], others[num_states:]


@contextmanager
def _without_autograd(x: Tensor) -> Iterator[None]:
    """Leave gradients and types to who called the operator."""
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        yield


@contextmanager
def _with_autograd(x: Tensor) -> Iterator[None]:
    """Make graphs, inside of an operator too, where the dispatcher may pass autograd by."""
    included = torch._C._dispatch_tls_local_include_set()
    passed_by = torch._C._dispatch_tls_local_exclude_set()
    for key in ("AutogradFunctionality", "AutogradOther", "AutogradNestedTensor"):
        passed_by = passed_by.remove(getattr(torch._C.DispatchKey, key))
    with (
        torch._C._ForceDispatchKeyGuard(included, passed_by),
        torch.enable_grad(),
        torch.autocast(x.device.type, enabled=False),
    ):
        yield


class _Recurrence(torch.autograd.Function):
    """`unrolled::recurrence` where gradients are wanted."""

    @staticmethod
    def forward(
        ctx: Any, how: _How, num_states: int, lengths: Tensor | None, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        x, states, weights = _split(tensors, num_states)
        width = _gate_width(x, states, how)
        results = torch.ops.unrolled.recurrence_train(x, lengths, states, weights, width, *how)
        outputs, kept = results[: 1 + num_states], results[1 + num_states :]
        ctx.save_for_backward(lengths, *tensors, outputs[0], *kept)
        ctx.how, ctx.num_states, ctx.num_tensors = how, num_states, len(tensors)
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> Any:
        lengths, *saved = ctx.saved_tensors
        tensors, (output, *kept) = saved[: ctx.num_tensors], saved[ctx.num_tensors :]
        batch = (tensors[0], lengths, *_split(tensors, ctx.num_states)[1:])
        wanted = list(ctx.needs_input_grad[3:])
        if torch.is_grad_enabled():  # create_graph=True: the gradient is to be differentiated
            found = _differentiate(given, *batch, wanted, ctx.how, again=True)
        else:
            found = torch.ops.unrolled.recurrence_backward(
                list(given), *batch, output, kept, wanted, *ctx.how
            )
        gradients = iter(found)
        return (None,) * 3 + tuple(next(gradients) if is_wanted else None for is_wanted in wanted)


def _gate_width(x: Tensor, states: Sequence[Tensor], how: _How) -> int:
    """Return how many floats a row training keeps: none where no kernel can run."""
    if how.projected or x.dtype is not torch.float32 or x.device.type != "cpu":
        return 0
    kernel = kernel_of(find_cell(how.cell))
    return 0 if kernel is None else kernel.gate_width(states[0].shape[1])


def _autograd(
    keys: Any, x: Tensor, lengths: Tensor | None, states: _Flat, weights: _Flat, *how: Any
) -> _Flat:
    tensors = (x, *states, *weights)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        differentiable: Any = _Recurrence.apply
        return list(differentiable(_How(*how), len(states), lengths, *tensors))
    return _below_autograd("recurrence", keys, x, lengths, states, weights, *how)


def _no_autograd(name: str, keys: Any, *arguments: Any) -> _Flat:
    """Run a part of `unrolled::recurrence`, which has no gradient of its own."""
    if torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments):
        raise UnrolledError(
            f"unrolled::{name} has no gradient: it is a part of unrolled::recurrence, which has",
            "take second derivatives without torch.compile",
        )
    return _below_autograd(name, keys, *arguments)


def _below_autograd(name: str, keys: Any, *arguments: Any) -> _Flat:
    """Go on to what comes after autograd among the dispatcher's `keys`."""
    operator = getattr(torch.ops.unrolled, name).default
    found: _Flat = operator.redispatch(keys & torch._C._after_autograd_keyset, *arguments)
    return found


def _fake(x: Tensor, _lengths: Tensor | None, states: _Flat, *_: Any) -> _Flat:
    """Return results of the right shapes."""
    output = x.new_empty(x.shape[0], x.shape[1], states[0].shape[1])
    return [output, *(state.new_empty(state.shape) for state in states)]


def _fake_train(
    x: Tensor,
    lengths: Tensor | None,
    states: _Flat,
    _weights: _Flat,
    gate_width: int,
    *_: Any,
) -> _Flat:
    return _fake(x, lengths, states) + _nothing_kept(x, states, gate_width)


def _fake_backward(
    _given: list[Tensor | None],
    x: Tensor,
    _lengths: Tensor | None,
    states: _Flat,
    weights: _Flat,
    _output: Tensor,
    _kept: _Flat,
    wanted: list[bool],
    *_: Any,
) -> _Flat:
    tensors = zip([x, *states, *weights], wanted, strict=True)
    return [tensor.new_empty(tensor.shape) for tensor, is_wanted in tensors if is_wanted]


def _define(library: Any, name: str, arguments: str, run: Any, fake: Any, autograd: Any) -> None:
    how = "str cell, bool biased, bool projected, bool reverse"
    library.define(f"{name}({arguments}, {how}) -> Tensor[]", tags=torch.Tag.pt2_compliant_tag)
    library.impl(name, run, "CompositeExplicitAutograd")
    library.impl(name, autograd, "Autograd", with_keyset=True)
    torch.library.register_fake(f"unrolled::{name}", fake, lib=library)


_batch = "Tensor x, Tensor? lengths, Tensor[] states, Tensor[] weights"
_namespace: Any = torch.library.Library("unrolled", "DEF")  # type: ignore[no-untyped-call]  # no types
_define(_namespace, "recurrence", _batch, _run, _fake, _autograd)
_define(
    _namespace,
    "recurrence_train",
    f"{_batch}, int gate_width",
    _run_train,
    _fake_train,
    partial(_no_autograd, "recurrence_train"),
)
_define(
    _namespace,
    "recurrence_backward",
    f"Tensor?[] given, {_batch}, Tensor output, Tensor[] kept, bool[] wanted",
    _run_backward,
    _fake_backward,
    partial(_no_autograd, "recurrence_backward"),
)
