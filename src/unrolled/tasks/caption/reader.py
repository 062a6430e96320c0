"""What captions are learned from: the options of the reader, and the parts of the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.data.split import split
from unrolled.errors import DataError, OptionError
from unrolled.tasks.caption.captions import Caption, Captions, read_captions
from unrolled.tasks.caption.media import Kind, MediumOptions
from unrolled.tasks.task import Splits

__all__ = ["CaptionOptions", "check_kind", "read_parts", "read_table_of"]


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """How captions are read and learned.

    Args:
        path: The table.
        media: Its column with the paths of pictures or recordings.
        text: Its column with the words.
        folder: Where the paths start; each table's own folder if None.
        held_out: Part of the table that chooses the best weights; None is 0.1, without a file.
        test: Part of the table that is measured on at the end; None is 0.1, without a file.
        held_out_path: A table of its own to choose the best weights by.
        test_path: A table of its own to measure on.
        split_by: What stays together in a split: "text" (equal captions), "media" (the same file)
            or a column.
        encoding: Of the tables.
        picture_size: Pixels of each side.
        rate: Samples per second that recordings are resampled to.
        num_bands: Features of each frame of a recording.
        max_seconds: The longest recording.
        augment: Whether training sees pictures and recordings a little changed each time.
        flip: Whether pictures are also mirrored; not for letters or flags.
        label_smoothing: Part of the probability that goes to words that are not the right one.
        seed: Of the split.

    Raises:
        OptionError: A value out of its range, or a file and a fraction for the same part.
    """

    path: str
    media: str
    text: str
    folder: str | None = None
    held_out: float | None = None
    test: float | None = None
    held_out_path: str | None = None
    test_path: str | None = None
    split_by: str = "text"
    encoding: str = "utf-8"
    picture_size: int = 32
    rate: int = 16_000
    num_bands: int = 40
    max_seconds: float = 60.0
    augment: bool = True
    flip: bool = False
    label_smoothing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for part, path in (("held_out", self.held_out_path), ("test", self.test_path)):
            fraction = getattr(self, part)
            if fraction is not None and path is not None:
                raise OptionError(f"{part}: a part of the table or a file, not both", "drop one")
            if fraction is not None and not 0 <= fraction < 1:
                raise OptionError(f"{part} must be a part of the table, in [0, 1), got {fraction}")
        if not 0 <= self.label_smoothing < 1:
            raise OptionError(f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")
        self.medium()

    def medium(self) -> MediumOptions:
        """Return what pictures and recordings are turned into."""
        return MediumOptions(
            picture_size=self.picture_size,
            rate=self.rate,
            num_bands=self.num_bands,
            max_seconds=self.max_seconds,
        )

    def fraction(self, part: str) -> float:
        """Return the fraction of the table that is the part "held_out" or "test"."""
        if getattr(self, f"{part}_path") is not None:
            return 0.0
        given: float | None = getattr(self, part)
        return 0.1 if given is None else given


def read_parts(options: CaptionOptions) -> Splits[Caption]:
    """Return all examples, decoded, in their parts.

    Raises:
        DataError: A table or a file that cannot be used; it names the table, the line and the file.
            All captions are the same; there are too few for the parts.
    """
    table = read_table_of(Path(options.path), options)
    examples = table.examples
    if len({example.words for example in examples}) < 2:
        message = f"{options.path}: all captions are the same, {examples[0].text!r}"
        raise DataError(message, "there is nothing to learn; is it the right column?")
    fractions = {part: options.fraction(part) for part in ("held_out", "test")}
    parts = split(_groups(examples), **fractions, seed=options.seed)
    rest, notes = [], table.notes
    for path, indices in (
        (options.held_out_path, parts.held_out),
        (options.test_path, parts.test),
    ):
        if path is None:
            rest.append([examples[index] for index in indices])
            continue
        further = read_table_of(Path(path), options)
        check_kind(Path(path), further, examples[0].kind)
        rest.append(further.examples)
        notes = notes + further.notes
    training = [examples[index] for index in parts.training]
    if not rest[0]:
        raise DataError(f"{options.path}: nothing is held out", "hold out a part, or give a file")
    return Splits(training, rest[0], rest[1], notes + _unseen(training, rest[0] + rest[1]))


def read_table_of(path: Path, options: CaptionOptions) -> Captions:
    """Return the examples of a table with the columns that `options` name."""
    keys = {"text": options.text, "media": options.media}
    return read_captions(
        path,
        options.media,
        options.text,
        options.medium(),
        folder=None if options.folder is None else Path(options.folder),
        key=keys.get(options.split_by, options.split_by),
        encoding=options.encoding,
    )


def _groups(examples: Sequence[Caption]) -> list[str]:
    """Return a key for each example: the same for equal keys, and for one file.

    A picture with several captions would otherwise be learned from and measured on.
    """
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
    if (found := captions.examples[0].kind) != kind:
        raise DataError(f"{path}: has {found}s, the training table {kind}s", "name another table")


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
