"""Pictures and recordings, whichever files hold, as the tensors that models read.

What is in a file is decided by its content, not by its name.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.data.files import files_below
from unrolled.data.options import MediumOptions
from unrolled.data.pictures import read_picture
from unrolled.data.recordings import is_recording, log_mel, read_recording
from unrolled.data.source import Source
from unrolled.data.tables import is_header, is_table, read_table
from unrolled.errors import DataError, field

__all__ = [
    "JOIN",
    "Kind",
    "Medium",
    "are_media",
    "content_of",
    "holds_medium",
    "named_media",
    "read_medium",
    "read_named",
    "thumbnail",
    "unusable",
]

JOIN = ";"
"""Between the paths of recordings that are heard one after the other."""

Kind = Literal["picture", "recording"]

_NAMED = 20  # files that a message names
_LOOKED_AT = 20  # of the files of a folder, to know what they are
_THUMBNAIL = 16  # places on each side of a picture, or along a recording
_AS_OTHERS = "save its sound as WAV or FLAC, or a picture of it as PNG"

# Those that no text begins with; other formats of pictures are only known to Pillow
_PICTURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM....\0\0|RIFF....WEBP|II\*\0|MM\0\*|\0\0\x01\0|....ftypavif|"
    rb"\0\0\0\x0cjP",
    re.DOTALL,
)


# What people have under any name, and no library here reads: what it is, and what to do
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (rb"....ftyp(?!.{0,48}avi[fs])(he[iv][cxms]|mi?f1|msf1)", "HEIC", "save it as JPEG or PNG"),
    (rb"....ftyp(?!.{0,48}avi[fs])", "MPEG-4 (m4a, mp4, mov)", _AS_OTHERS),
    (rb"\x1aE\xdf\xa3", "WebM or Matroska", _AS_OTHERS),
    (rb"RIFF....AVI ", "AVI", _AS_OTHERS),
    (rb"0&\xb2u\x8ef\xcf\x11", "Windows Media", _AS_OTHERS),
    (rb"#!AMR", "AMR", _AS_OTHERS),
    (rb"\xff[\xf0\xf1\xf8\xf9]", "AAC", _AS_OTHERS),
    (rb"%PDF", "PDF", "save its pictures as PNG"),
    (rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)", "HTML, a page", "get the file again"),
    (rb"(\xef\xbb\xbf)?\s*<(\?xml|svg)", "SVG or XML", "save it as PNG"),
    (rb"PK\x03\x04", "a ZIP archive", "unpack it"),
    (rb"\x1f\x8b", "compressed by gzip", "unpack it"),
)
_UTF_16 = b"\xff\xfe"
_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .gif .bmp .webp .tif .tiff .ppm .pgm .pbm .ico .avif .jp2 .heic .heif "
    ".wav .flac .ogg .oga .opus .mp3 .aif .aiff .au .caf .m4a .mp4 .mov .webm .mkv .avi .wma .wmv "
    ".amr .aac .svg .pdf".split()
)
"""How the names of files end that are no lists of paths, whatever is in them."""


class Medium(NamedTuple):
    """A picture or a recording.

    kind: "picture" or "recording".
    content: (3, S, S) uint8; or log-mel frames, (T, K) float32, T at least 1.
    animated: Whether the file has further pictures, which were left out.
    """

    kind: Kind
    content: Tensor
    animated: bool = False


def read_named(name: str, folder: Path, options: MediumOptions) -> Medium:
    """Return the picture or the recording called `name`.

    Args:
        name: A path, or several of recordings with ";" between them, which are joined. A file
            whose own name has a ";" is that file.
        folder: Where the paths start.
        options: What it is turned into.

    Raises:
        DataError: A file is missing, damaged or of neither kind, pictures are joined, a recording
            is empty, too short or too long; it names the file.
        OptionError: A library that it takes is not installed.
    """
    whole = folder / name
    try:
        paths = [whole] if JOIN not in name or whole.exists() else _parts(name, folder)
        [path.stat() for path in paths]
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file", "check the path") from None
    except (OSError, ValueError) as error:  # too long a name, or one with NUL
        reason = getattr(error, "strerror", None) or str(error)
        shown = name if len(name) <= 80 else f"{name[:80]}..."
        raise DataError(f"{shown!r}: is not the path of a file: {reason}") from None
    return read_medium(name, [Source.file(path) for path in paths], options)


def read_medium(name: str, files: Sequence[Source], options: MediumOptions) -> Medium:
    """Return the picture or the recording that files hold.

    Args:
        name: What messages call it.
        files: One, or several recordings, which are joined.
        options: What it is turned into.

    Raises:
        DataError: As `read_named`.
        OptionError: A library that it takes is not installed.
    """
    recordings = [is_recording(file) for file in files]
    for file, known in zip(files, recordings, strict=True):
        if not known:
            _refuse_foreign(file)
    if not any(recordings):
        if len(files) > 1:
            raise DataError(f"{name}: {files[0]} is not a recording", f"{JOIN!r} joins recordings")
        picture = read_picture(files[0], options.picture_size)
        return Medium("picture", picture.pixels, picture.num_frames > 1)
    if not all(recordings):
        file = files[recordings.index(False)]
        raise DataError(f"{file}: not a recording, but it is joined to one")
    return Medium("recording", _frames(name, files, options))


def holds_medium(file: Source) -> bool:
    """Return whether a file is, or is meant to be, a picture or a recording, and not a list.

    It is if its content is, or is of a kind that is known and not read; if it is no text; or if it
    is called like one.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    if is_recording(file):
        return True
    head = file.head(4096)
    if _PICTURE.match(head) or _foreign(head) or b"\0" in head:
        return True
    return file.path is not None and file.path.suffix.lower() in _SUFFIXES


def named_media(
    source: Source,
    options: MediumOptions,
    kind: Kind,
    *,
    column: str | None,
    folder: str | None,
) -> Iterator[tuple[str, Tensor | DataError]]:
    """Yield the content of each picture or recording of a source with its name.

    That is the name of the source, or what it names.

    In the place of what cannot be read is why not.

    Args:
        source: A picture or a recording; a folder of them; a list of their paths, one a line; or a
            table.
        options: What they are turned into.
        kind: What they must be.
        column: Of a table, that of the paths; None where none is read as a table.
        folder: Where the paths start; None for the folder of what names them, and for those of a
            list also the current one.

    Raises:
        DataError: The list or the table cannot be read, or there is no such source.
        OptionError: A library that it takes is not installed.
    """
    path = source.path
    if path is not None and path.is_dir():
        for file in files_below(path):
            try:
                yield str(file), content_of(read_named(str(file), Path(), options), str(file), kind)
            except DataError as error:
                yield str(file), error
        return
    if source.content is not None or (path is not None and holds_medium(source)):
        try:
            medium = read_medium(source.name, [source], options)
            yield source.name, content_of(medium, source.name, kind)
        except DataError as error:
            yield source.name, error
        return
    for where, name, start in _listed(source, column, folder):
        if not name:
            hint = "put the path of a picture or a recording there"
            yield name, DataError(f"{where}: is empty", hint)
            continue
        try:
            yield name, content_of(read_named(name, start, options), name, kind)
        except DataError as error:
            yield name, DataError(f"{where}: {error.message}", error.hint)


def content_of(medium: Medium, name: str, kind: Kind) -> Tensor:
    """Return the content of a medium called `name`.

    Raises:
        DataError: It is not of the kind that a model was trained on.
    """
    if medium.kind != kind:
        message = f"{name}: a {medium.kind}, but the model was trained on {kind}s"
        raise DataError(message, "give another file, or another run")
    return medium.content


def thumbnail(content: Tensor) -> Tensor:
    """Return a picture of 16 x 16 pixels, or a recording of 16 frames, as one row of numbers."""
    if content.dtype == torch.uint8:
        small = F.adaptive_avg_pool2d(content.float() / 255, _THUMBNAIL)
    else:
        small = F.adaptive_avg_pool1d(content.T, _THUMBNAIL)
    return small.flatten()


def _listed(
    source: Source, column: str | None, folder: str | None
) -> Iterator[tuple[str, str, Path]]:
    """Yield the paths in a list or a table: their places, their names, where they start."""
    path = source.path
    if column is not None and path is not None and _is_table(source, path, column):
        table = read_table(path, [column], source.encoding)
        start = path.parent if folder is None else Path(folder)
        for row in table.rows:
            yield table.where(row), str(row.values[column] or "").strip(), start
        return
    if path is not None and is_table(path):
        message = f"{path}: a table by its name, and the training, on none, named no columns"
        raise DataError(message, "save the paths, one a line, in a .txt file")
    for number, line in enumerate(source.lines(), 1):
        name = line.strip()
        beside = path is not None and os.path.lexists(path.parent / name.partition(JOIN)[0])
        start = path.parent if path is not None and beside else Path()
        yield f"{source.name}, line {number}", name, start


def _is_table(source: Source, path: Path, column: str) -> bool:
    """Return whether a file is a table by its name, or begins with the column of the training."""
    return is_table(path) or is_header(next(source.lines(), ""), [column])


def are_media(files: Sequence[Path]) -> bool:
    """Return whether most of some files are, or are meant to be, pictures or recordings.

    They are if they are called like them, or have the first bytes of one; those of a text in UTF-16
    are also those of an MP3.
    """
    some = files[:: -(-len(files) // _LOOKED_AT)]
    return 2 * sum(map(_is_medium, some)) > len(some)


def _is_medium(path: Path) -> bool:
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        head = Source.file(path).head(16)
        return bool(_PICTURE.match(head)) or (
            is_recording(Source.file(path)) and not head.startswith(_UTF_16)
        )
    except (OSError, DataError):  # which who reads it says
        return False


def unusable(path: Path, what: str, bad: Sequence[tuple[str, DataError]]) -> DataError:
    """Return the error that names all files which cannot be used.

    Args:
        path: The table or the folder that has them.
        what: What each belongs to, in the plural: "rows have files".
        bad: Where each is named, "" if its error says it, and why it cannot be used.
    """
    (where, first), *others = bad
    if not others:
        return DataError(
            f"{path}, {where}: {first.message}" if where else first.message, first.hint
        )
    shown = [f"{where}: {error.message}" if where else error.message for where, error in bad]
    more = f"; and {len(bad) - _NAMED:,} more" if len(bad) > _NAMED else ""
    message = f"{path}: {len(bad):,} {what} that cannot be used: {'; '.join(shown[:_NAMED])}{more}"
    return DataError(message, f"mend them, or leave them out by {field('skip_bad')}")


def _refuse_foreign(file: Source) -> None:
    """Raise `DataError` if a file is empty, or of a kind that is known and not read.

    A folder, and what cannot be read, is left to those who read it.
    """
    try:
        head = file.head(128)
    except OSError:
        return
    if not head:
        raise DataError(f"{file}: the file is empty", "get it again, or leave it out")
    if (foreign := _foreign(head)) is not None:
        what, hint = foreign
        raise DataError(f"{file}: is {what}, which is not read", hint)


def _foreign(head: bytes) -> tuple[str, str] | None:
    """Return what a file is that begins with `head`, and what to do, if it is not read."""
    for pattern, what, hint in _FOREIGN:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return what, hint
    return None


def _parts(name: str, folder: Path) -> list[Path]:
    parts = [part.strip() for part in name.split(JOIN)]
    if not all(parts):
        raise DataError(f"{name}: a path is missing before or after {JOIN!r}", "take it out")
    return [folder / part for part in parts]


def _frames(name: str, files: Sequence[Source], options: MediumOptions) -> Tensor:
    sounds = [read_recording(file, options.rate, options.max_seconds) for file in files]
    sound = torch.cat(sounds)
    seconds = len(sound) / options.rate
    if seconds > options.max_seconds:
        message = f"{name}: {seconds:,.0f} seconds together, at most {options.max_seconds:g}"
        raise DataError(message, "join fewer, or allow more seconds")
    frames = log_mel(sound, options.rate, options.num_bands)
    if not len(frames):
        raise DataError(f"{name}: shorter than 5 ms", "leave it out")
    return frames
