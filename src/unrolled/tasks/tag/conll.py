r"""Tagged sentences from CoNLL files: CoNLL-U, CoNLL-U Plus, and plain columns (CoNLL-2003, BIO).

One word a line, its tags in columns, an empty line between two sentences:

    1   Pequenos   pequeno   NOUN   _   ...            ACÓRDÃO    B-JURISPRUDENCIA
    2   são        ser       AUX    _   ...            1160/2016  I-JURISPRUDENCIA
                                                       -          O
    CoNLL-U: ten columns between tabs                  columns between blanks or tabs

What is read are the syntactic words of CoNLL-U: the lines of multiword tokens (`4-5 das`) and of
empty nodes (`8.1`) are left out and counted. Tags are strings as they stand there: what they mean
is not known here.

A line that begins with # before a sentence's first word is a comment, but for columns in which a
tag stands that words of the file have: `#` is a word in some texts.
"""

import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

from unrolled.data.packed_examples import Items
from unrolled.data.text import lines_of_file, pieces_of_file
from unrolled.errors import DataError, OptionError

__all__ = [
    "CONLLU_COLUMNS",
    "MAX_WORDS",
    "Sentences",
    "TaggedSentence",
    "looks_like_conll",
    "parse_conll",
    "read_conll",
]

MAX_WORDS = 5_000
"""The most words of a sentence: where there are more, the ends of sentences are not marked."""

CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_CONLL_2003 = {"pos": 1, "chunk": 2}
_DOCUMENT_START = "-DOCSTART-"
_PLUS = re.compile(r"#\s*global\.columns\s*=\s*(.+)", re.IGNORECASE)
_FIRST_WORD = re.compile(r"[01](-\d+|\.\d+)?(\t[^\t]*){9}")
_LINE_OF_HASH = re.compile(r"(?:\A|[\r\n])#")
_MULTIWORD = re.compile(r"\d+-\d+")
_EMPTY_NODE = re.compile(r"\d+\.\d+")
_LINES_SEEN = 200
"""How many lines at the begin of a file say in which format it is."""
_LEFT_OUT = {
    "multiword": "{} lines of multiword tokens (N-M) left out; the words they stand for are read",
    "empty": "{} empty nodes (N.1) left out: they are no words of the text",
    "document": "{} lines -DOCSTART- left out",
    "untagged": "{} words have the tag _ (none), which is learned like any other",
}


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """The words of a sentence, each with its tag; `tags` is empty where none were read."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


def read_conll(
    path: Path,
    column: str | None = None,
    encoding: str = "utf-8",
    word_column: str | None = None,
) -> tuple[Sequence[TaggedSentence], list[str]]:
    """Return the sentences of a CoNLL file, and in sentences what was left out of it.

    Args:
        path: CoNLL-U if its name ends in .conllu or .conllup or its first word stands in ten
            columns, the first of them its number; plain columns otherwise.
        column: Where the tags are. CoNLL-U: a column's name, upos if None. Plain columns: the
            number of one, from 1, or ner (and None) for the last; of four, also pos and chunk.
        encoding: Any that Python knows.
        word_column: Where the words are: a name in CoNLL-U, form if None; a number in plain
            columns, if None the first that does not number the words.

    Raises:
        DataError: The file cannot be read, a line is broken (it says which), or there is no word.
        OptionError: There is no such column, or no such encoding.
    """
    counts: Counter[str] = Counter()
    tags = _tags_in(path, encoding, column, word_column)
    lines = lines_of_file(path, encoding)
    parsed = parse_conll(
        lines, str(path), column, word_column, tags=tags, counts=counts, at_hand=True
    )
    sentences = Sentences(parsed)
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
    word_column: str | None = None,
    *,
    tagged: bool = True,
    tags: Collection[str] | None = None,
    counts: Counter[str] | None = None,
    at_hand: bool = False,
) -> Iterator[TaggedSentence]:
    r"""Yield the sentences in the lines of a CoNLL file, each as soon as it has ended.

    Args:
        lines: With or without their ends.
        where: The name of the file: for messages, and its ending as in `read_conll`.
        column: As in `read_conll`.
        word_column: As in `read_conll`.
        tagged: Whether tags are read; if not, a column of words is enough.
        tags: Those that words may have, which tells a word # from a comment; None if they are not
            known.
        counts: Where lines that are left out are counted by kind.
        at_hand: Whether no line is still to be written, as in a sequence of them: then more than
            the first sentence says in which column the words are.

    Raises:
        DataError: A line is broken: it says which and why.
        OptionError: There is no such column.

    Example:
        >>> [song] = parse_conll(["Maria B-PER\n", "canta O\n"], "song.conll")
        >>> song.words, song.tags
        (('Maria', 'canta'), ('B-PER', 'O'))
    """
    counts = Counter() if counts is None else counts
    at_hand = at_hand or isinstance(lines, Sequence)
    layout, lines = _sniff(lines, where, column, word_column, tagged, at_hand)
    words: list[str] = []
    own: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip(" \t"):
            if words:
                yield TaggedSentence(tuple(words), tuple(own))
            words, own = [], []
        elif line.startswith(_DOCUMENT_START):
            counts["document"] += 1
        elif not layout.is_comment(line, len(words), tags):
            word = layout.read(line, number, len(words), counts)
            words += word[:1]
            own += word[1:]
            if len(words) > MAX_WORDS:
                message = f"{where}, line {number}: a sentence of over {MAX_WORDS:,} words"
                raise DataError(message, "an empty line ends a sentence: are they missing?")
    if words:
        yield TaggedSentence(tuple(words), tuple(own))


class Sentences(Items[TaggedSentence]):
    """Sentences in 8 bytes a word: numbers of the different words and tags.

    Args:
        sentences: What they are made of, as they come.
    """

    def __init__(self, sentences: Iterable[TaggedSentence]) -> None:
        numbers: dict[str, int] = {}
        self._words, self._tags = array("I"), array("I")
        self._ends, self._tag_ends = array("q", [0]), array("q", [0])
        for sentence in sentences:
            self._words.extend(numbers.setdefault(word, len(numbers)) for word in sentence.words)
            self._tags.extend(numbers.setdefault(tag, len(numbers)) for tag in sentence.tags)
            self._ends.append(len(self._words))
            self._tag_ends.append(len(self._tags))
        self._texts = [*numbers]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def item(self, place: int) -> TaggedSentence:
        """Return a sentence."""
        words, tags = (
            numbers[ends[place] : ends[place + 1]]
            for numbers, ends in ((self._words, self._ends), (self._tags, self._tag_ends))
        )
        texts = self._texts
        return TaggedSentence(tuple(texts[n] for n in words), tuple(texts[n] for n in tags))


def looks_like_conll(lines: Sequence[str], tags: Collection[str]) -> bool:
    """Return whether lines are words in columns, and not a sentence each.

    They are if all have as many fields, at least two, between tabs or with a tag among them in most
    lines; or one word each, with empty lines between sentences.

    Args:
        lines: The first ones of a file, without their ends.
        tags: Those of the training part.

    Example:
        >>> looks_like_conll(["Maria B-PER", "canta O"], {"B-PER", "O"})
        True
        >>> looks_like_conll(["Maria canta", "ela ri"], {"B-PER", "O"})
        False
    """
    bare = [line.removeprefix("\ufeff") for line in lines]
    if any(_PLUS.match(line) or _FIRST_WORD.fullmatch(line) for line in bare):
        return True
    full = [line for line in bare if line.strip() and not line.startswith(("#", _DOCUMENT_START))]
    fields = [_fields(line, conllu=False) for line in full]
    if len({len(each) for each in fields}) != 1:
        return False
    if len(fields[0]) == 1 or all(len(line.split()) == 1 for line in full):
        between = "\n".join(bare).strip("\n")
        return len(full) > 1 and "\n\n" in between
    if all("\t" in line for line in full) and not any(
        " " in part for row in fields for part in row
    ):
        return True
    known = sum(not set(tags).isdisjoint(each[1:]) for each in fields)
    return 2 * known > len(fields)


def _tags_in(
    path: Path, encoding: str, column: str | None, word_column: str | None
) -> Collection[str]:
    """Return the tags of the words that do not begin with #."""
    if not any(map(_LINE_OF_HASH.search, pieces_of_file(path, encoding))):
        return ()
    lines = lines_of_file(path, encoding)
    sentences = parse_conll(lines, str(path), column, word_column, tags=(), at_hand=True)
    return {tag for sentence in sentences for tag in sentence.tags}


@dataclass(frozen=True)
class _Layout:
    """Where words and tags stand in the lines of a file."""

    where: str
    num_columns: int
    form: int
    tag: int | None  # None where no tags are read
    conllu: bool

    def is_comment(self, line: str, num_words: int, tags: Collection[str] | None) -> bool:
        """Whether a line after `num_words` words of its sentence is none itself: # may be one."""
        if not line.startswith("#") or num_words:
            return False
        fields = _fields(line, self.conllu, self.num_columns)
        if self.conllu or " = " in line or len(fields) != self.num_columns:
            return True
        return tags is not None and set(fields[1:]).isdisjoint(tags)

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
    lines: Iterable[str],
    where: str,
    column: str | None,
    word_column: str | None,
    tagged: bool,
    at_hand: bool,
) -> tuple[_Layout, Iterator[str]]:
    """Return the layout that the first words show, and the lines, without their ends.

    Of lines that are not `at_hand` no more than a sentence is read.
    """
    bare = (line.strip("\r\n").removeprefix("\ufeff") for line in lines)
    before: list[str] = []
    words: list[tuple[int, str]] = []
    for line in bare:
        before.append(line)
        if line.strip(" \t") and not line.startswith(("#", _DOCUMENT_START)):
            words.append((len(before), line))
        if words and (len(before) >= _LINES_SEEN or not (line.strip(" \t") or at_hand)):
            break
    number, first = words[0] if words else (len(before), "")
    plus = next((match for line in before if (match := _PLUS.match(line))), None)
    names = tuple(plus[1].lower().split()) if plus else CONLLU_COLUMNS
    named = where.lower().endswith((".conllu", ".conllup"))
    if plus or named or _FIRST_WORD.fullmatch(first):
        layout = _conllu(names, where, (column or "upos").lower() if tagged else None, word_column)
    else:
        fields = [_fields(line, conllu=False) for _, line in words] or [[""]]
        form = _words_column(fields, where, word_column)
        column = (column or "ner").lower() if tagged else None
        layout = _columns(fields[0], where, number, column, form)
    return layout, chain(before, bare)


def _words_column(fields: Sequence[Sequence[str]], where: str, word_column: str | None) -> int:
    """Return the column of the words, from 0: the first that does not number them."""
    size = len(fields[0])
    if word_column is not None:
        if word_column.isdecimal() and 1 <= int(word_column) <= size:
            return int(word_column) - 1
        message = f"{where}: no column {word_column!r} of words among {size} columns"
        raise OptionError(message, f"a number from 1 to {size}")
    numbers = [each[0] for each in fields]
    numbered = size > 2 and len(numbers) > 1 and numbers[0] in ("0", "1")
    for before, after in pairwise(numbers):
        numbered = numbered and after in (numbers[0], str(int(before) + 1))
    return int(numbered and len(set(numbers)) > 1)


def _conllu(
    names: tuple[str, ...], where: str, column: str | None, word_column: str | None
) -> _Layout:
    form = (word_column or "form").lower()
    if "form" not in names or names[0] != "id":
        raise DataError(f"{where}: its columns are {', '.join(names)}", "id and form are needed")
    if form not in names[1:]:
        message = f"{where}: no column {word_column!r} of words in CoNLL-U"
        raise OptionError(message, f"it has {', '.join(names[1:])}")
    if column is not None and column not in names[2:]:
        message = f"{where}: no column {column!r} of tags in CoNLL-U"
        raise OptionError(message, f"it has {', '.join(names[2:])}")
    tag = None if column is None else names.index(column)
    return _Layout(where, len(names), names.index(form), tag, conllu=True)


def _columns(
    fields: Sequence[str], where: str, number: int, column: str | None, form: int
) -> _Layout:
    size = len(fields)
    if column is None or not any(fields):
        return _Layout(where, size, form, None, conllu=False)
    if size < 2:
        message = (
            f"a word and its tag expected, between them a tab or blanks, got {fields[0][:80]!r}"
        )
        raise DataError(f"{where}, line {number}: {message}")
    if column == "ner":
        tag = size - 1
    elif column in _CONLL_2003 and size == 4:
        tag = _CONLL_2003[column]
    elif column.isdecimal() and 2 - (form > 0) <= int(column) <= size:
        tag = int(column) - 1
    else:
        hint = f"a number from 2 to {size}, or ner for the last"
        raise OptionError(f"{where}: no column {column!r} of tags among {size} columns", hint)
    if tag == form:
        raise OptionError(f"{where}: words and tags are both in column {tag + 1}", "name another")
    return _Layout(where, size, form, tag, conllu=False)
