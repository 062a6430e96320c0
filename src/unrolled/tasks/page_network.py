"""A model as the page of a report computes it: each task says which parts its own has.

How weights lie in a page, and what else is in it, is known in `unrolled.serving`.
"""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

from unrolled.layers import RecurrentLayer
from unrolled.networks.embedding import TokenEmbedding

__all__ = ["NotInPageError", "PageNetwork", "PageParts"]


class NotInPageError(Exception):
    """A model that no report computes: the name of the words that say why, and their values."""

    def __init__(self, why: str, **values: object) -> None:
        super().__init__(why)
        self.why = why
        self.told = {"why": why, **values}


class PageParts(Protocol):
    """What writes parts of a model down, in types that JSON has."""

    def vector(self, values: Tensor) -> dict[str, Any]:
        """Keep a vector, (N,); return where it lies."""
        ...

    def matrix(self, values: Tensor) -> dict[str, Any]:
        """Keep a matrix, (N, M); return where it lies."""
        ...

    def linear(self, linear: nn.Linear) -> dict[str, Any]:
        """Keep a linear layer: its weight, and its bias."""
        ...

    def embedding(self, embedding: TokenEmbedding) -> dict[str, Any]:
        """Keep an embedding: its table, and its projection."""
        ...

    def stack(self, layer: RecurrentLayer) -> dict[str, Any]:
        """Keep recurrent layers, all directions of a layer before the next one.

        Raises:
            EquationsError: Their cell's step cannot be captured as a graph.
        """
        ...


PageNetwork = Callable[[PageParts], dict[str, Any]]
"""Describes what a model has beside its layers; of text beside scores and vocabulary, too."""
