"""kokoro: its text encoder and its predictor of durations, seven LSTMs. Random weights."""

import sys
from unittest.mock import MagicMock

# Not used here: how letters become phonemes, which wants a model for each language.
sys.modules.update(
    dict.fromkeys(("misaki", "misaki.en", "misaki.espeak", "torchvision"), MagicMock())
)

import torch  # noqa: E402
from kokoro.modules import ProsodyPredictor, TextEncoder  # noqa: E402
from torch import nn  # noqa: E402

REQUIRES = ["kokoro==0.9.4"]


class Encoders(nn.Module):
    """Both, as KModel calls them, with the sizes of Kokoro-82M."""

    def __init__(self):
        super().__init__()
        self.text = TextEncoder(channels=512, kernel_size=5, depth=3, n_symbols=178)
        self.prosody = ProsodyPredictor(style_dim=128, d_hid=512, nlayers=3, dropout=0.2)

    def forward(self, symbols, hidden, style):
        """Read symbols, (B, T), and return codes, durations and pitches."""
        rows, steps = symbols.shape
        lengths, mask = torch.full((rows,), steps), torch.zeros(rows, steps, dtype=torch.bool)
        codes = self.text(symbols, lengths, mask)
        alignment = torch.eye(steps).expand(rows, steps, steps)
        durations, en = self.prosody(hidden, style, lengths, alignment, mask)
        return codes, durations, *self.prosody.F0Ntrain(en, style)


def make():
    """Return the encoders."""
    return Encoders()


def call(model, rows=1):
    """Read a sentence of a hundred symbols."""
    generator = torch.Generator().manual_seed(1)
    symbols = torch.randint(178, (rows, 100), generator=generator)
    hidden = torch.randn(rows, 512, 100, generator=generator)
    return model(symbols, hidden, torch.randn(rows, 128, generator=generator))


def loss(model):
    """Return a loss of two sentences."""
    return sum(result.square().mean() for result in call(model, rows=2))
