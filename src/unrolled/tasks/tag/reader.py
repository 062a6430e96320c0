"""The sentences of a tagging task: where they are read from, and in which parts.

Not here: the format of the files (`conll.py`), and what is learned (`task.py`).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from unrolled.data.batching import batches_that_come
from unrolled.data.source import Source
from unrolled.data.split import split
from unrolled.data.tables import is_table
from unrolled.errors import DataError, field
from unrolled.tasks.tag.conll import (
    MAX_WORDS,
    TaggedSentence,
    looks_like_conll,
    parse_conll,
    read_conll,
)
from unrolled.tasks.tag.options import DataOptions
from unrolled.tasks.tag.tables import has_lists, read_table_of_tags
from unrolled.tasks.task import Splits

__all__ = ["read_parts", "read_sentences", "tags_of", "unseen_tags", "untagged"]

_CONLL = (".conllu", ".conllup", ".conll", ".bio", ".iob", ".iob2")
_LINES_SEEN = 200


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
    indices = split(
        [sentence.words for sentence in whole],
        held_out=options.fraction("held_out"),
        test=options.fraction("test"),
        seed=seed,
    )
    training, held_out, test = ([whole[index] for index in part] for part in indices)
    known = tags_of(training)
    if len(known) == 1:
        message = f"{options.file}: all words of the training part have one tag, {known[0]}"
        raise DataError(message, "there is nothing to learn: is it the right column?")
    for part, file in ((held_out, options.held_out_file), (test, options.test_file)):
        if file is not None:
            sentences, more = read_sentences(Path(file), options)
            part += sentences
            notes += more
    for where, part in (("held-out part", held_out), ("test part", test)):
        notes += unseen_tags(where, part, known) + missing_tags(where, part, known)
    return Splits(training, held_out, test, notes)


def read_sentences(path: Path, options: DataOptions) -> tuple[list[TaggedSentence], list[str]]:
    """Return the tagged sentences of a file, and in sentences what was left out of it.

    It is a table where a column of sentences is named, and by its name if a row can hold a list.

    Raises:
        DataError: The file cannot be read, or a line is broken.
        OptionError: There is no such column.
    """
    if options.sentence is not None or has_lists(path):
        return read_table_of_tags(path, options)
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
        source: A file in the format of the training, whatever it is called, with or without tags;
            or any input with a sentence in each line, its words between blanks.
        options: How the training data were read.
        tags: Those of the training part, by which columns are told from a sentence.

    Raises:
        DataError: The input cannot be read, a line is broken, or a sentence is too long.
    """
    path = source.path
    if path is not None and (has_lists(path) or (options.sentence and is_table(path))):
        sentences, _ = read_table_of_tags(path, options, tagged=False)
        yield from (sentence.words for sentence in sentences)
        return
    lines = source.lines()
    if path is not None:
        pieces = batches_that_come(lines, _LINES_SEEN)
        first = next(pieces, [])
        lines = chain(first, chain.from_iterable(pieces))
        if path.name.lower().endswith(_CONLL) or looks_like_conll(first, tags):
            found = parse_conll(
                *(lines, source.name, None, options.word_column), tagged=False, tags=tags
            )
            yield from (sentence.words for sentence in found)
            return
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if len(words) > MAX_WORDS:
            message = f"{source.name}, line {number}: {len(words):,} words, at most {MAX_WORDS:,}"
            raise DataError(message, "a line is a sentence")
        yield words
