"""Pairs of sentences from a file of two columns with a tab between them.

    Go.<TAB>Va !
    I love you.<TAB>Je t'aime.

More columns may stand beside them. Turning sentences into numbers is in `data/sentences.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.data.text import read_text, split_lines
from unrolled.errors import DataError, OptionError

__all__ = ["Pair", "read_pairs"]


@dataclass(frozen=True)
class Pair:
    """A sentence and its counterpart, blanks at their ends removed and none doubled.

    Args:
        source: What is read.
        target: What is to be written.
    """

    source: str
    target: str


def read_pairs(
    path: Path,
    *,
    source_column: str = "1",
    target_column: str = "2",
    encoding: str = "utf-8",
    max_characters: int | None = None,
) -> tuple[list[Pair], list[str]]:
    r"""Return the pairs of a file, in its order, and what was left out, in sentences.

    A tab ends a column, a line end a pair; quotes mean nothing. Left out and counted are pairs with
    an empty side and those with a side that is too long.

    Args:
        path: A text file.
        source_column: Its number, from 1, or its name in the file's first line.
        target_column: Likewise.
        encoding: Any that Python knows.
        max_characters: The longest side; None for any length.

    Raises:
        DataError: The file cannot be read, a line has too few columns, no column has that name, or
            no pair is left. It names the file and the line.
        OptionError: Twice the same column, a number below 1, or an unknown encoding.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "pairs.tsv")
        ...     size = path.write_text("en\tfr\nGo.\tVa !\nHi.\t\n")
        ...     read_pairs(path, source_column="fr", target_column="en")
        ([Pair(source='Va !', target='Go.')], ['1 pair has an empty side and is left out'])
    """
    if source_column == target_column:
        raise OptionError(f"source and target are both in column {source_column}", "name two")
    lines = split_lines(read_text([path], encoding))
    columns, first = _columns(path, lines[0].split("\t"), (source_column, target_column))
    pairs, empty, long = [], 0, 0
    for number, line in enumerate(lines[first:], first + 1):
        if not line.strip():
            empty += 1
            continue
        fields = line.split("\t")
        if len(fields) <= max(columns):
            got = "no tab" if len(fields) == 1 else f"{len(fields)} columns"
            raise DataError(
                f"{path}, line {number}: source and target are in columns "
                f"{columns[0] + 1} and {columns[1] + 1}, got {got}",
                "separate the columns by a tab",
            )
        source, target = (" ".join(fields[column].split()) for column in columns)
        if not source or not target:
            empty += 1
        elif max_characters is not None and max(len(source), len(target)) > max_characters:
            long += 1
        else:
            pairs.append(Pair(source, target))
    notes = [
        *_note(empty, "an empty side"),
        *_note(long, f"a side of more than {max_characters} characters"),
    ]
    if not pairs:
        raise DataError(f"{path}: no pair of sentences", "; ".join(notes) or "give more lines")
    return pairs, notes


def _columns(path: Path, header: Sequence[str], asked: Sequence[str]) -> tuple[list[int], int]:
    """Return the columns that were asked for, from 0, and the first line with a pair."""
    numbers = [_number(name) for name in asked]
    if all(number is not None for number in numbers):
        return [number - 1 for number in numbers if number is not None], 0
    names = [name.strip() for name in header]
    columns = []
    for name, number in zip(asked, numbers, strict=True):
        if number is None and name not in names:
            known = ", ".join(names[:10])
            message = f"{path}, line 1: no column {name!r}, the first line has: {known}"
            raise DataError(message, "name one of these, or give its number, from 1")
        columns.append(names.index(name) if number is None else number - 1)
    if columns[0] == columns[1]:
        raise OptionError(f"source and target are both in column {asked[0]}", "name two")
    return columns, 1


def _number(name: str) -> int | None:
    """Return the number that `name` is, None if it is none."""
    if not (name.isascii() and name.isdigit()):
        return None
    if int(name) < 1:
        raise OptionError(f"columns are counted from 1, got {name}")
    return int(name)


def _note(count: int, what: str) -> list[str]:
    if not count:
        return []
    pairs, are = ("pair has", "is") if count == 1 else ("pairs have", "are")
    return [f"{count} {pairs} {what} and {are} left out"]
