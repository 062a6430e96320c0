"""What moves the weights: AdamW (Loshchilov & Hutter 2019), and the average of where they were."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from unrolled.training.options import TrainingOptions

__all__ = ["adamw", "average_of"]

Tensors = tuple[Tensor, ...] | list[Tensor]


def adamw(model: nn.Module, options: TrainingOptions) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices alone: biases and gains have nothing to forget."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.dim() >= 2]
    vectors = [parameter for parameter in parameters if parameter.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.99), fused=True)


def average_of(model: nn.Module) -> AveragedModel:
    """Return a copy of the model that averages about the last tenth of all updates.

    The polynomial decay of Shamir & Zhang (2013, section 4), with eta = 9.
    """
    return AveragedModel(model, multi_avg_fn=_move_average)


@torch.no_grad()
def _move_average(average: Tensors, weights: Tensors, num_averaged: Tensor | int) -> None:
    torch._foreach_lerp_(average, weights, 10 / (int(num_averaged) + 10))
