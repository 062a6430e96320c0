"""How a classifier reads its data: the options, and files as a command line names them.

What the files hold is read by classify_data.py.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.data.tables import TABLE_SUFFIXES
from unrolled.errors import OptionError, require

__all__ = ["ClassifyOptions", "named_files"]

TOKENS = ("word", "char", "bpe")
CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions:
    """How a classifier reads its data.

    Args:
        files: A table or a `.ts` file; or several text files, one for each class.
        classes: The names of the text files' classes, as many; none for a table or `.ts`.
        inputs: Of a table: the column of the text; with `id`, the columns of the numbers, where
            none means all that are left.
        target: Of a table: the column of the class.
        id: Of a table of numbers with a row for each step: the column that says whose step it is.
        time: The column that puts the steps of one id in order; None for the order of the file.
        held_out_file: Like `files`, to choose the best weights by; None takes a part of `files`.
        test_file: Like `files`, to measure on at the end; None takes a part of `files`.
        held_out: That part, in (0, 1), unless there is a file.
        test: That part, in [0, 1), unless there is a file.
        seed: Of the split.
        tokens: Of text: "word", "char" or "bpe"; None for "word".
        bpe_size: Tokens of a BPE vocabulary, for "bpe" only; 2048 if None.
        lowercase: Whether capitals are read as small letters.
        min_count: How often a word or character must occur to be known.
        max_length: Characters of a text, or steps of numbers, that are read; the rest is left out.
        class_weights: "none", or "balanced": each class counts as much as any other in the loss.
        encoding: Of the files.
    """

    files: tuple[str, ...]
    classes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    target: str | None = None
    id: str | None = None
    time: str | None = None
    held_out_file: str | None = None
    test_file: str | None = None
    held_out: float = 0.1
    test: float = 0.1
    seed: int = 0
    tokens: str | None = None
    bpe_size: int | None = None
    lowercase: bool = True
    min_count: int = 2
    max_length: int = 5000
    class_weights: str = "none"
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        for name in ("files", "classes", "inputs"):  # which are lists in JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require(0 < self.held_out < 1, "held_out", "a part of the data, in (0, 1)", self.held_out)
        require(0 <= self.test < 1, "test", "a part of the data, in [0, 1)", self.test)
        kinds = f"one of {', '.join(TOKENS)}"
        require(self.tokens in (*TOKENS, None), "tokens", kinds, repr(self.tokens))
        weights = f"one of {', '.join(CLASS_WEIGHTS)}"
        require(self.class_weights in CLASS_WEIGHTS, "class_weights", weights, self.class_weights)
        require(self.min_count >= 1, "min_count", "at least 1", self.min_count)
        require(self.max_length >= 1, "max_length", "at least 1", self.max_length)
        if self.bpe_size is not None and self.tokens != "bpe":
            raise OptionError("bpe_size (the size of the vocabulary) is for bpe", "leave it out")
        if self.classes:
            self._check_text_files()
        else:
            self._check_one_file()

    @property
    def of_numbers(self) -> bool:
        """Whether the examples are numbers and not text."""
        return self.id is not None or _suffix(self.files[0]) == ".ts"

    def _check_text_files(self) -> None:
        if len(self.files) < 2:
            message = f"{self.files[0]}: a text file has the texts of one class, one in each line"
            raise OptionError(message, "give a file for each class, or a table by its name")
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name, count in Counter(self.classes).items() if count > 1)
            raise OptionError(f"two files are of the class {twice!r}", "name them NAME=FILE")
        for name in ("inputs", "target", "id", "time", "held_out_file", "test_file"):
            if getattr(self, name):
                option = "--input" if name == "inputs" else f"--{name.replace('_', '-')}"
                message = f"{option} is for tables and .ts files, not for a file for each class"
                raise OptionError(message, "leave it out")

    def _check_one_file(self) -> None:
        if len(self.files) != 1:
            raise OptionError(f"one table or .ts file is read, got {len(self.files)}")
        columns = {"input": self.inputs, "target": self.target, "id": self.id, "time": self.time}
        given = [name for name, value in columns.items() if value]
        if _suffix(self.files[0]) == ".ts":
            if given:
                raise OptionError(f"{given[0]} names a column, and a .ts file has none")
        elif self.target is None:
            raise OptionError("a table needs the column of the class", "--target COLUMN")
        elif self.id is None and len(self.inputs) != 1:
            hint = "--input COLUMN; and for numbers with a row for each step, --id COLUMN"
            raise OptionError("a table needs one column of text", hint)
        elif self.id is None and self.time is not None:
            raise OptionError("time is for numbers with a row for each step", "--id COLUMN")
        if self.of_numbers and self.tokens is not None:
            raise OptionError("tokens are for text, and the data are numbers", "leave it out")


def named_files(arguments: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return files and classes as `ClassifyOptions` wants them, from a command line.

    Args:
        arguments: Each FILE, or CLASS=FILE for a text file. A text file without a name gives its
            own to its class.
    """
    files, classes = [], []
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or Path(argument).exists():
            name, path = Path(argument).name, argument
        files.append(str(Path(path).resolve()))
        classes.append(name)
    tables = (".ts", *TABLE_SUFFIXES)
    are_tables = any(_suffix(name) in tables for name in classes)  # which nobody named otherwise
    return tuple(files), () if are_tables else tuple(classes)


def _suffix(path: str) -> str:
    return Path(path).suffix.lower()
