"""Examples with a class: what `unrolled train classify` reads, in whichever format they come.

    reviews.csv                        tables: --input the column of the text, --target the class
    reviews/                           a folder for each class, a text in each file
    neg=reviews.neg pos=reviews.pos    a file for each class, a text in each line
    runs.csv --id case --time t        a table with a row for each step: numbers, `series.py`
    gunpoint.tsv --wide                a table with a row for each series: numbers, its steps
    Vowels_TRAIN.ts                    numbers, the format of the UCR and UEA archives
    pictures/, cat=cats/ dog=dogs/     folders of pictures or recordings, `media.py`
    birds.csv --media file             a table that names them

The task itself is in `task.py`.
"""

import hashlib
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from torch import Tensor

from unrolled.data.files import files_below
from unrolled.data.media import Kind, are_media
from unrolled.data.packed_examples import Joined
from unrolled.data.source import Source
from unrolled.data.tables import Table, has_columns, is_header, is_table, read_table, refuse_header
from unrolled.data.text import lines_of_file, read_text
from unrolled.errors import DataError, field
from unrolled.tasks.classify.examples import Labelled, LabelledTexts, Steps
from unrolled.tasks.classify.labels import check_classes, label_of
from unrolled.tasks.classify.media import MediumFile, files_in, read_media, read_unlabelled_media
from unrolled.tasks.classify.options import DataOptions
from unrolled.tasks.classify.parts import about_parts
from unrolled.tasks.classify.series import Series, number_label, read_long_table, read_wide_table
from unrolled.tasks.classify.ts_files import is_ts, read_ts_cases, read_ts_file
from unrolled.tasks.parts import in_parts
from unrolled.tasks.task import Splits

__all__ = ["read_examples", "read_splits", "read_unlabelled"]


def read_splits(options: DataOptions, seed: int) -> Splits[Labelled]:
    """Return the examples in three parts.

    Args:
        options: How they are read.
        seed: Of the split.

    Raises:
        DataError: A file cannot be used; there are fewer than two classes, or too few examples.
    """
    if options.classes:
        if folders := _folders_of_media(options):
            places = Path(", ".join(map(str, options.paths)))
            read = [_usable_media(options, places, folders, None)]  # all bad files at once
            there = {example.label for example in read[0][0]}
            for folder, label in zip(options.paths, options.classes, strict=True):
                if label not in there:  # all of its files were left out
                    raise DataError(f"{folder}: no example has content and a class")
        else:
            first, *further = zip(options.paths, options.classes, strict=True)
            read = [_of_class(options, *first, None)]
            kind = read[0][0][0].kind
            read += [_of_class(options, *each, kind) for each in further]
        kind = read[0][0][0].kind
    else:
        read = [read_examples(options, options.paths[0])]
        names, kind = read[0][0][0].names, read[0][0][0].kind
        read += [read_examples(options, path, names, kind) for path in options.paths[1:]]
    examples = read[0][0] if len(read) == 1 else Joined([part for part, _ in read])
    if odd := next((example for example in examples if example.kind != kind), None):
        message = f"{odd.where}: a {odd.kind}, and what is before it is text"
        raise DataError(message, "name pictures, recordings or texts, not both")
    notes = [note for _, part in read for note in part]
    if not (options.number or options.classes or options.of_folders):
        check_classes([str(example.label) for example in examples], options.files[0])
    by_class = options.stratify and not options.number
    splits = in_parts(
        examples,
        map(_key, examples),
        options,
        seed,
        lambda path, _: read_examples(options, path, examples[0].names, kind),
        classes=[example.label for example in examples] if by_class else None,
    )
    splits.notes[:0] = about_parts(options, splits) + notes
    return splits


def read_examples(
    options: DataOptions, path: Path, names: Sequence[str] = (), kind: Kind | None = None
) -> tuple[Sequence[Labelled], list[str]]:
    """Return the examples of one table, folder, `.ts` file, or CLASS=FILE; and what was left out.

    Text, pictures and recordings are read of each of these, but of tables only if the training had
    one, whose columns are then known; numbers of tables and of `.ts` files.

    Args:
        options: How the training data were read.
        path: The file.
        names: Of the numbers in a step; none if any will do.
        kind: Of pictures or recordings; None of others, or if it is not known.

    Raises:
        DataError: The file cannot be used, or has other numbers.
    """
    if kind is not None or options.media is not None:
        return _media(options, path, kind)
    if not options.of_numbers:
        if path.is_dir():
            return _folder_of_classes(options, path)
        label, equals, file = str(path).partition("=")
        if equals and not path.exists():
            return _of_class(options, Path(file), label, None)
        if options.target is not None:
            return _table_of_text(options, path)
        if is_table(path):
            raise _without_columns(path)
        classes = options.classes or ("CLASS",)
        raise DataError(f"{path}: the class of its lines is not known", f"{classes[0]}={path}")
    cases = _numbers(options, path, names, options.target)
    examples, notes = _usable(options, [_of_series(case) for case in cases], path)
    numbers = [x for example in examples for step in cast(Steps, example.content) for x in step]
    if missing := sum(map(math.isnan, numbers)):
        share = f"{missing:,} of {len(numbers):,} numbers are missing"
        notes.append(f"{path}: {share}; each is taken for the mean of its feature")
    return examples, notes


def read_unlabelled(
    options: DataOptions, source: Source, names: Sequence[str], kind: Kind | None = None
) -> Iterator[Labelled]:
    """Yield what is to be predicted, as it comes.

    Args:
        options: How the training data were read.
        source: Of text: a text in each line, a table with the column that was trained on, or a
            folder with a text in each file. Of numbers: cases in the lines of a `.ts` file, or a
            table as it was trained on.
        names: Of the numbers in a step; none for text.
        kind: Of pictures or recordings: then the source is what `named_media` reads, and examples
            that cannot be read have an error. None for others.

    Raises:
        DataError: The source cannot be used.
    """
    if kind is not None:
        yield from read_unlabelled_media(options, source, kind)
        return
    path = source.path
    as_table = path is not None and _has_format(options, path)
    if path is not None and path.is_dir() and not names:
        for each in files_below(path):
            text = read_text([each], options.encoding)
            yield _cut(options, Labelled(str(each), text.strip(), None))
    elif names and path is not None and as_table:
        for case in _numbers(options, path, names, None):
            yield _cut(options, _of_series(case))
    elif names:
        for case in read_ts_cases(source.name, source.lines(), len(names), labelled=False):
            yield _cut(options, _of_series(case))
    elif path is not None and as_table:
        table = read_table(path, options.input, options.encoding)
        for row in table.rows:
            text = row.values[options.input[0]]
            where = table.where(row)
            yield _cut(options, Labelled(where, "" if text is None else str(text), None))
    else:
        first, lines = source.begun()
        if path is None and options.target is not None:
            refuse_header(source.name, first, options.input)
        for number, line in enumerate(lines, start=1):
            yield _cut(options, Labelled(f"{source.name}, line {number}", line, None))


def _has_format(options: DataOptions, path: Path) -> bool:
    """Return whether a file is to be read as a table.

    It is if its name says so; if it begins with the columns of the training; or if these are
    numbers, and the table of the training was not called one either.

    Raises:
        DataError: It is a table by its name, and the training was on none.
    """
    if options.target is None:
        if is_table(path):
            raise _without_columns(path)
        return False
    if is_table(path) or not path.is_file():
        return is_table(path)
    if options.of_numbers:
        return path.suffix.lower() == options.paths[0].suffix.lower()
    if is_header(next(Source.file(path, options.encoding).lines(), ""), options.input):
        return True
    trained_on_others = not any(map(is_table, options.paths))
    return trained_on_others and has_columns(path, options.input, options.encoding)


def _without_columns(path: Path) -> DataError:
    """Return the error of a table where the training data had no columns."""
    message = f"{path}: a table by its name, and the training data had no columns to find in it"
    return DataError(message, "save it as the training data were; texts: one in each line, as .txt")


def _cut(options: DataOptions, example: Labelled) -> Labelled:
    """Return what is read of an example."""
    if isinstance(example.content, Tensor) or len(example.content) <= options.max_length:
        return example
    return replace(example, content=example.content[: options.max_length], cut=True)


def _of_series(series: Series) -> Labelled:
    return Labelled(series.where, series.steps, series.label, series.id, series.names)


def _key(example: Labelled) -> Hashable:
    """Return what must not be in two parts: the content."""
    content = example.content
    if isinstance(content, Tensor):
        return hashlib.sha256(content.numpy().tobytes()).digest()
    return content


def _folders_of_media(options: DataOptions) -> list[MediumFile]:
    """Return the files of a folder for each class; none unless all are pictures or recordings."""
    if not all(path.is_dir() for path in options.paths):
        return []
    folders = [files_below(path) for path in options.paths]
    if not all(map(are_media, folders)):
        return []
    labelled = zip(folders, options.classes, strict=True)
    return [MediumFile(str(file), label) for files, label in labelled for file in files]


def _of_class(
    options: DataOptions, path: Path, label: str, kind: Kind | None
) -> tuple[Sequence[Labelled], list[str]]:
    """Return the examples of one class: the lines of a file, or the files of a folder."""
    files = files_below(path) if path.is_dir() else [path]
    if kind is not None or are_media(files):
        media = [MediumFile(str(file), label) for file in files]
        return _usable_media(options, path, media, kind)
    if path.is_dir():
        return _usable(options, [_whole_text(options, file, label) for file in files], path)
    if is_table(path):
        message = f"{path}: a table by its name, and a file of one class has a text in each line"
        hint = f"{field('input')} and {field('target')} name the columns of a table with classes"
        raise DataError(message, f"{hint}; else save the texts in a .txt file")
    lines = enumerate(lines_of_file(path, options.encoding), 1)
    before = f"{path}, line "
    examples = (Labelled(f"{before}{number}", line, label) for number, line in lines)
    return _usable(options, examples, path, LabelledTexts(before))


def _media(
    options: DataOptions, path: Path, kind: Kind | None
) -> tuple[Sequence[Labelled], list[str]]:
    """Return the pictures or recordings of a folder, of CLASS=FILE, or of a table."""
    if path.is_dir():
        return _folder_of_classes(options, path, kind)
    label, equals, file = str(path).partition("=")
    if equals and not path.exists():
        return _of_class(options, Path(file), label, kind)
    if options.media is None:
        hint = "a folder with a folder for each class, or CLASS=FILE"
        raise DataError(f"{path}: no class is known of it", hint)
    return _usable_media(options, path, files_in(options, path), kind)


def _usable_media(
    options: DataOptions, path: Path, files: Sequence[MediumFile], kind: Kind | None
) -> tuple[Sequence[Labelled], list[str]]:
    examples, notes = read_media(options, path, files, kind)
    usable, more = _usable(options, examples, path)
    return usable, notes + more


def _whole_text(options: DataOptions, path: Path, label: str) -> Labelled:
    if not path.stat().st_size:
        return Labelled(str(path), "", label)  # which is counted among those without a text
    return Labelled(str(path), read_text([path], options.encoding).strip(), label)


def _folder_of_classes(
    options: DataOptions, path: Path, kind: Kind | None = None
) -> tuple[Sequence[Labelled], list[str]]:
    """Return the texts, pictures or recordings of a folder with a folder for each class."""
    try:
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a folder: {error.strerror}") from None
    classes = [entry for entry in entries if entry.is_dir()]
    if not classes:
        hint = "a folder for each class, with an example in each file"
        raise DataError(f"{path}: no folders in it", hint)
    files = [(file, each.name) for each in classes for file in files_below(each)]
    if kind is not None or are_media([file for file, _ in files]):
        media = [MediumFile(str(file), label) for file, label in files]
        usable, notes = _usable_media(options, path, media, kind)
    else:
        texts = [_whole_text(options, file, label) for file, label in files]
        usable, notes = _usable(options, texts, path)
    if beside := len(entries) - len(classes):
        shown = "1 file" if beside == 1 else f"{beside:,} files"
        notes.append(f"{path}: {shown} beside the folders of the classes not read")
    return usable, notes


def _table_of_text(options: DataOptions, path: Path) -> tuple[Sequence[Labelled], list[str]]:
    assert options.target is not None
    column = options.input[0]
    table = read_table(path, [column, options.target], options.encoding)
    examples = _of_rows(table, column, options.target)
    usable, notes = _usable(options, examples, path, LabelledTexts(table.place))
    return usable, notes + _without_header(table)


def _of_rows(table: Table, column: str, target: str) -> Iterator[Labelled]:
    for row in table.emptied():
        text, label = row.values[column], row.values[target]
        if text is not None and not isinstance(text, str):
            message = f"{table.where(row)}: {column!r} is not text but {text!r}"
            raise DataError(message, f"numbers need a row for each step: {field('id')} COLUMN")
        label = label_of(label, table.where(row), target)
        yield Labelled(table.where(row), text or "", label)


def _without_header(table: Table) -> list[str]:
    if table.has_header:
        return []
    return [f"{table.path}: columns by their numbers: line 1 is an example, and no header"]


def _numbers(
    options: DataOptions, path: Path, names: Sequence[str], target: str | None
) -> list[Series]:
    if is_ts(path):
        cases = read_ts_file(path, options.encoding, number=options.number)
        if names and len(cases[0].names) != len(names):
            dimensions = (
                f"{len(cases[0].names)} dimensions, but the training data have {len(names)}"
            )
            raise DataError(f"{path}: {dimensions}")
        return cases
    if options.wide:
        assert options.target is not None
        cases = read_wide_table(
            path,
            inputs=options.input,
            target=options.target,
            labelled=target is not None,
            encoding=options.encoding,
        )
        assert not names or names == ("1",)
        return cases
    if options.id is None:
        raise _without_columns(path)
    return read_long_table(
        path,
        id=options.id,
        time=options.time,
        inputs=names or options.input or None,
        target=target,
        encoding=options.encoding,
    )


def _usable(
    options: DataOptions,
    examples: Iterable[Labelled],
    path: Path,
    packed: LabelledTexts | None = None,
) -> tuple[Sequence[Labelled], list[str]]:
    """Return the examples that have content and a class, cut, and notes on the others.

    Args:
        options: How they are read.
        examples: Of one file or folder.
        path: It.
        packed: Where they are kept, if they are texts of one file.
    """
    usable: list[Labelled] | LabelledTexts = [] if packed is None else packed
    unusable: list[str] = []
    notes = []
    for example in examples:
        content = example.content
        empty = not isinstance(content, Tensor) and not (
            content.strip() if isinstance(content, str) else content
        )
        if empty or not example.label:
            unusable.append(example.where)
        else:
            usable.append(_cut(options, example))
    if unusable:
        share = f"{len(unusable):,} of {len(unusable) + len(usable):,} examples"
        notes.append(
            f"{path}: left out for lack of content or class: {share}; the first: {unusable[0]}"
        )
    if not usable:
        raise DataError(f"{path}: no example has content and a class")
    if options.number:
        for example in usable:
            if not _is_number(example.label):
                message = f"{example.where}: {example.label!r} is not a finite number"
                raise DataError(message, f"leave {field('number')} out to predict classes")
    if long := [example.where for example in usable if example.cut]:
        unit = "characters" if isinstance(usable[0].content, str) else "steps"
        notes.append(
            f"{path}: only the first {options.max_length:,} {unit} ({field('max_length')}) are "
            f"read of {len(long):,} of {len(usable):,} examples; the first: {long[0]}"
        )
    return usable, notes


def _is_number(label: str | None) -> bool:
    try:
        number_label(label or "")
    except ValueError:
        return False
    return True
