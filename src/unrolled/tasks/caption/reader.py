"""What captions are learned from: the parts of the data."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from unrolled.data.media import Kind
from unrolled.errors import DataError, field
from unrolled.tasks.caption.captions import Caption, Captions, read_captions
from unrolled.tasks.caption.options import DataOptions
from unrolled.tasks.parts import in_parts
from unrolled.tasks.task import Splits

__all__ = ["check_kind", "read_parts", "read_table_of"]

_OFTEN = 3  # as often as a caption needs to be in each of three parts


def read_parts(options: DataOptions, seed: int) -> Splits[Caption]:
    """Return all examples, decoded, in their parts.

    Args:
        options: How they are read.
        seed: Of the split.

    Raises:
        DataError: A table or a file that cannot be used; it names the table, the line and the file.
            All captions are the same; there are too few for the parts.
    """
    table = read_table_of(Path(options.file), options)
    examples = table.examples
    if len({example.words for example in examples}) < 2:
        message = f"{options.file}: all captions are the same, {examples[0].text!r}"
        raise DataError(message, "there is nothing to learn; is it the right column?")
    closed = _are_names(examples)
    by_media = options.split_by is None and closed

    def read_file(path: Path, _: object) -> tuple[list[Caption], list[str]]:
        further = read_table_of(path, options)
        check_kind(path, further, examples[0].kind)
        return further.examples, further.notes

    splits = in_parts(examples, _groups(examples, by_media), options, seed, read_file)
    splits.notes[:0] = table.notes + _about_split(examples, options, closed)
    splits.notes.extend(_unseen(splits.training, [*splits.held_out, *splits.test]))
    return splits


def read_table_of(path: Path, options: DataOptions) -> Captions:
    """Return the examples of a table with the columns that `options` name."""
    keys = {"text": options.text, "media": options.media}
    return read_captions(
        path,
        options.media,
        options.text,
        options,
        folder=None if options.folder is None else Path(options.folder),
        key=keys.get(options.split_by or "text", options.split_by),
        encoding=options.encoding,
        skip_bad=options.skip_bad,
    )


def _are_names(examples: Sequence[Caption]) -> bool:
    """Return whether most captions are among a few that come again: names, not descriptions."""
    counts = Counter(example.text for example in examples)
    often = sum(count for count in counts.values() if count >= _OFTEN)
    return 2 * often > len(examples)


def _about_split(examples: Sequence[Caption], options: DataOptions, closed: bool) -> list[str]:
    """Return a note where it matters that equal captions come in several parts, or do not."""
    drawn = any(options.fraction(part) for part in ("held_out", "test"))
    if not closed or not drawn or options.split_by not in (None, "text"):
        return []
    num = f"{len({example.text for example in examples}):,} different captions"
    names = f"{options.file}: the {len(examples):,} rows have {num}, which come again and again"
    if options.split_by is None:
        return [
            f"{names}: parts have the same captions of different files ({field('split_by')} text "
            f"keeps equal captions in one part)"
        ]
    return [
        f"{names}, and none of them comes in two parts: whole captions of the other parts were "
        f"never trained on ({field('split_by')} media lets them be)"
    ]


def _groups(examples: Sequence[Caption], by_media: bool) -> list[str]:
    """Return a key for each example: the same for equal keys, and for one file.

    A picture with several captions would otherwise be learned from and measured on.
    """
    if by_media:
        return [example.name for example in examples]
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while (parent := parents.setdefault(node, node)) != node:
            node = parent
        return node

    for example in examples:
        parents[root(("key", example.key))] = root(("name", example.name))
    return [root(("key", example.key))[1] for example in examples]


def check_kind(path: Path, captions: Captions, kind: Kind) -> None:
    """Raise `DataError` unless `captions` are of pictures or of recordings, as `kind` says."""
    if (own := captions.examples[0].kind) != kind:
        raise DataError(f"{path}: has {own}s, the training table {kind}s", "name another table")


def _unseen(training: Sequence[Caption], others: Sequence[Caption]) -> list[str]:
    """Return a note on the words that only the other parts have."""
    known = {word for example in training for word in example.words}
    unseen = {word for example in others for word in example.words} - known
    if not unseen:
        return []
    num_captions = sum(not unseen.isdisjoint(example.words) for example in others)
    return [
        f"{len(unseen):,} words occur in no training caption, but in {num_captions:,} of the "
        f"others: they cannot be written, and their loss is not counted"
    ]
