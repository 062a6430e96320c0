"""Pictures as users have them become one kind of tensor, and what cannot is refused by name."""

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unrolled.data import Source, pictures
from unrolled.errors import DataError, OptionError

WHITE = 255


def read_picture(path: Path, size: int) -> pictures.Picture:
    return pictures.read_picture(Source.file(path), size)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "picture.png"


def corner(picture, row=0, column=0):
    return picture.pixels[:, row, column].tolist()


@given(width=st.integers(1, 60), height=st.integers(1, 60), size=st.integers(1, 40))
def test_any_size_becomes_a_square_and_keeps_its_aspect(tmp_path_factory, width, height, size):
    path = tmp_path_factory.mktemp("sizes") / "black.png"
    Image.new("L", (width, height), 0).save(path)
    pixels = read_picture(path, size).pixels
    assert pixels.shape == (3, size, size)
    assert pixels.dtype == torch.uint8
    black = pixels[0] == 0
    longer, shorter = max(width, height), min(width, height)
    found = sorted([int(black.any(0).sum()), int(black.any(1).sum())])
    assert found == [max(1, round(size * shorter / longer)), size]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV"])
def test_every_colour_mode_is_read(tmp_path, mode):
    path = tmp_path / "picture.tif"
    grey = Image.new("L", (8, 8), 255).convert("RGB" if mode in ("YCbCr", "HSV", "CMYK") else "L")
    image = grey.convert(mode)
    if mode == "HSV":  # no format stores it
        path = tmp_path / "picture.png"
        image = image.convert("RGB")
    image.save(path)
    assert (read_picture(path, 8).pixels >= 254).all()


def test_colours_are_red_green_blue(path):
    Image.new("RGB", (4, 4), (200, 100, 50)).save(path)
    assert corner(read_picture(path, 4)) == [200, 100, 50]


def test_a_palette_is_looked_up(path):
    image = Image.new("RGB", (4, 4), (200, 100, 50)).quantize(4)
    image.save(path)
    assert image.mode == "P"
    assert corner(read_picture(path, 4)) == [200, 100, 50]


def test_transparency_is_laid_on_white(path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(path)
    assert corner(read_picture(path, 4)) == [WHITE] * 3
    Image.new("RGBA", (4, 4), (0, 0, 0, 51)).save(path)  # a fifth of black on white
    assert corner(read_picture(path, 4)) == [204] * 3


def test_a_transparent_colour_of_a_palette_is_laid_on_white(tmp_path):
    path = tmp_path / "picture.gif"
    Image.new("P", (4, 4), 0).save(path, transparency=0)
    assert corner(read_picture(path, 4)) == [WHITE] * 3


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_keep_their_brightness(tmp_path, suffix):
    path = tmp_path / f"grey.{suffix}"
    values = np.full((4, 4), 0x8080, dtype=np.uint16)
    if suffix == "pgm":
        path.write_bytes(b"P5 4 4 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    assert corner(read_picture(path, 4)) == [0x80] * 3


def test_pixels_without_a_range_are_refused(tmp_path):
    path = tmp_path / "float.tif"
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(path)
    with pytest.raises(DataError, match=r"float\.tif: pixels are floating point numbers"):
        read_picture(path, 4)
    Image.fromarray(np.full((4, 4), 70_000, dtype=np.int32)).save(path)
    with pytest.raises(DataError, match=r"float\.tif: pixels of 32 bits"):
        read_picture(path, 4)


def test_a_camera_held_sideways_is_turned_back(tmp_path):
    path = tmp_path / "photo.jpg"
    image = Image.new("RGB", (16, 16), "black")
    image.paste("white", (0, 0, 16, 8))  # the sky, above
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it
    image.rotate(90).save(path, exif=exif, quality=100)
    pixels = read_picture(path, 16).pixels
    assert (pixels[:, :7] > 200).all()
    assert (pixels[:, 9:] < 50).all()


def test_of_an_animation_the_first_picture_is_taken_and_the_others_counted(tmp_path):
    path = tmp_path / "film.gif"
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    picture = read_picture(path, 4)
    assert corner(picture) == [255, 0, 0]
    assert picture.num_frames == 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "PA", "LA", "RGBA", "CMYK", "I;16", "key"])
def test_strip_by_strip_a_picture_is_the_same(tmp_path, monkeypatch, mode):
    values = np.random.default_rng(0).integers(0, 256, (23, 17, 4), dtype=np.uint8)
    path, options = tmp_path / "picture.tif", {}
    if mode == "key":  # one colour stands for nothing
        path, options = tmp_path / "picture.png", {"transparency": 9}
        image = Image.fromarray(values).convert("RGB").quantize(32)
    elif mode == "I;16":
        image = Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    elif mode == "PA":
        path = tmp_path / "picture.png"
        image = Image.fromarray(values).quantize(16)
    else:
        image = Image.fromarray(values).convert("RGB" if mode in ("CMYK", "P") else "RGBA")
        image = image.convert(mode)
    image.save(path, **options)
    whole = read_picture(path, 23).pixels
    monkeypatch.setattr(pictures, "_PIXELS_OF_A_STRIP", 40)
    assert torch.equal(read_picture(path, 23).pixels, whole)
    assert whole.float().std() > 1


@pytest.mark.parametrize("form", ["PNG", "ICO"])
def test_what_was_handed_over_may_be_less_large(tmp_path, monkeypatch, form):
    path = tmp_path / "picture"
    Image.new("RGB", (16, 16), "red").save(path, form, sizes=[(16, 16)])
    handed_over = Source.of_bytes(path.read_bytes())
    assert corner(pictures.read_picture(handed_over, 4)) == [255, 0, 0]
    monkeypatch.setattr(pictures, "_MAX_PIXELS_HANDED_OVER", 255)
    with pytest.raises(DataError, match="more than 0 million pixels"):
        pictures.read_picture(handed_over, 4)
    assert corner(read_picture(path, 4)) == [255, 0, 0]
    monkeypatch.setattr(pictures, "_MAX_PIXELS", 255)
    with pytest.raises(DataError, match="more than 0 million pixels"):
        read_picture(path, 4)


def noise() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a picture"),
        (b"file\tcaption\n", "not a picture"),
        (noise()[: len(noise()) // 2], "damaged"),
        (noise()[:20], "damaged|not a picture"),
        (noise()[:400] + bytes(400) + noise()[800:], "damaged"),
    ],
    ids=["empty", "text", "cut off", "cut off in the header", "overwritten"],
)
def test_a_damaged_file_is_an_error_with_its_name(path, content, message):
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"picture\.png.*({message})"):
        read_picture(path, 8)


@given(data=st.data())
def test_no_damage_makes_another_error_than_ours(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "picture.png"
    content = bytearray(noise())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert read_picture(path, 8).pixels.shape == (3, 8, 8)


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_goes_off(path, side):
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(DataError, match=r"picture\.png: more than 64 million pixels"):
        read_picture(path, 8)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.png: no such file"):
        read_picture(tmp_path / "nowhere.png", 8)
    with pytest.raises(DataError, match="is a folder"):
        read_picture(tmp_path, 8)


def test_a_size_below_one_is_refused(path):
    with pytest.raises(OptionError, match="at least 1 pixel, got 0"):
        read_picture(path, 0)


def test_without_pillow_the_extra_is_named(path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with pytest.raises(OptionError, match=r"unrolled\[media\]"):
        read_picture(path, 8)
