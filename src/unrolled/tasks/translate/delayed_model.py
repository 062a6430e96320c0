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

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from unrolled.data.batching import IGNORE
from unrolled.data.delay import Delayed
from unrolled.layers.options import check_dropout, check_sizes
from unrolled.networks.sequence_layers import check_cell
from unrolled.networks.token_model import TokenModel

__all__ = ["DelayedModel", "DelayedModelConfig", "delayed_loss"]


@dataclass(frozen=True)
class DelayedModelConfig:
    """What it takes to build a `DelayedModel`, all of it plain values.

    The delay is no part of it: it is in the data alone.

    Args:
        vocabulary_size: How many different tokens are read, the blank included.
        num_classes: V, how many different answers there are.
        cell: The name of the layer, one of `models.sequence_layers.CELLS`.
        hidden_size: H, units of every layer.
        num_layers: Layers one above the other.
        embedding_size: E, features that are learned for each token; one-hot input if None.
        dropout: Probability that a value between two layers, or before the scores, is zeroed in
            training; one of the embedding too.
        kernel_size: Taps of a convolution, for tcn and conv only.

    Raises:
        OptionError: A size below 1, an unknown cell, a dropout that is no probability, a kernel
            size for a cell without a kernel.
    """

    vocabulary_size: int
    num_classes: int
    cell: str = "lstm"
    hidden_size: int = 128
    num_layers: int = 1
    embedding_size: int | None = None
    dropout: float = 0.0
    kernel_size: int | None = None

    def __post_init__(self) -> None:
        sizes = {
            "vocabulary_size": self.vocabulary_size,
            "num_classes": self.num_classes,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "embedding_size": self.embedding_size,
            "kernel_size": self.kernel_size,
        }
        given = {name: size for name, size in sizes.items() if size is not None}
        check_sizes("DelayedModelConfig", given)
        check_dropout("DelayedModelConfig", self.dropout)
        check_cell(self.cell, self.kernel_size)


class DelayedModel(TokenModel):
    """Scores for an answer at every step, from the tokens up to that step.

        x_t = one_hot(token_t), or a row of the embedding
        h_t, state_t = layer(x_t, state_{t-1})
        scores_t = W h_t + b,    p(answer_{t-k} = v) = softmax(scores_t)_v

    Args:
        config: The sizes and the cell.

    Attributes:
        layer: The sequence layer, batch first, one direction.

    Example:
        >>> import torch
        >>> from unrolled.data.delay import delay_batch
        >>> echo = torch.tensor([[1, 2, 3], [2, 1, 1]])
        >>> batch = delay_batch(echo, echo, delay=1, blank=0)
        >>> model = DelayedModel(DelayedModelConfig(4, num_classes=4, hidden_size=8))
        >>> scores = model(batch.inputs, batch.lengths)
        >>> scores.shape
        torch.Size([2, 4, 4])
        >>> loss, count = delayed_loss(scores, batch)
        >>> count
        6
        >>> scores[:, 1:].argmax(-1).shape  # the answers: from step k on
        torch.Size([2, 3])
    """

    def __init__(self, config: DelayedModelConfig) -> None:
        super().__init__(config, num_scores=config.num_classes)
        self.config = config

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


def delayed_loss(scores: Tensor, batch: Delayed) -> tuple[Tensor, int]:
    """Return the sum of the cross-entropies in nats at the steps with a target, and their number.

    Args:
        scores: (B, T, V).
        batch: Where `scores` come from; its targets are (B, T) int64.
    """
    loss = F.cross_entropy(
        scores.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return loss, int(batch.mask.sum())
