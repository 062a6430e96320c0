"""Dropout for recurrent networks: masks that stay the same while a sequence is read."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import OptionError
from unrolled.layers import RecurrentLayer, check_dropout

__all__ = ["LockedDropout", "drop_recurrent_weights"]

Layer = TypeVar("Layer", bound=RecurrentLayer)


class LockedDropout(nn.Module):
    """Drops the same features of a row at all its steps.

    What is kept is divided by 1 - dropout. Nothing is dropped in evaluation mode.

    Source: Y. Gal and Z. Ghahramani (2016), "A theoretically grounded application of dropout in
    recurrent neural networks", section 4.

    Args:
        dropout: The probability with which a feature is dropped.
        batch_first: Whether time is the second axis of the input.

    Raises:
        OptionError: It is no probability.
    """

    def __init__(self, dropout: float, batch_first: bool = False) -> None:
        super().__init__()
        check_dropout("LockedDropout", dropout)
        self.dropout, self.batch_first = float(dropout), batch_first

    def forward(self, input: Any) -> Any:
        """Return `input` with features dropped.

        Args:
            input: (T, B, F), or (B, T, F) with `batch_first`, or unbatched (T, F), or a
                PackedSequence.
        """
        if not self.training or not self.dropout:
            return input
        if isinstance(input, PackedSequence):
            sizes = input.batch_sizes.tolist()
            mask = self._mask(input.data, (sizes[0], *input.data.shape[1:]))
            rows = torch.cat([torch.arange(size) for size in sizes]).to(mask.device)
            return input._replace(data=input.data * mask[rows])
        time = 1 if self.batch_first and input.dim() == 3 else 0
        return input * self._mask(input, (*input.shape[:time], 1, *input.shape[time + 1 :]))

    def _mask(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        return nn.functional.dropout(like.new_ones(shape), self.dropout)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{self.dropout}" + (", batch_first=True" if self.batch_first else "")


class _DropWeights(nn.Module):
    """A parametrisation: the weight with some of its numbers dropped, anew at each call."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = float(dropout)

    def forward(self, weight: Tensor) -> Tensor:
        return nn.functional.dropout(weight, self.dropout, self.training)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return what is kept where the weight is set."""
        return weight


def drop_recurrent_weights(layer: Layer, dropout: float) -> Layer:
    """Drop some recurrent weights of `layer` in training, the same ones at all steps of a call.

    The layer is changed in place: its `weight_hh` become parametrisations of torch's, and so their
    names in `state_dict` end in ".original". `torch.nn.utils.parametrize.remove_parametrizations(
    layer, "weight_hh_l0", leave_parametrized=False)` takes one off again.

    Source: S. Merity, N. S. Keskar and R. Socher (2018), "Regularizing and optimizing LSTM language
    models", section 2; after L. Wan et al. (2013), "Regularization of neural networks using
    DropConnect".

    Args:
        layer: A recurrent layer.
        dropout: The probability with which a weight is dropped.

    Returns:
        The same layer.

    Raises:
        OptionError: It has no recurrent weights, drops them already, or `dropout` is no
            probability.
    """
    where = "drop_recurrent_weights"
    check_dropout(where, dropout)
    names = [f"weight_hh_{suffix}" for suffix in getattr(layer, "suffixes", ())]
    if not isinstance(layer, RecurrentLayer) or not hasattr(layer, names[0]):
        raise OptionError(f"{where}: {type(layer).__name__} has no recurrent weights")
    for name in names:
        if parametrize.is_parametrized(layer, name):
            raise OptionError(f"{where}: {name} is parametrised already", "take that off first")
    for name in names:
        parametrize.register_parametrization(layer, name, _DropWeights(dropout))
    return layer
