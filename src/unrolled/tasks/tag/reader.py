"""The sentences of a tagging task: where they are read from, and in which parts.

In which format a file is, its name and its first lines say, whatever the training was on:

    a table    by its name, if rows can hold lists; if it begins with the columns of the training
    CoNLL      by its name; if its lines are words in columns
    neither    a sentence in each line, in prediction; but what is a table by its name, and nobody
               has named its columns, is refused

Not here: the format of the files (`conll.py`), and what is learned (`task.py`).
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Literal

from unrolled.data.source import Source
from unrolled.data.tables import is_header, is_table, refuse_header
from unrolled.errors import DataError, field
from unrolled.tasks.parts import in_parts
from unrolled.tasks.tag.conll import (
    CONLLU_COLUMNS,
    MAX_WORDS,
    TaggedSentence,
    looks_like_conll,
    parse_conll,
    read_conll,
)
from unrolled.tasks.tag.options import DataOptions
from unrolled.tasks.tag.tables import has_lists, read_table_of_tags
from unrolled.tasks.task import Splits

__all__ = ["read_others", "read_parts", "read_sentences", "tags_of", "unseen_tags", "untagged"]

_CONLL = (".conllu", ".conllup", ".conll", ".bio", ".iob", ".iob2")
_COMMENT = re.compile(r"#.*(?: = |\t)")


def read_parts(options: DataOptions, seed: int) -> Splits[TaggedSentence]:
    """Return the sentences; equal ones of one file are in one part.

    Args:
        options: How they are read.
        seed: Of the split.

    Raises:
        DataError: A file cannot be read, a line is broken, or the training part has one tag.
        OptionError: There is no such column.
    """
    whole, notes = read_sentences(Path(options.file), options)
    splits = in_parts(
        whole,
        ("\0".join(sentence.words) for sentence in whole),
        options,
        seed,
        lambda path, training: read_others(path, options, tags_of(training)),
    )
    known = tags_of(splits.training)
    if len(known) == 1:
        message = f"{options.file}: all words of the training part have one tag, {known[0]}"
        raise DataError(message, "there is nothing to learn: is it the right column?")
    splits.notes[:0] = notes
    for where, part in (("held-out part", splits.held_out), ("test part", splits.test)):
        splits.notes.extend(unseen_tags(where, part, known) + missing_tags(where, part, known))
    return splits


def read_sentences(path: Path, options: DataOptions) -> tuple[Sequence[TaggedSentence], list[str]]:
    """Return the tagged sentences of a file, and in sentences what was left out of it.

    It is a table where a column of sentences is named, and by its name if a row can hold a list.

    Raises:
        DataError: The file cannot be read, or a line is broken.
        OptionError: There is no such column.
    """
    if options.sentence is not None or has_lists(path):
        return read_table_of_tags(path, options)
    return _read_conll(path, options)


def read_others(
    path: Path, options: DataOptions, tags: Collection[str]
) -> tuple[Sequence[TaggedSentence], list[str]]:
    """Return the tagged sentences of a file beside that of the training, and notes on them.

    Args:
        path: CoNLL or a table, whichever the training was on.
        options: How the training data were read.
        tags: Those of the training part.

    Raises:
        DataError: The file cannot be read, a line is broken, or columns of a table are not known.
        OptionError: There is no such column.
    """
    if has_lists(path) or _on_table(options) or is_table(path):
        lists = has_lists(path)
        first = [] if lists else Source.file(path, options.encoding).begun()[0]
        if _format(path, options, tags, first) == "table":
            return read_table_of_tags(path, options)
    own = _as_conll(options)
    sentences, notes = _read_conll(path, own)
    if own != options:
        column = own.column or "upos or the last"
        notes.append(f"{path}: CoNLL, where the training was on a table; tags of column {column}")
    return sentences, notes


def _read_conll(path: Path, options: DataOptions) -> tuple[Sequence[TaggedSentence], list[str]]:
    try:
        return read_conll(path, options.column, options.encoding, options.word_column)
    except DataError as error:
        if error.hint or not is_table(path):
            raise
        hint = f"is it a table? training on one names its column of sentences: {field('sentence')}"
        raise DataError(error.message, hint) from None


def tags_of(sentences: Iterable[TaggedSentence]) -> list[str]:
    """Return the different tags, in order."""
    return sorted({tag for sentence in sentences for tag in sentence.tags})


def unseen_tags(where: str, sentences: Sequence[TaggedSentence], known: Iterable[str]) -> list[str]:
    """Return a note on the words whose tags are not among those `known`, if there are any.

    Raises:
        DataError: There is no word with a known tag.
    """
    known = set(known)
    others = Counter(tag for s in sentences for tag in s.tags if tag not in known)
    if not others:
        return []
    names = ", ".join(sorted(others)[:5]) + (" ..." if len(others) > 5 else "")
    if others.total() == sum(len(sentence.tags) for sentence in sentences):
        message = f"{where}: none of its tags occurs in the training part: {names}"
        raise DataError(message, "is it the right column?")
    words = f"{others.total():,} words have" if others.total() > 1 else "1 word has"
    return [
        f"{where}: {words} tags that the training part lacks ({names}): they count as errors, "
        f"and not in the loss"
    ]


def missing_tags(
    where: str, sentences: Sequence[TaggedSentence], known: Iterable[str]
) -> list[str]:
    """Return a note on the tags that no word of a part has, if there are any."""
    missing = sorted(set(known) - set(tags_of(sentences)))
    if not sentences or not missing:
        return []
    names = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
    return [f"{where}: has none of {len(missing):,} of the training part's tags: {names}"]


def untagged(
    source: Source, options: DataOptions, tags: Collection[str]
) -> Iterator[Sequence[str]]:
    """Yield the words of each sentence of an input, which need no tags.

    Args:
        source: CoNLL or a table, whatever it is called; or a sentence in each line, its words
            between blanks.
        options: How the training data were read.
        tags: Those of the training part, by which columns are told from a sentence.

    Raises:
        DataError: The input cannot be read, a line is broken, a sentence is too long, or it is a
            table without the columns of the training, or one that is no file.
    """
    path = source.path
    if path is not None and has_lists(path):
        first, lines = list[str](), iter(list[str]())
    else:
        first, lines = _begun(source, tags)
    kind = _format(path, options, tags, first)
    if kind == "table":
        if path is None:
            refuse_header(source.name, first, _columns(options))
        assert path is not None
        sentences, _ = read_table_of_tags(path, options, tagged=False)
        yield from (sentence.words for sentence in sentences)
    elif kind == "conll":
        column = _as_conll(options).word_column
        at_hand = not source.is_interactive
        parsed = parse_conll(
            lines, source.name, None, column, tagged=False, tags=tags, at_hand=at_hand
        )
        yield from (sentence.words for sentence in parsed)
    else:
        for number, line in enumerate(lines, start=1):
            words = line.split()
            if len(words) > MAX_WORDS:
                count = f"{len(words):,} words, at most {MAX_WORDS:,}"
                raise DataError(f"{source.name}, line {number}: {count}", "a line is a sentence")
            yield words


def _format(
    path: Path | None, options: DataOptions, tags: Collection[str], first: Sequence[str]
) -> Literal["table", "conll", "lines"]:
    """Return in which format an input is, by its name and its first lines.

    Raises:
        DataError: It is a table by its name, of which no columns are known.
    """
    if path is not None and path.name.lower().removesuffix(".gz").endswith(_CONLL):
        return "conll"
    if _on_table(options) and first and is_header(first[0], _columns(options)):
        return "table"
    if looks_like_conll(first, tags):
        return "conll"
    if path is None or not is_table(path):
        return "lines"
    if _on_table(options):
        return "table"
    message = f"{path}: a table by its name, and the training was on CoNLL, which names no columns"
    hint = "save it as CoNLL, a word and its tag in each line; to predict, also a sentence a line"
    raise DataError(message, hint)


def _begun(source: Source, tags: Collection[str]) -> tuple[list[str], Iterator[str]]:
    """Return the lines that tell the format, and all.

    Of the standard input that is the first line behind comments; and one more where the first may
    be a word with its tag or a sentence, as "Ana O".
    """
    begun, lines = source.begun()
    if not source.is_interactive:
        return begun, lines
    first: list[str] = []
    for line in lines:
        first.append(line)
        words = [each for each in first if not _COMMENT.match(each)]
        if len(words) > 1 or (words and not looks_like_conll(words, tags)):
            break
    return first, chain(first, lines)


def _columns(options: DataOptions) -> list[str]:
    """Return the columns that a table of sentences without tags has."""
    return [name for name in (options.word_column, options.sentence) if name is not None]


def _on_table(options: DataOptions) -> bool:
    """Whether the training was on a table."""
    return options.sentence is not None or has_lists(Path(options.file))


def _as_conll(options: DataOptions) -> DataOptions:
    """Return how CoNLL is read, where names of columns may be those of a table."""
    if not _on_table(options):
        return options
    name = (options.column or "").lower()
    column = name if name in CONLLU_COLUMNS else None
    return replace(options, sentence=None, word_column=None, column=column)
