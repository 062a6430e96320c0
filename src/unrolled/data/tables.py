r"""Rows of a table, each with its place in the file, from CSV, TSV, JSON or Parquet.

The text formats are read by Python's own `csv` and `json`, because these say in which line a
mistake is; Parquet by polars. What the columns mean is the tasks' part.

    .csv              fields in quotes where they hold a delimiter or a line end; the delimiter is a
                      comma, a semicolon, a tab or |, whichever the header has, or any character
                      that a first line such as sep=; says, as Excel writes it
    .tsv, .tab        no quotes: a tab always ends a field, a line end always a row
    .jsonl, .ndjson   an object a line; numbers, lists and null come as they are
    .json             the same, or one list of objects
    .parquet          of any types; needs the library polars
    any other         as TSV if its first line has a tab, else as CSV

Text formats may be packed (.csv.gz). CSV, TSV and JSON lines in UTF-8 are read in pieces, so that
rows are packed before more of the file is read; the others are in memory as a whole meanwhile. Only
the columns that are wanted are checked. A CSV or TSV file whose wanted columns are numbers, and no
names in its first line, has no header. JSON can hold halves of surrogate pairs, which are no
characters: rows that do are counted in a warning.
"""

import csv
import difflib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from unrolled.data.delimiters import (
    delimiter_of,
    fields_of_any_size,
    said_delimiter,
    split_fields,
)
from unrolled.data.json_rows import (
    check_names,
    has_half,
    may_have_halves,
    rows_of_lines,
    rows_of_list,
)
from unrolled.data.packed_rows import PackedRows, Row
from unrolled.data.text import lines_of, pieces_of_file, read_text
from unrolled.errors import DataError, OptionError

__all__ = [
    "TABLE_SUFFIXES",
    "Row",
    "Table",
    "check_columns",
    "has_columns",
    "is_header",
    "is_table",
    "read_table",
    "refuse_header",
]

_NO_TABLES = frozenset(
    ".xlsx .xls .ods .arrow .feather .h5 .hdf5 .db .sqlite .xml .html .zip .tar .pkl .npy .npz "
    ".pdf .docx .doc .ts .tsf .arff .mat".split()
)
_LINES_SEEN = 200
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True)
class Table:
    """The rows of a file, in its order.

    Args:
        path: The file.
        columns: The names of all columns in the file.
        rows: With the columns that were asked for.
        num_blank: Lines without anything but blanks, which are no rows.
        unit: What `Row.line` counts.
        has_header: Whether the columns have names; if not they are called "1", "2" and so on.
        halves: Where wanted values hold half a surrogate pair, counted as `unit` says.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Sequence[Row]
    num_blank: int = 0
    unit: str = "line"
    has_header: bool = True
    halves: Sequence[int] = ()

    def emptied(self) -> Iterator[Row]:
        """Yield the rows, and keep none where they are packed: for who makes them other things."""
        return self.rows.emptied() if isinstance(self.rows, PackedRows) else iter(self.rows)

    def where(self, row: Row) -> str:
        """Return the place of `row`, with which a message begins."""
        return f"{self.place}{row.line}"

    @property
    def place(self) -> str:
        """What stands before the number in the place of each row."""
        return f"{self.path}, {self.unit} "


def read_table(
    path: Path,
    columns: Sequence[str] | None = None,
    encoding: str = "utf-8",
    *,
    others: bool = False,
) -> Table:
    r"""Return the rows of the table in `path`.

    Args:
        path: A file whose name says what it is: `TABLE_SUFFIXES`; any other is CSV or TSV.
        columns: The names of the wanted columns, or their numbers from 1 where there is no header;
            all if None.
        encoding: Of CSV, TSV and JSON lines.
        others: Whether all other columns are wanted too.

    Raises:
        DataError: The file cannot be read, is not what its name says, has no rows, lacks a column,
            two wanted ones have one name, or a row has too few or too many fields.
        OptionError: No such encoding; polars is needed and not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "reviews.csv")
        ...     size = path.write_text('text,stars\n"good,\nvery good",5\nbad,1\n')
        ...     table = read_table(path, ["text", "stars"])
        >>> table.rows[1]
        Row(line=4, values={'text': 'bad', 'stars': '1'})
    """
    if _suffix(path) in _NO_TABLES:
        hint = f"save it as one that ends in {', '.join(TABLE_SUFFIXES)}"
        raise DataError(f"{path}: not a table by its name", hint)
    read = _READERS.get(_suffix(path), _read_fields)
    every = columns is None or others
    table = read(path, columns, encoding, every)
    if table.columns:
        check_columns(table, columns, every=every)
    if not table.rows:
        raise DataError(f"{path}: no rows", "a table has a header and at least one row")
    if table.halves:
        rows = "1 row has" if len(table.halves) == 1 else f"{len(table.halves):,} rows have"
        message = f"{path}: {rows} half a surrogate pair, which is no character (of an emoji, if"
        message += f" texts were cut); see {table.unit} {table.halves[0]}"
        warnings.warn(message, stacklevel=2)
    return table


def is_table(path: Path) -> bool:
    """Return whether a file is a table by its name."""
    return _suffix(path) in _READERS


def is_header(line: str, columns: Sequence[str]) -> bool:
    """Return whether a line names these columns, and so begins a table; without columns it cannot.

    Or it names their delimiter, as Excel does.

    Example:
        >>> is_header("Sentence #,Word,Tag", ["Word"]), is_header("Word for word.", ["Word"])
        (True, False)
        >>> is_header("sep=;", ["Word"])
        True
    """
    line = line.removeprefix("\ufeff").partition("\r")[0]
    if not columns or said_delimiter(line):
        return bool(columns)
    return any(set(columns) <= set(split_fields(line, mark)) for mark in ",;\t|")


def refuse_header(name: str, lines: Sequence[str], columns: Sequence[str]) -> None:
    """Raise `DataError` if an input that is no file, and read by lines, begins with these columns.

    Args:
        name: Of the input.
        lines: Its first ones.
        columns: Those of the training.
    """
    if lines and is_header(lines[0], columns):
        message = f"{name}: begins with the header of a table, and is read by lines"
        raise DataError(message, "save it as a file, and name that")


def has_columns(path: Path, columns: Sequence[str], encoding: str) -> bool:
    """Return whether a file that is no table by its name has these columns, and not a text a line.

    Raises:
        DataError: The file cannot be read.
    """
    pieces = pieces_of_file(path, encoding)
    head = next(pieces)
    said = int(said_delimiter(head) is not None)
    every = (line for piece in chain([head], pieces) for line in lines_of(piece))
    lines = [*islice((line for line in every if line.strip()), said, _LINES_SEEN)]
    if not lines:
        return False
    delimiter = delimiter_of(head, columns, _suffix(path))
    first = split_fields(lines[0], delimiter)
    if set(columns) <= set(first):
        return True
    if not all(map(_number, columns)):
        return False
    counts = {len(split_fields(line, delimiter)) for line in lines}
    return len(counts) == 1 and max(map(_number, columns)) <= min(counts) and len(first) > 1


def _suffix(path: Path) -> str:
    """Return how a name ends, that of what is packed where it is .gz."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def check_columns(table: Table, columns: Sequence[str] | None, *, every: bool = False) -> None:
    """Raise `DataError` unless each wanted column is there, once.

    Args:
        table: What was read.
        columns: That are wanted.
        every: Whether all others are wanted too.
    """
    for name in table.columns if every else columns or ():
        if table.columns.count(name) > 1:
            if not name:
                message = f"{table.path}: several columns have no name"
                raise DataError(message, "name them, or say which columns are meant")
            raise DataError(f"{table.path}: two columns are called {name!r}", "rename one of them")
    for name in columns or ():
        if name not in table.columns:
            near = difflib.get_close_matches(name, table.columns, n=1, cutoff=0.5)
            shown = ", ".join(map(repr, table.columns[:20]))
            more = f" and {len(table.columns) - 20} more" if len(table.columns) > 20 else ""
            message = f"{table.path}: no column {name!r}; there are {shown}{more}"
            hint = f"did you mean {near[0]!r}?" if near else ""
            raise DataError(message, "" if name in near else hint)


def _read_fields(path: Path, columns: Sequence[str] | None, encoding: str, every: bool) -> Table:
    """Read CSV or TSV: a header, then rows of as many fields."""
    pieces = pieces_of_file(path, encoding)
    head = next(pieces)
    delimiter, said = delimiter_of(head, columns, _suffix(path)), said_delimiter(head)
    contents = chain([head], pieces)
    del head  # it would stay as long as the rows are read
    header: list[str] = []
    rows = PackedRows(None if every else columns)
    num_blank = 0
    has_header = True
    nameless = False  # whether a column without a name has a value
    for line, fields in _records(path, contents, delimiter, int(said is not None)):
        if len(fields) < 2 and not "".join(fields).strip():
            num_blank += 1
            continue
        if not header:
            header = [field.strip() for field in fields]
            has_header = not _are_numbers(columns, header)
            if not has_header:
                header = [str(number) for number in range(1, len(fields) + 1)]
            _check_said(path, said, line, header, columns)
            if has_header:
                continue
        if len(fields) > len(header) and not any(fields[len(header) :]):
            fields = fields[: len(header)]
        if len(fields) != len(header):
            first = "the header" if has_header else "the first line"
            hint = 'is a text with the delimiter not inside quotes ("...")?'
            if len(header) == 1:
                hint = f"is {header[0][:40]!r} the header? leave out what stands above it"
            elif delimiter != "\t" and len(fields) < len(header):
                hint = "is a field missing, or a line end inside a text without quotes?"
            elif delimiter == "\t":
                hint = "in TSV, is a tab missing or inside a text?"
            count = f"{len(fields)} field{'' if len(fields) == 1 else 's'}"
            raise DataError(f"{path}, line {line}: {count}, but {first} has {len(header)}", hint)
        values = dict(zip(header, fields, strict=True))
        nameless = nameless or bool(values.get(""))
        rows.add(line, values)
    if not nameless:
        rows.drop("")
    names = tuple(name for name in header if name or nameless)
    return Table(path, names, rows, num_blank, has_header=has_header)


def _check_said(
    path: Path, said: str | None, line: int, header: Sequence[str], columns: Sequence[str] | None
) -> None:
    """Raise `DataError` if the delimiter that the file says is not that of its header."""
    if said is not None and len(header) == 1 and not set(columns or ()) <= set(header):
        message = f"{path}, line 1: says that {said!r} is between columns, and line {line} has none"
        raise DataError(message, "correct the mark in line 1, or leave that line out")


def _are_numbers(columns: Sequence[str] | None, header: Sequence[str]) -> bool:
    """Return whether the wanted columns are numbers of some, and not names in the header."""
    if not columns or not all(map(_number, columns)):
        return False
    return not (set(columns) <= set(header) and _are_names(header))


def _are_names(header: Sequence[str]) -> bool:
    """Return whether fields are names, and not a row of numbers: a class 1 names no column.

    Numbers are names if they follow each other, or stand among words and are whole.
    """
    values = [_value(name) for name in header]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return all(number.is_integer() for number in numbers)
    return all(after == before + 1 for before, after in pairwise(numbers))


def _value(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


def _number(name: str) -> int:
    """Return the number of a column, from 1, that a name is; 0 if it is none."""
    return int(name) if name.isascii() and name.isdigit() and len(name) < 7 else 0


def _records(
    path: Path, pieces: Iterator[str], delimiter: str, before: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line at which each record begins, and its fields.

    Args:
        path: The file.
        pieces: Its text, cut where lines end.
        delimiter: What is between fields.
        before: Lines that are no record.
    """
    if delimiter == "\t" and _suffix(path) != ".csv":
        contents = (content for piece in pieces for content in lines_of(piece))
        for line, content in enumerate(islice(contents, before, None), start=before + 1):
            yield line, content.split("\t")
        return
    lines = (match[0] for piece in pieces for match in _LINE.finditer(piece))
    reader = csv.reader(islice(lines, before, None), delimiter=delimiter, strict=True)
    line = before + 1
    try:
        with fields_of_any_size():
            for fields in reader:
                yield line, fields
                line = before + reader.line_num + 1
    except csv.Error as error:
        hint = 'a text in quotes ends at the next quote, and holds a quote as ""'
        raise DataError(f"{path}, line {line}: not CSV: {error}", hint) from None


def _read_json(path: Path, wanted: Sequence[str] | None, encoding: str, every: bool) -> Table:
    is_list, pieces = False, pieces_of_file(path, encoding)
    if _suffix(path) == ".json":
        text = read_text([path], encoding)
        is_list, pieces = text.lstrip()[:1] == "[", iter([text])
    wanted = None if every else wanted
    columns: dict[str, None] = {}  # a set that keeps the order
    rows = PackedRows(wanted)
    halves: list[int] = []
    num_blank = number = 0
    unit = "row" if is_list else "line"
    for piece in pieces:
        looks_for_halves = may_have_halves(piece)
        found = rows_of_list(path, piece) if is_list else rows_of_lines(path, piece, number + 1)
        for number, values in found:
            if values is None:
                num_blank += 1
                continue
            check_names(values, f"{path}, {unit} {number}", wanted)
            columns |= dict.fromkeys(values)
            rows.add(number, _without_nan(values))
            if looks_for_halves and has_half(values, wanted):
                halves.append(number)
    return Table(path, tuple(columns), rows, num_blank, unit, halves=halves)


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """Return values in which NaN, with which programs write what is missing, is None."""
    missing = {
        name for name, value in values.items() if isinstance(value, float) and value != value
    }
    return values | dict.fromkeys(missing) if missing else values


def _read_parquet(path: Path, columns: Sequence[str] | None, _encoding: str, every: bool) -> Table:
    polars = _polars()
    try:
        names = tuple(polars.read_parquet_schema(path))
        wanted = [name for name in names if every or columns is None or name in columns]
        frame = _with_nanoseconds(polars, polars.read_parquet(path, columns=wanted))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", "check the path") from None
    except Exception as error:  # polars raises its own kinds, OSError and more
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: cannot be read as Parquet: {reason}") from None
    rows = PackedRows()
    for number, values in enumerate(frame.iter_rows(named=True), 1):
        rows.add(number, _without_nan(values))
    return Table(path, names, rows, unit="row")


def _with_nanoseconds(polars: ModuleType, frame: Any) -> Any:
    """Return a frame in which dates that are finer than Python's are the texts of them."""
    finer = [
        name
        for name, kind in frame.schema.items()
        if getattr(kind, "time_unit", None) == "ns" and kind == polars.Datetime
        if (frame[name].dt.nanosecond() % 1000 != 0).any()
    ]
    zoned = "%Y-%m-%d %H:%M:%S%.9f%:z"
    texts = [
        polars.col(name).dt.to_string(zoned if frame.schema[name].time_zone else zoned[:-3])
        for name in finer
    ]
    return frame.with_columns(texts) if texts else frame


def _polars() -> ModuleType:
    try:
        import polars
    except ImportError:
        raise OptionError(
            "Parquet needs the library polars",
            'pip install "unrolled[tables]", or save the table as CSV',
        ) from None
    return polars


_READERS: dict[str, Callable[[Path, Sequence[str] | None, str, bool], Table]] = {
    ".csv": _read_fields,
    ".tsv": _read_fields,
    ".tab": _read_fields,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
}
"""What reads each format: from the path, the wanted columns, the encoding, and whether all others
are wanted too."""

TABLE_SUFFIXES: tuple[str, ...] = tuple(_READERS)
"""How the names of files end that `read_table` reads, in small letters."""
