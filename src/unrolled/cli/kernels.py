"""`unrolled kernels`: what cells are compiled to, and the cache that it is kept in."""

import importlib
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from unrolled.cells import Cell

__all__ = ["kernels_app"]

kernels_app = typer.Typer(help="The kernels that cells are compiled to, and their cache.")

_Name = Annotated[
    str, typer.Argument(metavar="CELL", help="A built-in cell, or module:name of your own.")
]


@kernels_app.command()
def show(cell: _Name) -> None:
    """Print the C source of a cell's kernel."""
    from unrolled.kernels.emit import emit
    from unrolled.kernels.trace import trace

    typer.echo(emit(trace(_find(cell))))


@kernels_app.command("list")
def list_kernels() -> None:
    """List the cache: name, size, time since last use."""
    from unrolled.kernels.build import cache_folder, entries

    typer.echo(f"{cache_folder().path}", err=True)
    for entry in entries():
        age = timedelta(seconds=round(time.time() - entry.last_used))
        typer.echo(f"{entry.name:<24}{entry.size / 1024:8.0f} KiB   used {age} ago")


@kernels_app.command()
def clear() -> None:
    """Empty the cache."""
    from unrolled.kernels.build import clear as clear_cache

    typer.echo(f"removed {clear_cache()} kernels", err=True)


@kernels_app.command()
def warm() -> None:
    """Compile the built-in cells now, so that their first use need not."""
    from unrolled import cells
    from unrolled.kernels.dispatch import kernel_or_reason

    for name in cells.__all__:
        if isinstance(cell := getattr(cells, name), cells.Cell):
            begin = time.perf_counter()
            found = kernel_or_reason(cell)
            said = found if isinstance(found, str) else f"{time.perf_counter() - begin:.2f} s"
            typer.echo(f"{name:<20}{said}", err=True)


def _find(name: str) -> "Cell":
    """Return the cell called `name`."""
    from unrolled import cells
    from unrolled.errors import OptionError

    module_name, _, attribute = name.rpartition(":")
    try:
        module = importlib.import_module(module_name) if module_name else cells
    except ImportError as error:
        raise OptionError(f"cannot import {module_name}: {error}") from None
    found = getattr(module, attribute, None)
    if not isinstance(found, cells.Cell):
        known = [each for each in cells.__all__ if isinstance(getattr(cells, each), cells.Cell)]
        raise OptionError(f"{name} is no cell", f"built in are {', '.join(known)}")
    return found
