"""The embedding of tokens, which may begin with vectors of words that others have trained.

The format of such vectors is in `data/word_vectors.py`. Models with one-hot input, and decoders,
have embeddings of their own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from unrolled.data.word_vectors import read_vectors

__all__ = ["EmbeddingOptions", "TokenEmbedding"]


class EmbeddingOptions(Protocol):
    """What a model's options say of its embedding."""

    @property
    def embedding_size(self) -> int | None:
        """Features that the model reads; those of the vectors, or a default, if None."""
        ...

    @property
    def default_embedding_size(self) -> int:
        """Without vectors."""
        ...

    @property
    def freeze_vectors(self) -> bool:
        """Whether vectors stay as they are."""
        ...


class TokenEmbedding(nn.Module):
    """A row of features for each token; where rows are vectors of another width, a projection.

        embedding(v) = E_v,    or P E_v with vectors of W numbers where the model reads others

    Args:
        options: Its size, and whether vectors are learned further.
        vocabulary_size: V, how many tokens there are.
        vectors_width: W, numbers of each vector that `begin_with` reads; None without vectors.

    Attributes:
        output_size: Features of a token.
    """

    def __init__(
        self, options: EmbeddingOptions, vocabulary_size: int, vectors_width: int | None = None
    ) -> None:
        super().__init__()
        own_size = options.default_embedding_size if vectors_width is None else vectors_width
        self.output_size = options.embedding_size or own_size
        self.table = nn.Embedding(vocabulary_size, vectors_width or self.output_size)
        self.is_frozen = vectors_width is not None and options.freeze_vectors
        self.table.weight.requires_grad_(not self.is_frozen)
        self.projection = None
        if self.output_size != self.table.embedding_dim:
            self.projection = nn.Linear(self.table.embedding_dim, self.output_size, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the features of tokens, (...) int64 in 0 ... V - 1, as (..., output_size)."""
        rows: Tensor = self.table(tokens)
        return rows if self.projection is None else self.projection(rows)

    @property
    def modules_in_order(self) -> tuple[nn.Module, ...]:
        """The table and, where there is one, the projection that reads its rows."""
        return (self.table,) if self.projection is None else (self.table, self.projection)

    @torch.no_grad()
    def begin_with(self, path: Path, words: Sequence[str]) -> str:
        """Set the rows of words that a file has vectors of, and say of how many.

        The others get the spread of the vectors; where vectors are frozen they are zero, and stay
        so.

        Args:
            path: The file.
            words: (V,), of each token; tokens may share one.

        Raises:
            DataError: The file cannot be used.
        """
        vectors = read_vectors(path, words)
        weight = self.table.weight
        rows = torch.stack([*vectors.rows.values()])
        spread = rows.std(correction=0) / weight.std(correction=0)
        weight.mul_(0.0 if self.is_frozen else spread)
        covered = 0
        for number, word in enumerate(words):
            if word in vectors.rows:
                weight[number] = vectors.rows[word]
                covered += 1
        others = "the others stay zero" if self.is_frozen else "the others are learned"
        by_case = f", {vectors.num_by_case:,} of them in other capitals" * bool(vectors.num_by_case)
        share = f"{covered:,} of {len(words):,} tokens ({100 * covered / len(words):.0f} %)"
        return f"{path}: vectors of {vectors.width} numbers for {share}{by_case}; {others}"
