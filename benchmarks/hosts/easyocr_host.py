"""easyocr: the recogniser of its English model, convolutions and two LSTMs. Random weights."""

import sys
from unittest.mock import MagicMock

# Not used here, and its wheels want a torch for CUDA.
sys.modules.update(
    dict.fromkeys(("torchvision", "torchvision.models", "torchvision.transforms"), MagicMock())
)

import torch  # noqa: E402
from easyocr.model.vgg_model import Model  # noqa: E402

REQUIRES = ["easyocr==1.7.2"]


def make():
    """Return the recogniser of generation 2, with 97 characters."""
    return Model(input_channel=1, output_channel=256, hidden_size=256, num_class=97)


def lines(count):
    """Return pictures of lines, 64 pixels high and 600 wide."""
    return torch.rand(count, 1, 64, 600, generator=torch.Generator().manual_seed(1))


def call(model):
    """Read a line."""
    return model(lines(1), None)


def loss(model):
    """Return the loss by CTC of two lines."""
    scores = model(lines(2), None).log_softmax(2).transpose(0, 1)
    text = torch.arange(1, 41).view(2, 20)
    sizes = torch.full((2,), scores.shape[0]), torch.full((2,), 20)
    return torch.nn.functional.ctc_loss(scores, text, *sizes)
