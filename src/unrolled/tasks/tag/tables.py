"""Tagged sentences from tables: a row for each word, or for each sentence.

    Sentence #   Word    Tag               {"tokens": ["Maria", "canta"], "tags": ["B-PER", "O"]}
    1            Maria   B-PER
                 canta   O                 an empty number goes on with the sentence
    2            Rio     B-LOC

The first are CSV, TSV, or any other table; the second are JSON lines and Parquet, which have lists.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from unrolled.data.tables import Row, Table, read_table
from unrolled.errors import DataError, OptionError, field
from unrolled.tasks.tag.conll import MAX_WORDS, Sentences, TaggedSentence
from unrolled.tasks.tag.options import DataOptions

__all__ = ["has_lists", "read_table_of_tags"]

_OF_LISTS = (".jsonl", ".ndjson", ".json", ".parquet", ".pq")


def has_lists(path: Path) -> bool:
    """Return whether a file is, by its name, of a format whose rows can hold lists."""
    return path.name.lower().removesuffix(".gz").endswith(_OF_LISTS)


def read_table_of_tags(
    path: Path, options: DataOptions, *, tagged: bool = True
) -> tuple[Sequence[TaggedSentence], list[str]]:
    """Return the sentences of a table, and in sentences what was left out of it.

    Args:
        path: A table, `read_table`.
        options: The names of its columns: `sentence` if a row is a word, None if it is a sentence.
        tagged: Whether tags are read.

    Raises:
        DataError: The table cannot be read; a word has no tag, or a sentence another number of tags
            than of words; a sentence is too long. It names the line.
        OptionError: A column is not named.
    """
    if options.word_column is None or (tagged and options.column is None):
        missing = "word_column" if options.word_column is None else "column"
        raise OptionError(f"{path}: which column is it?", f"{field(missing)} COLUMN")
    columns = [options.word_column]
    columns += [options.sentence] if options.sentence is not None else []
    columns += [options.column] if tagged and options.column is not None else []
    table = read_table(path, list(dict.fromkeys(columns)), options.encoding)
    tag_column = options.column if tagged else None
    if options.sentence is None:
        sentences = Sentences(_of_lists(table, options.word_column, tag_column))
        notes = []
    else:
        counts: Counter[str] = Counter()
        sentences = Sentences(_of_words(table, options, tag_column, counts))
        num_empty = counts["empty"]
        notes = [f"{path}: {num_empty:,} rows without a word left out"] if num_empty else []
    for sentence in sentences:
        if len(sentence.words) > MAX_WORDS:
            message = f"{path}: a sentence of over {MAX_WORDS:,} words"
            raise DataError(message, "is it the column that numbers the sentences?")
    if not any(sentence.words for sentence in sentences):
        raise DataError(f"{path}: no word in it", "is it the right column?")
    full = [sentence for sentence in sentences if sentence.words or not tagged]
    if len(full) < len(sentences):
        notes.append(f"{path}: {len(sentences) - len(full):,} empty sentences left out")
    return full, notes


def _of_words(
    table: Table, options: DataOptions, tag_column: str | None, counts: Counter[str]
) -> Iterator[TaggedSentence]:
    """Yield the sentences, and count rows without a word as "empty"."""
    assert options.word_column is not None
    assert options.sentence is not None
    words: list[str] = []
    tags: list[str] = []
    number: Any = None
    is_first = True
    for row in table.emptied():
        here = row.values[options.sentence]
        is_given = here is not None and str(here).strip() != ""
        if is_first or (is_given and here != number):
            if not is_first:
                yield TaggedSentence(tuple(words), tuple(tags))
            words, tags, number, is_first = [], [], here, False
        word = _text(table, row, options.word_column)
        if not word:
            counts["empty"] += 1
            continue
        words.append(word)
        if tag_column is not None:
            tags.append(_tag(table, row, tag_column, row.values[tag_column]))
    yield TaggedSentence(tuple(words), tuple(tags))


def _of_lists(table: Table, words: str, tags: str | None) -> Iterator[TaggedSentence]:
    for row in table.emptied():
        rows = [row.values[words], [] if tags is None else row.values[tags]]
        for name, value in zip((words, tags), rows, strict=True):
            if not isinstance(value, list):
                message = f"{table.where(row)}: {name!r} is not a list but {str(value)[:80]!r}"
                raise DataError(message, f"for a row for each word, {field('sentence')} COLUMN")
        if tags is not None and len(rows[0]) != len(rows[1]):
            counts = f"{len(rows[0])} words and {len(rows[1])} tags"
            raise DataError(f"{table.where(row)}: {counts}", "a tag for each word")
        if not all(isinstance(word, str) and word.strip() for word in rows[0]):
            raise DataError(f"{table.where(row)}: {words!r} has what is no word")
        own = () if tags is None else tuple(_tag(table, row, tags, tag) for tag in rows[1])
        yield TaggedSentence(tuple(word.strip() for word in rows[0]), own)


def _text(table: Table, row: Row, column: str) -> str:
    value = row.values[column]
    if value is not None and not isinstance(value, str | int | float):
        raise DataError(f"{table.where(row)}: {column!r} is not a word: {str(value)[:80]!r}")
    return "" if value is None else str(value).strip()


def _tag(table: Table, row: Row, column: str, value: Any) -> str:
    is_tag = isinstance(value, str | int) and not isinstance(value, bool)
    if not is_tag or not str(value).strip():
        message = f"{table.where(row)}: the tag is empty, or no tag: {column!r} is {value!r}"
        raise DataError(message, "a word without a tag cannot be learned from")
    return str(value).strip()
