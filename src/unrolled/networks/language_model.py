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

from torch import Tensor

from unrolled.layers.options import check_dropout, check_sizes
from unrolled.layers.state import State
from unrolled.networks.sequence_layers import check_cell
from unrolled.networks.token_model import TokenModel

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


class LanguageModel(TokenModel):
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
        >>> import torch
        >>> model = LanguageModel(LanguageModelConfig(vocabulary_size=4, hidden_size=3))
        >>> scores, state = model(torch.tensor([[0, 1, 2, 2]]))
        >>> scores.shape
        torch.Size([1, 4, 4])
        >>> scores, state = model(torch.tensor([[3]]), state)
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__(config, num_scores=config.vocabulary_size)
        self.config = config

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first token, that `state=None` stands for."""
        state: State = self.layer.initial_state(batch_size)  # type: ignore[operator]  # of a module
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
        h, state = self.layer(self.features(tokens), state)  # (B, T, H)
        return self.scores(self.dropout(h)), state
