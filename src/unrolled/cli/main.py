"""The command `unrolled`: its subcommands, and how it ends when something goes wrong.

    0    done
    1    something the user can put right, in one line and a hint
    2    a command that does not exist or lacks something, in one line and a hint
    130  interrupted (143: terminated)

A traceback is a defect of ours. Each subcommand is a file of its own beside this one.
"""

import errno
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer

from unrolled.cli.bench import bench
from unrolled.cli.cells import cells_app
from unrolled.cli.compare import compare
from unrolled.cli.doctor import doctor
from unrolled.cli.evaluate import evaluate
from unrolled.cli.export import export
from unrolled.cli.flags import names_in_messages
from unrolled.cli.generate import generate
from unrolled.cli.help import register
from unrolled.cli.inspect import inspect
from unrolled.cli.kernels import kernels_app
from unrolled.cli.lecture import lecture
from unrolled.cli.predict import predict
from unrolled.cli.program import program
from unrolled.cli.resume import resume
from unrolled.cli.serve import serve
from unrolled.cli.terminal import discard_output, say, visible, write_any_character
from unrolled.cli.train import train_app
from unrolled.errors import UnrolledError

__all__ = ["app", "main"]

_HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}

_HELP = """Recurrent sequence models: train them, use them, look at what they do.

For example

  unrolled train lm book.txt --run runs/book --minutes 5
  unrolled generate runs/book --prompt "Once "
  unrolled serve runs/book

`unrolled COMMAND --help` tells more of each.
"""

app = typer.Typer(
    name="unrolled",
    help=_HELP,
    subcommand_metavar="COMMAND ...",
    add_completion=False,
    context_settings=_HELP_OPTIONS,
    pretty_exceptions_enable=False,
)
app.add_typer(train_app, name="train")
app.add_typer(kernels_app, name="kernels")
app.add_typer(cells_app, name="cells")
app.command("generate")(generate)
app.command("predict")(predict)
app.command()(evaluate)
app.command()(inspect)
app.command()(export)
app.command("resume")(resume)
app.command()(serve)
app.command()(lecture)
app.command(
    "compare",
    options_metavar="[ARGS ...] [OPTIONS]",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(compare)
app.command()(doctor)
app.command()(bench)
register([app, train_app, kernels_app, cells_app])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: What to run instead of the process's own arguments.

    Raises:
        SystemExit: Always, with the exit code.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        _let_threads_sleep(arguments)
    arguments = list(arguments)
    write_any_character()
    with _telling_warnings():
        _run(arguments)


def _let_threads_sleep(arguments: Sequence[str]) -> None:
    """Have threads of torch that wait spin some microseconds, and no longer milliseconds.

    Beside another process that is a third less time, and on a quiet machine none more; torch has to
    be told before it is loaded. Not for the benchmark, whose peers run as torch is.
    """
    variables = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
    if not variables and arguments[:1] != ["bench"]:
        os.environ["GOMP_SPINCOUNT"] = "2000"


def _run(arguments: Sequence[str]) -> NoReturn:
    try:
        code = app(arguments or ["--help"], prog_name="unrolled", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "unrolled"
        help_command = f"{program()}{command.removeprefix('unrolled')} --help"
        _fail(error.format_message(), help_command, error.exit_code)
    except UnrolledError as error:
        names = _names_for(arguments)
        message, hint = error.render(lambda name: names.get(name, name), program())
        _fail(message, hint, 1)
    except OSError as error:
        if error.filename is None:  # what was written to, as no command writes but to its output
            discard_output()
        if error.errno == errno.EPIPE:  # nobody reads any more, which is no mistake
            sys.exit(1)
        where = error.filename if error.filename is not None else "the standard output"
        _fail(f"{os.fsdecode(where)}: {error.strerror or error}", "", 1)
    except (MemoryError, RuntimeError, TypeError) as error:
        words = f"{type(error).__name__} {error}"
        if not isinstance(error, MemoryError) and not any(each in words for each in _NO_MEMORY):
            raise
        wanted = re.search(r"tried to allocate (\d+) bytes", str(error))
        size = f": {int(wanted[1]) / 1e9:.1f} GB at once are more than there is" if wanted else ""
        _fail(f"there is not enough memory{size}", "try a smaller model, or smaller batches", 1)


@contextmanager
def _telling_warnings() -> Iterator[None]:
    """Have warnings told in a line for people inside the `with` block."""
    before = warnings.formatwarning
    warnings.formatwarning = _told
    try:
        yield
    finally:
        warnings.formatwarning = before


def _told(message: Warning | str, category: type[Warning], *_: object, **__: object) -> str:
    """Return a warning as a line for people: what it quotes may hold anything."""
    kind = "" if issubclass(category, UserWarning) else f"{category.__name__}: "
    return f"unrolled: warning: {kind}{visible(str(message))}\n"


_NO_MEMORY = (  # in torch's words: of the processor, of an accelerator, of sizes over 63 bits
    "can't allocate memory",
    "OutOfMemoryError",
    "Storage size calculation overflowed",
    "Overflow when unpacking long",
)


def _names_for(arguments: Sequence[str]) -> dict[str, str]:
    """Return what options are called: those of the command that the arguments name come first."""
    command: Any = typer.main.get_command(app)
    names = _names_of_all(command)
    for argument in arguments:
        if argument not in getattr(command, "commands", {}):
            break
        command = command.commands[argument]
    return names | names_in_messages(command)


def _names_of_all(command: Any) -> dict[str, str]:
    """Return what options are called by a command, or by any of those that a group has."""
    names = names_in_messages(command)
    for each in getattr(command, "commands", {}).values():
        names = _names_of_all(each) | names
    return names


def _fail(message: str, hint: str, exit_code: int) -> NoReturn:
    """Print at most two lines, once on each machine, and exit."""
    from unrolled.cli.progress import make_console

    console = make_console(quiet=os.environ.get("LOCAL_RANK", "0") != "0")  # set by torchrun
    console.print("unrolled: error:", style="bold red", end=" ")
    console.print(message)
    if hint:
        console.print("hint:", style="bold", end=" ")
        console.print(hint)
    sys.exit(exit_code)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"unrolled {version('unrolled')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None: ...
