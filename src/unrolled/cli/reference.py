"""All options of all commands, as one page of Markdown: `make docs` writes docs/options.md.

Nothing is said here that a command or an options class does not say; a test holds the page to them.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup

from unrolled.cli.flags import default_text, help_text
from unrolled.cli.help import default_of, flowing, value_name
from unrolled.cli.main import app
from unrolled.options import Interval, OptionField

__all__ = ["reference"]

_HEAD = """# All options

<!-- Made by `make docs` from the commands and their options classes. Edit those. -->

`N` and `K` are whole numbers, `X` is a number, `P` a probability, `FRACTION` a part of a whole. In
Python an option is a field of its task's `DataOptions`, `ModelOptions`, `TrainingOptions` or
`PredictOptions`, with underscores: `--hidden-size` is `hidden_size`. Where the field has another
name, the table says it.
"""

_QUOTES = '"`'
_OPTION = re.compile(r'"[^"]*--[^"]*"|`[^`]*`|(?<![\w-])--[a-z][\w-]*')


def reference() -> str:
    """Return the page."""
    lines = list(_sections(typer.main.get_command(app), "unrolled"))
    titles = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    links = (f"[{title.removeprefix('unrolled ')}](#{title.replace(' ', '-')})" for title in titles)
    return "\n".join([_HEAD, " · ".join(links), "", *lines])


def _sections(command: Any, path: str) -> Iterator[str]:
    """Yield the lines on a command, or on all that a group has."""
    if isinstance(command, TyperGroup):
        if command.invoke_without_command:  # does something without a command, too
            yield from _section(command, path)
        for name in command.list_commands(typer.Context(command)):
            yield from _sections(command.commands[name], f"{path} {name}")
        return
    yield from _section(command, path)


def _section(command: Any, path: str) -> Iterator[str]:
    """Yield the lines on one command."""
    yield from (f"## {path}", "", flowing(command.help).partition("\n\n")[0], "")
    fields = getattr(command.callback, "fields", {})
    panels: dict[str, list[str]] = {}
    for parameter in command.params:
        is_argument = isinstance(parameter, TyperArgument)
        panel = "Arguments" if is_argument else parameter.rich_help_panel or "Options"
        panels.setdefault(panel, []).append(_row(parameter, fields.get(parameter.name)))
    if not panels:
        yield from ("No options.", "")
    for panel, rows in panels.items():
        head = "argument" if panel == "Arguments" else "option"
        yield from (f"**{panel}**", "", f"| {head} | value | default | what it is |")
        yield from ("|---|---|---|---|", *rows, "")


def _row(parameter: Any, field: OptionField | None) -> str:
    if isinstance(parameter, TyperArgument):
        name = f"`{parameter.metavar}`{' ...' if parameter.nargs != 1 else ''}"
    else:
        name = ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
    help_ = parameter.help if field is None else help_text(field)
    if field is not None and not field.option.positional:
        if parameter.opts[0] != f"--{field.name.replace('_', '-')}":
            help_ += f" In Python `{field.name}`."
    default = "required" if parameter.required else _default(parameter, field)
    cells = [name, _value(parameter, field), default, _code(help_)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _value(parameter: Any, field: OptionField | None) -> str:
    """Return what may be given: the name of the value, and its range or choices."""
    if field is not None and field.option.choices:
        return ", ".join(f"`{choice}`" for choice in field.option.choices)
    name = value_name(parameter)
    words = [f"`{name}`"] if name else []
    if field is not None and field.option.within is not None:
        words.append(str(Interval.parse(field.option.within)).removeprefix("a number "))
    elif getattr(parameter, "min", None) is not None:
        words.append(f"in [{parameter.min}, {parameter.max}]")
    return ", ".join(words)


def _default(parameter: Any, field: OptionField | None) -> str:
    return _code(default_of(parameter) if field is None else default_text(field))


def _code(text: str) -> str:
    """Return a text with the options in it, and with quoted parts that have some, set as code."""
    return _OPTION.sub(lambda match: f"`{match[0].strip(_QUOTES)}`", text)


def main() -> None:
    """Write the page to the file that the command line names."""
    (path,) = sys.argv[1:]
    Path(path).write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
