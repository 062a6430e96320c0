"""The precision that training computes in; weights and losses are float32 in each.

Not here: what a kernel rounds in mixed precision (kernels/, docs/kernels.md).
"""

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError, field
from unrolled.training.options import BFLOAT16

__all__ = ["in_precision"]


def in_precision(model: nn.Module, precision: str) -> nn.Module:
    """Return what calls `model` in a precision, float32 or bfloat16, and gives float32.

    Raises:
        OptionError: The model's device computes in no other precision.
    """
    if precision != BFLOAT16:
        return model
    device = next(model.parameters()).device.type
    if not torch.amp.is_autocast_available(device):
        message = f"{field('precision')} {precision}: device {device} has no mixed precision"
        raise OptionError(message, f"train with {field('precision')} float32")
    return _Autocast(model, device)


class _Autocast(nn.Module):
    """Calls a model under autocast; what it returns, in tuples too, is float32 again.

    So losses are computed in float32. The state that an `RNN` or `LSTM` carries from one window of
    a text to the next has been rounded to bfloat16 there, as that of torch's own would be.
    """

    def __init__(self, model: nn.Module, device: str):
        super().__init__()
        self._model, self._device = model, device

    def forward(self, *inputs: Any, **named_inputs: Any) -> Any:
        with torch.autocast(self._device, torch.bfloat16):
            return _in_float32(self._model(*inputs, **named_inputs))


def _in_float32(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float() if output.is_floating_point() else output
    if isinstance(output, tuple):
        make = getattr(type(output), "_make", tuple)  # NamedTuple or plain tuple
        return make(map(_in_float32, output))
    return output
