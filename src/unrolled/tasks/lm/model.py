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

All steps share their weights, and the state carries what was read so far. Training by parts of a
text is in `tbptt.py`, drawing text from the scores in `sampling.py`.
"""

from torch import Tensor

from unrolled.layers import State
from unrolled.networks.options import LayerOptions
from unrolled.networks.token_model import TokenModel

__all__ = ["LanguageModel"]


class LanguageModel(TokenModel):
    """A model of the next token: one-hot or embedding, a sequence layer, dropout, linear scores.

        x_t = one_hot(token_t), or a row of the embedding
        h_t, state_t = layer(x_t, state_{t-1})
        scores_t = W h_t + b,    p(token_{t+1} = v) = softmax(scores_t)_v

    Initial values are torch's, but for recurrent layers on one-hot input: `one_hot_input`.

    Args:
        options: Of the layer.
        vocabulary_size: V, how many different tokens there are.
        embedding_size: E, features that are learned for each token; one-hot input if None.

    Attributes:
        layer: The sequence layer, batch first.

    Example:
        >>> import torch
        >>> from unrolled.networks import LayerOptions
        >>> model = LanguageModel(LayerOptions(hidden_size=3), vocabulary_size=4)
        >>> scores, state = model(torch.tensor([[0, 1, 2, 2]]))
        >>> scores.shape
        torch.Size([1, 4, 4])
        >>> scores, state = model(torch.tensor([[3]]), state)
    """

    def __init__(
        self, options: LayerOptions, *, vocabulary_size: int, embedding_size: int | None = None
    ) -> None:
        super().__init__(
            options,
            vocabulary_size=vocabulary_size,
            num_scores=vocabulary_size,
            embedding_size=embedding_size,
        )

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
