"""`unrolled cells`: the published cells, what each computes, and how fast it is here."""

import shutil
import sys
import textwrap
import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unrolled.cli.terminal import say, write

if TYPE_CHECKING:
    from unrolled.cells import Cell

__all__ = ["cells_app", "facts", "num_parameters", "states_of"]

cells_app = typer.Typer(
    help="List the published cells, or show one.",
    subcommand_metavar="[OPTIONS] | show NAME",
    invoke_without_command=True,
)

_ROWS, _STEPS, _REPEATS = 16, 64, 5


@cells_app.callback()
def list_cells(
    context: typer.Context,
    hidden_size: Annotated[
        int, typer.Option(min=1, max=65536, help="Units, and features of the input.")
    ] = 128,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Also measure each: compiles it, and takes some minutes."),
    ] = False,
) -> None:
    """List the published cells, or show one.

    A kernel is there where the equations can be compiled. With --measure: steps of training a
    second, in thousands, of 16 rows of 64 steps, and microseconds for a step of a stream.
    """
    if context.invoked_subcommand is not None:
        return
    from unrolled.cells import Publication
    from unrolled.cells.catalogue import FAMILIES

    head = ("name", "year", "states", "parameters", "kernel", *("train", "stream") * measure)
    say(_line(*head, "gates"))
    for family, cells in FAMILIES.items():
        say(f"\n{family}")
        for name, cell in cells.items():
            year = cell.source.year if isinstance(cell.source, Publication) else ""
            kernel = "no" if reason_without_kernel(cell) else "yes"
            figures = _speeds(cell, hidden_size) if measure else ()
            parameters = f"{num_parameters(cell, hidden_size):,}"
            states = states_of(cell)
            say(_line(name, str(year), states, parameters, kernel, *figures, " ".join(cell.gates)))


@cells_app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A published cell, or FILE.py:NAME for a cell of your own."
        ),
    ],
    hidden_size: Annotated[
        int, typer.Option(min=1, max=65536, help="Units, and features of the input.")
    ] = 128,
) -> None:
    """Print what a cell computes, who published it, and what there is to know of it."""
    from unrolled.cli.kernels import find_cell
    from unrolled.inspection.description import data_flow, describe

    cell = find_cell(name)
    description = describe(cell)
    lines = [cell.name, "", *([*_wrapped(description.new), ""] if description.new else [])]
    lines += [*(f"  {line}" for line in description.equations), ""]
    lines += [line for note in description.notes for line in (*_wrapped(note), "")]
    reason = reason_without_kernel(cell)
    known = facts(cell, hidden_size) | {"kernel": f"no: {reason}" if reason else "yes"}
    lines += [line for fact, text in known.items() for line in _wrapped(f"{fact:<12}{text}", 12)]
    lines += [""]
    if not reason:
        lines += ["A value, from what it is computed:"]
        lines += [
            f"  {value:<8} <- {', '.join(sources)}"
            for value, sources in data_flow(cell)
            if value.removesuffix("[t]") not in cell.delayed
        ]
        lines += [""]
    lines += _wrapped(
        "x.f is W_x x[t] + b_x of a gate f, u.f is W_h h[t-1] + b_h, and u.f(v) is W_h v + b_h."
    )
    write("\n".join(lines) + "\n")


def _wrapped(text: str, indent: int = 0) -> list[str]:
    """Return a text in lines that fit a terminal, those after the first indented; else in one."""
    if not sys.stdout.isatty():
        return [text]
    width = max(40, shutil.get_terminal_size().columns)
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def facts(cell: "Cell", hidden_size: int) -> dict[str, str]:
    """Return what there is to know of a cell beside its equations, by what it is called."""
    vectors = ", ".join(
        f"{name} {_start(cell, name, start)}" for name, start in cell.parameters.items()
    )
    inputs = [f"{n} = {cell.input_defaults[n]:g} unless given" for n in cell.input_defaults]
    inputs = [*cell.wanted_inputs, *inputs]
    function: Any = cell.equations
    known, names = function.__globals__, function.__code__.co_names
    numbers = {name: known[name] for name in names if isinstance(known.get(name), int | float)}
    lines = {
        "source": str(cell.source) or "none",
        "gates": " ".join(cell.gates),
        "without x": " ".join(gate for gate in cell.gates if gate not in cell.feedforward),
        "without u": " ".join(gate for gate in cell.gates if gate not in cell.recurrent),
        "states": states_of(cell),
        "keeps": cell.keeps or "",
        "admits": cell.admits or "",
        "heads": str(cell.heads) if cell.heads > 1 else "",
        "inputs": ", ".join(inputs),
        "vectors": vectors,
        "tied": "; ".join(f"{gate}: {_tie(tie)}" for gate, tie in cell.ties.items()),
        "numbers": ", ".join(f"{name} = {number:g}" for name, number in numbers.items()),
        "parameters": f"{num_parameters(cell, hidden_size):,} at {hidden_size} units and inputs",
    }
    return {name: text for name, text in lines.items() if text}


def _start(cell: "Cell", vector: str, start: float) -> str:
    """Return where a vector starts."""
    if vector not in cell.spreads:
        return f"from {start:g}"
    low, high = cell.spreads[vector]
    return f"drawn from {low:g} to {high:g}"


def _tie(tie: object) -> str:
    """Return how a matrix is made, as the function says that does it, or its name."""
    first = (getattr(tie, "__doc__", None) or "").partition("\n")[0].removesuffix(".")
    return first or getattr(tie, "__name__", type(tie).__name__)


def states_of(cell: "Cell") -> str:
    """Return the states of a cell as it declares them: h:4 for h and three former ones."""
    texts = []
    for state in cell.states:
        if state not in cell.delayed:
            texts.append(state)
            base, steps = state, 1
        else:
            steps += 1
            texts[-1] = f"{base}:{steps}"
    return " ".join(texts)


def num_parameters(cell: "Cell", hidden_size: int) -> int:
    """Return how many numbers a layer over a cell learns, of as many inputs as units."""
    from unrolled.layers import Recurrent

    layer = Recurrent(cell, hidden_size, hidden_size, device="meta")
    return sum(weight.numel() for weight in layer.parameters())


def reason_without_kernel(cell: "Cell") -> str:
    """Return why a cell's equations cannot be compiled; "" if they can."""
    from unrolled.kernels import EquationsError, step_graph

    try:
        step_graph(cell)
    except EquationsError as error:
        return str(error)
    return ""


def _speeds(cell: "Cell", hidden_size: int) -> tuple[str, str]:
    """Return thousands of steps a second in training, and microseconds of a step in a stream."""
    import torch

    from unrolled.layers import Recurrent

    layer = Recurrent(cell, hidden_size, hidden_size)
    x = torch.randn(_STEPS, _ROWS, hidden_size)

    def train() -> None:
        output, _ = layer(x)
        output.sum().backward()

    stream, step = layer.stream(1), x[0, :1]

    def read() -> None:
        for _ in range(_STEPS):
            stream.step(step)

    trained = _ROWS * _STEPS / _seconds(train) / 1e3
    return f"{trained:,.0f}k/s", f"{_seconds(read) / _STEPS * 1e6:.1f} us"


def _seconds(repeat: Callable[[], object]) -> float:
    repeat()  # compiles, and takes memory
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        repeat()
        times.append(time.perf_counter() - begin)
    return median(times)


def _line(name: str, year: str, states: str, parameters: str, kernel: str, *others: str) -> str:
    *figures, gates = others
    columns = f"{name:<17}{year:<6}{states:<15} {parameters:>11}  {kernel:<6}"
    return f"{columns}{''.join(f'{figure:>10}' for figure in figures)}  {gates}".rstrip()
