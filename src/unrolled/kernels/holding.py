"""A cell some of whose named values are given at a step, in place of what its equations compute.

It is a cell as any other, with two inputs a step for each name beside its own: whether a unit is
held there, and at what. So rows of any lengths, both directions, stacks and gradients are those of
all cells. All that the equations compute from a value is computed from what it is held at.

The equations are a function of the user's, in which a value is a local variable. So they are run
once with all calls of torch written down, which tells what call gives the value that is returned
under the name; at every step, that call then gives what the value is held at.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache, partial, wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from unrolled.cells import Cell
from unrolled.cells.cell import Terms
from unrolled.errors import OptionError

__all__ = [
    "among",
    "held_cell",
    "named_values",
    "refuse_compiled",
    "refusing_compiled",
]

_refusing: ContextVar[tuple[object, ...]] = ContextVar("refusing", default=())


@contextmanager
def among(variable: ContextVar[tuple[Any, ...]], value: object) -> Iterator[None]:
    """Have a value among those of a variable inside the block.

    Blocks may end in another order than they began: a token would bring back what has ended.
    """
    variable.set((*variable.get(), value))
    try:
        yield
    finally:
        variable.set(tuple(each for each in variable.get() if each is not value))


def refusing_compiled() -> AbstractContextManager[None]:
    """Have operators in compiled and exported programs say that nothing can be held in them."""
    return among(_refusing, object())


def refuse_compiled(cell: str) -> None:
    """Raise `OptionError` inside `refusing_compiled`, for a program computes what it was made of.

    Args:
        cell: Its key.
    """
    if _refusing.get():
        name = cell.partition("@")[0].rpartition(":")[2]
        raise OptionError(
            f"cell {name}: runs in a compiled or exported program, where nothing can be held",
            "inside `intervene`, call the module itself",
        )


def held_inputs(names: Sequence[str]) -> tuple[str, ...]:
    """Return what `held_cell` reads of each step beside the inputs of its cell, (B, H) each.

    For each name whether a unit is held there, above 0 or not; then what at.
    """
    return tuple(part for name in names for part in (f"whether {name}", f"held {name}"))


@lru_cache(maxsize=64)
def held_cell(cell: Cell, names: tuple[str, ...]) -> Cell:
    """Return a cell that takes the values called `names` from its inputs, where those say so.

    Only the reference runs it.

    Args:
        cell: The equations.
        names: Of `named_values`.
    """
    equations = _HeldEquations(cell, tuple(names))

    @wraps(cell.equations)
    def held(**named: Any) -> dict[str, Tensor]:
        return equations(named)

    more = held_inputs(names)
    return replace(
        cell,
        equations=held,
        key=f"{cell.key}|{' '.join(names)}",
        inputs=(*cell.inputs, *more),
        arguments=(*cell.arguments, *more),
        surroundings=None,
    )


@lru_cache(maxsize=64)
@torch.no_grad()
def named_values(cell: Cell, hidden_size: int) -> tuple[str, ...]:
    """Return the names under which the equations return a number for each row and unit."""
    values = cell.step_from_zeros(hidden_size)
    return tuple(
        name
        for name, value in values.items()
        if name not in cell.delayed
        and isinstance(value, Tensor)
        and value.shape == (1, hidden_size)
    )


class _HeldEquations:
    """Equations of a step in which values are held."""

    def __init__(self, cell: Cell, names: tuple[str, ...]) -> None:
        self._cell, self._names = cell, names
        self._places: dict[str, _Place] | None = None

    def __call__(self, named: dict[str, Any]) -> dict[str, Any]:
        holds = {
            name: (named.pop(whether) > 0, named.pop(value))
            for name in self._names
            for whether, value in [held_inputs([name])]
        }
        if self._places is not None:
            values = self._replayed(named, holds, self._places)
            if values is not None:
                return values
        # the first step; or the equations have taken another way than at the first, as by an `if`
        self._places = self._find_places(named)
        values = self._replayed(named, holds, self._places)
        if values is None:
            raise OptionError(
                f"cell {self._cell.name}: {' '.join(self._names)} cannot be held: the equations "
                "make other calls of torch when they are run again",
                "hold one value at a time, or write the step without `if`",
            )
        return values

    def _replayed(
        self,
        named: Mapping[str, Any],
        holds: Mapping[str, tuple[Tensor, Tensor]],
        places: Mapping[str, "_Place"],
    ) -> dict[str, Any] | None:
        """Return the values of a step; None if those held are not those returned by the names."""
        arguments: Mapping[str, Any] = named
        at: dict[_Call, Callable[[Tensor, bool], Tensor]] = {}
        results: dict[str, Tensor] = {}

        def hold(name: str, value: Tensor, in_place: bool = False) -> Tensor:
            whether, to = holds[name]
            new = torch.where(whether, to.to(value.dtype), value)
            results[name] = value.copy_(new) if in_place else new
            return results[name]

        for name, place in places.items():
            if isinstance(place, _Call):
                at[place] = partial(hold, name)
            elif place is not None:
                arguments = place.replaced(arguments, hold(name, place.value(arguments)))
        with _Calls(at):
            values = dict(self._cell.equations(**arguments))
        for name, place in places.items():
            if place is None:
                values[name] = hold(name, values[name])
        return values if all(values.get(n) is results.get(n) for n in self._names) else None

    def _find_places(self, named: Mapping[str, Any]) -> dict[str, "_Place"]:
        """Return where each value comes from that is held.

        Raises:
            OptionError: From no place that is known, or nothing is computed from it.
        """
        with torch.no_grad(), _Calls({}) as calls:
            values = self._cell.equations(**named)
        places: dict[str, _Place] = {}
        for name in self._names:
            value, where = values[name], f"cell {self._cell.name}: '{name}' cannot be held"
            matches: list[_Place] = [each for each, gave in calls.results.items() if gave is value]
            matches = matches or [leaf for leaf in _leaves(named) if leaf.value(named) is value]
            if not matches:
                raise OptionError(
                    f"{where}: no call of torch that can be followed gives it",
                    "compute it by operations of torch, without an autograd.Function",
                )
            is_state = name in self._cell.states
            if not is_state and id(value) not in calls.read:
                raise OptionError(
                    f"{where}: nothing is computed from it, so it would change nothing",
                    "hold what the new states are computed from",
                )
            # the last call, which may have changed it in place; a state that is handed on as it was
            # before the step is held when it is handed on
            place = matches[-1]
            places[name] = None if is_state and isinstance(place, _Leaf) else place
        return places


class _Call(NamedTuple):
    """A call of torch that gives a value: its number, and which of its results it is."""

    number: int
    result: int


class _Leaf(NamedTuple):
    """A tensor that the equations are given: an argument, or of `x` and `u` one of its gates."""

    argument: str
    gate: str | None

    def value(self, named: Mapping[str, Any]) -> Any:
        """Return it."""
        value = named[self.argument]
        return value if self.gate is None else vars(value)[self.gate]

    def replaced(self, named: Mapping[str, Any], new: Tensor) -> dict[str, Any]:
        """Return what the equations are given with `new` in its place."""
        value: Any = new
        if self.gate is not None:
            value = Terms("", {})
            vars(value).update({**vars(named[self.argument]), self.gate: new})
        return {**named, self.argument: value}


_Place = _Call | _Leaf | None
"""Where a value comes from; None: it is handed on as a new state, from wherever."""


def _leaves(named: Mapping[str, Any]) -> Iterator[_Leaf]:
    for argument, value in named.items():
        gates = vars(value) if isinstance(value, Terms) else [None]
        yield from (_Leaf(argument, gate) for gate in gates)


class _Calls(TorchFunctionMode):
    """Sees all calls of torch; those at some places give something else.

    Args:
        replaced: What is made of a result, and whether the call was given it, and changed it.
    """

    def __init__(self, replaced: Mapping[_Call, Callable[[Tensor, bool], Tensor]]) -> None:
        super().__init__()
        self._replaced = replaced
        self._numbers = {call.number for call in replaced}
        self._number = 0
        self.results: dict[_Call, Any] = {}
        self.read: set[int] = set()  # of tensors that calls are given, which `results` keeps alive

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        number = self._number
        self._number += 1
        result = func(*args, **(kwargs or {}))
        if self._replaced:
            if number not in self._numbers:
                return result
            argument_ids = {id(leaf) for leaf in tree_leaves((args, kwargs))}
            leaves, shape = tree_flatten(result)
            for index, leaf in enumerate(leaves):
                if (hold := self._replaced.get(_Call(number, index))) is not None:
                    leaves[index] = hold(leaf, id(leaf) in argument_ids)  # what is changed in place
            return tree_unflatten(leaves, shape)
        self.read |= {id(leaf) for leaf in tree_leaves((args, kwargs))}
        leaves = tree_leaves(result)
        self.results |= {_Call(number, index): leaf for index, leaf in enumerate(leaves)}
        return result
