r"""Vectors of words that others have trained: word2vec's text, GloVe's, fastText's .vec; .gz too.

    400000 300                      a header, words and numbers; GloVe has none
    casa 0.12 -0.3 ...              a word, then as many numbers as in every other line
    rio 0.7 0.01 ...

Only the lines of words that are asked for are kept: a file may be larger than the memory. All
lines are looked at, so that one that was cut, or is something else, is not read in silence.
"""

import codecs
import gzip
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import torch
from torch import Tensor

from unrolled.errors import DataError

__all__ = ["WordVectors", "read_vectors", "vectors_width"]

_FORMATS = "word2vec's text format, GloVe's and fastText's .vec are read"
_IN_UTF8 = "write the file again in utf-8, iconv does that"
_HEADER = re.compile(rb"\d{1,12} \d{1,12}")
_NO_NUMBER = re.compile(rb"[^-+.0-9eE ]")
_LONGEST_LINE = 2**20  # bytes: numbers of 100,000 digits' width are no vectors
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class WordVectors:
    """The vectors of some words.

    Args:
        width: W, numbers in each.
        rows: Those that the file has, (W,) float32 each, by the words that were asked for.
        num_by_case: How many of them the file has in other capitals only.
    """

    width: int
    rows: dict[str, Tensor]
    num_by_case: int


def vectors_width(path: Path) -> int:
    """Return how many numbers each vector of a file has, as its first line says.

    Raises:
        DataError: The file cannot be read, or its first line is not one of vectors.
    """
    with _opened(path) as file:
        width, _, _ = _first(path, file)
    return width


def read_vectors(path: Path, words: Iterable[str]) -> WordVectors:
    """Return the vectors of `words` that a file has.

    A word that it does not have as it is written takes the first that differs in capitals alone.

    Args:
        path: The file, in UTF-8.
        words: Those that are asked for.

    Raises:
        DataError: The file cannot be read, is not UTF-8, has vectors of two widths, another number
            of them than its header says, one of these words twice, what is no finite number, or
            none of the words.
    """
    asked = dict.fromkeys(words)
    by_case: dict[str, list[str]] = {}
    for word in asked:
        by_case.setdefault(word.lower(), []).append(word)
    exact: dict[str, tuple[int, Tensor]] = {}
    other: dict[str, Tensor] = {}
    count = 0
    with _opened(path) as file:
        width, header, lines = _first(path, file)
        for number, line in lines:
            word, numbers = _split(path, number, line, width)
            count += 1
            if word in exact:
                message = f"{path}, line {number}: {word!r} has a vector in line {exact[word][0]}"
                raise DataError(message, "a word has one: leave one of them out")
            lower = word.lower()
            if word in asked:
                exact[word] = number, _vector(path, number, numbers)
            elif lower in by_case and lower not in other:
                other[lower] = _vector(path, number, numbers)
    if header is not None and header != count:
        message = f"{path}: its header says {header:,} vectors, it has {count:,}"
        raise DataError(message, "was the file cut?")
    rows = {word: row for word, (_, row) in exact.items()}
    fallen_back = {
        word: row for lower, row in other.items() for word in by_case[lower] if word not in exact
    }
    if not rows and not fallen_back:
        message = f"{path}: none of its {count:,} words is one of the {len(asked):,} words here"
        raise DataError(message, "is it of another language?")
    return WordVectors(width, rows | fallen_back, len(fallen_back))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, unpacked where it is packed; what goes wrong is a `DataError`."""
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == _GZIP
            file = gzip.GzipFile(fileobj=raw) if packed else raw
            yield cast(BinaryIO, file)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", "check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder", "name the file inside it") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: a packed file that is damaged: {error}", "was it cut?") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path}: cannot be read: {reason}", "check its permissions") from None


def _first(path: Path, file: BinaryIO) -> tuple[int, int | None, Iterator[tuple[int, bytes]]]:
    """Return the width, how many vectors the header says, and the lines with their numbers."""
    lines = _lines(path, file)
    number, line = next(lines, (0, b""))
    if not number:
        raise DataError(f"{path}: the file is empty", _FORMATS)
    if not _HEADER.fullmatch(line):
        width = _trailing_numbers(line.split(b" "))
        if not width:
            message = f"{path}, line {number}: a word and its numbers expected, got {_shown(line)}"
            raise DataError(message, _FORMATS)
        return width, None, chain([(number, line)], lines)
    count, width = map(int, line.split())
    number, line = next(lines, (0, b""))
    if not count or not width or not number:
        message = f"{path}: its header says {count:,} vectors of {width:,} numbers"
        raise DataError(f"{message}, and there is none", _FORMATS)
    _split(path, number, line, width)  # before anything is as wide as a header says
    return width, count, chain([(number, line)], lines)


def _lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the number of each line that is not empty, and the line, its tabs as blanks."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
            if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise DataError(f"{path}, line 1: utf-16 text, utf-8 expected", _IN_UTF8)
        if len(line) == _LONGEST_LINE or b"\0" in line:
            raise DataError(f"{path}, line {number}: binary, not text", _FORMATS)
        line = line.rstrip(b" \t\r\n").replace(b"\t", b" ")
        if line:
            yield number, line


def _split(path: Path, number: int, line: bytes, width: int) -> tuple[str, list[bytes]]:
    """Return the word of a line and its numbers; a word may have blanks in it."""
    fields = line.split(b" ")
    if len(fields) != width + 1:
        numbers = _trailing_numbers(fields)
        if len(fields) < width + 1 or numbers > width:
            message = f"{path}, line {number}: a vector of {numbers}, {width} expected"
            raise DataError(message, "numbers of two files, or a line that was cut")
    name, numbers_of = b" ".join(fields[:-width]), fields[-width:]
    try:
        word = name.decode()
    except UnicodeDecodeError:
        message = f"{path}, line {number}: not utf-8 text: {_shown(name)}"
        raise DataError(message, _IN_UTF8) from None
    if _NO_NUMBER.search(b" ".join(numbers_of)):
        wrong = next(field for field in numbers_of if _NO_NUMBER.search(field))
        message = f"{path}, line {number}: no finite number: {_shown(wrong)}"
        raise DataError(message, "every number of a vector is needed")
    return word, numbers_of


def _vector(path: Path, number: int, fields: list[bytes]) -> Tensor:
    values = []
    for field in fields:
        try:
            value = float(field)
        except ValueError:
            value = math.nan
        if not abs(value) < 1e30:  # what squares to a float32
            message = f"{path}, line {number}: no finite number: {_shown(field)}"
            raise DataError(message, "every number of a vector is needed")
        values.append(value)
    return torch.tensor(values, dtype=torch.float32)


def _trailing_numbers(fields: list[bytes]) -> int:
    """Return how many numbers stand at the end of a line, its first field being a word."""
    count = 0
    for field in reversed(fields[1:]):
        try:
            float(field)
        except ValueError:
            break
        count += 1
    return count


def _shown(content: bytes) -> str:
    shown = repr(content[:40].decode(errors="backslashreplace"))
    return shown.replace(r"\\x", r"\x")  # of bytes that are no text, which repr escapes again
