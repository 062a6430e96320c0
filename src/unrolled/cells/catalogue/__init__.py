"""Published cells by their names: the six that layers of ours have, and the families beside them.

Not loaded with the package, but when a name is asked for that is not one of the six. A cell of a
family is written once, in the file of the family: its equations in the letters of the paper, what
is new about it in the first sentence of its docstring, where it departs from the paper after that,
and the paper as `source=`.
"""

import difflib
from types import ModuleType

from unrolled.cells import CELLS
from unrolled.cells.catalogue import (
    delayed,
    dynamics,
    gated,
    gru,
    input_gated,
    lstm,
    multiplicative,
    normalized,
    tied,
    timed,
)
from unrolled.cells.cell import Cell
from unrolled.errors import PROGRAM, OptionError

__all__ = ["CATALOGUE", "FAMILIES", "named_cell"]


def _cells_of(family: ModuleType) -> dict[str, Cell]:
    return {value.name: value for value in vars(family).values() if isinstance(value, Cell)}


FAMILIES: dict[str, dict[str, Cell]] = {
    "The six with layers of their own": CELLS,
    **{
        (family.__doc__ or "").partition(".")[0]: _cells_of(family)
        for family in (
            *(lstm, gru, gated, multiplicative, delayed, timed),
            *(input_gated, normalized, tied, dynamics),
        )
    },
}
"""The cells of each family by their names, under what the family is called."""

CATALOGUE: dict[str, Cell] = {
    name: cell for family in FAMILIES.values() for name, cell in family.items()
}
"""All cells by the names that commands take."""


def named_cell(name: str) -> Cell:
    """Return the cell of this name.

    Raises:
        OptionError: There is none; the hint names the nearest.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    written = name.lower().replace("-", "_")
    near = [written] if written in CATALOGUE else difflib.get_close_matches(written, CATALOGUE)
    hint = f"did you mean {' or '.join(near)}?" if near else f"`{PROGRAM} cells` lists them"
    raise OptionError(f"no cell is called {name!r}", hint)
