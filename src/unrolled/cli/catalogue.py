"""The published cells as one page of Markdown: `make docs` writes docs/catalogue.md.

Nothing is said here that a cell's file does not say; a test holds the page to them.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from unrolled.cells import Cell, Publication
from unrolled.cells.catalogue import CATALOGUE, FAMILIES
from unrolled.cli.cells import facts, num_parameters, states_of
from unrolled.inspection.description import describe

__all__ = ["catalogue_page"]

_HIDDEN_SIZE = 128

_HEAD = f"""# Published cells

<!-- Made by `make docs` from the cells' files. Edit those. -->

{len(CATALOGUE)} cells, each by its name in every task, in a comparison and in Python:

```sh
unrolled train lm book.txt --cell mgu
unrolled compare lm book.txt --cells lstm,mgu,li_gru,min_gru --seeds 3
unrolled cells
unrolled cells show mgu
```

```python
import unrolled

layer = unrolled.Recurrent("mgu", input_size=8, hidden_size=16)
```

[Which cell?](which-cell.md) has them on the same data, at one budget. `unrolled cells` lists them,
with `--measure` how fast each is on your machine. `unrolled cells show` adds to what is below
whether the cell has a kernel, and what each value is computed from.

How to read the equations: `x.f` is W_x x_t + b_x of a gate f, `u.f` is W_h h_{{t-1}} + b_h, and
`u.f(v)` is W_h v + b_h of a vector that the equations compute. A state's name is its value before
the step until it gets a new one; of the states h:3, h_2 and h_3 are h_{{t-2}} and h_{{t-3}}. All
else is pointwise. Each product has a bias, which a paper may have left out, and states start at
zero. A vector is one learned number a unit. `keeps` is the gate at which 1 keeps all of the old
state, `admits` one that lets the new in. Gates without x have no part of the input, those without
u no recurrent product of their own. With heads, units are in so many groups, and each product with
a state reads a unit's own group alone. A gate that is tied has a recurrent matrix made of the one
that is learned, W, and an input of a step is given beside x. See [Writing a cell](cells.md).

Each cell is held against a second one, written from its paper in numpy: value and gradient. Where
it departs from its paper, its section says so.
"""


def catalogue_page() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_table(), *_families()])


def _table() -> Iterator[str]:
    """Yield where each family is, and a line for each cell."""
    links = [f"[{family}](#{_anchor(family)})" for family in FAMILIES]
    yield from (f"By family, in the order of the table: {'; '.join(links)}.", "")
    yield f"| cell | year | gates | states | parameters at {_HIDDEN_SIZE} | new about it |"
    yield "|---|---:|---|---|---:|---|"
    for name, cell in CATALOGUE.items():
        new, parameters = describe(cell).new, f"{num_parameters(cell, _HIDDEN_SIZE):,}"
        columns = (f"[{name}](#{name})", _year(cell), " ".join(cell.gates), states_of(cell))
        yield f"| {' | '.join((*columns, parameters, new))} |"
    yield ""


def _families() -> Iterator[str]:
    """Yield the sections."""
    for family, cells in FAMILIES.items():
        yield from (f"## {family}", "")
        for paragraph in _introduction(cells):
            yield from (paragraph, "")
        for name, cell in cells.items():
            description = describe(cell)
            yield from (f"### {name}", "", description.new, "")
            yield from ("```text", *description.equations, "```", "")
            for note in description.notes:
                yield from (note, "")
            source, *others = facts(cell, _HIDDEN_SIZE).items()
            yield from (f"Source: {source[1]}.", "")
            yield from (f"{'; '.join(f'{each} {text}' for each, text in others)}.", "")


def _anchor(heading: str) -> str:
    """Return what a link to a heading of Markdown ends in."""
    return heading.lower().replace(" ", "-")


def _introduction(cells: Mapping[str, Cell]) -> list[str]:
    """Return what the file of a family says of all its cells, without its name; paragraphs."""
    files = {cell.equations.__module__ for cell in cells.values()}
    if len(files) > 1:
        return []
    text = inspect.cleandoc(sys.modules[files.pop()].__doc__ or "").partition(".")[2]
    return [" ".join(each.split()) for each in text.split("\n\n") if each.strip()]


def _year(cell: Cell) -> str:
    return str(cell.source.year) if isinstance(cell.source, Publication) else ""


def main() -> None:
    """Write the page to the file that the command line names."""
    (path,) = sys.argv[1:]
    Path(path).write_text(catalogue_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
