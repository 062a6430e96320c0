"""`unrolled kernels`: what cells are compiled to, and the cache that it is kept in."""

import importlib
import sys
import time
import warnings
from datetime import timedelta
from difflib import get_close_matches
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
    from unrolled.errors import OptionError, UnrolledError
    from unrolled.kernels.emit import emit
    from unrolled.kernels.trace import trace

    found = _find(cell)
    try:
        source = emit(trace(found))
    except UnrolledError:
        raise
    except Exception as error:  # whatever is wrong with the user's equations
        raise OptionError(f"{cell}: {type(error).__name__}: {error}") from None
    typer.echo(source)


@kernels_app.command("list")
def list_kernels() -> None:
    """List the cache: name, size, time since last use."""
    from unrolled.kernels.build import cache_folder, entries

    typer.echo(f"{cache_folder().path}", err=True)
    _say_problem()
    for entry in entries():
        age = timedelta(seconds=round(time.time() - entry.last_used))
        typer.echo(f"{entry.name:<24}{entry.size / 1024:8.0f} KiB   used {age} ago")


@kernels_app.command()
def clear() -> None:
    """Empty the cache."""
    from unrolled.kernels.build import clear as clear_cache

    _say_problem()
    typer.echo(f"removed {clear_cache()} kernels", err=True)


@kernels_app.command()
def warm() -> None:
    """Compile the built-in cells now, so that their first use need not."""
    from unrolled import cells
    from unrolled.kernels.compiler import KernelError
    from unrolled.kernels.dispatch import kernel_or_reason

    _say_problem()
    reasons = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said above
        for name in cells.__all__:
            if isinstance(cell := getattr(cells, name), cells.Cell):
                begin = time.perf_counter()
                found = kernel_or_reason(cell)
                said = f"{time.perf_counter() - begin:.2f} s"
                if isinstance(found, str):
                    reasons.append(found)
                    said = "no kernel"
                typer.echo(f"{name:<20}{said}", err=True)
    if reasons:
        raise KernelError("; ".join(dict.fromkeys(reasons)))


def _say_problem() -> None:
    """Say why the cache is a temporary one, if it is."""
    from unrolled.kernels.build import cache_folder

    if problem := cache_folder().problem:
        typer.echo(f"the cache cannot be used, this one is for now: {problem}", err=True)


def _find(name: str) -> "Cell":
    """Return the cell called `name`."""
    from unrolled import cells
    from unrolled.errors import OptionError

    module_name, _, attribute = name.rpartition(":")
    sys.path.insert(0, "")  # the current folder, as for `python -m`
    try:
        module = importlib.import_module(module_name) if module_name else cells
    except Exception as error:  # whatever is wrong with the user's module
        raise OptionError(f"cannot import {module_name}: {type(error).__name__}: {error}") from None
    finally:
        sys.path.remove("")
    found = getattr(module, attribute, None)
    if isinstance(found, cells.Cell):
        return found
    known = [each for each in cells.__all__ if isinstance(getattr(cells, each), cells.Cell)]
    hint = f"built in are {', '.join(known)}; one of your own is module:name"
    if near := get_close_matches(attribute.lower(), known, n=1):
        hint = f"did you mean {near[0]}? {hint}"
    what = "is no cell" if hasattr(module, attribute) else "does not exist"
    raise OptionError(f"{name} {what}", hint)
