"""A picture or a recording, whichever a file holds, as the tensor that models read.

What is in a file is decided by its content, not by its name.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unrolled.errors import DataError, OptionError
from unrolled.tasks.caption.pictures import read_picture
from unrolled.tasks.caption.recordings import is_recording, log_mel, read_recording

__all__ = ["JOIN", "Kind", "Medium", "MediumOptions", "holds_medium", "read_medium"]

JOIN = ";"
"""Between the paths of recordings that are heard one after the other."""

Kind = Literal["picture", "recording"]

# Those that no text begins with; other formats of pictures are only known to Pillow
_PICTURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM....\0\0|RIFF....WEBP|II\*\0|MM\0\*|\0\0\x01\0|....ftypavif|"
    rb"\0\0\0\x0cjP",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class MediumOptions:
    """What pictures and recordings are turned into.

    Args:
        picture_size: S, pixels of each side.
        rate: Samples per second that recordings are resampled to.
        num_bands: K, features of each frame of a recording.
        max_seconds: The longest recording, all its parts together.

    Raises:
        OptionError: A value out of its range.
    """

    picture_size: int = 32
    rate: int = 16_000
    num_bands: int = 40
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in ("picture_size", "rate", "num_bands"):
            if (value := getattr(self, name)) < 1:
                raise OptionError(f"{name} must be at least 1, got {value}")
        if not self.max_seconds > 0:
            raise OptionError(f"max_seconds must be above 0, got {self.max_seconds}")


class Medium(NamedTuple):
    """A picture or a recording.

    kind: "picture" or "recording".
    content: (3, S, S) uint8; or log-mel frames, (T, K) float32, T at least 1.
    animated: Whether the file has further pictures, which were left out.
    """

    kind: Kind
    content: Tensor
    animated: bool = False


def read_medium(name: str, folder: Path, options: MediumOptions) -> Medium:
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
    recordings = [is_recording(path) for path in paths]
    if not any(recordings):
        if len(paths) > 1:
            raise DataError(f"{name}: {paths[0]} is no recording", f"{JOIN!r} joins recordings")
        picture = read_picture(whole, options.picture_size)
        return Medium("picture", picture.pixels, picture.num_frames > 1)
    if not all(recordings):
        path = paths[recordings.index(False)]
        raise DataError(f"{path}: not a recording, but it is joined to one")
    return Medium("recording", _frames(name, paths, options))


def holds_medium(path: Path) -> bool:
    """Return whether a file is a picture or a recording itself, and not a list of some.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    if is_recording(path):
        return True
    with path.open("rb") as file:
        return _PICTURE.match(file.read(16)) is not None


def _parts(name: str, folder: Path) -> list[Path]:
    parts = [part.strip() for part in name.split(JOIN)]
    if not all(parts):
        raise DataError(f"{name}: a path is missing before or after {JOIN!r}", "take it out")
    return [folder / part for part in parts]


def _frames(name: str, paths: list[Path], options: MediumOptions) -> Tensor:
    sounds = [read_recording(path, options.rate, options.max_seconds) for path in paths]
    sound = torch.cat(sounds)
    seconds = len(sound) / options.rate
    if seconds > options.max_seconds:
        message = f"{name}: {seconds:,.0f} seconds together, at most {options.max_seconds:g}"
        raise DataError(message, "join fewer, or allow more seconds")
    frames = log_mel(sound, options.rate, options.num_bands)
    if not len(frames):
        raise DataError(f"{name}: shorter than 5 ms", "leave it out")
    return frames
