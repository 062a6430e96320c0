r"""Sequences of label sets as lines of text.

    60 64 67 | 62 65 |  | 60     blanks between labels, a bar between steps; the third set is empty
    "open door" alarm | alarm    quotes around a label with blanks, bars or quotes, as in JSON
    [[60, 64, 67], [62, 65]]     JSON: a list of lists; labels are texts or whole numbers

Not for files: those are in `reader.py`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from unrolled.errors import DataError

__all__ = ["Steps", "format_set", "format_steps", "parse_line", "pieces_of", "set_of", "steps_of"]

Steps = tuple[tuple[str, ...], ...]
"""A sequence: for each step its labels, each once, in the order in which they are written."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s|"]+|\|')
_PLAIN = re.compile(r'[^\s|"\[][^\s|"]*')


def parse_line(line: str, where: str) -> Steps:
    """Return the sequence that a line holds: at least one step, which may be empty.

    Args:
        line: The text.
        where: File and line, for the message.

    Raises:
        DataError: A quote that is not closed; JSON that is no list of lists of labels.

    Example:
        >>> parse_line("60 64 67 | 62 65 | ", "line 1")
        (('60', '64', '67'), ('62', '65'), ())
    """
    if line.lstrip().startswith("["):
        try:
            steps = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON: {error.msg}, at character {error.colno}") from None
        except (RecursionError, ValueError):
            raise DataError(f"{where}: nested too deep, or a number too long") from None
        return steps_of(steps, where)
    return tuple(tuple(dict.fromkeys(labels)) for labels in _sets(line, where))


def steps_of(value: Any, where: str) -> Steps:
    """Return the sequence that a list of lists of labels is.

    Raises:
        DataError: It is something else, or has no step.
    """
    if not isinstance(value, list) or not value:
        message = f"{where}: not a sequence but {_shown(value)}"
        raise DataError(message, "a sequence is a list of sets: [[60, 64, 67], [62, 65]]")
    return tuple(set_of(each, f"{where}, step {number}") for number, each in enumerate(value, 1))


def set_of(value: Any, where: str) -> tuple[str, ...]:
    """Return the set that a list of labels is.

    Raises:
        DataError: It is something else.
    """
    if not isinstance(value, list):
        message = f"{where}: not a set but {_shown(value)}"
        raise DataError(message, "a set is a list of labels: [60, 64, 67]")
    return tuple(dict.fromkeys(label_of(label, where) for label in value))


def label_of(value: Any, where: str) -> str:
    """Return a label: a text that is not empty, or a whole number.

    Raises:
        DataError: It is neither.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_label = isinstance(value, str | int) and not isinstance(value, bool)
    if not is_label or not str(value).strip():
        hint = "a label is a text or a whole number"
        raise DataError(f"{where}: not a label: {_shown(value)}", hint)
    return str(value).strip()


def format_set(labels: Iterable[str]) -> str:
    """Return labels as they stand in a line."""
    return " ".join(
        label if _PLAIN.fullmatch(label) else json.dumps(label, ensure_ascii=False)
        for label in labels
    )


def format_steps(steps: Iterable[Iterable[str]]) -> str:
    """Return the line that holds a sequence, of which `parse_line` makes it again."""
    return " | ".join(map(format_set, steps))


def pieces_of(line: str, steps: Sequence[Iterable[str]]) -> list[str]:
    """Return the text of each step of a line; joined they are the line, unless that is JSON."""
    if line.lstrip().startswith("["):
        text = format_steps(steps)
        return pieces_of(text, steps)
    ends = [match.end() for match in _TOKEN.finditer(line) if match[0] == "|"]
    starts = [0, *ends]
    return [line[start:end] for start, end in zip(starts, [*ends, len(line)], strict=True)]


def _sets(line: str, where: str) -> Iterator[list[str]]:
    labels: list[str] = []
    end = 0
    for match in _TOKEN.finditer(line):
        if line[end : match.start()].strip():
            break
        end = match.end()
        token = match[0]
        if token == "|":
            yield labels
            labels = []
        elif token.startswith('"'):
            try:
                labels.append(label_of(json.loads(token), where))
            except json.JSONDecodeError as error:
                raise DataError(f"{where}: a label in quotes is not JSON: {error.msg}") from None
        else:
            labels.append(token)
    if rest := line[end:].lstrip():
        message = f"{where}: a quote is not closed, at character {len(line) - len(rest) + 1}"
        raise DataError(message, 'a label with blanks is "in quotes"')
    yield labels


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, list | dict) else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
