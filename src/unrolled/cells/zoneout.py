"""Cells whose units may keep what they had: the equations of another, and zoneout after them."""

import linecache
from functools import cache
from itertools import takewhile
from typing import Any

from unrolled.cells.cell import RAW_INPUT, Cell, cell

__all__ = ["ZONE", "zoned"]

ZONE = "zone_"
"""Begins the name of the input that says how much of a state is kept."""

_EQUATIONS = """\
def zoned_{name}({arguments}):
    values = step({given})
    return {{**values, {kept}}}
"""


@cache
def zoned(base: Cell, states: tuple[str, ...]) -> Cell:
    """Return a cell that does what `base` does, and keeps a part of some states.

    s_t = z * s_{t-1} + (1 - z) * s, with s what `base` computes and z an input of the step, zone_s.

    Args:
        base: Any cell without such inputs.
        states: Those of which a part is kept; none that is a former one of another.
    """
    zones = [f"{ZONE}{state}" for state in states]
    # states that the equations do not take themselves come in, too
    taken = [name for name in (*base.arguments, *states) if name not in base.parameters]
    positional = [*dict.fromkeys(taken), *zones]
    vectors = [f"{name}={base.spreads.get(name, n)!r}" for name, n in base.parameters.items()]
    new_states = [f'"{s}": {ZONE}{s} * {s} + (1 - {ZONE}{s}) * values["{s}"]' for s in states]
    text = _EQUATIONS.format(
        name=base.name,
        arguments=", ".join([*positional, *(["*", *vectors] if vectors else [])]),
        given=", ".join(f"{name}={name}" for name in base.arguments),
        kept=", ".join(new_states),
    )
    file = f"<zoneout of {base.key}: {' '.join(states)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {"step": base.equations, "__name__": __name__}
    exec(compile(text, file, "exec"), names)  # its arguments have the names of those of `base`
    declare = cell(
        gates=" ".join(base.gates),
        states=" ".join(state for state in base.states if state not in base.delayed),
        feedforward=" ".join(base.feedforward),
        recurrent=" ".join(base.recurrent),
        applied=" ".join(base.applied),
        delays=_delays(base),
        inputs=" ".join([*_inputs(base), *([RAW_INPUT] if base.reads_raw_input else []), *zones]),
        keeps=base.keeps,
        admits=base.admits,
        heads=base.heads,
        ties=base.ties,
    )
    result = declare(names[f"zoned_{base.name}"])
    object.__setattr__(result, "recipe", (zoned, (base, states)))  # for pickle: it is in no module
    return result


def _inputs(base: Cell) -> list[str]:
    """Return what `base` declared as `inputs=`, without x_t."""
    defaults = base.input_defaults
    return [f"{name}={defaults[name]!r}" if name in defaults else name for name in base.inputs]


def _delays(base: Cell) -> str:
    """Return what `base` declared as `delays=`."""
    words = []
    for place, state in enumerate(base.states):
        if state not in base.delayed:
            former = takewhile(base.delayed.__contains__, base.states[place + 1 :])
            steps = 1 + len(list(former))
            words += [f"{state}:{steps}"] if steps > 1 else []
    return " ".join(words)
