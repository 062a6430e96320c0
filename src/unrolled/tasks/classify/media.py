"""Pictures or recordings with a class each, and how they become what a model reads."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, cast, get_args

import torch
from torch import Tensor

from unrolled.data.augment import augment_frames, move_pictures
from unrolled.data.content import number_of, numbers_of, one_of
from unrolled.data.media import Kind, named_media, read_named, unusable
from unrolled.data.recordings import scale_of
from unrolled.data.source import Source
from unrolled.data.tables import read_table
from unrolled.errors import DataError, field
from unrolled.tasks.classify.examples import Labelled
from unrolled.tasks.classify.labels import label_of
from unrolled.tasks.classify.options import DataOptions

__all__ = ["MediumEncoder", "MediumFile", "files_in", "read_media", "read_unlabelled_media"]


class MediumFile(NamedTuple):
    """A picture or a recording that is still to be read.

    name: Its path, or several of recordings with ";" between them; "" where a table has none.
    label: Its class, None where a table has none.
    folder: Where the path starts.
    where: Its place in a table.
    """

    name: str
    label: str | None
    folder: Path = Path()
    where: str = ""


def files_in(options: DataOptions, path: Path) -> list[MediumFile]:
    """Return what the rows of a table name.

    Raises:
        DataError: The table cannot be read, or a path is no text.
    """
    assert options.media is not None
    assert options.target is not None
    table = read_table(path, [options.media, options.target], options.encoding)
    folder = path.parent if options.folder is None else Path(options.folder)
    files = []
    for row in table.rows:
        name, label = row.values[options.media], row.values[options.target]
        if name is not None and not isinstance(name, str):
            message = f"{table.where(row)}: {options.media!r} must be text, got {name!r}"
            raise DataError(message, f"is {field('media')} the column of the paths?")
        label = label_of(label, table.where(row), options.target)
        files.append(MediumFile((name or "").strip(), label, folder, f"{table.unit} {row.line}"))
    return files


def read_media(
    options: DataOptions, path: Path, files: Sequence[MediumFile], kind: Kind | None
) -> tuple[list[Labelled], list[str]]:
    """Return files as examples, decoded, and notes; one without a name has no content.

    Args:
        options: What they are turned into, and whether those that cannot be used are left out.
        path: What names them.
        files: At least one.
        kind: What they must be; None for that of the first.

    Raises:
        DataError: Files cannot be used: it names them all. Or they are not all of one kind.
        OptionError: A library that it takes is not installed.
    """
    examples: list[Labelled] = []
    bad: list[tuple[str, DataError]] = []
    num_animated = 0
    for file in files:
        place = f"{path}, {file.where}" if file.where else file.name
        if not file.name:
            examples.append(Labelled(place, "", file.label))
            continue
        try:
            medium = read_named(file.name, file.folder, options)
        except DataError as error:
            bad.append((file.where, error))
            continue
        kind = kind or medium.kind
        if medium.kind != kind:
            message = f"{file.name}: a {medium.kind}, and the others are {kind}s"
            bad.append((file.where, DataError(message, "a model reads one of them")))
            continue
        num_animated += medium.animated
        examples.append(Labelled(place, medium.content, file.label, id=file.name))
    if bad and not (options.skip_bad and kind is not None):
        raise unusable(path, "rows have files" if files[0].where else "files", bad)
    notes = []
    if bad:
        where, first = bad[0]
        count = f"left out {len(bad):,} of {len(files):,} files, which cannot be used"
        notes.append(f"{path}: {count}; the first{f', {where}' * bool(where)}: {first.message}")
    if num_animated:
        notes.append(f"{path}: of {num_animated:,} animations the first picture was taken")
    return examples, notes


def read_unlabelled_media(options: DataOptions, source: Source, kind: Kind) -> Iterator[Labelled]:
    """Yield what is to be predicted; what cannot be read has an error."""
    named = named_media(source, options, kind, column=options.media, folder=options.folder)
    for name, content in named:
        if isinstance(content, DataError):
            yield Labelled(name, "", None, id=name, error=content)
        else:
            yield Labelled(name, content, None, id=name)


class MediumEncoder:
    """Pictures as they are; log-mel frames on the scale of the training part.

    Args:
        kind: "picture" or "recording".
        mean: Of each band, (K,); empty for pictures.
        scale: The deviation of all bands together.
    """

    def __init__(self, kind: Kind, mean: Sequence[float] = (), scale: float = 1.0) -> None:
        self.kind: Kind = kind
        self._mean = torch.tensor(mean)
        self._scale = scale

    @classmethod
    def fit(cls, kind: Kind, contents: Sequence[Tensor]) -> Self:
        """Return the encoder of the training part's contents."""
        return cls(kind) if kind == "picture" else cls(kind, *scale_of(contents))

    def encode(self, content: Tensor) -> Tensor:
        """Return what the model reads: (3, S, S) uint8, or (T, K) float32."""
        return content if self.kind == "picture" else (content - self._mean) / self._scale

    def varied(self, contents: Sequence[Tensor], flip: bool) -> list[Tensor]:
        """Return what the model reads of contents that are changed a little, at random."""
        if self.kind == "picture":
            return [*move_pictures(torch.stack(list(contents)), flip)]
        return [self.encode(augment_frames(content)) for content in contents]

    def to_dict(self) -> dict[str, Any]:
        """Return the kind and the scale."""
        return {"kind": self.kind, "mean": self._mean.tolist(), "scale": self._scale}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the encoder that `to_dict` described."""
        kind = cast(Kind, one_of(content, "kind", get_args(Kind)))
        return cls(kind, numbers_of(content, "mean"), number_of(content, "scale", above=0))
