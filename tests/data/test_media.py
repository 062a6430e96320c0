"""A file is a picture or a recording by its content; recordings can be joined."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from unrolled.data import Source
from unrolled.data.media import holds_medium, read_medium, read_named
from unrolled.data.options import MediumOptions
from unrolled.data.recordings import log_mel, read_recording
from unrolled.errors import DataError, OptionError

OPTIONS = MediumOptions(picture_size=8, rate=8000)


@pytest.fixture
def folder(tmp_path) -> Path:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    chance = np.random.default_rng(0)
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", chance.uniform(-0.5, 0.5, 1601), 8000)
    return tmp_path


def test_the_content_says_what_a_file_is_and_not_its_name(folder):
    (folder / "red.png").rename(folder / "red.wav")
    (folder / "a.wav").rename(folder / "a.png")
    picture = read_named("red.wav", folder, OPTIONS)
    assert picture.kind == "picture"
    assert picture.content.shape == (3, 8, 8)
    recording = read_named("a.png", folder, OPTIONS)
    assert recording.kind == "recording"
    assert recording.content.shape == (20, 40)


@pytest.mark.parametrize("name", ["a.wav;b.wav", " a.wav ; b.wav"])
def test_joined_recordings_are_heard_as_one(folder, name):
    sounds = [read_recording(Source.file(folder / one), 8000) for one in ("a.wav", "b.wav")]
    joined = read_named(name, folder, OPTIONS)
    assert torch.equal(joined.content, log_mel(torch.cat(sounds), 8000))


def test_what_is_at_hand_is_read_as_a_file_is(folder):
    sources = [Source.of_bytes((folder / name).read_bytes()) for name in ("a.wav", "b.wav")]
    assert all(map(holds_medium, sources))
    joined = read_medium("both", sources, OPTIONS)
    assert torch.equal(joined.content, read_named("a.wav;b.wav", folder, OPTIONS).content)
    picture = Source.of_bytes((folder / "red.png").read_bytes())
    content = read_medium("red", [picture], OPTIONS).content
    assert torch.equal(content, read_named("red.png", folder, OPTIONS).content)
    with pytest.raises(DataError, match="the input: not a picture"):
        read_medium("x", [Source.of_bytes(b"no medium")], OPTIONS)


def test_a_file_whose_name_has_the_separator_is_that_file(folder):
    (folder / "a.wav").rename(folder / "a;b.wav")
    assert read_named("a;b.wav", folder, OPTIONS).content.shape == (20, 40)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("red.png;a.wav", r"red\.png: not a recording, but it is joined to one"),
        ("red.png;red.png", r"red\.png is not a recording \(';' joins recordings"),
        ("a.wav;", "a path is missing before or after ';'"),
        ("a.wav;c.wav", r"c\.wav: no such file"),
        ("c.png", r"c\.png: no such file"),
    ],
)
def test_what_cannot_be_joined_is_named(folder, name, message):
    with pytest.raises(DataError, match=message):
        read_named(name, folder, OPTIONS)


def test_recordings_that_are_too_long_together_are_refused(folder):
    options = MediumOptions(rate=8000, max_seconds=0.3)
    assert len(read_named("a.wav", folder, options).content) == 20
    with pytest.raises(DataError, match=r"a\.wav;b\.wav: 0 seconds together, at most 0\.3"):
        read_named("a.wav;b.wav", folder, options)


def test_a_recording_without_a_whole_frame_is_refused(folder):
    soundfile.write(folder / "click.wav", np.ones(39) / 2, 8000)
    with pytest.raises(DataError, match=r"click\.wav: shorter than 5 ms"):
        read_named("click.wav", folder, OPTIONS)


def test_an_animation_is_told_of(folder):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime")]
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])
    assert read_named("film.gif", folder, OPTIONS).animated
    assert not read_named("red.png", folder, OPTIONS).animated


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tif", "ico", "avif"])
def test_every_usual_picture_is_told_from_a_list(tmp_path, suffix):
    path = tmp_path / "input"
    Image.new("RGB", (16, 16), "red").save(path.with_suffix(f".{suffix}"))
    path.with_suffix(f".{suffix}").rename(path)
    assert holds_medium(Source.file(path))


@pytest.mark.parametrize("line", ["a.wav", "BMW.png", "RIFF.wav", "GIF.gif", "II.tif", "P5.pgm"])
def test_a_list_of_files_is_no_medium(tmp_path, line):
    path = tmp_path / "input"
    path.write_text(f"{line}\nb.wav\n")
    assert not holds_medium(Source.file(path))


FOREIGN = {
    "photo.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50, "HEIC"),
    "photo.jpg": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0" * 50, "HEIC"),
    "memo.m4a": (b"\0\0\0\x20ftypM4A \0\0\0\0" + b"\0" * 100, "MPEG-4"),
    "film": (b"\0\0\0\x20ftypisom\0\0\2\0" + b"\0" * 100, "MPEG-4"),
    "x.webm": (b"\x1a\x45\xdf\xa3" + b"\1" * 300, "WebM"),
    "a.wma": (b"0&\xb2u\x8ef\xcf\x11" + b"\0" * 50, "Windows Media"),
    "a.jpg": (b"\n <html>404</html>\n", "HTML"),
    "b": (b"\xef\xbb\xbf<!DOCTYPE HTML>\n", "HTML"),
    "a.svg": (b"<svg width='3'/>", "SVG"),
    "a.pdf": (b"%PDF-1.7\n", "PDF"),
    "b.zip": (b"PK\x03\x04", "ZIP"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_known_and_not_read_is_told_from_a_list_and_named(tmp_path, name):
    content, what = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    assert holds_medium(Source.file(tmp_path / name))
    with pytest.raises(DataError, match=f"is .*{what}.* which is not read"):
        read_named(name, tmp_path, OPTIONS)


@pytest.mark.parametrize("name", ["a.jpg", "a.wav"])
def test_a_file_called_like_a_medium_is_no_list(tmp_path, name):
    for content, message in ((b"", "the file is empty"), (b"text\n", "not a")):
        (tmp_path / name).write_bytes(content)
        assert holds_medium(Source.file(tmp_path / name))
        with pytest.raises(DataError, match=message):
            read_named(name, tmp_path, OPTIONS)


@pytest.mark.parametrize("name", ["a\0b.png", "a" * 5000, "a" * 5000 + ";b.wav"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="is not the path of a file"):
        read_named(name, tmp_path, OPTIONS)


@pytest.mark.parametrize("option", ["picture_size", "rate", "num_bands", "max_seconds"])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(OptionError, match=f"{option} must be"):
        MediumOptions(**{option: 0})
