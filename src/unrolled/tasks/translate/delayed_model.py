"""The delayed network: it reads for k steps before it answers, and blanks while it ends.

Unrolled with delay k = 2 over "a b c d", whose answers are "A B C D":

    answer                           A         B         C         D
                                     ^         ^         ^         ^
    scores       (...)     (...)   linear    linear    linear    linear       V scores each
                   ^         ^       ^         ^         ^         ^
    state ----> [layer]-->[layer]-->[layer]-->[layer]-->[layer]-->[layer]
                   ^         ^         ^         ^         ^         ^
    input       one-hot   one-hot   one-hot   one-hot   one-hot   one-hot    or an embedding
                   ^         ^         ^         ^         ^         ^
    token          a         b         c         d       blank     blank

One direction is enough to see k tokens ahead, and no answer is read back: what an encoder-decoder
does with two networks, this one does with one state. The layout of inputs, targets and mask is in
data/delay.py; a delay over features of any kind is in tasks/tag/model.py.
"""

from torch import Tensor

from unrolled.networks.options import LayerOptions
from unrolled.networks.token_model import TokenModel

__all__ = ["DelayedModel"]


class DelayedModel(TokenModel):
    """Scores for an answer at every step, from the tokens up to that step.

        x_t = one_hot(token_t), or a row of the embedding
        h_t, state_t = layer(x_t, state_{t-1})
        scores_t = W h_t + b,    p(answer_{t-k} = v) = softmax(scores_t)_v

    The delay is no part of it: it is in the data alone.

    Args:
        options: Of the layer.
        vocabulary_size: How many different tokens are read, the blank included.
        num_classes: V, how many different answers there are.
        embedding_size: E, features that are learned for each token; one-hot input if None.

    Raises:
        OptionError: A size below 1.

    Attributes:
        layer: The sequence layer, batch first, one direction.

    Example:
        >>> import torch
        >>> from unrolled.data import delay_batch
        >>> from unrolled.networks import LayerOptions, word_loss
        >>> echo = torch.tensor([[1, 2, 3], [2, 1, 1]])
        >>> batch = delay_batch(echo, echo, delay=1, blank=0)
        >>> model = DelayedModel(LayerOptions(hidden_size=8), vocabulary_size=4, num_classes=4)
        >>> scores = model(batch.inputs, batch.lengths)
        >>> scores.shape
        torch.Size([2, 4, 4])
        >>> loss, count = word_loss(scores, batch.targets)
        >>> count
        6
        >>> scores[:, 1:].argmax(-1).shape  # the answers: from step k on
        torch.Size([2, 3])
    """

    def __init__(
        self,
        options: LayerOptions,
        *,
        vocabulary_size: int,
        num_classes: int,
        embedding_size: int | None = None,
    ) -> None:
        super().__init__(
            options,
            vocabulary_size=vocabulary_size,
            num_scores=num_classes,
            embedding_size=embedding_size,
        )

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score the answers.

        Args:
            tokens: (B, T) int64, blanks included.
            lengths: (B,), the steps of each row; T if None.

        Returns:
            The scores (unnormalised log probabilities), (B, T, V). They mean nothing at the first k
            steps and beyond a row's length.

        Raises:
            ShapeError: Tokens that are not (B, T) int64.
        """
        x = self.features(tokens)
        if self.embedding is not None:
            x = self.dropout(x)
        h, _ = self.layer(x, lengths=lengths)  # (B, T, H)
        scores: Tensor = self.scores(self.dropout(h))
        return scores
