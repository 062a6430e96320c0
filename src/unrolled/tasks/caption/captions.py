"""Pictures or recordings with their words, from a table that names the files.

All are decoded once, here: an epoch reads no file.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from unrolled.data.media import Kind, read_named, unusable
from unrolled.data.options import MediumOptions
from unrolled.data.tables import Row, Table, read_table
from unrolled.data.words import TEXT_VERSION, as_read, cut_sentence, split_words
from unrolled.errors import DataError

__all__ = [
    "MAX_WORDS",
    "Caption",
    "Captions",
    "join_words",
    "read_captions",
    "references_of",
    "words_of",
]

MAX_WORDS = 500
_NO_BLANK_BEFORE = re.compile(r" (?=[,.;:!?…)\]}%])")
_NO_BLANK_AFTER = re.compile(r"(?<=[(\[{]) ")


@dataclass(frozen=True)
class Caption:
    """A picture or a recording and the words for it.

    Args:
        name: As the table has it.
        kind: "picture" or "recording".
        content: (3, S, S) uint8, or log-mel frames, (T, K) float32.
        text: As the table has it, without blanks around it, in Unicode's composed form (NFC).
        words: Those of the text, each with the blanks before it.
        key: What must not be in two parts of a split.
    """

    name: str
    kind: Kind
    content: Tensor
    text: str
    words: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class Captions:
    """What a table holds.

    Args:
        examples: At least one, all of one kind.
        notes: What was left out or read in part, in sentences.
    """

    examples: list[Caption]
    notes: list[str]


def references_of(examples: Sequence[Caption]) -> list[list[str]]:
    """Return the different captions of each file, in the order in which the files are named."""
    references: dict[str, dict[str, None]] = {}
    for example in examples:
        references.setdefault(example.name, {})[example.text] = None
    return [list(captions) for captions in references.values()]


def read_captions(
    path: Path,
    media: str,
    text: str,
    options: MediumOptions,
    *,
    folder: Path | None = None,
    key: str | None = None,
    encoding: str = "utf-8",
    skip_bad: bool = False,
) -> Captions:
    """Return the examples of a table.

    Args:
        path: A table that `read_table` reads.
        media: The column with paths; ";" joins recordings.
        text: The column with the words.
        options: What pictures and recordings are turned into.
        folder: Where the paths start; the table's folder if None.
        key: The column that says what must stay together in a split; the text if None.
        encoding: Of the table.
        skip_bad: Whether rows whose files cannot be used are left out and counted.

    Raises:
        DataError: The table cannot be read, lacks a column or has no usable row; files are missing
            or damaged, which are all looked at first; there are both pictures and recordings; a
            text is no text or longer than 500 words. It names the table, the lines and the files.
        OptionError: A library that it takes is not installed.
    """
    table = read_table(path, list(dict.fromkeys([media, text, key or text])), encoding)
    examples: list[Caption] = []
    bad: list[tuple[Row, DataError]] = []
    num_empty = num_animated = 0
    for row in table.rows:
        name, words = _name(table, row, media), _text(table, row, text)
        if not name or not words:
            num_empty += 1
            continue
        try:
            medium = read_named(name, folder or path.parent, options)
        except DataError as error:
            bad.append((row, error))
            continue
        if examples and medium.kind != examples[0].kind:
            message = f"{name} is a {medium.kind}, the rows before it have a {examples[0].kind}"
            raise DataError(f"{table.where(row)}: {message}", "make a table of each")
        num_animated += medium.animated
        group = _text(table, row, key or text)
        split = _words(table, row, words)
        examples.append(Caption(name, medium.kind, medium.content, words, split, group))
    if bad and not (skip_bad and examples):
        rows = [(f"{table.unit} {row.line}", error) for row, error in bad]
        raise unusable(path, "rows have files", rows)
    if not examples:
        raise DataError(f"{path}: no row has both {media!r} and {text!r}", "fill the columns")
    notes = _notes(path, num_empty, num_animated)
    if bad:
        (row, first), *_ = bad
        count = f"left out {len(bad):,} of {len(table.rows):,} rows, whose files cannot be used"
        notes.append(f"{path}: {count}; the first, {table.unit} {row.line}: {first.message}")
    return Captions(examples, notes)


def words_of(text: str, version: int = TEXT_VERSION) -> list[str]:
    """Return the words of a caption as they are learned; of an older run, without blanks."""
    return cut_sentence(text) if version > 1 else split_words(text, version)


def join_words(words: Sequence[str], version: int = TEXT_VERSION) -> str:
    """Return the caption that words of `words_of` make.

    Those of version 1 have no blanks, which go before all but a full stop and its like.

    Example:
        >>> join_words([" A", " peahen", " (", "female", ")", "."])
        'A peahen (female).'
    """
    if version > 1:
        return "".join(words).strip()
    return _NO_BLANK_AFTER.sub("", _NO_BLANK_BEFORE.sub("", " ".join(words)))


def _text(table: Table, row: Row, column: str) -> str:
    """Return a value as text without blanks around it, in NFC; empty if it is missing."""
    return as_read(_name(table, row, column))


def _name(table: Table, row: Row, column: str) -> str:
    """Return a value without blanks around it, in other respects as it is: a file's name."""
    value = row.values[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        message = f"{column!r} must be text, got {value!r}"
        raise DataError(f"{table.where(row)}: {message}", "put it in quotes")
    return value.strip()


def _words(table: Table, row: Row, text: str) -> tuple[str, ...]:
    words = tuple(words_of(text))
    if len(words) > MAX_WORDS:
        message = f"{table.where(row)}: {len(words):,} words, a caption has at most {MAX_WORDS}"
        raise DataError(message, "shorten it, or leave it out; is it the right column?")
    return words


def _notes(path: Path, num_empty: int, num_animated: int) -> list[str]:
    notes = []
    if num_empty:
        notes.append(f"{path}: left out {num_empty:,} rows without a file or without words")
    if num_animated:
        notes.append(f"{path}: of {num_animated:,} animations the first picture was taken")
    return notes
