"""The sequences of label sets: which files they are read from, and in which parts.

    .mat        piano rolls, in three parts or one (`rolls.py`)
    .json       {"train": [...], "valid": [...], "test": [...]}, or one list of sequences
    a table     where a column of labels is named: a row for each sequence, or, with a column that
                names the sequence, for each step
    any other   a sequence in each line (`lines.py`)

A file that is in parts is taken as it is divided; of any other, equal sequences are in one part.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as member
from itertools import chain
from pathlib import Path
from typing import Any

from unrolled.data.source import Source
from unrolled.data.tables import Row, Table, is_table, read_table
from unrolled.data.text import read_text
from unrolled.errors import DataError, OptionError, field
from unrolled.tasks.multilabel.lines import Steps, parse_line, set_of, steps_of
from unrolled.tasks.multilabel.options import DataOptions
from unrolled.tasks.multilabel.rolls import read_rolls
from unrolled.tasks.parts import in_parts
from unrolled.tasks.task import Splits

__all__ = ["SetSequence", "labels_of", "read_others", "read_parts", "sequences_of"]

_PARTS = {"train": "training", "val": "held_out", "dev": "held_out", "test": "test"}
_PICKLES = (".pkl", ".pickle")
_TABLES = (".csv", ".tsv", ".tab", ".parquet", ".pq")  # which hold no sequences without columns
_FEWEST = 2  # steps of a sequence: the first one is not predicted


@dataclass(frozen=True)
class SetSequence:
    """A sequence of sets of labels.

    Args:
        steps: For each step its labels.
        known: Labels that its file has a place for, whether they occur or not.
        where: Its file and place, with which a message begins.
    """

    steps: Steps
    known: tuple[str, ...] = member(default=(), compare=False)
    where: str = member(default="", compare=False)


def read_parts(options: DataOptions, seed: int) -> Splits[SetSequence]:
    """Return the sequences in their parts.

    Args:
        options: How they are read.
        seed: Of the split.

    Raises:
        DataError: A file cannot be read, or no sequence has two steps.
        OptionError: A part is asked for of a file that is in parts already, or a column of one
            that is no table.
    """
    path = Path(options.file)
    if options.input is not None and not is_table(path):
        message = f"{path} is not a table, so it has no column {options.input!r}"
        raise OptionError(message, f"leave {field('input')} out, or save it as .csv or .jsonl")
    parts, notes = _read(path, options)
    if len(parts) > 1:
        names = ("held_out", "test", "held_out_file", "test_file")
        chosen = [name for name in names if getattr(options, name) is not None]
        if chosen:
            message = f"{path} is in parts already, so {field(chosen[0])} is not needed"
            raise OptionError(message, "leave it out")
        if not parts.get("training"):
            raise DataError(f"{path}: no sequences to learn from", "its first part is called train")
        training, held_out, test = (
            parts.get(name, []) for name in ("training", "held_out", "test")
        )
        splits = Splits(training, held_out, test, notes)
    else:
        (whole,) = parts.values()
        splits = in_parts(
            whole,
            (sequence.steps for sequence in whole),
            options,
            seed,
            lambda path, _: read_others(path, options),
        )
        splits.notes[:0] = notes
    known = options.label_names or labels_of(splits.training)
    for where, part in (
        ("training part", splits.training),
        ("held-out part", splits.held_out),
        ("test part", splits.test),
    ):
        splits.notes.extend(unknown_labels(where, part, known))
    return splits


def read_others(path: Path, options: DataOptions) -> tuple[list[SetSequence], list[str]]:
    """Return the sequences of a file beside that of the training, and notes.

    Of a file in parts, they are those of the test part.

    Raises:
        DataError: The file cannot be read, or no sequence has two steps.
    """
    parts, notes = _read(path, options)
    if len(parts) == 1:
        return next(iter(parts.values())), notes
    sequences = parts.get("test")
    if not sequences:
        raise DataError(f"{path}: in parts, but none is called test", "name a file with one part")
    return sequences, [*notes, f"{path}: its test part"]


def sequences_of(source: Source, options: DataOptions) -> Iterator[tuple[str, Steps, str | None]]:
    """Yield the sequences of an input: where each stands, its steps, and its line if it has one.

    Raises:
        DataError: The input cannot be read.
    """
    path = source.path
    if path is not None and (_is_whole(path) or (options.input is not None and is_table(path))):
        parts, _ = _read(path, options, least=1)
        for sequence in parts.get("test") or chain.from_iterable(parts.values()):
            yield sequence.where, sequence.steps, None
        return
    for number, line in enumerate(source.lines(), 1):
        where = f"{source.name}, line {number}"
        yield where, parse_line(line, where), line


def labels_of(sequences: Iterable[SetSequence]) -> list[str]:
    """Return the labels of sequences, and those that their file has a place for, in order.

    Whole numbers come first, by their value.
    """
    labels = {label for sequence in sequences for step in sequence.steps for label in step}
    places = {known for known in {sequence.known for sequence in sequences}}
    labels |= {label for known in places for label in known}

    def order(label: str) -> tuple[bool, int, str]:
        digits = label.removeprefix("-")
        is_number = digits.isascii() and digits.isdigit() and len(digits) < 10
        return not is_number, int(label) if is_number else 0, label

    return sorted(labels, key=order)


def unknown_labels(where: str, sequences: Sequence[SetSequence], known: Iterable[str]) -> list[str]:
    """Return a note on the labels of sequences that are not among those `known`, if there are any.

    Raises:
        DataError: None of the labels is known.
    """
    known = set(known)
    counts = Counter(label for each in sequences for step in each.steps for label in step)
    others = {label: count for label, count in counts.items() if label not in known}
    if not others:
        return []
    names = ", ".join(sorted(others)[:5]) + (" ..." if len(others) > 5 else "")
    if len(others) == len(counts):
        raise DataError(f"{where}: none of its labels is known: {names}", "is it the right column?")
    return [
        f"{where}: {sum(others.values()):,} times a label that is not known ({names}): not read, "
        f"not in the loss, and counted as missed; {field('labels')} says what the labels are"
    ]


def _is_whole(path: Path) -> bool:
    """Whether a file is not read line by line, by its name."""
    return _name(path).endswith((".mat", ".json", *_PICKLES))


def _name(path: Path) -> str:
    return path.name.lower().removesuffix(".gz")


def _read(
    path: Path, options: DataOptions, *, least: int = _FEWEST
) -> tuple[dict[str, list[SetSequence]], list[str]]:
    """Return the sequences of a file, of at least so many steps, by their parts; "" for all."""
    name = _name(path)
    if name.endswith(_PICKLES):
        message = f"{path}: a pickle, which can run any program when it is read"
        raise DataError(message, "save it as JSON, with json.dump")
    if options.input is not None and is_table(path):
        parts = {"": [*_of_table(path, options)]}
    elif name.endswith(".mat"):
        rolls, known = read_rolls(path)
        parts = {
            part: [
                SetSequence(steps, known, f"{path}, {own} {number}")
                for number, steps in enumerate(rolls[own], 1)
            ]
            for part, own in _named_parts(path, rolls).items()
        }
    elif name.endswith(".json"):
        parts = _of_json(path, options)
    elif options.input is None and name.endswith(_TABLES):
        message = f"{path}: which column of the table holds the labels?"
        raise OptionError(message, f"{field('input')} COLUMN")
    else:
        lines = Source.file(path, options.encoding).lines()
        places = ((f"{path}, line {number}", line) for number, line in enumerate(lines, 1))
        parts = {"": [SetSequence(parse_line(line, at), (), at) for at, line in places]}
    num = sum(map(len, parts.values()))
    parts = {
        part: [sequence for sequence in sequences if len(sequence.steps) >= least]
        for part, sequences in parts.items()
    }
    num_short = num - sum(map(len, parts.values()))
    if num_short == num:
        hint = "a bar stands between two steps: 60 64 67 | 62 65"
        raise DataError(f"{path}: no sequence of at least {least} steps", hint)
    note = f"{path}: {num_short:,} sequences of one step left out: nothing follows it"
    return parts, [note] if num_short else []


def _named_parts(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Return for each part what it is called in a file: "" for the only one."""
    names = list(names)
    if len(names) == 1:
        return {"": names[0]}
    name_of: dict[str, str] = {}
    for name in names:
        part = next((part for key, part in _PARTS.items() if name.lower().startswith(key)), None)
        if part is None or part in name_of:
            message = f"{path}: which part is {name!r}? there are {', '.join(names)}"
            raise DataError(message, "parts are called train, valid and test")
        name_of[part] = name
    return name_of


def _of_json(path: Path, options: DataOptions) -> dict[str, list[SetSequence]]:
    text = read_text([path], options.encoding)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"{path}, line {error.lineno}: not JSON: {error.msg}"
        raise DataError(f"{message}, at character {error.colno}") from None
    except (RecursionError, ValueError):
        raise DataError(f"{path}: nested too deep, or a number too long") from None
    if not isinstance(content, dict):
        return {"": _sequences(content, str(path))}
    names = _named_parts(path, content)
    return {part: _sequences(content[name], f"{path}, {name}") for part, name in names.items()}


def _sequences(content: Any, where: str) -> list[SetSequence]:
    if not isinstance(content, list):
        raise DataError(f"{where}: not a list of sequences", "a sequence is a list of sets")
    places = ((f"{where}, sequence {number}", each) for number, each in enumerate(content, 1))
    return [SetSequence(steps_of(each, place), (), place) for place, each in places]


def _of_table(path: Path, options: DataOptions) -> Iterator[SetSequence]:
    assert options.input is not None
    columns = [options.input, *([options.id] if options.id is not None else [])]
    table = read_table(path, columns, options.encoding)
    if options.id is None:
        for row in table.rows:
            yield SetSequence(_steps_in(table, row, options.input), (), table.where(row))
        return
    steps: dict[str, list[tuple[str, ...]]] = {}
    places: dict[str, str] = {}
    for row in table.rows:
        name = row.values[options.id]
        if name is None or not str(name).strip():
            message = f"{table.where(row)}: no {options.id!r}, so its sequence is not known"
            raise DataError(message)
        in_row = _steps_in(table, row, options.input)
        if len(in_row) != 1:
            message = (
                f"{table.where(row)}: {len(in_row)} steps, but with {field('id')} a row is one"
            )
            raise DataError(message, f"leave {field('id')} out if a row is a sequence")
        steps.setdefault(str(name), []).extend(in_row)
        places.setdefault(str(name), table.where(row))
    for name, own in steps.items():
        yield SetSequence(tuple(own), (), places[name])


def _steps_in(table: Table, row: Row, column: str) -> Steps:
    value, where = row.values[column], table.where(row)
    if value is None:
        return ((),)
    if isinstance(value, list):
        is_sequence = bool(value) and all(isinstance(each, list) for each in value)
        return steps_of(value, where) if is_sequence else (set_of(value, where),)
    return parse_line(str(value), where)
