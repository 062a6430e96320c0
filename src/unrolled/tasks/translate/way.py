"""What the two ways of translating have in common: all that the task knows of a network."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from unrolled.networks import Hypothesis, SearchOptions

__all__ = ["Way"]


class Way(ABC):
    """How a network learns from pairs and writes a sentence for another one."""

    @abstractmethod
    def loss(
        self, sources: Sequence[Tensor], targets: Sequence[Tensor], label_smoothing: float
    ) -> tuple[Tensor, int]:
        """Return the sum of the cross-entropies of the targets' tokens, in nats, and of how many.

        Args:
            sources: The tokens of each sentence that is read, (S,) int64, its end included.
            targets: Those of each sentence that is written.
            label_smoothing: Part of the probability that goes to all words alike.
        """

    @abstractmethod
    def search(
        self, sources: Sequence[Tensor], chosen: SearchOptions, max_length: int
    ) -> list[list[Hypothesis]]:
        """Return the best sentences for each source, without unknown tokens.

        Args:
            sources: The tokens of each sentence that is read, its end included.
            chosen: How the search goes, and how many sentences are wanted.
            max_length: Tokens at most.

        Raises:
            OptionError: An option out of its range, or one that this way does not have.
        """

    @abstractmethod
    def attention(self, source: Tensor, hypotheses: Sequence[Hypothesis]) -> list[Tensor] | None:
        """Return where it looked in the source for each token of each hypothesis, (T, S) each.

        None of a network without attention.
        """
