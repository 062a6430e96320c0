"""darts: BlockRNNModel with a GRU and an LSTM, as it makes them for a series. Random weights."""

import logging

import numpy as np
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel
from darts.utils.data.torch_datasets.utils import PLModuleInput
from torch import nn

REQUIRES = ["darts[torch]==0.48.1"]
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
INPUT, OUTPUT = 48, 12


def make():
    """Return the modules of two models that were fitted for one epoch."""
    series = TimeSeries.from_values(np.sin(np.arange(200) / 5).astype(np.float32))
    modules = []
    for kind in ("GRU", "LSTM"):
        options = {"n_epochs": 1, "hidden_dim": 64, "n_rnn_layers": 2, "random_state": 0}
        options["pl_trainer_kwargs"] = {
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": False,
        }
        model = BlockRNNModel(INPUT, OUTPUT, model=kind, **options)
        model.fit(series)
        module = model.model
        module.trainer = None
        modules.append(module)
    return nn.ModuleList(modules)


def call(model, rows=32):
    """Forecast a batch of windows."""
    x = torch.randn(rows, INPUT, 1, generator=torch.Generator().manual_seed(1))
    return [module(PLModuleInput(x)).prediction for module in model]


def loss(model):
    """Return a loss of a batch of windows."""
    return sum(result.square().mean() for result in call(model))
