"""The hidden size that a budget of parameters allows.

Cells are compared fairly at equal budgets. What is compared is the models' business.
"""

from bisect import bisect_right
from collections.abc import Callable

import torch
from torch import nn

from unrolled.errors import OptionError

__all__ = ["count_parameters", "hidden_size_for"]


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers a model learns."""
    return sum(parameter.numel() for parameter in model.parameters())


def hidden_size_for(
    make_model: Callable[[int], nn.Module], num_parameters: int, multiple_of: int = 1
) -> int:
    """Return the largest hidden size with which a model keeps within a budget.

    Args:
        make_model: Returns the model of a hidden size; a larger one has more parameters.
        num_parameters: The budget for the whole model, embedding and scores included.
        multiple_of: What the hidden size is a multiple of: the heads of a cell.

    Raises:
        OptionError: Even the smallest takes more.

    Example:
        >>> from unrolled import GRU, LSTM
        >>> [hidden_size_for(lambda h: layer(65, h), 10**6) for layer in (LSTM, GRU)]
        [467, 544]
    """

    def count(times: int) -> int:
        with torch.device("meta"):  # shapes alone: no memory, no initial values
            model = make_model(times * multiple_of)
        return count_parameters(model)

    if count(1) > num_parameters:
        smallest = "a single hidden unit" if multiple_of == 1 else f"{multiple_of} hidden units"
        raise OptionError(
            f"no model of this kind fits in {num_parameters:,} parameters",
            f"with {smallest} it has {count(1):,}",
        )
    too_large = 2
    while count(too_large) <= num_parameters:
        too_large *= 2
    return multiple_of * bisect_right(range(1, too_large), num_parameters, key=count)
