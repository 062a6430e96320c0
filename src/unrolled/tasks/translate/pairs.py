"""Pairs of sentences: from a file of two columns with a tab between them, a table, or two files.

    Go.<TAB>Va !
    I love you.<TAB>Je t'aime.

More columns may stand beside them. CSV, JSON and Parquet are read as `data/tables.py` says; of two
files that stand side by side each line of one is the counterpart of the other's. Turning sentences
into numbers is in `data/sentences.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from pathlib import Path

from unrolled.data.delimiters import said_delimiter
from unrolled.data.packed_examples import PackedExamples, ReadOnce, Texts
from unrolled.data.source import Source
from unrolled.data.tables import Row, Table, is_table, read_table, refuse_header
from unrolled.data.text import lines_of_file
from unrolled.errors import DataError, OptionError

__all__ = ["Pair", "counterpart", "read_pairs", "sources_of"]


@dataclass(frozen=True, slots=True)
class Pair(ReadOnce):
    """A sentence and its counterpart, blanks at their ends removed and none doubled.

    Args:
        source: What is read.
        target: What is to be written.
    """

    source: str
    target: str


class Pairs(PackedExamples[Pair]):
    """Pairs in little more memory than their file takes."""

    def __init__(self) -> None:
        super().__init__()
        self._sources, self._targets = Texts(), Texts()

    def append(self, example: Pair) -> None:
        """Add a pair."""
        self._sources.append(example.source)
        self._targets.append(example.target)

    def example(self, number: int) -> Pair:
        """Return a pair that was added."""
        return Pair(self._sources[number], self._targets[number])

    def __len__(self) -> int:
        return len(self._sources)


def read_pairs(
    path: Path,
    *,
    targets: Path | None = None,
    source_column: str = "1",
    target_column: str = "2",
    encoding: str = "utf-8",
    max_characters: int | None = None,
) -> tuple[Sequence[Pair], list[str]]:
    r"""Return the pairs of a file, in its order, and what was left out, in sentences.

    Where the name does not say CSV, JSON or Parquet, a tab ends a column, a line end a pair, and
    quotes mean nothing. Left out and counted are pairs with an empty side and those with a side
    that is too long.

    Args:
        path: A text file, or a table.
        targets: A text file with a target in each line; the lines of `path` are then the sources.
        source_column: Its number, from 1, or its name in the file's first line.
        target_column: Likewise.
        encoding: Any that Python knows.
        max_characters: The longest side; None for any length.

    Raises:
        DataError: The file cannot be read, a line has too few columns, no column has that name, a
            value is no text, two files have another number of lines, or no pair is left. It names
            the file and the line.
        OptionError: Twice the same column, a number below 1, or an unknown encoding.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "pairs.tsv")
        ...     size = path.write_text("en\tfr\nGo.\tVa !\nHi.\t\n")
        ...     pairs, notes = read_pairs(path, source_column="fr", target_column="en")
        >>> pairs[0], notes
        (Pair(source='Va !', target='Go.'), ['1 pair has an empty side and is left out'])
    """
    if source_column == target_column:
        raise OptionError(f"source and target are both in column {source_column}", "name two")
    asked = (source_column, target_column)
    further: list[str] = []
    if targets is not None:
        sides = _side_by_side(path, targets, encoding)
    elif _is_table(path):
        sides, further = _of_table(path, asked, encoding)
    else:
        sides = _of_tabs(path, asked, encoding)
    pairs, empty, long = Pairs(), 0, 0
    for both in sides:
        source, target = (" ".join(side.split()) for side in both)
        if not source or not target:
            empty += 1
        elif max_characters is not None and max(len(source), len(target)) > max_characters:
            long += 1
        else:
            pairs.append(Pair(source, target))
    notes = [
        *further,
        *_note(empty, "an empty side"),
        *_note(long, f"a side of more than {max_characters} characters"),
    ]
    if not pairs:
        raise DataError(f"{path}: no pair of sentences", "; ".join(notes) or "give more lines")
    return pairs, notes


def sources_of(source: Source, column: str) -> Iterator[str]:
    """Yield what is to be translated: the lines of an input, or the sources of a table.

    Columns with a tab between them are a table, as in training, if each of the first lines has one.

    Raises:
        DataError: The input cannot be read, or has no such column.
    """
    if source.path is None or not _is_table(source.path):
        first, lines = source.begun()
        full = [line for line in first if line.strip()]
        if full and all("\t" in line for line in full):
            yield from _first_column(source.name, lines, column)
        else:
            if source.path is None and _number(column) is None:
                refuse_header(source.name, first, [column])
            yield from lines
        return
    table, (name,) = _table_with(source.path, [column], source.encoding)
    for row in table.rows:
        yield _text(table, row, name)


def counterpart(path: Path, source: Path, target: Path) -> Path:
    """Return the file that is beside `path` what `target` is beside `source`: by its name.

    Raises:
        OptionError: The names do not say which.

    Example:
        >>> print(counterpart(Path("test.en"), Path("train.en"), Path("train.fr")))
        test.fr
        >>> print(counterpart(Path("src-test.txt"), Path("src-train.txt"), Path("tgt-train.txt")))
        tgt-test.txt
    """
    same = _num_common(source.name, target.name)
    own, other = source.name[same:], target.name[same:]
    if same and path.name.endswith(own):
        return path.with_name(path.name.removesuffix(own) + other)
    same = _num_common(source.name[::-1], target.name[::-1])
    own, other = (name[: len(name) - same] for name in (source.name, target.name))
    if own and path.name.startswith(own):
        return path.with_name(other + path.name.removeprefix(own))
    message = f"{path}: the file of its targets is not known by the names {source.name} and"
    raise OptionError(f"{message} {target.name}", "call them alike, or put both in one table")


def _num_common(first: str, second: str) -> int:
    """Return with how many equal characters two texts begin."""
    equal = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    return sum(1 for _ in equal)


def _is_table(path: Path) -> bool:
    """Return whether a file is a table of another kind than columns between tabs."""
    name = path.name.lower().removesuffix(".gz")
    return is_table(path) and not name.endswith((".tsv", ".tab"))


def _side_by_side(path: Path, targets: Path, encoding: str) -> Iterator[tuple[str, str]]:
    files = (path, targets)
    own, others = (sum(1 for _ in lines_of_file(file, encoding)) for file in files)
    if own != others:
        counts = f"{own:,} lines, but {targets} has {others:,}"
        raise DataError(f"{path}: {counts}", "each line of one is the counterpart of the other's")
    yield from zip(*(lines_of_file(file, encoding) for file in files), strict=True)


def _of_table(
    path: Path, asked: Sequence[str], encoding: str
) -> tuple[Iterator[tuple[str, str]], list[str]]:
    table, (source, target) = _table_with(path, asked, encoding)
    if source == target:
        raise OptionError(f"source and target are both in column {source}", "name two")
    note = "columns by their numbers: line 1 is a pair, and no header"
    notes = [] if table.has_header else [f"{path}: {note}"]
    rows = ((_text(table, row, source), _text(table, row, target)) for row in table.emptied())
    return rows, notes


def _table_with(path: Path, asked: Sequence[str], encoding: str) -> tuple[Table, list[str]]:
    """Return a table and what it calls the columns that were asked for, by name or number."""
    numbers = [_number(name) for name in asked]
    names = list(asked)
    are_numbers = None not in numbers
    is_csv = path.name.lower().removesuffix(".gz").endswith(".csv")
    if any(numbers) and not (are_numbers and is_csv):  # numbers among columns that have names
        columns = read_table(path, None, encoding).columns
        for place, number in enumerate(numbers):
            if number is not None and names[place] not in columns and number <= len(columns):
                names[place] = columns[number - 1]
    return read_table(path, names, encoding), names


def _text(table: Table, row: Row, column: str) -> str:
    value = row.values[column]
    if value is not None and not isinstance(value, str):
        message = f"{table.where(row)}: {column!r} is not text but {str(value)[:80]}"
        raise DataError(message, "is it the right column?")
    return value or ""


def _of_tabs(path: Path, asked: Sequence[str], encoding: str) -> Iterator[tuple[str, str]]:
    lines = enumerate(lines_of_file(path, encoding), 1)
    first = next(lines)
    if _says_tabs(path, first[1]):
        first = next(lines, (0, ""))
        if not first[0]:
            return
    columns, has_header = _columns(path, first[1].split("\t"), asked)
    for number, line in lines if has_header else chain([first], lines):
        if not line.strip():
            yield "", ""
            continue
        fields = line.split("\t")
        if len(fields) <= max(columns):
            got = "no tab" if len(fields) == 1 else f"{len(fields)} columns"
            raise DataError(
                f"{path}, line {number}: source and target are in columns "
                f"{columns[0] + 1} and {columns[1] + 1}, got {got}",
                "separate the columns by a tab",
            )
        yield fields[columns[0]], fields[columns[1]]


def _first_column(name: str, lines: Iterator[str], asked: str) -> Iterator[str]:
    """Yield one column of lines with tabs, "" for a blank line."""
    column: int | None = None
    for number, line in enumerate(lines, 1):
        if number == 1 and _says_tabs(name, line):
            continue
        if not line.strip():
            yield ""
            continue
        fields = line.split("\t")
        if column is None:
            (column,), is_header = _columns(name, fields, [asked])
            if is_header:
                continue
        if len(fields) <= column:
            message = f"{name}, line {number}: the source is in column {column + 1}"
            raise DataError(f"{message}, got {len(fields)} columns", "put a tab between columns")
        yield fields[column]


def _says_tabs(name: Path | str, line: str) -> bool:
    """Return whether a first line says that columns are between tabs, as Excel writes it.

    Raises:
        DataError: It says that they are between others.
    """
    mark = said_delimiter(line)
    if mark is not None and mark != "\t":
        message = f"{name}, line 1: says that {mark!r} is between columns, here it is a tab"
        raise DataError(message, "save it as .csv, where the first line may say so")
    return mark is not None


def _columns(
    path: Path | str, header: Sequence[str], asked: Sequence[str]
) -> tuple[list[int], int]:
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
    if len(set(columns)) < len(columns):
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
