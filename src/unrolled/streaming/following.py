"""How a model is followed: its `forward` runs once on tensors without memory, and is written down.

Each function and module that a tensor with a time axis comes to is asked for its rule: in
`functions.py` and `modules.py`. What comes of it is a list of `Step`s, which a running stream goes
through at each piece.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from unrolled.errors import UnrolledError
from unrolled.streaming.parts import BATCH, STEPS, Align, Apply, Part, Pick, Slot
from unrolled.streaming.values import EndState, Series, refusal

__all__ = ["Call", "Follower", "Rules", "Step"]

_following = threading.RLock()


@dataclass(frozen=True)
class Step:
    """A part of a running stream, where it reads, and where what it gives is kept."""

    part: Part
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    is_several: bool = False  # whether what it gives is a tuple, for all of the outputs


@dataclass(frozen=True)
class _Derived:
    """A value that is made of weights alone, again for each piece."""

    slot: int
    sample: Tensor


@dataclass(frozen=True)
class Call:
    """A call of a function or a module, as a rule is given it."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    name: str

    def value(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument, by its place or its name."""
        if position < len(self.arguments):
            return self.arguments[position]
        return self.keywords.get(name, default)


@dataclass(frozen=True)
class Rules:
    """What functions and modules do with time.

    Args:
        of_function: Is given a follower and a call; writes it down and returns what it gives.
        of_module: The same, and the ordinary way to call a module.
    """

    of_function: Callable[["Follower", Call], Any]
    of_module: Callable[["Follower", Call, Callable[..., Any]], Any]


class Follower(TorchFunctionMode):
    """What writes down a model's `forward`.

    Args:
        model: The model.
        rules: What functions and modules do with time.
        sample: What it reads, without memory.
        time: Its axis that is time; the other axis that counts, the batch.
        batch: The axis that is the batch.
        batch_size: Rows of the stream that is to be.

    Attributes:
        steps: What was written down.
        source: The input.
        reads_tokens: How many different numbers the input may hold, where it is looked up.
    """

    def __init__(
        self,
        model: nn.Module,
        rules: "Rules",
        sample: Tensor,
        time: int,
        batch: int,
        batch_size: int,
    ) -> None:
        super().__init__()
        self._rules = rules
        self.batch_size = batch_size
        self.steps: list[Step] = []
        self.reads_tokens: int | None = None
        self._paths = {module: name for name, module in model.named_modules()}
        self._stack: list[str] = []
        self._num_slots = 0
        self._is_looking = True  # at calls of modules
        self._known: dict[int, tuple[Tensor, Series | EndState | _Derived]] = {}
        length = sample.shape[time]
        self.source = Series(self.new_slot(), sample, time, batch, length, length)
        self._marker = sample.shape[batch]
        self._lengths = {length}
        self.know(self.source)

    # ---- What is known ---------------------------------------------------------------------------

    def new_slot(self) -> int:
        """Return a place for another value."""
        self._num_slots += 1
        return self._num_slots - 1

    @property
    def num_slots(self) -> int:
        """How many values there are."""
        return self._num_slots

    def know(self, series: Series) -> Tensor:
        """Return the series' tensor, from now on known as it."""
        self._known[id(series.sample)] = series.sample, series
        self._lengths.add(series.length)
        return series.sample

    def end_state(self, sample: Tensor) -> Tensor:
        """Return a tensor that is known as a state at the end of a sequence."""
        self._known[id(sample)] = sample, EndState(self.where(""))
        return sample

    def series_of(self, value: Any) -> Series | None:
        """Return what is known of a tensor with a time axis."""
        known = self._known.get(id(value))
        return known[1] if known is not None and isinstance(known[1], Series) else None

    def derived_slot(self, value: Any) -> int | None:
        """Return where a value is kept that is made of weights; None of any other."""
        known = self._known.get(id(value))
        return known[1].slot if known is not None and isinstance(known[1], _Derived) else None

    def where(self, name: str) -> str:
        """Return the words for where `forward` is: the module, and the function `name` in it."""
        module = self._stack[-1] if self._stack else "the model"
        return f"{module}, {name}," if name else f"{module}"

    def refuse(self, name: str, why: str, hint: str = "") -> UnrolledError:
        """Return the error that something here cannot be streamed."""
        return refusal(self.where(name), why, hint)

    def _values(self, tree: Any) -> list[Series | EndState | _Derived]:
        values = [self._known.get(id(leaf)) for leaf in _leaves(tree)]
        return [value[1] for value in values if value is not None]

    # ---- What is written down --------------------------------------------------------------------

    def append(self, part: Part, inputs: Sequence[int], *outputs: int) -> None:
        """Write down a part that gives one value."""
        self.steps.append(Step(part, tuple(inputs), outputs))

    def merged(self, call: Call, series: Sequence[Series]) -> tuple[Series, dict[int, int]]:
        """Return what the steps of several series have in common, and the slots to read them from.

        Where one comes later than another, they are aligned.
        """
        first = max(each.first for each in series)
        base = next(each for each in series if each.first == first)
        for each in series:
            if each.rate != base.rate or each.length != base.length:
                raise self.refuse(call.name, "brings together sequences of different lengths")
        slots = {each.slot: each for each in series}
        if all(each.first == first for each in series):
            return base, {slot: slot for slot in slots}
        new = {slot: self.new_slot() for slot in slots}
        align = Align([each.time for each in slots.values()])
        self.steps.append(Step(align, tuple(slots), tuple(new.values()), is_several=True))
        emitted = min(each.emitted for each in series)
        ahead = next((each.ahead for each in series if each.ahead), "")
        return replace(base, emitted=emitted, ahead=ahead), new

    def apply(self, call: Call) -> Any:
        """Write down a call that treats each step by itself; return what it gives.

        Raises:
            OptionError: What it gives has no axis for time, or has a state for an argument.
        """
        tree = (call.arguments, call.keywords)
        values = self._values(tree)
        for value in values:
            if isinstance(value, EndState):
                why = f"reads the state at the end of {value.name}"
                raise self.refuse(call.name, why, "a stream has no end; read the output")
        series = [value for value in values if isinstance(value, Series)]
        base, slots = self.merged(call, series)
        inputs: list[int] = [slots[base.slot]]  # the first says how many steps there are
        arguments, keywords = self._template(tree, inputs, slots, base)
        part = Apply(call.function, arguments, keywords, base.time, base.batch)
        result = self._run(call)
        tensors = [leaf for leaf in _leaves(result) if isinstance(leaf, Tensor)]
        if isinstance(result, Tensor):
            return self._kept(call, part, inputs, base, result)
        if not isinstance(result, (tuple, list)) or len(tensors) != len(result):
            return result
        whole = self.new_slot()
        self.append(part, inputs, whole)
        parts = [self._kept(call, Pick(n), [whole], base, t) for n, t in enumerate(tensors)]
        return _pytree.tree_unflatten(parts, _pytree.tree_structure(result))

    def _kept(
        self, call: Call, part: Part, inputs: Sequence[int], base: Series, sample: Tensor
    ) -> Tensor:
        slot = self.new_slot()
        try:
            series = base.like(slot, sample)
        except LookupError:
            raise self.refuse(call.name, "mixes steps of time, or rows of the batch") from None
        self.append(part, inputs, slot)
        return self.know(series)

    def _template(
        self, tree: Any, inputs: list[int], slots: dict[int, int], base: Series | None
    ) -> Any:
        """Return arguments with slots for values and words for sizes; fills `inputs`."""

        def of(value: Any) -> Any:
            if isinstance(value, (tuple, list)):
                parts = [of(part) for part in value]
                return tuple(parts) if isinstance(value, tuple) else parts
            if isinstance(value, dict):
                return {name: of(part) for name, part in value.items()}
            known = self._known.get(id(value))
            if known is not None:
                assert not isinstance(known[1], EndState)
                slot = slots.get(known[1].slot, known[1].slot)
                if slot not in inputs:
                    inputs.append(slot)
                return Slot(inputs.index(slot))
            if base is not None and type(value) is int and value == base.length:
                return STEPS
            return BATCH if type(value) is int and value == self._marker else value

        return of(tree)

    def _run(self, call: Call) -> Any:
        """Return what the call gives, without memory."""
        arguments, keywords = _pytree.tree_map_only(
            Tensor, _without_memory, (call.arguments, call.keywords)
        )
        if not isinstance(call.function, nn.Module):
            return call.function(*arguments, **keywords)
        named = (*call.function.named_parameters(), *call.function.named_buffers())
        weights = {name: _without_memory(weight) for name, weight in named}
        self._is_looking = False
        result = torch.func.functional_call(call.function, weights, arguments, keywords)
        self._is_looking = True
        return result

    # ---- While it runs ---------------------------------------------------------------------------

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", str(function))
        if name == "__get__":  # of an attribute, such as x.shape
            name = getattr(getattr(function, "__self__", None), "__name__", name)
        values, call = self._values((args, kwargs)), Call(function, args, kwargs, name)
        if not any(isinstance(value, (Series, EndState)) for value in values):
            return self._derive(call, values)
        return self._rules.of_function(self, call)

    def _derive(self, call: Call, values: Sequence[Any]) -> Any:
        """Return what is made of no sequence; what is made of weights is made for each piece."""
        tree = (call.arguments, call.keywords)
        leaves = _leaves(tree)
        sizes = [leaf for leaf in leaves if type(leaf) is int]
        if self._lengths.intersection(sizes):
            raise self.refuse(call.name, "makes something as long as the sequence")
        result = call.function(*call.arguments, **call.keywords)
        of_weights = bool(values) or any(isinstance(leaf, Tensor) for leaf in leaves)
        if not of_weights or not isinstance(result, Tensor) or self._marker in sizes:
            return result
        inputs: list[int] = []
        arguments, keywords = self._template(tree, inputs, {}, None)
        slot = self.new_slot()
        self.append(Apply(call.function, arguments, keywords, 0, 0), inputs, slot)
        self._known[id(result)] = result, _Derived(slot, result)
        return result

    @contextmanager
    def _inside(self, module: nn.Module) -> Iterator[None]:
        path, kind = self._paths.get(module, ""), type(module).__name__
        self._stack.append(f"{kind} '{path}'" if path else kind)
        yield  # after an error the place is still known
        self._stack.pop()

    def follow(self, model: nn.Module) -> Any:
        """Return what the model gives for the input.

        Raises:
            OptionError: Something in it cannot be streamed.
        """
        ordinary, thread = nn.Module.__call__, threading.get_ident()

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread or not self._is_looking:
                return ordinary(module, *args, **kwargs)
            with self._inside(module):
                seen = Call(module, args, kwargs, "")
                if not any(isinstance(v, (Series, EndState)) for v in self._values((args, kwargs))):
                    return ordinary(module, *args, **kwargs)
                return self._rules.of_module(self, seen, ordinary)

        with _following, torch.no_grad(), self:
            nn.Module.__call__ = call  # type: ignore[method-assign]  # as torch.fx does
            try:
                return model(self.source.sample)
            finally:
                nn.Module.__call__ = ordinary  # type: ignore[method-assign]  # as it was


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, slice):
        return [tree.start, tree.stop, tree.step]
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in _leaves(part)]
    if isinstance(tree, dict):
        return [leaf for part in tree.values() for leaf in _leaves(part)]
    return [tree]


def _without_memory(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_meta else torch.empty_like(tensor, device="meta")
