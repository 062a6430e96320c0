"""Tables of series from `.tsf` and `.ts` files, in which each line is a whole series.

    @attribute series_name string          .tsf, of the Monash archive: attributes, then values
    @attribute start_timestamp date
    @frequency monthly
    @horizon 12
    @data
    T1:1979-01-01 00-00-00:25.0,24.2,?,23.9

    @timeStamps false                      .ts, of sktime and aeon: dimensions, then a label
    @classLabel true a b
    @data
    0.1,0.2,0.3:1,?,3:a

They become rows as any table has them, one for each step:

    .tsf    the attributes by their names, `time` and `value`
    .ts     `case`, from 1; `step`, a time stamp where there are some; `value`, or `value1`,
            `value2` ... of several dimensions; `label` where there are labels
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from unrolled.data.numbers import parse_number
from unrolled.data.tables import Row, Table, check_columns
from unrolled.data.text import read_text, split_lines
from unrolled.errors import DataError

__all__ = ["FileOfSeries", "columns_of_suffix", "read_series_file"]

_PERIODS = {
    "seconds": timedelta(seconds=1),
    "minutes": timedelta(minutes=1),
    "hours": timedelta(hours=1),
    "days": timedelta(days=1),
    "weeks": timedelta(weeks=1),
}
_ONE = {"minutely": "minutes", "hourly": "hours", "daily": "days", "weekly": "weeks"}
_MONTHS = {"monthly": 1, "quarterly": 3, "yearly": 12}
_STAMPS = ("%Y-%m-%d %H-%M-%S", "%Y-%m-%d")
_TYPES = ("string", "date", "numeric", "integer", "real")
_NO_VALUES = "values lie between commas; ? is a missing one"


class FileOfSeries(NamedTuple):
    """What a file has: its rows, and the horizon that it names, if it does."""

    table: Table
    horizon: int | None


def columns_of_suffix(path: str) -> dict[str, str]:
    """Return which columns are time, series and target of a file, by its name; none of others."""
    if path.lower().endswith(".tsf"):
        return {"time": "time", "id": "series_name", "target": "value"}
    if path.lower().endswith(".ts"):
        return {"time": "step", "id": "case", "target": "value"}
    return {}


def read_series_file(path: Path, columns: Sequence[str], encoding: str) -> FileOfSeries:
    """Return the rows of a `.tsf` or `.ts` file.

    Args:
        path: Its name says which of the two it is.
        columns: That are wanted.
        encoding: Any that Python knows.

    Raises:
        DataError: The file cannot be read, its header lacks what the lines need, a line is not as
            the header says, or a wanted column is not there.
    """
    lines = split_lines(read_text([path], encoding))
    read = _tsf if path.name.lower().endswith(".tsf") else _ts
    file = read(path, lines)
    if not file.table.rows:
        raise DataError(f"{path}: no series", "they are the lines after @data")
    check_columns(file.table, columns)
    return file


def _header(path: Path, lines: Sequence[str]) -> tuple[list[tuple[int, list[str]]], int]:
    """Return the lines of the header, each its number and its words, and where the data begin."""
    header: list[tuple[int, list[str]]] = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].lower() == "@data":
            return header, number
        if not words[0].startswith("@"):
            message = f"{path}, line {number}: not a line of a header: {line.strip()[:40]!r}"
            raise DataError(message, "lines before @data begin with @ or #")
        header.append((number, words))
    raise DataError(f"{path}: no @data", "series are the lines after it")


def _series(lines: Sequence[str], begin: int) -> Iterator[tuple[int, str]]:
    """Yield the number of each line with a series, and the line."""
    for number, line in enumerate(lines[begin:], start=begin + 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _tsf(path: Path, lines: Sequence[str]) -> FileOfSeries:
    header, begin = _header(path, lines)
    names: list[str] = []
    dates: list[str] = []
    numbers: list[str] = []
    frequency, horizon = None, None
    for number, (tag, *words) in header:
        where = f"{path}, line {number}"
        if tag.lower() == "@attribute":
            if len(words) != 2 or words[1].lower() not in _TYPES:
                message = f"{where}: not @attribute, a name and a type: {' '.join(words)!r}"
                raise DataError(message, f"types are {', '.join(_TYPES)}")
            names.append(words[0])
            dates += [words[0]] * (words[1].lower() == "date")
            numbers += [words[0]] * (words[1].lower() not in ("date", "string"))
        elif tag.lower() == "@frequency":
            frequency = _frequency(where, words)
        elif tag.lower() == "@horizon":
            if len(words) != 1 or not words[0].isdigit() or not int(words[0]):
                raise DataError(f"{where}: @horizon is no number of steps: {' '.join(words)!r}")
            horizon = int(words[0])
    rows: list[Row] = []
    lines_of: dict[str, int] = {}
    for number, line in _series(lines, begin):
        where = f"{path}, line {number}"
        *parts, values = line.split(":", len(names))
        if len(parts) != len(names):
            message = f"{where}: {len(parts)} attributes, but the header has {len(names)}"
            raise DataError(message, "attributes lie between colons, and the values come last")
        if ":" in values:
            message = f"{where}: a colon among the values"
            raise DataError(message, "a time stamp is written 1979-01-01 00-00-00")
        known = dict(zip(names, (part.strip() for part in parts), strict=True))
        series = known.get("series_name", str(number))
        if lines_of.setdefault(series, number) != number:
            message = f"{where}: series {series!r} is also in line {lines_of[series]}"
            raise DataError(message, "a line is a whole series")
        for name in numbers:
            _number(where, repr(name), known[name])
        stamp = _stamp(where, dates[0], known[dates[0]]) if dates else None
        if stamp is not None and frequency is None:
            message = f"{path}: {dates[0]!r} says when series begin, but there is no @frequency"
            raise DataError(message, "@frequency monthly, or what it is")
        for step, value in enumerate(values.split(",")):
            time = step + 1 if stamp is None or frequency is None else frequency(stamp, step)
            rows.append(Row(number, {**known, "time": time, "value": _value(where, step, value)}))
    return FileOfSeries(Table(path, (*names, "time", "value"), rows), horizon)


def _frequency(where: str, words: Sequence[str]) -> Callable[[datetime, int], Any]:
    """Return the time of a step of a series that begins somewhere.

    Months are written as such, as an end of a month has not the same day in all.
    """
    word = " ".join(words).lower()
    if word in _MONTHS:
        each = _MONTHS[word]

        def month(start: datetime, step: int) -> str:
            index = 12 * start.year + start.month - 1 + each * step
            if index >= 12 * 10_000:
                raise _too_late(where)
            return f"{index // 12:04d}-{index % 12 + 1:02d}"

        return month
    count, _, unit = ("30", "", "minutes") if word == "half_hourly" else word.partition("_")
    unit = _ONE.get(word, unit)
    count = "1" if word in _ONE else count
    unit = unit if unit.endswith("s") else f"{unit}s"
    if not count.isdigit() or not int(count) or unit not in _PERIODS:
        known = ", ".join((*_ONE, *_MONTHS, "half_hourly", "10_minutes", "4_seconds"))
        raise DataError(f"{where}: unknown @frequency {word!r}", f"known are {known}")
    period = int(count) * _PERIODS[unit]

    def moment(start: datetime, step: int) -> datetime:
        try:
            return start + step * period
        except OverflowError:
            raise _too_late(where) from None

    return moment


def _too_late(where: str) -> DataError:
    return DataError(f"{where}: a series goes on after the year 9999", "is @frequency right?")


def _stamp(where: str, name: str, text: str) -> datetime:
    for form in _STAMPS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    message = f"{where}: {name!r} is no time stamp: {text!r}"
    raise DataError(message, "write it 1979-01-01 00-00-00")


def _ts(path: Path, lines: Sequence[str]) -> FileOfSeries:
    header, begin = _header(path, lines)
    is_labelled = has_stamps = False
    labels: list[str] = []
    num_cases = 0
    for _, (tag, *words) in header:
        is_true = [word.lower() for word in words[:1]] == ["true"]
        if tag.lower() in ("@classlabel", "@targetlabel"):
            is_labelled = is_labelled or is_true
            labels += words[1:]
        elif tag.lower() == "@timestamps":
            has_stamps = is_true
    rows: list[Row] = []
    names: tuple[str, ...] = ()
    for number, line in _series(lines, begin):
        where = f"{path}, line {number}"
        label = None
        if is_labelled:
            line, colon, label = line.rpartition(":")
            if not colon:
                raise DataError(f"{where}: no label", "it comes last, after a colon")
            label = label.strip()
            if labels and label not in labels:
                message = f"{where}: the label {label!r} is none of @classLabel"
                raise DataError(message, f"there are {', '.join(labels[:10])}")
        parts = _stamped(where, line) if has_stamps else _counted(line)
        columns = tuple(f"value{k}" for k in range(1, len(parts) + 1))
        columns = ("value",) if len(parts) == 1 else columns
        if names and columns != names:
            message = f"{where}: {len(columns)} dimensions, and {len(names)} before"
            raise DataError(message, "dimensions lie between colons")
        names = columns
        times = [time for time, _ in parts[0]]
        for column, part in zip(names, parts, strict=True):
            if [time for time, _ in part] != times:
                message = f"{where}: the steps of {column!r} are not those of {names[0]!r}"
                raise DataError(message, "fill the end with ?, for missing")
        num_cases += 1
        known = {"case": str(num_cases)} | ({} if label is None else {"label": label})
        for step, time in enumerate(times):
            values = (_value(where, step, part[step][1]) for part in parts)
            rows.append(
                Row(number, {**known, "step": time, **dict(zip(names, values, strict=True))})
            )
    extra = ("label",) if is_labelled else ()
    return FileOfSeries(Table(path, ("case", *extra, "step", *names), rows), None)


def _counted(line: str) -> list[list[tuple[Any, str]]]:
    """Return the steps of each dimension of a line, numbered from 1."""
    return [[*enumerate(part.split(","), 1)] for part in line.split(":")]


def _stamped(where: str, line: str) -> list[list[tuple[Any, str]]]:
    """Return the steps of each dimension of a line: (stamp,value),(stamp,value)."""
    dimensions = []
    for part in line.replace("):(", ")\n(").split("\n"):
        if not (part.startswith("(") and part.endswith(")")):
            raise DataError(f"{where}: not (time,value) between commas: {part[:40]!r}")
        steps: list[tuple[Any, str]] = []
        for pair in part[1:-1].split("),("):
            time, comma, value = pair.rpartition(",")
            if not comma:
                raise DataError(f"{where}: not (time,value): {pair[:40]!r}")
            steps.append((time.strip(), value))
        dimensions.append(steps)
    return dimensions


def _value(where: str, step: int, text: str) -> str:
    """Return a value as it is written; one that is none is refused with its place in the line."""
    return _number(where, f"value {step + 1}", text)


def _number(where: str, name: str, text: str) -> str:
    try:
        parse_number(text)
    except ValueError:
        message = f"{where}: {name} is not a finite number: {text.strip()[:40]!r}"
        raise DataError(message, _NO_VALUES) from None
    return text
