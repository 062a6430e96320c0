"""What the models that answer every token have in common: what goes into a layer, what comes out.

What they answer, and when, is theirs: `language_model.py`, `delayed.py`.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import ShapeError
from unrolled.layers.initialize import one_hot_input
from unrolled.layers.recurrent import RecurrentLayer
from unrolled.networks.sequence_layers import make_layer

__all__ = ["TokenModel"]


class _Config(Protocol):
    @property
    def vocabulary_size(self) -> int: ...
    @property
    def cell(self) -> str: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def embedding_size(self) -> int | None: ...
    @property
    def dropout(self) -> float: ...
    @property
    def kernel_size(self) -> int | None: ...


class TokenModel(nn.Module):
    """One-hot or embedding, a sequence layer of one direction, dropout, linear scores.

    Initial values are torch's, but for recurrent layers on one-hot input: `one_hot_input`.

    Args:
        config: The sizes and the cell.
        num_scores: How many scores there are at every step.

    Attributes:
        layer: The sequence layer, batch first.
    """

    def __init__(self, config: _Config, num_scores: int) -> None:
        super().__init__()
        self.embedding = (
            None
            if config.embedding_size is None
            else nn.Embedding(config.vocabulary_size, config.embedding_size)
        )
        self.layer = make_layer(
            config.cell,
            config.embedding_size or config.vocabulary_size,
            config.hidden_size,
            config.num_layers,
            config.dropout,
            config.kernel_size,
        )
        if self.embedding is None and isinstance(self.layer, RecurrentLayer):
            one_hot_input(self.layer)
        self.dropout = nn.Dropout(config.dropout)
        self.scores = nn.Linear(config.hidden_size, num_scores)
        self._vocabulary_size = config.vocabulary_size

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def features(self, tokens: Tensor) -> Tensor:
        """Return what the layer reads, (B, T, V) one-hot or (B, T, E) from the embedding.

        Args:
            tokens: (B, T) int64, ids in 0 ... V - 1.

        Raises:
            ShapeError: Tokens that are not (B, T) int64.
        """
        if tokens.dtype != torch.int64 or tokens.dim() != 2:
            got = f"{tuple(tokens.shape)} {tokens.dtype}"
            where = type(self).__name__
            raise ShapeError(f"{where}: tokens must be (B, T) torch.int64, got {got}")
        if self.embedding is None:
            return F.one_hot(tokens, self._vocabulary_size).to(self.scores.weight.dtype)
        embedded: Tensor = self.embedding(tokens)
        return embedded
