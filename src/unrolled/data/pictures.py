"""Pictures from files, as square tensors of one size. Turning them into features is a model's part.

Any size and colour mode. What readers of pictures meet in the wild is decided here: 16 bits,
palettes, transparency, cameras held sideways, animations, damaged files. A small file may hold a
huge picture: its size is checked before it is decoded, and it is converted strip by strip.
"""

import io
import struct
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.data.source import Source
from unrolled.errors import DataError, OptionError

__all__ = ["Picture", "read_picture"]

_MAX_PIXELS = 64_000_000
_MAX_PIXELS_HANDED_OVER = 16_000_000  # a camera's 12 million; 64 MB decoded
_PIXELS_OF_A_STRIP = 1_000_000
_ICON = b"\0\0\1\0"
_MAX_ICONS = 64  # sizes of one icon in a file
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "ICO", "AVIF", "JPEG2000")
_16_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # Pillow's names; PGM of 16 bits comes as "I"


@dataclass(frozen=True)
class Picture:
    """A picture as a model takes it.

    Args:
        pixels: (3, S, S) uint8, red, green and blue; white where the picture is not square.
        num_frames: How many pictures the file has; of an animation, `pixels` are the first.
    """

    pixels: Tensor
    num_frames: int = 1


def read_picture(file: Source, size: int) -> Picture:
    """Return the picture in a file, scaled to a square.

    The longer side is scaled to `size`, the shorter one in proportion; the rest is white, and so is
    what shines through where the picture is transparent. Turned as its EXIF data say.

    Args:
        file: PNG, JPEG, GIF, BMP, WebP, TIFF, PPM, ICO, AVIF or JPEG 2000.
        size: S, pixels of each side, at least 1.

    Raises:
        DataError: The file is missing, not a picture, damaged, in a colour space that cannot be
            converted, or of more than 64 million pixels; 16 million of one that was handed over.
        OptionError: Pillow is not installed, or `size` is below 1.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "red.png")
        ...     Image.new("RGB", (40, 20), "red").save(path)
        ...     read_picture(Source.file(path), 4).pixels[1]
        tensor([[255, 255, 255, 255],
                [  0,   0,   0,   0],
                [  0,   0,   0,   0],
                [255, 255, 255, 255]], dtype=torch.uint8)
    """
    if size < 1:
        raise OptionError(f"a picture's size must be at least 1 pixel, got {size}")
    library = _pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes, which we check below
            _check_icon(library, file)
            with library.Image.open(file.for_library(), formats=_FORMATS) as image:
                _check_size(file, image)
                image.load()
                num_frames = getattr(image, "n_frames", 1)
                library.ImageOps.exif_transpose(image, in_place=True)
                square = _square(library, _rgb(library, file, image), size)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{file}: no such file", "check the path") from None
    except IsADirectoryError:
        raise DataError(f"{file}: is a folder", "name the files inside it") from None
    except library.UnidentifiedImageError:
        message = f"{file}: not a picture in a format that can be read"
        raise DataError(message, "PNG and JPEG can; is the file damaged or empty?") from None
    except library.Image.DecompressionBombError:
        raise _too_large(file) from None
    except Exception as error:  # damaged files make the decoders raise almost anything
        raise DataError(f"{file}: the picture is damaged: {error}", "get the file again") from None
    return Picture(torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous(), num_frames)


def _check_icon(library: ModuleType, file: Source) -> None:
    """Check the pictures in an icon: Pillow decodes one before it tells a size."""
    if file.head(4) != _ICON:
        return
    content = file.head(1 << 26)
    (count,) = struct.unpack_from("<H", content, 4)
    if count > _MAX_ICONS:
        raise DataError(f"{file}: an icon of {count:,} sizes", f"at most {_MAX_ICONS} are read")
    for number in range(count):
        (offset,) = struct.unpack_from("<I", content, 18 + 16 * number)
        with library.Image.open(io.BytesIO(content[offset:]), formats=("PNG", "DIB")) as image:
            _check_size(file, image)


def _check_size(file: Source, image: Any) -> None:
    if image.width * image.height > _most_pixels(file):
        raise _too_large(file)


def _most_pixels(file: Source) -> int:
    return _MAX_PIXELS_HANDED_OVER if file.is_handed_over else _MAX_PIXELS


def _too_large(file: Source) -> DataError:
    message = f"{file}: more than {_most_pixels(file) // 10**6} million pixels"
    return DataError(message, "make it smaller, or leave it out")


def _rgb(library: ModuleType, file: Source, image: Any) -> Any:
    """Return `image` as an RGB image, laid on white where it is transparent."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    rgb = library.Image.new("RGB", image.size)
    num_rows = max(1, _PIXELS_OF_A_STRIP // image.width)
    for top in range(0, image.height, num_rows):
        strip = image.crop((0, top, image.width, min(top + num_rows, image.height)))
        rgb.paste(_rgb_strip(library, file, strip), (0, top))
    return rgb


def _rgb_strip(library: ModuleType, file: Source, image: Any) -> Any:
    if image.mode in _16_BITS:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise DataError(f"{file}: pixels of 32 bits", "convert it to 8 or 16 bits")
        image = library.Image.fromarray((values.astype(np.uint32) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise DataError(f"{file}: pixels are floating point numbers", "convert it to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = library.Image.new("RGBA", image.size, "white")
        image = library.Image.alpha_composite(white, image)
    return image.convert("RGB")


def _square(library: ModuleType, image: Any, size: int) -> Any:
    """Return `image` on a white square of `size`, in the middle, its longer side as long."""
    longer = max(image.size)
    width, height = (max(1, round(side * size / longer)) for side in image.size)
    square = library.Image.new("RGB", (size, size), "white")
    scaled = image.resize((width, height), library.Image.Resampling.BICUBIC)
    square.paste(scaled, ((size - width) // 2, (size - height) // 2))
    return square


def _pillow() -> ModuleType:
    try:
        import PIL
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise OptionError(
            "pictures need the library pillow", 'pip install "unrolled[media]"'
        ) from None
    return PIL
