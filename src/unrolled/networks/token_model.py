"""What the models that answer every token have in common: what goes into a layer, what comes out.

What they answer, and when, is theirs, in the folders of their tasks.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import ShapeError
from unrolled.layers import RecurrentLayer, check_sizes, initialize
from unrolled.networks.options import LayerOptions
from unrolled.networks.sequence_layers import make_layer

__all__ = ["TokenModel"]


class TokenModel(nn.Module):
    """One-hot or embedding, a sequence layer of one direction, dropout, linear scores.

    Initial values are torch's, but for recurrent layers on one-hot input: `one_hot_input`.

    Args:
        options: Of the layer.
        vocabulary_size: V, how many different tokens are read, at least 1.
        num_scores: How many scores there are at every step, at least 1.
        embedding_size: E, features that are learned for each token; one-hot input if None.

    Attributes:
        layer: The sequence layer, batch first.
    """

    def __init__(
        self,
        options: LayerOptions,
        *,
        vocabulary_size: int,
        num_scores: int,
        embedding_size: int | None = None,
    ) -> None:
        super().__init__()
        sizes = {"vocabulary_size": vocabulary_size, "num_scores": num_scores}
        if embedding_size is not None:
            sizes["embedding_size"] = embedding_size
        check_sizes(type(self).__name__, sizes)
        self.options = options
        self.vocabulary_size = vocabulary_size
        self.embedding = None
        if embedding_size is not None:
            self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.layer = make_layer(options, embedding_size or vocabulary_size)
        if self.embedding is None and isinstance(self.layer, RecurrentLayer):
            initialize.one_hot_input(self.layer)
        self.dropout = nn.Dropout(options.dropout)
        self.scores = nn.Linear(options.hidden_size, num_scores)

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
            return F.one_hot(tokens, self.vocabulary_size).to(self.scores.weight.dtype)
        embedded: Tensor = self.embedding(tokens)
        return embedded
