"""Short calls of a layer: where what surrounds a kernel takes longer than the kernel.

All that does not change from call to call is prepared once, and a call is one crossing from Python
to C (`crossing.c`), forwards and backwards. What that does not take - a tensor that is not plain, a
long sequence, somebody who looks on - goes the ordinary way, which gives the same bits, or says
what is wrong.
"""

import ctypes
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell, rnn_tanh
from unrolled.kernels.building import KernelError
from unrolled.kernels.building.warning import warn_once
from unrolled.kernels.memory import check_memory, materialised
from unrolled.kernels.running.arena import FLOAT
from unrolled.kernels.running.autograd import gradients_by
from unrolled.kernels.running.crossing import Crossing, is_possible, load_crossing
from unrolled.kernels.running.kernel import Kernel, KernelPasses, kernel_recurrence
from unrolled.kernels.running.paths import may_read, ready_kernel, require_kernel
from unrolled.kernels.running.problem import Problem, Signature, split
from unrolled.kernels.running.weight_cache import Packed, WeightCache, are_weights_cached
from unrolled.kernels.running.weight_format import weight_format

__all__ = ["ShortCalls", "crossing_of", "prepare_short_calls"]

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64
_UNITS = 20  # of the proof: no whole vectors
_FEW_WEIGHTS = 1 << 18  # read anew in less time than the ordinary way takes, which keeps them

_MOST_COPIED = 1 << 18  # floats


class ShortCalls:
    """The short calls of one layer, or of a stack; copies and pickles of it are empty.

    Args:
        cell: The equations; None: nothing is taken.
        input_size: I.
        hidden_size: H.
        num_layers: How many layers.
        num_directions: 1 or 2.
        biased: Whether there are biases.
        names: Of all weights, layer after layer, direction after direction.
        single: Whether a call is one step of one layer: input (B, I) or (I,), states (B, H) or
            (H,).
        heads: How many, of H / heads units each.
        cache: Where weights lie packed, of layers in inference; None: they are read as they are.
    """

    def __init__(
        self,
        cell: Cell | None = None,
        input_size: int = 0,
        hidden_size: int = 0,
        num_layers: int = 0,
        num_directions: int = 0,
        biased: bool = False,
        names: tuple[str, ...] = (),
        single: bool = False,
        heads: int = 1,
        cache: WeightCache | None = None,
    ) -> None:
        self._cell, self._names, self._single, self._heads = cell, names, single, heads
        self._cache, self._num_packed = cache, 0
        self._sizes = (input_size, hidden_size, num_layers, num_directions)
        self._biased = biased
        of_direction = 4 * hidden_size * (max(input_size, 2 * hidden_size) + hidden_size // heads)
        self._num_weights = num_layers * num_directions * of_direction  # at most, of 4 gates
        self._plan: _Plan | None = None
        self._parts: Sequence[_Plan] = ()  # of each layer and direction

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self._cell, *self._sizes, self._biased, self._names, self._single, self._heads)
        return ShortCalls, arguments

    def run(
        self, input: Tensor, hx: Any, parameters: dict[str, Any], *, batch_first: bool
    ) -> Sequence[Tensor] | None:
        """Return the output and the states at the end, as the layer does, or None.

        Args:
            input: The layer's, whatever it is.
            hx: The layer's.
            parameters: Of the layer, by name.
            batch_first: The layer's.
        """
        assert self._cell is not None
        cache = self._cache
        kernel = ready_kernel(self._cell, "f32" if cache is None else cache.weights)
        if kernel is None:
            return None
        if cache is None and weight_format() != "f32":
            return None  # of a stream, which keeps them itself
        if cache is None and are_weights_cached() and self._num_weights > _FEW_WEIGHTS:
            return None
        plan = self._plan
        is_new = cache is not None and cache.num_packed != self._num_packed
        if plan is None or plan.kernel is not kernel or is_new:
            plan = self._make_plan(kernel, parameters)
            if plan is None:
                return None
        results = plan.infer(plan.address, input, hx, parameters, batch_first)
        if results is None and _may_be_copied(input):
            input = input.contiguous()
            results = plan.infer(plan.address, input, hx, parameters, batch_first)
        if results is not True:
            return results  # type: ignore[no-any-return]  # of C
        if cache is not None:
            return None  # packed weights have no gradients
        x = input.transpose(0, 1).contiguous() if batch_first else input
        output, ends = self._with_gradients(x, hx, parameters)
        return (output.transpose(0, 1) if batch_first else output, *ends)

    def _make_plan(self, kernel: Kernel, parameters: dict[str, Any]) -> "_Plan | None":
        crossing = crossing_of(kernel)
        if crossing is None:
            return None
        kept, cache = None, self._cache
        if cache is not None:
            num_packed = cache.num_packed
            kept = self._packed_of(cache, kernel, parameters)
            if kept is None:
                return None
        options: Any = {"single": self._single, "heads": self._heads, "kept": kept}
        plan = _Plan(crossing, kernel, *self._sizes, self._biased, self._names, **options)
        if cache is None:
            self._parts = self._parts_of(plan, crossing)  # for gradients
        self._plan = plan
        if cache is not None:
            self._num_packed = num_packed
        return plan

    def _packed_of(
        self, cache: WeightCache, kernel: Kernel, parameters: dict[str, Any]
    ) -> list[Packed] | None:
        """Return the packed weights of each layer and direction, or None if some are not there."""
        if kernel.cell.parameters:
            return None  # a kernel does not pack vectors
        of_each = len(self._names) // (self._sizes[2] * self._sizes[3])
        firsts = [parameters.get(name) for name in self._names[::of_each]]
        parts = [None if w is None else cache.packed(kernel.library, w) for w in firsts]
        return [part for part in parts if part] if all(parts) else None

    def _parts_of(self, plan: "_Plan", crossing: Crossing) -> "Sequence[_Plan]":
        input_size, hidden_size, num_layers, num_directions = self._sizes
        num_parts = num_layers * num_directions
        if num_parts == 1:
            return [plan]
        of_each = len(self._names) // num_parts
        return [
            _Plan(
                crossing,
                plan.kernel,
                input_size if number < num_directions else num_directions * hidden_size,
                hidden_size,
                1,
                1,
                self._biased,
                self._names[number * of_each : (number + 1) * of_each],
                reverse=number % num_directions == 1,
                heads=self._heads,
            )
            for number in range(num_parts)
        ]

    def _with_gradients(
        self, x: Tensor, hx: Any, parameters: dict[str, Any]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the output (T, B, ...) and the states at the end, with a graph."""
        apply: Any = _ShortFunction.apply
        num_states, num_directions = len(self._parts[0].kernel.cell.states), self._sizes[3]
        before = (hx,) if num_states == 1 else hx
        outputs, ends = [], []
        for number, plan in enumerate(self._parts):
            if hx is None:
                states: Sequence[Tensor | None] = (None,) * num_states
            elif len(self._parts) == 1:
                states = before
            else:
                states = [state.narrow(0, number, 1) for state in before]
            output, *end = apply(plan, x, *states, *[parameters[name] for name in plan.names])
            outputs.append(output)
            ends.append(end)
            if len(outputs) == num_directions:
                x = output if num_directions == 1 else torch.cat(outputs, dim=-1)
                outputs = []
        if len(ends) == 1:
            return x, ends[0]
        return x, [torch.cat(parts) for parts in zip(*ends, strict=True)]


def _may_be_copied(input: Any) -> bool:
    """Whether a copy may be taken where an input is not: a step cut out of a batch, say.

    Raises:
        ShapeError: The input has no memory for its numbers.
    """
    if not isinstance(input, Tensor) or input.is_contiguous() or input.numel() > _MOST_COPIED:
        return False
    if not may_read(input):
        return False
    check_memory("input", input)
    return True


class _Description(ctypes.Structure):
    """`Plan` of crossing.c."""

    _fields_ = [
        *((name, _integer) for name in ("gates", "recurrent", "states", "vectors", "biased")),
        *((name, _integer) for name in ("input_size", "hidden_size", "head_size")),
        *((name, _integer) for name in ("layers", "directions")),
        *((name, _integer) for name in ("reverse", "single", "slots", "scratch_slots", "numbers")),
        *((name, _pointer) for name in ("forward", "backward")),
        *((name, _pointer) for name in ("packed_floats", "workspace_floats", "names")),
        *((name, _pointer) for name in ("kept", "pack", "weights", "addresses", "versions")),
    ]


class _Plan:
    """A kernel at work in a layer: what C is given at every call, by its address."""

    def __init__(
        self,
        crossing: Crossing,
        kernel: Kernel,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        num_directions: int,
        biased: bool,
        names: tuple[str, ...],
        *,
        reverse: bool = False,
        single: bool = False,
        heads: int = 1,
        kept: Sequence[Packed] | None = None,
    ) -> None:
        self.kernel, self.biased, self.hidden_size = kernel, biased, hidden_size
        self.infer, self.train, self.gradients, *_ = crossing
        cell, library = kernel.cell, kernel.library
        numbers = map(len, (cell.feedforward, cell.recurrent, cell.states, cell.parameters))
        sizes = (input_size, hidden_size, hidden_size // heads, num_layers, num_directions)
        self.names, self.reverse = names, reverse
        self._addresses = (_pointer * len(names))(*map(id, names))
        arrays = _arrays_of(kept)
        self._alive = (kept, arrays)
        self._description = _Description(
            *numbers,
            biased,
            *sizes,
            reverse,
            single,
            library.slots,
            library.scratch_slots,
            library.numbers,
            library.address("forward"),
            library.address("backward") if library.trains else None,
            *(library.address(f"{name}_floats") for name in ("packed", "workspace")),
            ctypes.addressof(self._addresses),
            *_addresses_of(arrays[:1]),
            library.address("pack"),
            *_addresses_of(arrays[1:]),
        )
        self.address = ctypes.addressof(self._description)


def _addresses_of(arrays: Sequence[Any]) -> list[int | None]:
    return [None if array is None else ctypes.addressof(array) for array in arrays]


def _arrays_of(kept: Sequence[Packed] | None) -> tuple[Any, ...]:
    """Return where packed weights lie, and the objects, addresses and versions of the weights."""
    if kept is None:
        return (None,) * 4
    weights = [id(weight) for part in kept for weight in part.weights if weight is not None]
    marks = [mark for part in kept for mark in part.marks]
    return (
        (_pointer * len(kept))(*(part.packed.data_ptr() for part in kept)),
        (_pointer * len(weights))(*weights),
        (_integer * len(marks))(*(address for address, *_ in marks)),
        (_integer * len(marks))(*(version for _, version, *_ in marks)),
    )


class _LayerPasses(KernelPasses):
    """The ordinary way of a plan: x is (T, B, I), states are (1, B, H) or None, which is zeros.

    Of a single step x is (B, I), and states are (B, H).
    """

    def __init__(self, plan: _Plan, inputs: Sequence[Any]) -> None:
        cell = plan.kernel.cell
        *steps, batch_size, _ = inputs[0].shape
        self._flat = Signature(cell, plan.biased, projected=False, reverse=plan.reverse)
        self._sizes = (batch_size,) * (steps[0] if steps else 1)
        self._hidden_size = plan.hidden_size
        super().__init__(plan.kernel, self.fill(inputs))

    def fill(self, inputs: Sequence[Any]) -> Problem:
        """Return the problem with these tensors, laid out as a kernel has them."""
        x, states, weights = split(inputs, len(self._flat.cell.states))
        zeros = x.new_zeros(x.shape[-2], self._hidden_size)
        before = [zeros if state is None else state for state in states]
        before = [state.squeeze(0) if state.dim() == 3 else state for state in before]
        rows = x.flatten(0, 1) if x.dim() == 3 else x
        return self._flat.problem([rows, *before, *weights], self._sizes)


class _ShortFunction(torch.autograd.Function):
    """A short call with its gradient: `apply(plan, x, *states, *weights)`, states or None each."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """Run all steps and keep what the backward pass reads; the output may be written over."""
        results = plan.train(plan.address, *inputs)
        if results is None:
            raise KernelError("a tensor was changed by another thread while a layer read it")
        *results, tape = results
        ctx.save_for_backward(*inputs, tape)
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *d_results: Tensor | None) -> Any:
        """Return the gradients: of the plan, which has none, and of the inputs."""
        plan, wanted, saved = ctx.plan, ctx.needs_input_grad, ctx.saved_tensors
        if not torch.is_grad_enabled():
            gradients = plan.gradients(plan.address, wanted, d_results, saved)
            if gradients is not None:
                return gradients
        *inputs, _ = saved
        flat = [
            # not by `flatten`, which batched gradients do not have
            None if d is None else materialised(d).reshape(-1, d.shape[-1])
            for d in d_results
        ]
        passes = _LayerPasses(plan, inputs)
        gradients = gradients_by(passes, inputs, None, flat, wanted[1:])
        pairs = zip(gradients, inputs, strict=True)
        return (None, *(None if g is None else g.view(i.shape) for g, i in pairs))


def prepare_short_calls(cell: Cell) -> bool:
    """Compile what short calls cross by, and return whether there is any; `cell` has a kernel."""
    return crossing_of(require_kernel(cell)) is not None


_loaded: list[Crossing | None] = []


def crossing_of(kernel: Kernel) -> Crossing | None:
    """Return the functions of crossing.c; None, after one warning, where they cannot be had."""
    if not _loaded:
        _loaded.append(_load(kernel))
    return _loaded[0]


def _load(kernel: Kernel) -> Crossing | None:
    if not is_possible():
        return None
    try:
        return load_crossing(partial(_prove, kernel))
    except KernelError as error:
        warn_once(f"short calls of layers take longer than they could: {error}")
        return None


def _prove(kernel: Kernel, crossing: Crossing) -> None:
    """Hold a new library against the ordinary way, with any kernel, on a small case.

    Raises:
        KernelError: It gives another bit.
    """
    cell, generator = kernel.cell, torch.Generator().manual_seed(0)
    if cell.step_inputs:  # of which a short call gives none
        cell = rnn_tanh
    if (
        cell is not kernel.cell or not kernel.library.trains
    ):  # with weights of fewer bits, of a stream
        kernel = require_kernel(cell)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, **FLOAT).requires_grad_()

    gates, recurrent = len(cell.feedforward) * _UNITS, len(cell.recurrent) * _UNITS
    shapes = [(gates, 3), *([(recurrent, _UNITS)] if recurrent else []), (gates,)]
    shapes += [*([(recurrent,)] if recurrent else []), *((_UNITS,) for _ in cell.parameters)]
    weights = {f"weight {n}": numbers(*shape) for n, shape in enumerate(shapes)}
    plan = _Plan(crossing, kernel, 3, _UNITS, 1, 1, True, tuple(map(sys.intern, weights)))
    x, states = numbers(4, 2, 3), [numbers(1, 2, _UNITS) for _ in cell.states]
    leaves = [x, *states, *weights.values()]
    passes = _LayerPasses(plan, leaves)
    ordinary = kernel_recurrence(kernel, passes.fill(leaves))
    expected = [ordinary[0].view(4, 2, _UNITS), *(state.unsqueeze(0) for state in ordinary[1])]
    apply: Any = _ShortFunction.apply
    got: list[Tensor] = [*apply(plan, *leaves)]
    for results in (expected, got):
        total = torch.stack([(result * result).sum() for result in results]).sum()
        results += torch.autograd.grad(total, leaves)
    with torch.no_grad():
        hx = states[0] if len(states) == 1 else tuple(states)
        got += plan.infer(plan.address, x, hx, weights, False) or ()
    expected += expected[: 1 + len(states)]
    same = len(got) == len(expected) and all(map(torch.equal, got, expected))
    if not same:
        raise KernelError("what crosses from Python to a kernel failed its proof")
