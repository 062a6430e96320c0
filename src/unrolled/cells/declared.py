"""What is written in a cell's declaration and in the arguments of its equations, read and checked.

Not here: what the parts have to do with each other (`cell.py`).
"""

import inspect
import keyword
import math
import re
from collections.abc import Callable
from enum import Enum
from typing import Any

from unrolled.errors import OptionError

__all__ = [
    "OF_A_CALL",
    "RAW_INPUT",
    "check_names",
    "default_of",
    "read_delays",
    "read_signature",
]

RAW_INPUT = "x_t"
"""What equations call the input itself, before any weight: the x_t of W_x x_t, as papers write it.

It is asked for in `inputs=`, and is no attribute of `x`: a gate may have any name there, and what a
cell reads must be known before it runs, since a layer whose I is not H has no such vector.
"""

_LONGEST_DELAY = 1000  # each step of it is a state

OF_A_CALL = {
    "input",
    "hx",
    "state",
    "lengths",
    "resets",
    "resets_to",
    "chunk",
    "rows",
    "out",
    "module",
    "self",
}
"""What calls of layers, streams and `trace` have under these names."""

_OF_A_LAYER = re.compile(r"weight_(ih|hh|hr)|bias_(ih|hh)|.*_l\d+(_reverse)?|_.*")


def check_names(where: str, what: str, names: list[str], taken: set[str] | None = None) -> None:
    """Raise `OptionError` unless all names can be written in equations, and none occurs twice."""
    for position, name in enumerate(names):
        word = name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_")
        if not word or name in names[:position] or name in (taken or ()):
            raise OptionError(f"{where}: {what} '{name}' is no name, or taken", "choose another")


def default_of(where: str, name: str, text: str) -> float:
    """Return what an input is that is not given, of `inputs="dt=1"`."""
    try:
        number = float(text)
        if name == RAW_INPUT or not math.isfinite(number):
            raise ValueError
    except ValueError:
        problem = f"{where}: input '{name}' has the default '{text}'"
        hint = 'a number: inputs="dt=1"' if name != RAW_INPUT else "x_t is the input: it has none"
        raise OptionError(problem, hint) from None
    return number


def read_delays(where: str, delays: str, states: list[str]) -> dict[str, list[str]]:
    """Return for each state its names at the steps before: h, h_2, h_3 for h_{t-1} to h_{t-3}."""
    names = {state: [state] for state in states}
    for word in delays.split():
        match = re.fullmatch(r"(\w+):(\d+)", word, re.ASCII)
        if match is None or match[1] not in states or not 2 <= int(match[2]) <= _LONGEST_DELAY:
            raise OptionError(
                f"{where}: the delay '{word}' is not of a state ({' '.join(states)}) "
                f"and 2 to {_LONGEST_DELAY} steps",
                'of h_{t-1} to h_{t-4}, h is the first; delays="h:4" declares the others',
            )
        state = match[1]
        if len(names[state]) > 1:
            raise OptionError(f"{where}: state {state} has two delays", "give the longer one")
        names[state] += [f"{state}_{steps}" for steps in range(2, int(match[2]) + 1)]
    return names


def read_signature(
    where: str, equations: Callable[..., Any], states: list[str], inputs: list[str]
) -> tuple[tuple[str, ...], dict[str, float | tuple[float, float]]]:
    """Return the arguments of equations, and what each vector among them starts at.

    Raises:
        OptionError: One is neither a gate's term, a state, an input nor a vector with a start.
    """
    parameters: dict[str, float | tuple[float, float]] = {}
    arguments = inspect.signature(equations).parameters
    for name in inputs:
        if name not in arguments or arguments[name].default is not inspect.Parameter.empty:
            has = "has a default" if name in arguments else "is no argument of the equations"
            raise OptionError(
                f"{where}: input '{name}' {has}", f"write def {equations.__name__}(x, ..., {name})"
            )
    for name, argument in arguments.items():
        if name in ("x", "u", *states, *inputs):
            if argument.default is not argument.empty:
                what = "a state" if name in states else "no weight"
                raise OptionError(
                    f"{where}: argument '{name}' is {what}, and has no first value",
                    "choose another name for a weight vector",
                )
            continue
        is_keyword = argument.kind is argument.KEYWORD_ONLY
        is_pair = isinstance(argument.default, tuple)
        starts: tuple[Any, ...] = argument.default if is_pair else (argument.default,)
        is_number = len(starts) == 1 + is_pair and all(isinstance(n, int | float) for n in starts)
        if is_keyword and is_number and any(isinstance(n, bool | Enum) for n in starts):
            raise OptionError(
                f"{where}: argument '{name}' is a choice, {argument.default!r}, and no weight",
                "write a cell for each choice, for example by a function that returns the cell",
            )
        if not is_keyword or not is_number:
            hint = f"a weight vector is written after a *, with its first value: *, {name}=0.0; "
            hint += f'what is given at every step is declared: inputs="{name}"'
            state, _, steps = name.rpartition("_")
            if state in states and steps.isdecimal():
                hint = f'delays="{state}:{steps}" declares it, {state} of {steps} steps before'
                hint = hint if int(steps) > 1 else f"of one step before, it is {state}"
            raise OptionError(
                f"{where}: argument '{name}' is neither x, u nor a state ({' '.join(states)})", hint
            )
        if _OF_A_LAYER.fullmatch(name):
            raise OptionError(
                f"{where}: vector '{name}' has a name that a layer's weights have",
                "choose another, that does not end in a layer such as _l0",
            )
        if is_pair and not starts[0] < starts[1]:
            raise OptionError(
                f"{where}: vector '{name}' is drawn between {starts[0]:g} and {starts[1]:g}",
                "the first is the lower one",
            )
        parameters[name] = (float(starts[0]), float(starts[1])) if is_pair else float(starts[0])
    return tuple(arguments), parameters
