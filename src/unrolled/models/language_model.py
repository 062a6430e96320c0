"""The language model: at every step, scores for the token that comes next.

The network unrolled over "hell", with characters for tokens:

    next token     e         l         l         o
                   ^         ^         ^         ^
    scores       linear    linear    linear    linear         V scores each
                   ^         ^         ^         ^
    state ----> [layer]-->[layer]-->[layer]-->[layer]----> state, for what follows
                   ^         ^         ^         ^
    input       one-hot   one-hot   one-hot   one-hot         or a learned embedding
                   ^         ^         ^         ^
    token          h         e         l         l

All steps share their weights, and the state carries what was read so far. Training is in
training/, and drawing text from the scores in generation/.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import ShapeError
from unrolled.layers.initialize import one_hot_input
from unrolled.layers.options import check_dropout, check_sizes
from unrolled.layers.recurrent import RecurrentLayer
from unrolled.layers.state import State
from unrolled.models.sequence_layers import check_cell, make_layer

__all__ = ["LanguageModel", "LanguageModelConfig"]


@dataclass(frozen=True)
class LanguageModelConfig:
    """What it takes to build a `LanguageModel`, all of it plain values.

    Args:
        vocabulary_size: V, how many different tokens there are.
        cell: The name of the layer, one of `models.sequence_layers.CELLS`.
        hidden_size: H, units of every layer.
        num_layers: Layers one above the other.
        embedding_size: E, features that are learned for each token; one-hot input if None.
        dropout: Probability that a value between two layers, or before the scores, is zeroed in
            training.
        kernel_size: Taps of a convolution, for tcn and conv only.

    Raises:
        OptionError: A size below 1, an unknown cell, a dropout that is no probability, a kernel
            size for a cell without a kernel.
    """

    vocabulary_size: int
    cell: str = "lstm"
    hidden_size: int = 512
    num_layers: int = 1
    embedding_size: int | None = None
    dropout: float = 0.0
    kernel_size: int | None = None

    def __post_init__(self) -> None:
        where = "LanguageModelConfig"
        sizes = ("vocabulary_size", "hidden_size", "num_layers", "embedding_size", "kernel_size")
        given = {name: getattr(self, name) for name in sizes}
        check_sizes(where, {name: size for name, size in given.items() if size is not None})
        check_dropout(where, self.dropout)
        check_cell(self.cell, self.kernel_size)


class LanguageModel(nn.Module):
    """A model of the next token: one-hot or embedding, a sequence layer, dropout, linear scores.

        x_t = one_hot(token_t), or a row of the embedding
        h_t, state_t = layer(x_t, state_{t-1})
        scores_t = W h_t + b,    p(token_{t+1} = v) = softmax(scores_t)_v

    Initial values are torch's, but for recurrent layers on one-hot input: `one_hot_input`.

    Args:
        config: The sizes and the cell.

    Attributes:
        layer: The sequence layer, batch first.

    Example:
        >>> model = LanguageModel(LanguageModelConfig(vocabulary_size=4, hidden_size=3))
        >>> scores, state = model(torch.tensor([[0, 1, 2, 2]]))
        >>> scores.shape
        torch.Size([1, 4, 4])
        >>> scores, state = model(torch.tensor([[3]]), state)
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
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
        self.scores = nn.Linear(config.hidden_size, config.vocabulary_size)

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first token, that `state=None` stands for."""
        state: State = self.layer.initial_state(batch_size)  # type: ignore[operator]
        return state

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Score what comes next after each token.

        Args:
            tokens: (B, T) int64, ids in 0 ... V - 1.
            state: The state that an earlier call returned, to go on from there.

        Returns:
            The scores (unnormalised log probabilities), (B, T, V), and the state after the last
            token.

        Raises:
            ShapeError: Tokens that are not (B, T) int64.
        """
        if tokens.dtype != torch.int64 or tokens.dim() != 2:
            got = f"{tuple(tokens.shape)} {tokens.dtype}"
            raise ShapeError(f"LanguageModel: tokens must be (B, T) torch.int64, got {got}")
        if self.embedding is None:
            x = F.one_hot(tokens, self.config.vocabulary_size).to(self.scores.weight.dtype)
        else:
            x = self.embedding(tokens)  # (B, T, E)
        h, state = self.layer(x, state)  # (B, T, H)
        return self.scores(self.dropout(h)), state
