"""What a cell is: its equations, and the names in them. Not for running one over a sequence.

A cell is written as a plain function of named pre-activations and states, in ordinary torch
operations, and marked with `@cell`. Everything else (layers, both directions, ragged batches,
streaming, gates by name, gradients) is derived from that one definition.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.declared import (
    OF_A_CALL,
    RAW_INPUT,
    check_names,
    default_of,
    read_delays,
    read_signature,
)
from unrolled.cells.publication import Publication
from unrolled.cells.registry import free_key, remember
from unrolled.cells.state import state_type
from unrolled.cells.surroundings import Surroundings
from unrolled.cells.ties import Tie, check_ties
from unrolled.errors import OptionError

__all__ = ["RAW_INPUT", "Cell", "Terms", "Values", "Vector", "cell"]

Values = dict[str, Tensor]

Vector = Any
"""What a vector is to a type checker: written with what it starts at, given as a tensor."""


class Terms:
    """The pre-activations that a cell's equations read as attributes: `x.f`, `u.f`."""

    def __init__(self, owner: str, terms: Mapping[str, Any]) -> None:
        self.__dict__.update({"the owner": owner}, **terms)  # no gate is called that

    def __getattr__(self, name: str) -> Any:
        declared = " ".join(list(self.__dict__)[1:]) or "none"
        raise AttributeError(f"{vars(self)['the owner']}: no gate '{name}'; declared: {declared}")


@dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """A recurrent cell: the function that holds its equations, and the names that it uses.

    Made by the decorator `cell`, which says what each name means. A cell is a constant: copying
    it gives the same cell, and it pickles by reference to the module that defines it.
    """

    equations: Callable[..., Values]
    gates: tuple[str, ...]
    feedforward: tuple[str, ...]
    recurrent: tuple[str, ...]
    applied: tuple[str, ...]
    states: tuple[str, ...]
    parameters: Mapping[str, float]
    arguments: tuple[str, ...]
    state_type: Any  # the named tuple of all states
    key: str  # what traced graphs call it
    keeps: str | None  # the gate that keeps the old state
    admits: str | None  # the gate that lets the new in
    source: Publication | str  # who published it; "" for nobody
    delayed: Mapping[str, str]  # of a state that is a former one: the one that it is a step later
    surroundings: Surroundings | None  # of the equations, when declared; None for cells of ours
    inputs: tuple[str, ...] = ()  # of every step beside x, which the caller of a layer gives
    reads_raw_input: bool = False  # whether the equations read x_t itself
    heads: int = 1  # blocks on the diagonal of each recurrent matrix, where a layer is told none
    recipe: tuple[Any, ...] | None = None  # what pickle makes it by, where it is in no module
    input_defaults: Mapping[str, float] = field(default_factory=dict)  # of inputs, if not given
    spreads: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of drawn vectors
    ties: Mapping[str, Tie] = field(default_factory=dict)  # of gates with tied recurrent weights

    def __post_init__(self) -> None:
        # where pickle looks for the cell; of this one alone, for the class has a module of its own
        object.__setattr__(self, "__module__", self.equations.__module__)

    @property
    def name(self) -> str:
        """The name of the function that holds the equations."""
        return self.equations.__name__

    @property
    def carrier(self) -> str:
        """The state that carries what the cell remembers: the last that is not a former one."""
        return [state for state in self.states if state not in self.delayed][-1]

    @property
    def wanted_inputs(self) -> tuple[str, ...]:
        """Those of `inputs` that have no default."""
        return tuple(name for name in self.inputs if name not in self.input_defaults)

    @property
    def step_inputs(self) -> tuple[str, ...]:
        """What the equations read of a step beside its gates: `inputs`, then x_t if they do."""
        return (*self.inputs, RAW_INPUT) if self.reads_raw_input else self.inputs

    def __call__(
        self,
        x: Mapping[str, Tensor],
        u: Mapping[str, Tensor | Callable[[Tensor], Tensor]],
        states: Mapping[str, Tensor],
        parameters: Mapping[str, Tensor],
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Values:
        """Return every value of one step by its name: the new states and all that is recorded.

        Args:
            x: The input's part of each gate, W_x x_t + b_x, (B, H) each.
            u: The recurrent part of each gate, W_h h_{t-1} + b_h, (B, H) each; for a gate of
                `applied` the function v -> W v + b instead.
            states: The states before the step, (B, H) each.
            parameters: The per-unit vectors, (H,) each.
            inputs: Those of `step_inputs`, (B, H) each.
        """
        named = {
            "x": Terms(f"cell {self.name}: x", x),
            "u": Terms(f"cell {self.name}: u", u),
            **states,
            **parameters,
            **(inputs or {}),
        }
        try:
            values = self.equations(**{argument: named[argument] for argument in self.arguments})
        except TypeError as error:
            if explained := self._misused_product(str(error)):
                raise explained from error
            raise
        if not isinstance(values, Mapping):
            raise OptionError(
                f"cell {self.name}: returns a {type(values).__name__}, and no dict",
                f"return a dict with {', '.join(self.states)} and what else is worth seeing",
            )
        own = [state for state in self.states if state not in self.delayed]
        missing = [state for state in own if state not in values]
        if taken := [state for state in self.delayed if state in values]:
            raise OptionError(
                f"cell {self.name}: returns {taken[0]}, which its delays= make",
                "leave it out, or call the value otherwise",
            )
        if missing:
            raise OptionError(
                f"cell {self.name}: the new state {missing[0]} is missing from {[*values]}",
                f"return a dict with {', '.join(own)} and what else is worth seeing",
            )
        return {**values, **{late: states[former] for late, former in self.delayed.items()}}

    def step_from_zeros(self, num_units: int) -> Values:
        """Return every value of one step of a row by its name, as a call does.

        States, inputs and parts of gates are zeros, vectors as they begin; what a product is
        applied to, it returns.

        Args:
            num_units: H.
        """
        part = torch.zeros(1, num_units)
        return self(
            dict.fromkeys(self.feedforward, part),
            {gate: (lambda v: v) if gate in self.applied else part for gate in self.recurrent},
            dict.fromkeys(self.states, part),
            {name: torch.full((num_units,), start) for name, start in self.parameters.items()},
            dict.fromkeys(self.step_inputs, part),
        )

    def _misused_product(self, problem: str) -> OptionError | None:
        """Return what is to be said where a product was taken for a vector, or a vector for one."""
        where = f"cell {self.name}"
        if "'Tensor' object is not callable" in problem:
            hint = 'applied="n" makes u.n a function, u.n(v) = W_hn v + b_hn'
            return OptionError(f"{where}: calls a tensor; u.n is the product with h", hint)
        if ("'function'" in problem or problem.endswith("not function")) and self.applied:
            products = ", ".join(f"u.{gate}" for gate in self.applied)
            hint = f"write u.{self.applied[0]}(h), or leave {self.applied[0]} out of applied="
            return OptionError(f"{where}: {products} (of applied=) is a function, {problem}", hint)
        return None

    def __repr__(self) -> str:
        return f"<cell {self.name}: gates {' '.join(self.gates)}, states {' '.join(self.states)}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return self.equations.__qualname__ if self.recipe is None else self.recipe


def cell(
    *,
    gates: str,
    states: str = "h",
    feedforward: str | None = None,
    recurrent: str | None = None,
    applied: str = "",
    delays: str = "",
    inputs: str = "",
    keeps: str | None = None,
    admits: str | None = None,
    heads: int = 1,
    ties: Mapping[str, Tie] | None = None,
    source: Publication | str = "",
) -> Callable[[Callable[..., Values]], Cell]:
    """Mark a function as the equations of a recurrent cell.

    The function's arguments are found by their names:

    * `x`: the input's part of every gate, `x.f` = W_xf x_t + b_xf, (B, H);
    * `u`: the recurrent part of every gate, `u.f` = W_hf h_{t-1} + b_hf, (B, H);
    * the name of a state: its value before the step, (B, H);
    * after a `*`, any other name with a number as default: a vector with one learned weight a
      unit, (H,), that starts at that number (peepholes, a learned constant); with a pair of
      numbers, it is drawn between them;
    * a name of `inputs`: what the caller of a layer gives for this step, (B, H).

    It returns a dict of all new states, and of whatever else is worth seeing, by name.

    Args:
        gates: The names of the gates, separated by blanks. A candidate counts as a gate.
        states: The names of the states; the first is the output.
        feedforward: The gates with a part of the input, in the order of their rows in the input
            weights, (F * H, I); all of them unless given. Another gate has no `x.f`.
        recurrent: The gates with a recurrent part, in the order of their rows in the recurrent
            weights; all of them unless given. `""` for a cell without a recurrent product.
        applied: The last ones of `recurrent` whose product is not with h_{t-1} but with a vector
            that the equations compute: there `u.n` is a function, `u.n(v)` = W_hn v + b_hn.
        delays: States that the equations may read further back, each with how many steps: with
            "h:4" they may take `h_2`, `h_3` and `h_4`, which are h_{t-2} to h_{t-4} as `h` is
            h_{t-1}. These are states too, behind the one that they are of, but nothing that the
            equations return.
        inputs: What is given for every step beside x, by the name of an argument each: a layer
            takes it as a keyword, a number or H numbers for each step and row (time since the last
            step, masks, noise), with a gradient where it requires one. With "dt=1", dt is 1 where
            it is not given. `x_t` is not the caller's: it is the input itself, before any weight,
            of layers whose input size is H.
        keeps: The gate that keeps the old state: 1 remembers all. Initial values and the view of
            what units remember are about this gate; without it there are none.
        admits: The gate that lets the new in, where it is another one than `keeps`.
        heads: How many groups its units are in, of which each reads its own outputs before only:
            the recurrent matrices have blocks on their diagonals, and only these are weights. A
            layer may be made with another number of heads, over any cell with recurrent weights.
        ties: Of gates whose recurrent weights are made of others: a function of the matrix that is
            learned, (H, H), which returns the one that is multiplied with, W_hn of gate n.
        source: Who published the cell, for people to read; `unrolled.cells.Publication` for the
            parts of a citation.

    Raises:
        OptionError: a name is declared twice, unknown, or has no meaning in the function; begins
            with an underscore; is a word of Python; or is one that a layer's weights have, of a
            vector, or an argument of a layer's call, of an input; a delay is not of a state, or not
            of 2 to 1000 steps; heads are less than 1, or of a cell without recurrent weights; a tie
            is no function, or of a gate without such weights.

    Example:
        >>> from torch import sigmoid, tanh
        >>> @cell(gates="f g")
        ... def leaky(x, u, h, *, slope=1.0):
        ...     f = sigmoid(x.f + u.f)
        ...     g = tanh(slope * (x.g + u.g))
        ...     return dict(h=f * h + (1 - f) * g, f=f, g=g)
        >>> leaky
        <cell leaky: gates f g, states h>
    """
    names_of: dict[str, object] = {"gates": gates, "states": states, "recurrent": recurrent or ""}
    names_of |= {"applied": applied, "delays": delays, "inputs": inputs}
    names_of |= {"feedforward": feedforward or ""}
    for option, names in names_of.items():
        if not isinstance(names, str):
            got = f"{option}= must be a text, got {type(names).__name__}"
            raise OptionError(f"cell: {got}", "names with spaces between them")
    if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1:
        raise OptionError(f"cell: heads= must be a number of at least 1, got {heads!r}")
    gate_names, applied_names = gates.split(), applied.split()
    recurrent_names = gate_names if recurrent is None else recurrent.split()
    read_names = gate_names if feedforward is None else feedforward.split()
    starts = [word.partition("=") for word in inputs.split()]
    input_names = [name for name, _, _ in starts]
    tied = dict(ties or {})

    def declare(equations: Callable[..., Values]) -> Cell:
        where = f"cell {equations.__name__}"
        parts = {"recurrent": recurrent_names, "feedforward": read_names}
        check_names(where, "gate", gate_names)
        for part, names in parts.items():
            check_names(where, f"{part} gate", names)
        check_names(where, "state", states.split())
        steps_back = read_delays(where, delays, states.split())
        state_names = [name for names in steps_back.values() for name in names]
        delayed = {late: n for names in steps_back.values() for n, late in pairwise(names)}
        check_names(where, "state", state_names, taken={"x", "u"})
        check_names(where, "input", input_names, taken={"x", "u", *state_names, *OF_A_CALL})
        defaults = {name: default_of(where, name, text) for name, sign, text in starts if sign}
        check_ties(where, tied, recurrent_names, heads)
        if not state_names or not gate_names:
            raise OptionError(f"{where}: needs at least one gate and one state", "name them")
        for part, names in parts.items():
            if unknown := set(names) - set(gate_names):
                problem = f"{part} gate {min(unknown)} is not a gate"
                raise OptionError(f"{where}: {problem}", "name it in gates")
        if nothing := set(gate_names) - {*recurrent_names, *read_names}:
            problem = f"gate {min(nothing)} reads neither the input nor a state"
            raise OptionError(f"{where}: {problem}", "name it in feedforward or in recurrent")
        if not read_names:
            problem = "no gate reads the input"
            raise OptionError(f"{where}: {problem}", "name those that do in feedforward")
        for name in (keeps, admits):
            if name is not None and name not in gate_names:
                raise OptionError(f"{where}: gate {name} is not declared", "name it in gates")
        if heads > 1 and not recurrent_names:
            problem = f"has {heads} heads, but no recurrent weights"
            raise OptionError(f"{where}: {problem}", "leave heads= out")
        if applied_names and recurrent_names[-len(applied_names) :] != applied_names:
            raise OptionError(f"{where}: applied must be the last of recurrent", "reorder them")
        arguments, written = read_signature(where, equations, state_names, input_names)
        spreads = {name: start for name, start in written.items() if isinstance(start, tuple)}
        parameters = {n: sum(s) / 2 if isinstance(s, tuple) else s for n, s in written.items()}
        if ("u" in arguments) != bool(recurrent_names):
            raise OptionError(
                f"{where}: takes {'' if 'u' in arguments else 'no '}u, but has "
                f"{len(recurrent_names)} recurrent gates",
                'recurrent="" declares a cell without a recurrent product',
            )
        key, surroundings = free_key(
            equations,
            repr(
                (gate_names, recurrent_names, applied_names, " ".join(state_names), parameters)
                # as it always was without these: exported programs name their cells by it
                + ((read_names, input_names) if input_names or read_names != gate_names else ())
                + ((defaults, spreads, sorted(tied)) if defaults or spreads or tied else ())
            ),
        )
        declared_cell = Cell(
            equations,
            tuple(gate_names),
            tuple(read_names),
            tuple(recurrent_names),
            tuple(applied_names),
            tuple(state_names),
            parameters,
            arguments,
            state_type(tuple(state_names)),
            key,
            keeps,
            admits,
            source,
            delayed,
            surroundings,
            tuple(name for name in input_names if name != RAW_INPUT),
            RAW_INPUT in input_names,
            heads,
            input_defaults=defaults,
            spreads=spreads,
            ties=tied,
        )
        return remember(declared_cell)

    return declare
