r"""Tagged sentences from CoNLL files: CoNLL-U, CoNLL-U Plus, and plain columns (CoNLL-2003, BIO).

One word a line, its tags in columns, an empty line between two sentences:

    1   Pequenos   pequeno   NOUN   _   ...            ACÓRDÃO    B-JURISPRUDENCIA
    2   são        ser       AUX    _   ...            1160/2016  I-JURISPRUDENCIA
                                                       -          O
    CoNLL-U: ten columns between tabs                  columns between blanks or tabs

What is read are the syntactic words of CoNLL-U: the lines of multiword tokens (`4-5 das`) and of
empty nodes (`8.1`) are left out and counted. Tags are strings as they stand there: what they mean
is not known here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from unrolled.data.text import read_text, split_lines
from unrolled.errors import DataError, OptionError

__all__ = ["MAX_WORDS", "TaggedSentence", "parse_conll", "read_conll"]

MAX_WORDS = 5_000
"""The most words of a sentence: where there are more, the ends of sentences are not marked."""

_CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_CONLL_2003 = {"pos": 1, "chunk": 2}
_DOCUMENT_START = "-DOCSTART-"
_PLUS = re.compile(r"#\s*global\.columns\s*=\s*(.+)", re.IGNORECASE)
_FIRST_WORD = re.compile(r"[01](-\d+|\.\d+)?(\t[^\t]*){9}")
_MULTIWORD = re.compile(r"\d+-\d+")
_EMPTY_NODE = re.compile(r"\d+\.\d+")
_LEFT_OUT = {
    "multiword": "{} lines of multiword tokens (N-M) left out; the words they stand for are read",
    "empty": "{} empty nodes (N.1) left out: they are no words of the text",
    "document": "{} lines -DOCSTART- left out",
    "untagged": "{} words have the tag _ (none), which is learned like any other",
}


@dataclass(frozen=True)
class TaggedSentence:
    """The words of a sentence, each with its tag; `tags` is empty where none were read."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


def read_conll(
    path: Path, column: str | None = None, encoding: str = "utf-8"
) -> tuple[list[TaggedSentence], list[str]]:
    """Return the sentences of a CoNLL file, and in sentences what was left out of it.

    Args:
        path: CoNLL-U if its name ends in .conllu or .conllup or its first word stands in ten
            columns, the first of them its number; plain columns otherwise.
        column: Where the tags are. CoNLL-U: a column's name, upos if None. Plain columns: the
            number of one, from 1, or ner (and None) for the last; of four, also pos and chunk.
        encoding: Any that Python knows.

    Raises:
        DataError: The file cannot be read, a line is broken (it says which), or there is no word.
        OptionError: There is no such column, or no such encoding.
    """
    lines = split_lines(read_text([path], encoding))
    counts: Counter[str] = Counter()
    sentences = list(parse_conll(lines, str(path), column, counts=counts))
    if not sentences:
        raise DataError(f"{path}: no word in it", "one word a line, with its tag in a column")
    counts["untagged"] = sum(sentence.tags.count("_") for sentence in sentences)
    if counts["untagged"] == sum(len(sentence.tags) for sentence in sentences):
        message = f"{path}: column {column or 'upos'} is empty: its tag is _ at every word"
        raise DataError(message, "name another column")
    notes = [note.format(f"{counts[kind]:,}") for kind, note in _LEFT_OUT.items() if counts[kind]]
    return sentences, [f"{path}: {note}" for note in notes]


def parse_conll(
    lines: Iterable[str],
    where: str,
    column: str | None = None,
    *,
    tagged: bool = True,
    counts: Counter[str] | None = None,
) -> Iterator[TaggedSentence]:
    r"""Yield the sentences in the lines of a CoNLL file, each as soon as it has ended.

    Args:
        lines: With or without their ends.
        where: The name of the file: for messages, and its ending as in `read_conll`.
        column: As in `read_conll`.
        tagged: Whether tags are read; if not, a column of words is enough.
        counts: Where lines that are left out are counted by kind.

    Raises:
        DataError: A line is broken: it says which and why.
        OptionError: There is no such column.

    Example:
        >>> [song] = parse_conll(["Maria B-PER\n", "canta O\n"], "song.conll")
        >>> song.words, song.tags
        (('Maria', 'canta'), ('B-PER', 'O'))
    """
    counts = Counter() if counts is None else counts
    layout, lines = _sniff(lines, where, column, tagged)
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip(" \t"):
            if words:
                yield TaggedSentence(tuple(words), tuple(tags))
            words, tags = [], []
        elif line.startswith(_DOCUMENT_START):
            counts["document"] += 1
        elif not layout.is_comment(line, len(words)):
            word = layout.read(line, number, len(words), counts)
            words += word[:1]
            tags += word[1:]
            if len(words) > MAX_WORDS:
                message = f"{where}, line {number}: a sentence of over {MAX_WORDS:,} words"
                raise DataError(message, "an empty line ends a sentence: are they missing?")
    if words:
        yield TaggedSentence(tuple(words), tuple(tags))


@dataclass(frozen=True)
class _Layout:
    """Where words and tags stand in the lines of a file."""

    where: str
    num_columns: int
    form: int
    tag: int | None  # None where no tags are read
    conllu: bool

    def is_comment(self, line: str, num_words: int) -> bool:
        """Whether a line after `num_words` words of its sentence is none itself: # may be one."""
        if not line.startswith("#") or num_words:
            return False
        fields = _fields(line, self.conllu, self.num_columns)
        return self.conllu or " = " in line or len(fields) != self.num_columns

    def read(self, line: str, number: int, num_words: int, counts: Counter[str]) -> tuple[str, ...]:
        """Return the word of a line and its tag, if tags are read, or nothing if it has no word."""
        fields = _fields(line, self.conllu, self.num_columns)
        if len(fields) != self.num_columns:
            between = "tabs" if self.conllu else "tabs or blanks"
            message = f"{self.num_columns} columns between {between} expected"
            raise self._broken(number, f"{message}, got {len(fields)}: {line[:80]!r}")
        if self.conllu:
            if _MULTIWORD.fullmatch(fields[0]) or _EMPTY_NODE.fullmatch(fields[0]):
                counts["multiword" if "-" in fields[0] else "empty"] += 1
                return ()
            if fields[0] != str(num_words + 1):
                message = f"word {num_words + 1} of its sentence expected, got {fields[0][:80]!r}"
                raise self._broken(number, message, "is the empty line between two missing?")
        places = (self.form,) if self.tag is None else (self.form, self.tag)
        word = tuple(fields[place] for place in places)
        if not all(word):
            what = "tag" if word[0] else "word"
            raise self._broken(number, f"the {what} is empty: {line[:80]!r}")
        return word

    def _broken(self, number: int, message: str, hint: str = "") -> DataError:
        return DataError(f"{self.where}, line {number}: {message}", hint)


def _fields(line: str, conllu: bool, num_columns: int | None = None) -> list[str]:
    """Return the columns of a line: between tabs, or between blanks where that is not the file's.

    Only tab and blank separate: a word may hold any other kind of white space.
    """
    fields = [field.strip(" ") for field in line.split("\t")]
    if conllu or len(fields) == (num_columns or max(2, len(fields))):
        return fields
    return re.split(r"[ \t]+", line.strip(" \t"))


def _sniff(
    lines: Iterable[str], where: str, column: str | None, tagged: bool
) -> tuple[_Layout, Iterator[str]]:
    """Return the layout that the first word shows, and the lines, without their ends."""
    bare = (line.strip("\r\n").removeprefix("\ufeff") for line in lines)
    before: list[str] = []
    for line in bare:
        before.append(line)
        if line.strip(" \t") and not line.startswith(("#", _DOCUMENT_START)):
            break
    first = before[-1] if before else ""
    plus = next((match for line in before if (match := _PLUS.match(line))), None)
    names = tuple(plus[1].lower().split()) if plus else _CONLLU
    named = where.lower().endswith((".conllu", ".conllup"))
    if plus or named or _FIRST_WORD.fullmatch(first):
        layout = _conllu(names, where, (column or "upos").lower() if tagged else None)
    else:
        fields = _fields(first, conllu=False)
        layout = _columns(fields, where, len(before), (column or "ner").lower() if tagged else None)
    return layout, chain(before, bare)


def _conllu(names: tuple[str, ...], where: str, column: str | None) -> _Layout:
    if "form" not in names or names[0] != "id":
        raise DataError(f"{where}: its columns are {', '.join(names)}", "id and form are needed")
    if column is not None and column not in names[2:]:
        message = f"{where}: no column {column!r} of tags in CoNLL-U"
        raise OptionError(message, f"it has {', '.join(names[2:])}")
    tag = None if column is None else names.index(column)
    return _Layout(where, len(names), names.index("form"), tag, conllu=True)


def _columns(fields: list[str], where: str, number: int, column: str | None) -> _Layout:
    size = len(fields)
    if column is None or not any(fields):
        return _Layout(where, size, 0, None, conllu=False)
    if size < 2:
        message = (
            f"a word and its tag expected, between them a tab or blanks, got {fields[0][:80]!r}"
        )
        raise DataError(f"{where}, line {number}: {message}")
    if column == "ner":
        tag = size - 1
    elif column in _CONLL_2003 and size == 4:
        tag = _CONLL_2003[column]
    elif column.isdecimal() and 2 <= int(column) <= size:
        tag = int(column) - 1
    else:
        hint = f"a number from 2 to {size}, or ner for the last"
        raise OptionError(f"{where}: no column {column!r} of tags among {size} columns", hint)
    return _Layout(where, size, 0, tag, conllu=False)
