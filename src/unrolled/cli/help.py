"""What `--help` shows: text that flows, one name for each kind of value, defaults where they fit.

typer makes the help of a command from its docstring and its parameters; this is what it does not do
by itself. Not here: the words, which stand beside the commands and in the options classes.
"""

import inspect
from collections.abc import Sequence
from copy import copy
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

__all__ = ["Command", "Group", "default_of", "flowing", "register", "value_name"]

_ORDER = (
    *("train", "resume", "predict", "generate", "evaluate"),
    *("compare", "inspect", "serve", "lecture", "export", "doctor", "cells", "kernels", "bench"),
)
_VALUE_NAMES = {"int": "N", "int range": "N", "float": "X", "str": "TEXT", "path": "PATH"}


def flowing(text: str) -> str:
    r"""Return a text whose lines end where the reader's terminal ends; indented lines stay.

    >>> print(flowing("One\nline.\n\nFor example\n\n  this\n  or that"))
    One line.
    <BLANKLINE>
    For example
    <BLANKLINE>
      this
      or that
    """
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(each if each[:1] == " " else each.replace("\n", " ") for each in paragraphs)


def default_of(parameter: Any) -> str:
    """Return what holds where a parameter is not given; "" where that goes without saying."""
    shown, default = parameter.show_default, parameter.default
    if isinstance(shown, str):
        return shown
    if not shown or default is None or default is False or default == "":
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)


def value_name(parameter: Any) -> str:
    """Return what help calls the value of a parameter; "" for a switch and for an argument."""
    if isinstance(parameter, TyperArgument) or parameter.is_flag:
        return ""
    if parameter.metavar is not None:
        return str(parameter.metavar)
    kind = parameter.type_descriptor
    name = kind.path_type if kind.is_path else parameter.bare_type()
    return _VALUE_NAMES[name]


class _Readable:
    """What a command and a group of commands have in common: help for people."""

    _shows_help = False

    def __init__(self, *args: Any, help: str | None = None, **rest: Any) -> None:
        super().__init__(*args, help=flowing(help or ""), **rest)  # type: ignore[call-arg]  # typer's

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        self._shows_help = True
        try:
            super().format_help(ctx, formatter)  # type: ignore[misc]  # of the class beside
        finally:
            self._shows_help = False

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line after the command: they can be typed as they stand."""
        pieces = [_usage(each) for each in self.get_params(ctx) if isinstance(each, TyperArgument)]
        pieces.append(self.options_metavar or "")  # type: ignore[attr-defined]  # of the class beside
        if isinstance(self, TyperGroup):
            pieces = [self.subcommand_metavar]
        return pieces

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, and `--help`; in help as they are shown."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # the same
        return [_shown(each) for each in parameters] if self._shows_help else parameters


class Command(_Readable, TyperCommand):
    """A command."""


class Group(_Readable, TyperGroup):
    """Commands in the order in which they are used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, those that are not in our order first."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else -1)


def register(apps: Sequence[typer.Typer]) -> None:
    """Have all commands of some apps show such help."""
    for app in apps:
        app.info.cls = Group
        for command in app.registered_commands:
            command.cls = Command


def _usage(argument: Any) -> str:
    """Return an argument as the usage line has it: in brackets if it may be left out."""
    name = f"{argument.metavar}{' ...' if argument.nargs != 1 else ''}"
    return name if argument.required else f"[{name}]"


def _shown(parameter: Any) -> Any:
    """Return a parameter as help has it: its value has a name, its default is among the words."""
    shown = copy(parameter)
    if isinstance(shown, TyperArgument):
        shown.display_type_rich = lambda ctx: ""  # type: ignore[method-assign]  # noqa: ARG005  # said by `default_of`
    elif isinstance(shown, TyperOption):
        shown.metavar = value_name(parameter)
        flag = shown.opts[0].removeprefix("--")
        if shown.secondary_opts == [f"--no-{flag}"]:  # in one column, so that there is room
            shown.opts, shown.secondary_opts = [f"--[no-]{flag}"], []
    if default := default_of(parameter):
        shown.help = f"{parameter.help} [dim]{escape(f'[default: {default}]')}[/dim]"
        shown.show_default = False
    return shown
