"""Recordings as users have them become frames of one kind, and what cannot is refused by name."""

import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from unrolled.data import Source, recordings
from unrolled.data.recordings import LOG_MEL_FLOOR, log_mel
from unrolled.errors import DataError, OptionError

RATE = 8000


def is_recording(path: Path) -> bool:
    return recordings.is_recording(Source.file(path))


def read_recording(path: Path, rate: int, **options: float) -> torch.Tensor:
    return recordings.read_recording(Source.file(path), rate, **options)


def tone(hertz: float = 440.0, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * math.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(), RATE)
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_every_format_is_known_by_its_content_and_read(tmp_path, suffix):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(rate=16_000), 16_000)
    anonymous = path.rename(tmp_path / "tone")
    assert is_recording(anonymous)
    sound = read_recording(anonymous, 16_000)
    assert sound.dtype == torch.float32
    assert len(sound) == pytest.approx(8000, abs=1200)  # MP3 comes in blocks
    assert sound[1000:7000].abs().max() == pytest.approx(0.5, abs=0.05)


def test_a_picture_is_no_recording(tmp_path):
    (tmp_path / "picture").write_bytes(b"RIFF\0\0\0\0WEBP")
    assert not is_recording(tmp_path / "picture")


def test_channels_are_mixed(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([tone(), np.zeros(4000)], axis=1), RATE, subtype="FLOAT")
    expected = torch.from_numpy(tone() / 2).float()
    torch.testing.assert_close(read_recording(path, RATE), expected)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_piece_by_piece_a_recording_is_the_same(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"noise.{suffix}"
    channels = 2 if suffix == "mp3" else 5
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, (5000, channels)), 44_100)
    monkeypatch.setattr(recordings, "_VALUES_AT_ONCE", 1 << 30)
    whole = read_recording(path, RATE)
    monkeypatch.setattr(recordings, "_VALUES_AT_ONCE", 777)
    assert torch.equal(read_recording(path, RATE), whole)
    assert whole.std() > 0.1


def test_what_was_handed_over_may_be_less_long(path, monkeypatch):
    monkeypatch.setattr(recordings, "_MAX_FRAMES_HANDED_OVER", 3999)
    assert len(read_recording(path, RATE)) == 4000
    with pytest.raises(DataError, match="4,000 samples, at most 3,999 are read"):
        recordings.read_recording(Source.of_bytes(path.read_bytes()), RATE)


@pytest.mark.parametrize("rate", [4000, 11_025, 44_100, 192_000])
def test_any_rate_is_resampled_to_the_same_sound(tmp_path, rate):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(rate=rate), rate, subtype="FLOAT")
    sound = read_recording(path, RATE)
    assert len(sound) == pytest.approx(4000, abs=1)
    middle = slice(500, 3500)  # the ends ring
    expected = torch.from_numpy(tone()).float()
    torch.testing.assert_close(sound[middle], expected[middle], atol=2e-3, rtol=0)


def test_frames_come_every_ten_milliseconds_to_the_end():
    for num_samples in (80, 800, 4000, 4039, 4041):
        frames = log_mel(torch.zeros(num_samples), RATE)
        assert frames.shape == (round(num_samples / 80), 40)
    assert log_mel(torch.zeros(39), RATE).shape == (0, 40)


def test_a_tone_is_loudest_in_its_own_band():
    bands = [log_mel(torch.from_numpy(tone(f)).float(), RATE)[25].argmax() for f in (300, 1000)]
    # the middles of 40 bands from 20 Hz to 4 kHz lie evenly on the mel scale
    mel = [1127 * math.log(1 + hertz / 700) for hertz in (20, 4000, 300, 1000)]
    expected = [(m - mel[0]) / (mel[1] - mel[0]) * 41 - 1 for m in mel[2:]]
    assert [int(band) for band in bands] == pytest.approx(expected, abs=0.6)


def test_twice_as_loud_adds_the_same_to_every_band():
    sound = torch.from_numpy(tone()).float() + 0.1 * torch.randn(4000)
    louder = log_mel(2 * sound, RATE) - log_mel(sound, RATE)
    torch.testing.assert_close(louder, torch.full_like(louder, math.log(4)))


def test_silence_lies_just_above_the_floor():
    frames = log_mel(torch.zeros(800), RATE)
    assert (frames > LOG_MEL_FLOOR).all()
    assert (frames < LOG_MEL_FLOOR + 0.1).all()


def test_the_same_sound_gives_the_same_frames():
    sound = torch.randn(800)
    assert torch.equal(log_mel(sound, RATE), log_mel(sound, RATE))


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff"])
def test_a_recording_that_is_cut_off_is_refused(tmp_path, suffix):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 40_000), RATE)
    cut_in_half(path)
    with pytest.raises(DataError, match=rf"tone\.{suffix}: (.*cut off|not a recording|.*empty)"):
        read_recording(path, RATE)


@pytest.fixture(scope="module")
def mp3(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("mp3") / "whole.mp3"
    soundfile.write(path, tone(seconds=1.0), RATE)
    return path.read_bytes()


@pytest.mark.filterwarnings("error")
def test_an_mp3_that_is_cut_off_is_refused_and_its_decoder_is_not_heard(tmp_path, mp3, capfd):
    path = tmp_path / "cut.mp3"
    path.write_bytes(mp3[: len(mp3) // 2])
    with pytest.raises(
        DataError, match=r"cut\.mp3: the recording is cut off or damaged: .* of 8,000"
    ):
        read_recording(path, RATE)
    path.write_bytes(mp3)
    assert len(read_recording(path, RATE)) == 8000
    assert capfd.readouterr().err == ""


def test_an_mp3_that_is_damaged_in_places_is_read_and_said_in_one_warning(tmp_path, mp3, capfd):
    """Junk between two frames: the decoder finds the next one, and says so on its own."""
    path, place = tmp_path / "odd.mp3", mp3.index(mp3[:2], len(mp3) // 2)
    path.write_bytes(mp3[:place] + bytes(40) + mp3[place:])
    with pytest.warns(UserWarning, match=r"odd\.mp3: damaged in places") as told:
        sound = read_recording(path, RATE)
    assert len(told) == 1
    assert len(sound) == pytest.approx(8000, abs=1200)
    assert capfd.readouterr().err == ""


def test_what_others_write_while_an_mp3_is_read_is_not_lost(tmp_path, mp3, capfd, monkeypatch):
    path = tmp_path / "whole.mp3"
    path.write_bytes(mp3)
    monkeypatch.setattr(recordings, "_check_header", lambda *_: os.write(2, b"hello\n"))
    read_recording(path, RATE)
    assert capfd.readouterr().err == "hello\n"


def test_a_file_without_a_length_from_a_pipe_is_whole(path):
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(read_recording(path, RATE)) == 4000


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path, value):
    path = tmp_path / "broken.wav"
    samples = tone()
    samples[7] = value
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    with pytest.raises(DataError, match=r"broken\.wav: has samples that are not finite"):
        read_recording(path, RATE)


def test_an_empty_recording_is_refused(tmp_path):
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0), RATE)
    with pytest.raises(DataError, match=r"empty\.wav: the recording is empty"):
        read_recording(path, RATE)


def test_a_recording_that_is_too_long_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(2 * RATE), RATE)
    with pytest.raises(DataError, match=r"long\.wav: 2 seconds long, at most 1 are read"):
        read_recording(path, RATE, max_seconds=1.0)


@pytest.mark.parametrize("content", [b"", b"file\ttext\n", b"RIFF\0\0\0\0WAVEfmt "])
def test_what_is_no_recording_is_refused(tmp_path, content):
    path = tmp_path / "other.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"other\.wav: not a recording that can be read"):
        read_recording(path, RATE)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.wav: no such file"):
        read_recording(tmp_path / "nowhere.wav", RATE)
    with pytest.raises(DataError, match="is a folder"):
        is_recording(tmp_path)


def test_a_rate_that_no_recording_has_is_refused(path):
    with pytest.raises(OptionError, match="between 1000 and 1000000 samples per second, got 8"):
        read_recording(path, 8)


@pytest.mark.parametrize("library", ["soundfile", "soxr"])
def test_without_a_library_the_extra_is_named(path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(OptionError, match=rf"library {library}.*unrolled\[media\]"):
        read_recording(path, 16_000)


def test_without_kaldi_native_fbank_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "kaldi_native_fbank", None)
    with pytest.raises(OptionError, match=r"kaldi-native-fbank.*unrolled\[media\]"):
        log_mel(torch.zeros(800), RATE)
