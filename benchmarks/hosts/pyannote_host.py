"""pyannote.audio: PyanNet, who speaks when, four LSTMs in both directions. Random weights."""

import sys
from unittest.mock import MagicMock

# Not used here: how sound is read; its wheels want a torch for CUDA.
sys.modules.update(
    {
        name: MagicMock()
        for name in (
            *("torchaudio", "torchaudio.functional", "torchaudio.transforms"),
            *("torchaudio.compliance", "torchaudio.compliance.kaldi"),
            *("torchcodec", "torchcodec.decoders", "torch_audiomentations"),
            *("torch_audiomentations.core", "torch_audiomentations.core.transforms_interface"),
            *("torch_audiomentations.utils", "torch_audiomentations.utils.config"),
        )
    }
)

import torch  # noqa: E402
from pyannote.audio.core.task import Problem, Resolution, Specifications  # noqa: E402
from pyannote.audio.models.segmentation import PyanNet  # noqa: E402

REQUIRES = ["pyannote.audio==4.0.7"]


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
