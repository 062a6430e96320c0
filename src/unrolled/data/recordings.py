"""Recordings from files, as sound of one rate, and the log-mel frames that models read.

Any rate and number of channels; WAV, FLAC, Ogg, MP3, AIFF and what else libsndfile reads. A small
file may hold a long silence in many channels: its length is checked before it is decoded, and its
channels are mixed piece by piece. What the decoder of MP3 writes to the standard error of the
process is caught, and said in a warning that names the file.
"""

import importlib
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.data.source import Source
from unrolled.errors import DataError, OptionError

__all__ = [
    "FRAMES_PER_SECOND",
    "LOG_MEL_FLOOR",
    "is_recording",
    "log_mel",
    "read_recording",
    "scale_of",
]

FRAMES_PER_SECOND = 100
LOG_MEL_FLOOR = -16.0  # just below log(1.2e-7), which digital silence gives

_RATES = range(1000, 1_000_001)
_MAX_FRAMES_HANDED_OVER = 60 * 192_000
_VALUES_AT_ONCE = 1 << 20
_MAGIC = re.compile(
    rb"RIFF....WAVE|RF64....WAVE|RIFX....WAVE|fLaC|OggS|FORM....AIF[FC]|caff|\.snd|ID3|\xff[\xe2-\xff]",
    re.DOTALL,
)
# What libsndfile's log says of a file that ends too early, which it reads as far as it goes
_ENDS_EARLY = re.compile(r"File ended unexpectedly|Last page lacks an end|Junk after the last page")
_CHUNK = re.compile(r"^ *(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)
_MP3 = re.compile(rb"ID3|\xff[\xe2-\xff]")
_MP3_FRAMES_ARE_COUNTED = re.compile(rb"Xing|Info")  # in a first frame without sound
_MP3_SLACK = 2 * 1152  # samples of two frames, in which decoders may begin and end
# A line of libmpg123, which has no other way to say it that libsndfile would hand on
_OF_MPG123 = re.compile(r"\[src/libmpg123/[^]]*\] |Note: |Warning: ")
_AGAIN = "get the file again"
_stderr = threading.Lock()
_UNKNOWN_LENGTH = 0x7FFF0000  # what programs that write to a pipe put as the length, or above


def is_recording(file: Source) -> bool:
    """Return whether a file's first bytes are those of a recording, whatever its name.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    try:
        return _MAGIC.match(file.head(12)) is not None
    except OSError as error:
        raise _unreadable(file, error) from None


def read_recording(source: Source, rate: int, max_seconds: float = 60.0) -> Tensor:
    """Return the sound in a file, its channels mixed, at one rate.

    Args:
        source: WAV, FLAC, Ogg, MP3, AIFF.
        rate: Samples per second of the result; a file of another rate is resampled.
        max_seconds: A longer file is refused.

    Returns:
        (N,) float32, full scale from -1 to 1.

    Raises:
        DataError: The file is missing, no recording, damaged, cut off, empty, too long (of one that
            was handed over also more than a minute at 192 kHz), or has samples that are not finite
            numbers.
        UserWarning: An MP3 is damaged in places, and was read around them.
        OptionError: soundfile or soxr is not installed, or a rate out of range.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from pathlib import Path
        >>> import soundfile
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "silence.wav")
        ...     soundfile.write(path, np.zeros((4410, 2)), 44100)
        ...     read_recording(Source.file(path), 8000).shape
        torch.Size([800])
    """
    if rate not in _RATES:
        expected = f"between {_RATES.start} and {_RATES.stop - 1} samples per second"
        raise OptionError(f"the rate of sound must be {expected}, got {rate}")
    soundfile = _library("soundfile")
    is_recording(source)  # for its errors: libsndfile says "System error" of a missing file
    start = source.head(4096)
    is_mp3 = _MP3.match(start) is not None
    try:
        with _caught(is_mp3) as complaints:
            with soundfile.SoundFile(source.for_library()) as file:
                _check_header(source, file, max_seconds)
                mono = _mixed(file)
                log, num_frames, file_rate = file.extra_info, file.frames, file.samplerate
                is_mp3 = file.format == "MP3"  # an ID3 tag stands before other formats, too
    except soundfile.SoundFileError as error:
        reason = str(error).partition(": ")[2] or str(error)
        if is_mp3:  # libsndfile says that the file does not exist
            reason = complaints[-1] if complaints else "no sound is found in it"
        message = f"{source}: not a recording that can be read: {reason.rstrip('.')}"
        raise DataError(message, "WAV, FLAC and Ogg can; is the file damaged?") from None
    if is_mp3:
        is_counted = _MP3_FRAMES_ARE_COUNTED.search(start) is not None
        if (is_counted or complaints) and len(mono) < num_frames - _MP3_SLACK:
            message = f"{source}: the recording is cut off or damaged"
            raise DataError(f"{message}: {len(mono):,} of {num_frames:,} samples", _AGAIN)
        if complaints:
            message = f"{source}: damaged in places, and read around them: {complaints[0]}"
            more = f" (and {len(complaints) - 1} more)" * (len(complaints) > 1)
            warnings.warn(message + more, stacklevel=2)
    else:
        _check_whole(source, log, len(mono) < num_frames)
    if not np.isfinite(mono).all():
        raise DataError(f"{source}: has samples that are not finite numbers", "record it anew")
    if file_rate != rate:
        mono = _library("soxr").resample(mono, file_rate, rate)
    if not len(mono):
        raise DataError(f"{source}: the recording is empty", "leave it out")
    return torch.from_numpy(mono)


def log_mel(sound: Tensor, rate: int, num_bins: int = 40) -> Tensor:
    """Return the logarithm of the energy in `num_bins` bands of the mel scale, every 10 ms.

    Frames of 25 ms, pre-emphasis 0.97 and the Povey window, as Kaldi's; without its dither, so that
    the same sound gives the same numbers.

    Args:
        sound: (N,) float32, full scale from -1 to 1.
        rate: Its samples per second.
        num_bins: Bands, from 20 Hz to half the rate.

    Returns:
        (T, num_bins) float32 with T about 100 a second; T = 0 for less than 5 ms.

    Raises:
        OptionError: kaldi-native-fbank is not installed.

    Source: D. Povey et al. (2011), "The Kaldi speech recognition toolkit".

    Example:
        >>> log_mel(torch.zeros(8000), rate=8000).shape
        torch.Size([100, 40])
    """
    library = _library("kaldi_native_fbank")
    options = library.FbankOptions()
    options.frame_opts.samp_freq = rate
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False  # one frame every 10 ms to the very end
    options.mel_opts.num_bins = num_bins
    computer = library.OnlineFbank(options)
    computer.accept_waveform(rate, sound.numpy())
    computer.input_finished()
    frames = [computer.get_frame(index) for index in range(computer.num_frames_ready)]
    return torch.from_numpy(np.stack(frames)) if frames else torch.empty(0, num_bins)


def scale_of(recordings: Iterable[Tensor]) -> tuple[list[float], float]:
    """Return the mean of each band over all frames, and the deviation of all bands together.

    A band that is silent in training, and is not when it is used, must not drown the others.

    Args:
        recordings: (T, K) each.
    """
    frames = torch.cat(list(recordings))
    mean = frames.mean(0)
    scale = (frames - mean).square().mean().sqrt().item() or 1.0  # all are silent
    return mean.tolist(), scale


def _check_header(source: Source, file: Any, max_seconds: float) -> None:
    if file.samplerate not in _RATES:
        raise DataError(f"{source}: {file.samplerate} samples per second", "is the file damaged?")
    if not file.frames:
        raise DataError(f"{source}: the recording is empty", "leave it out, or record it anew")
    seconds = file.frames / file.samplerate
    if seconds > max_seconds:
        message = f"{source}: {seconds:,.0f} seconds long, at most {max_seconds:g} are read"
        raise DataError(message, "cut it into pieces")
    if source.is_handed_over and file.frames > _MAX_FRAMES_HANDED_OVER:
        message = f"{source}: {file.frames:,} samples, at most {_MAX_FRAMES_HANDED_OVER:,} are read"
        raise DataError(message, "cut it into pieces, or save it at a lower rate")


def _mixed(file: Any) -> Any:
    """Return the mean of the channels, (N,) float32."""
    mono = np.empty(file.frames, np.float32)
    num_read = 0
    at_once = max(1, _VALUES_AT_ONCE // file.channels)
    while num_read < len(mono):
        piece = file.read(at_once, dtype="float32", always_2d=True)
        if not len(piece):  # the header promised more
            break
        mono[num_read : num_read + len(piece)] = piece.mean(1)
        num_read += len(piece)
    return mono[:num_read]


def _check_whole(source: Source, log: str, is_missing: bool) -> None:
    chunk = _CHUNK.search(log)
    claimed, present = map(int, chunk.groups()) if chunk else (0, 0)
    cut = present < claimed < _UNKNOWN_LENGTH
    if is_missing or cut or _ENDS_EARLY.search(log):
        raise DataError(f"{source}: the recording is cut off", _AGAIN)


@contextmanager
def _caught(wanted: bool) -> Iterator[list[str]]:
    """Yield what libmpg123 will have said; others' lines go where they were meant to go.

    The standard error belongs to the process, so that one recording at a time is listened to.
    """
    complaints: list[str] = []
    if not wanted:
        yield complaints
        return
    with _stderr, tempfile.TemporaryFile() as heard:
        try:
            before = os.dup(2)
        except OSError:  # there is none
            yield complaints
            return
        try:
            os.dup2(heard.fileno(), 2)
            yield complaints
        finally:
            os.dup2(before, 2)
            heard.seek(0)
            for line in heard.read().splitlines(keepends=True):
                text = line.decode(errors="replace")
                if _OF_MPG123.match(text):
                    complaints.append(_OF_MPG123.sub("", text, count=1).strip())
                elif text.strip():
                    with suppress(OSError):
                        os.write(2, line)
            os.close(before)


def _unreadable(source: Source, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{source}: no such file", "check the path")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{source}: is a folder", "name the files inside it")
    reason = error.strerror or str(error)
    return DataError(f"{source}: cannot be read: {reason}", "check its permissions")


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):  # OSError: soundfile without its C library
        message = f"recordings need the library {name.replace('_', '-')}"
        raise OptionError(message, 'pip install "unrolled[media]"') from None
