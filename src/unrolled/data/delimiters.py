"""The delimiter of a table in text, and the fields of a line by itself.

Not here: what the fields mean, nor rows over several lines (`tables.py`).
"""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from unrolled.data.text import lines_of

__all__ = ["delimiter_of", "fields_of_any_size", "said_delimiter", "split_fields"]

_TABS = (".tsv", ".tab")
_SAYS_DELIMITER = re.compile(r'"?sep=(?P<mark>[^\r\n"])"?[,;\t ]*(?=[\r\n]|\Z)', re.IGNORECASE)


def delimiter_of(text: str, columns: Sequence[str] | None, suffix: str) -> str:
    """Return the delimiter that is said, or else the one that the header has.

    That is the one with which it has most of the columns; of several, most fields.

    Args:
        text: Of the table.
        columns: That are wanted, if it is known.
        suffix: How the file's name ends: of .tsv and .tab, it is a tab unless another is said.
    """
    if said := said_delimiter(text):
        return said
    if suffix in _TABS:
        return "\t"
    header = next((line for line in lines_of(text[:100_000]) if line.strip()), "")

    def found(delimiter: str) -> tuple[int, int]:
        fields = split_fields(header, delimiter)
        return len(set(fields) & set(columns or ())), len(fields)

    if suffix != ".csv" and "\t" in header:
        return "\t"
    return max(",;\t|", key=found)


def said_delimiter(text: str) -> str | None:
    """Return what the first line says the delimiter is, as Excel writes and reads it; else None."""
    match = _SAYS_DELIMITER.match(text)
    return match["mark"] if match else None


def split_fields(line: str, delimiter: str) -> list[str]:
    """Return the fields of a line by itself, without blanks around them."""
    if delimiter == "\t":
        return [field.strip() for field in line.split("\t")]
    with fields_of_any_size():
        fields = next(csv.reader([line], delimiter=delimiter), [])
    return [field.strip() for field in fields]


@contextmanager
def fields_of_any_size() -> Iterator[None]:
    """Lift the limit of `csv`, 131,072 characters a field: a book in a field is no mistake."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a C long, of 32 bits on Windows
    try:
        yield
    finally:
        csv.field_size_limit(before)
