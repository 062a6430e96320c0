"""neuralforecast: its GRU, LSTM and DeepAR on windows of series. Random weights."""

import logging

import torch
from neuralforecast.models import GRU, LSTM, DeepAR
from torch import nn

REQUIRES = ["neuralforecast==3.3.0"]
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
HORIZON, INPUT = 12, 48


def make():
    """Return the three with their default sizes."""
    options = {"h": HORIZON, "input_size": INPUT, "max_steps": 1}
    return nn.ModuleList([GRU(**options), LSTM(**options), DeepAR(**options)])


def call(model, rows=32):
    """Forecast a batch of windows."""
    generator = torch.Generator().manual_seed(1)
    windows = {
        "insample_y": torch.randn(rows, INPUT, 1, generator=generator),
        "insample_mask": torch.ones(rows, INPUT, 1),
        "futr_exog": None,
        "hist_exog": None,
        "stat_exog": None,
    }
    return [one(windows) for one in model]


def loss(model):
    """Return a loss of a batch of windows."""
    results = torch.utils._pytree.tree_leaves(call(model, rows=128))
    return sum(result.square().mean() for result in results)
