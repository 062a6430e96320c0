"""pytorch-forecasting: DeepAR and its temporal fusion transformer on windows. Random weights."""

import numpy as np
import pandas as pd
import torch
from pytorch_forecasting import DeepAR, TemporalFusionTransformer, TimeSeriesDataSet
from pytorch_forecasting.metrics import NormalDistributionLoss, QuantileLoss
from torch import nn

REQUIRES = ["pytorch-forecasting==1.8.0"]
# Those of its models read data from a network.
TESTS = ["tests/test_models/test_nn/test_rnn.py"]
HORIZON, INPUT = 12, 48


class Models(nn.Module):
    """Both, with the batch that they read."""

    def __init__(self):
        super().__init__()
        steps = np.arange(200)
        series = pd.DataFrame(
            {
                "series": np.repeat([str(number) for number in range(8)], len(steps)),
                "step": np.tile(steps, 8),
                "value": np.concatenate([np.sin(steps / (5 + number)) for number in range(8)]),
            }
        )
        data = TimeSeriesDataSet(
            series,
            time_idx="step",
            target="value",
            group_ids=["series"],
            max_encoder_length=INPUT,
            max_prediction_length=HORIZON,
            time_varying_known_reals=["step"],
            time_varying_unknown_reals=["value"],
        )
        sizes = {"hidden_size": 64, "log_interval": 0}
        self.deepar = DeepAR.from_dataset(data, **sizes, loss=NormalDistributionLoss())
        self.tft = TemporalFusionTransformer.from_dataset(data, **sizes, loss=QuantileLoss())
        self.batch = next(iter(data.to_dataloader(train=False, batch_size=32)))

    def forward(self):
        """Return what both say of the batch."""
        torch.manual_seed(7)  # of what DeepAR draws
        x, _ = self.batch
        return [model(x)["prediction"] for model in (self.deepar, self.tft)]


def make():
    """Return both."""
    return Models()


def call(model):
    """Forecast a batch of windows; DeepAR draws a hundred ways to go on, step by step."""
    return model()


def loss(model):
    """Return a loss of a batch of windows."""
    return sum(result.square().mean() for result in call(model))
