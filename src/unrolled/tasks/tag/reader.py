"""The sentences of a tagging task: where they are read from, and in which parts.

Not here: the format of the files (`conll.py`), and what is learned (`task.py`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from unrolled.data.source import Source
from unrolled.data.split import split
from unrolled.errors import DataError
from unrolled.tasks.tag.conll import MAX_WORDS, TaggedSentence, parse_conll, read_conll
from unrolled.tasks.tag.options import DataOptions
from unrolled.tasks.task import Splits

__all__ = ["read_parts", "tags_of", "unseen_tags", "untagged"]

_CONLL = (".conllu", ".conllup", ".conll", ".bio", ".iob", ".iob2")


def read_parts(options: DataOptions, seed: int) -> Splits[TaggedSentence]:
    """Return the sentences; equal ones of one file are in one part.

    Args:
        options: How they are read.
        seed: Of the split.

    Raises:
        DataError: A file cannot be read, a line is broken, or the training part has one tag.
        OptionError: There is no such column.
    """
    whole, notes = read_conll(Path(options.file), options.column, options.encoding)
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
            sentences, more = read_conll(Path(file), options.column, options.encoding)
            part += sentences
            notes += more
    for where, part in (("held-out part", held_out), ("test part", test)):
        notes += unseen_tags(where, part, known) + missing_tags(where, part, known)
    return Splits(training, held_out, test, notes)


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


def untagged(source: Source) -> Iterator[Sequence[str]]:
    """Yield the words of each sentence of an input, which need no tags.

    Raises:
        DataError: The input cannot be read, a line is broken, or a sentence is too long.
    """
    if source.path is not None and source.path.name.lower().endswith(_CONLL):
        for sentence in parse_conll(source.lines(), source.name, tagged=False):
            yield sentence.words
        return
    for number, line in enumerate(source.lines(), start=1):
        words = line.split()
        if len(words) > MAX_WORDS:
            message = f"{source.name}, line {number}: {len(words):,} words, at most {MAX_WORDS:,}"
            raise DataError(message, "a line is a sentence")
        yield words
