"""A picture or a recording, whichever a file holds, as the tensor that models read.

What is in a file is decided by its content, not by its name.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unrolled.data.source import Source
from unrolled.errors import DataError
from unrolled.tasks.caption.options import MediumOptions
from unrolled.tasks.caption.pictures import read_picture
from unrolled.tasks.caption.recordings import is_recording, log_mel, read_recording

__all__ = ["JOIN", "Kind", "Medium", "holds_medium", "read_medium", "read_named"]

JOIN = ";"
"""Between the paths of recordings that are heard one after the other."""

Kind = Literal["picture", "recording"]

# Those that no text begins with; other formats of pictures are only known to Pillow
_PICTURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM....\0\0|RIFF....WEBP|II\*\0|MM\0\*|\0\0\x01\0|....ftypavif|"
    rb"\0\0\0\x0cjP",
    re.DOTALL,
)


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
    paths = [whole] if JOIN not in name or whole.exists() else _parts(name, folder)
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
    """Return whether a file is a picture or a recording itself, and not a list of some.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    return is_recording(file) or _PICTURE.match(file.head(16)) is not None


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
