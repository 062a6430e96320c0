"""open-unmix: one voice out of music, a stack of three LSTMs in both directions. Random weights."""

import sys
from unittest.mock import MagicMock

# Not used here, and its wheels want a torch for CUDA.
sys.modules.update(dict.fromkeys(("torchaudio", "torchaudio.models"), MagicMock()))

import torch  # noqa: E402
from openunmix.model import OpenUnmix  # noqa: E402

REQUIRES = ["openunmix==1.3.0"]
# Four of test_model.py fetch weights from a network.
TESTS = ["tests/test_model.py", "tests/test_jit.py"]


def make():
    """Return the model of one target, as `umxhq` has it."""
    return OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=512, max_bin=1487)


def call(model, seconds=5):
    """Filter the spectrogram of five seconds in stereo: 216 frames."""
    frames = 43 * seconds + 1
    spectrogram = torch.rand(1, 2, 2049, frames, generator=torch.Generator().manual_seed(1))
    return model(spectrogram)


def loss(model):
    """Return the loss of two excerpts of two seconds."""
    x = torch.rand(2, 2, 2049, 87, generator=torch.Generator().manual_seed(2))
    return (model(x) - 0.5 * x).square().mean()
