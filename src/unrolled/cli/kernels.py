"""`unrolled kernels`: what cells are compiled to, and the cache that it is kept in."""

import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unrolled.cli.terminal import say, write

if TYPE_CHECKING:
    from unrolled.cells import Cell

__all__ = ["find_cell", "kernels_app"]

kernels_app = typer.Typer(
    help="Show the kernels that cells are compiled to, and manage their cache.",
    subcommand_metavar="COMMAND ...",
)

_Name = Annotated[
    str,
    typer.Argument(
        metavar="CELL",
        help="A built-in cell, or FILE.py:NAME or MODULE:NAME for a cell of your own.",
    ),
]


@kernels_app.command()
def show(cell: _Name) -> None:
    """Print the C source of a cell's kernel."""
    from unrolled.errors import OptionError, UnrolledError
    from unrolled.kernels import kernel_source

    registered = find_cell(cell)
    try:
        source = kernel_source(registered)
    except UnrolledError:
        raise
    except Exception as error:  # whatever is wrong with the user's equations
        raise OptionError(f"{cell}: {type(error).__name__}: {error}") from None
    write(source + "\n")


@kernels_app.command("list")
def list_kernels() -> None:
    """List the kernels in the cache: name, size, time since last use."""
    from unrolled.kernels import cache_entries, cache_folder

    say(f"{cache_folder().path}", err=True)
    _say_problem()
    for entry in cache_entries():
        age = timedelta(seconds=round(time.time() - entry.last_used))
        say(f"{entry.name:<24}{entry.size / 1024:8.0f} KiB   used {age} ago")


@kernels_app.command()
def clear() -> None:
    """Empty the cache."""
    from unrolled.kernels import clear_cache

    _say_problem()
    say(f"removed {clear_cache()} kernels", err=True)


@kernels_app.command()
def warm() -> None:
    """Compile the built-in cells and the TCN now, so that their first use does not wait for it."""
    from unrolled.cells import CELLS, lstm
    from unrolled.kernels import (
        KernelError,
        kernel_or_reason,
        network_or_reason,
        prepare_short_calls,
    )

    _say_problem()
    reasons = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the line above says it
        for name, cell in CELLS.items():
            begin = time.perf_counter()
            kernel = kernel_or_reason(cell)
            outcome = f"{time.perf_counter() - begin:.2f} s"
            if isinstance(kernel, str):
                reasons.append(kernel)
                outcome = "no kernel"
            say(f"{name:<20}{outcome}", err=True)
    if reasons:
        raise KernelError("; ".join(dict.fromkeys(reasons)))
    begin = time.perf_counter()
    network = network_or_reason()
    if isinstance(network, str):
        raise KernelError(network)
    say(f"{'tcn':<20}{time.perf_counter() - begin:.2f} s", err=True)
    begin = time.perf_counter()
    possible = prepare_short_calls(lstm)
    say(
        f"{'short calls':<20}{f'{time.perf_counter() - begin:.2f} s' if possible else 'none'}",
        err=True,
    )


@kernels_app.command()
def build(
    cells: Annotated[
        list[str],
        typer.Argument(
            metavar="CELL",
            help="Built-in cells, or FILE.py:NAME or MODULE:NAME for cells of your own.",
        ),
    ],
    platforms: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="PLATFORM",
            help="Where they are to run, such as linux-arm64; may be given several times.",
            show_default="this machine's",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the files.")
    ] = Path(),
) -> None:
    """Compile cells for machines without a compiler: a file for each platform, to take along."""
    from unrolled.errors import OptionError
    from unrolled.kernels import PLATFORMS, cell_sources, this_platform, write_archive

    here = this_platform()
    wanted = platforms or ([here] if here else [])
    for platform in wanted:
        if platform not in PLATFORMS:
            raise OptionError(
                f"--for: nothing is built for {platform!r}", f"platforms are {', '.join(PLATFORMS)}"
            )
    if not wanted:
        raise OptionError(
            "--for: must be given, for this machine is none of the platforms",
            f"platforms are {', '.join(PLATFORMS)}",
        )
    if not out.is_dir():
        raise OptionError(f"--out: {out} is not a folder", "make it first")
    known = [find_cell(name) for name in cells]
    sources = [text for cell in known for text in cell_sources(cell)]
    stem = "-".join(dict.fromkeys(cell.name for cell in known))
    for platform in dict.fromkeys(wanted):
        file = out / f"{stem}-{platform}.kernels"
        write_archive(file, platform, sources)
        say(f"{file}")
    say("there: set UNROLLED_KERNELS to the path of its file", err=True)


def _say_problem() -> None:
    """Say why the cache is a temporary one, if it is."""
    from unrolled.kernels import cache_folder

    if problem := cache_folder().problem:
        say(
            f"the cache cannot be used, using a temporary one for this process: {problem}", err=True
        )


def find_cell(name: str) -> "Cell":
    """Return the cell that a command line names.

    Raises:
        OptionError: There is none.
    """
    from unrolled.errors import OptionError
    from unrolled.networks import LAYERS, find_layer

    if ":" not in name and name not in LAYERS:
        from unrolled.cells.catalogue import named_cell

        return named_cell(name)
    cell = find_layer(name).cell
    if cell is None:
        cells = ", ".join(name for name, kind in LAYERS.items() if kind.cell is not None)
        message = f"{name} is not a cell, but a layer without a recurrence"
        raise OptionError(message, f"the built-in cells are {cells}")
    return cell
