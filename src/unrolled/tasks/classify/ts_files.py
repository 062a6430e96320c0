"""Sequences of numbers from `.ts` files, the format of the UCR and UEA archives.

    # a comment
    @problemName Vowels
    @classLabel true a e
    @data
    0.1,0.2,0.3:1,?,3:a        a case: dimensions between colons, T values each, then its label

The length differs from case to case where it likes; within one, all dimensions have the same T.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from unrolled.data.numbers import is_number, parse_number
from unrolled.data.text import read_text, split_lines
from unrolled.errors import DataError, field
from unrolled.tasks.classify.series import Series

__all__ = ["is_ts", "read_ts_cases", "read_ts_file"]


def is_ts(path: Path | str) -> bool:
    """Return whether a file is, by its name, one of this format."""
    return str(path).lower().endswith(".ts")


def read_ts_file(path: Path, encoding: str = "utf-8", *, number: bool = False) -> list[Series]:
    """Return the labelled cases of a `.ts` file.

    Args:
        path: The file.
        encoding: Any that Python knows.
        number: Whether labels are numbers (`@targetLabel`), and not classes.

    Raises:
        DataError: The file cannot be read; it has no `@classLabel` or no cases; a case has another
            number of dimensions, dimensions of different lengths, a value that is no number, or a
            label that `@classLabel` does not name.
    """
    lines = split_lines(read_text([path], encoding))
    labels = set() if number else _class_labels(path, lines)
    cases = list(read_ts_cases(path, lines, num_dimensions=None, labelled=True))
    if not cases:
        raise DataError(f"{path}: no cases", "they are the lines after @data")
    for case in cases:
        if labels and case.label not in labels:
            shown = ", ".join(sorted(labels))
            message = f"{case.where}: the label {case.label!r} is none of @classLabel: {shown}"
            raise DataError(message)
    return cases


def read_ts_cases(
    path: Path | str, lines: Iterable[str], num_dimensions: int | None, labelled: bool
) -> Iterator[Series]:
    """Yield the cases in the lines of a `.ts` file, its header left out.

    Args:
        path: With which a message begins.
        lines: Of the file; the header may be missing.
        num_dimensions: I; that of the first case if None.
        labelled: Whether the last part of a case is its label. If not, `num_dimensions` is given,
            and one part more than that is taken for a label.

    Raises:
        DataError: A case is not as it must be, `read_ts_file`; or has time stamps.
    """
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        content = line.strip()
        if content.lower().split() == ["@timestamps", "true"] or content.startswith("("):
            raise DataError(f"{where}: cases with time stamps are not read", "use a long table")
        if not content or content[0] in "#@":
            continue
        parts = content.split(":")
        has_label = labelled or len(parts) - 1 == num_dimensions
        label = parts.pop().strip() if has_label else None
        num_dimensions = num_dimensions or len(parts)
        if len(parts) != num_dimensions or not parts:
            hint = "dimensions lie between colons, and the label comes last"
            expected = num_dimensions or "at least 1"
            raise DataError(f"{where}: {len(parts)} dimensions, expected {expected}", hint)
        names = tuple(str(index) for index in range(1, num_dimensions + 1))
        yield Series(where, str(number), names, _steps(where, parts), label)


def _class_labels(path: Path, lines: list[str]) -> set[str]:
    """Return the labels that the header names; none where it has no `@classLabel`."""
    for number, line in enumerate(lines, start=1):
        tag, *values = line.split() or [""]
        if tag.lower() == "@targetlabel" and values[:1] == ["true"]:
            message = f"{path}, line {number}: the targets are numbers (@targetLabel), not classes"
            raise DataError(message, f"{field('number')} predicts a number")
        if tag.lower() == "@classlabel":
            if [value.lower() for value in values[:1]] != ["true"]:
                raise DataError(f"{path}, line {number}: the cases have no labels (@classLabel)")
            return set(values[1:])
    raise DataError(f"{path}: no @classLabel in the header", "is this a .ts file?")


def _steps(where: str, parts: list[str]) -> tuple[tuple[float, ...], ...]:
    """Return the steps of a case: the dimensions, turned."""
    dimensions = []
    for index, part in enumerate(parts, start=1):
        values = part.split(",") if part.strip() else []
        try:
            dimensions.append([parse_number(value) for value in values])
        except ValueError:
            wrong = next(value for value in values if not is_number(value))
            message = f"{where}: dimension {index}: no finite number: {wrong.strip()!r}"
            raise DataError(message, "a value that is missing is written as ?") from None
    lengths = {len(dimension) for dimension in dimensions}
    if len(lengths) > 1:
        shown = ", ".join(map(str, sorted(lengths)))
        message = f"{where}: dimensions of different lengths, {shown}"
        raise DataError(message, "fill the end with ?, for missing")
    return tuple(zip(*dimensions, strict=True))
