"""resemblyzer: the embedding of a speaker's voice, a stack of three LSTMs. Weights of the wheel."""

import torch
from resemblyzer import VoiceEncoder

REQUIRES = ["resemblyzer==0.1.4", "setuptools<81"]  # webrtcvad reads pkg_resources


def make():
    """Return the encoder."""
    return VoiceEncoder("cpu", verbose=False)


def utterance(pieces):
    """Return pieces of 1.6 s, 40 bands of a mel spectrogram each."""
    return torch.rand(pieces, 160, 40, generator=torch.Generator().manual_seed(1))


def call(model):
    """Embed one utterance of about seven seconds: eight overlapping pieces."""
    return model(utterance(8))


def loss(model):
    """Return how far the voices of a batch are from a direction."""
    return 1 - model(utterance(32)).mean(1).sum()
