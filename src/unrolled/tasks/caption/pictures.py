"""Pictures from files, as square tensors of one size. Turning them into features is a model's part.

Any size and colour mode. What readers of pictures meet in the wild is decided here: 16 bits,
palettes, transparency, cameras held sideways, animations, damaged files.
"""

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
        DataError: The file is missing, not a picture, damaged, of more than 64 million pixels, or
            in a colour space that cannot be converted.
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
            with library.Image.open(file.for_library(), formats=_FORMATS) as image:
                _check_size(file, image)
                image.load()
                num_frames = getattr(image, "n_frames", 1)
                rgb = _rgb(library, file, library.ImageOps.exif_transpose(image))
            square = _square(library, rgb, size)
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


def _check_size(file: Source, image: Any) -> None:
    if image.width * image.height > _MAX_PIXELS:
        raise _too_large(file)


def _too_large(file: Source) -> DataError:
    message = f"{file}: more than {_MAX_PIXELS // 10**6} million pixels"
    return DataError(message, "make it smaller, or leave it out")


def _rgb(library: ModuleType, file: Source, image: Any) -> Any:
    """Return `image` as an RGB image, laid on white where it is transparent."""
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
