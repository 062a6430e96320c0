"""pyannote.audio: PyanNet, who speaks when, four LSTMs in both directions. Random weights."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
from scipy.io import wavfile


class AudioDecoder:
    """A recording of the package's own tests, read by scipy."""

    def __init__(self, file):
        rate, samples = wavfile.read(file)
        whole = np.issubdtype(samples.dtype, np.integer)
        scaled = samples / -float(np.iinfo(samples.dtype).min) if whole else samples
        self.data = torch.from_numpy(scaled.astype(np.float32)).reshape(len(samples), -1).T
        seconds = len(samples) / rate
        self.metadata = SimpleNamespace(sample_rate=rate, duration_seconds_from_header=seconds)

    def get_all_samples(self):
        """Return the recording, (channels, samples)."""
        return SimpleNamespace(data=self.data, sample_rate=self.metadata.sample_rate)

    def get_samples_played_in_range(self, start, end):
        """Return the samples between two times, seconds."""
        rate = self.metadata.sample_rate
        part = self.data[:, round(start * rate) : round(end * rate)]
        return SimpleNamespace(data=part, sample_rate=rate)


def put_aside(name, **what):
    """Let a module have these names alone."""
    sys.modules[name] = module = ModuleType(name)
    vars(module).update(what)


# The compiled parts of their wheels want a torch for CUDA. torchaudio goes without.
put_aside(
    "torchaudio._extension", _IS_TORCHAUDIO_EXT_AVAILABLE=False, fail_if_no_align=lambda one: one
)
put_aside("torchcodec", AudioSamples=None)
put_aside("torchcodec.decoders", AudioDecoder=AudioDecoder, AudioStreamMetadata=None)

from pyannote.audio.core.task import Problem, Resolution, Specifications  # noqa: E402
from pyannote.audio.models.segmentation import PyanNet  # noqa: E402

REQUIRES = ["pyannote.audio==4.0.7"]
TESTS = ["tests/test_train.py", "tests/inference_test.py"]


def make():
    """Return the model of `segmentation-3.0`: 128 units, seven classes."""
    model = PyanNet(
        lstm={"hidden_size": 128, "num_layers": 4, "bidirectional": True, "dropout": 0.5}
    )
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=10.0,
        classes=[str(number) for number in range(7)],
    )
    model.build()
    return model


def call(model, rows=1, seconds=10):
    """Read a window of ten seconds, 589 frames."""
    generator = torch.Generator().manual_seed(1)
    return model(torch.randn(rows, 1, 16000 * seconds, generator=generator))


def loss(model):
    """Return a loss of two windows of two seconds."""
    return -call(model, rows=2, seconds=2)[..., 0].mean()
