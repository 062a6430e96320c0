r"""How words get to a terminal: what would steer it is shown, not done.

Names of classes, files and tokens come from data and runs of others, and may hold anything:
colours, titles, cursor movements, characters that turn the direction of a line, line ends that
pretend to be our own words. A terminal gets those as `\x1b` or `\u202e`. So does whoever reads text
with a line for each input. Other data in files and pipes stay exact, and JSON has its own escapes
everywhere, which stand for the same text.

All commands write by these functions, or by a console of `progress.py`.
"""

import contextlib
import io
import json
import os
import re
import sys
from typing import Any

__all__ = [
    "counted",
    "discard_output",
    "json_line",
    "say",
    "visible",
    "visible_parts",
    "write",
    "write_any_character",
]

# Of C0 all but tab and line end, DEL and C1; line separators; embeddings, overrides and isolates of
# direction; halves of surrogate pairs. Joiners and marks stay: scripts and emoji need them.
_STEERING = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_STEERING_OR_END = re.compile(f"{_STEERING.pattern}|\n")


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return a text that can do nothing to a terminal but stand there.

    Args:
        text: What may hold anything.
        lines: Whether it may have several lines; if not, their ends are shown as well.

    Example:
        >>> print(visible("\x1b[2Jgood\u202e\nbad"))
        \x1b[2Jgood\u202e\nbad
    """
    pattern = _STEERING if lines else _STEERING_OR_END
    return pattern.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def visible_parts(content: Any) -> Any:
    r"""Return what JSON can hold with every text in it `visible`, line ends as well.

    Example:
        >>> visible_parts({"class": "good\nbad", "probability": 0.5})
        {'class': 'good\\nbad', 'probability': 0.5}
    """
    if isinstance(content, dict):
        return {visible_parts(name): visible_parts(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [visible_parts(value) for value in content]
    return visible(content) if isinstance(content, str) else content


def counted(number: int, noun: str) -> str:
    """Return a number with what it counts.

    Example:
        >>> counted(1, "update"), counted(1200, "update")
        ('1 update', '1,200 updates')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def say(line: str, *, err: bool = False) -> None:
    """Write a line: to stdout, or what is said beside the data to stderr, which is for people."""
    stream = sys.stderr if err else sys.stdout
    stream.write((visible(line) if err or stream.isatty() else line) + "\n")
    stream.flush()


def write(text: str) -> None:
    """Write data to stdout, of any number of lines."""
    sys.stdout.write(visible(text, lines=True) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def write_any_character() -> None:
    r"""Have characters that the encoding of the output lacks written as `\u6f22`, not refused."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Let what could not be written to stdout go, so that it is not tried again at the end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def json_line(content: Any) -> str:
    r"""Return JSON on one line, readable, without anything that steers a terminal.

    Example:
        >>> print(json_line({"class": "é\x1b\x9b"}))
        {"class": "é\u001b\u009b"}
    """
    text = json.dumps(content, ensure_ascii=False)
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
