r"""Attention: at each step, a look over a whole memory with weights that say where.

    query s_i ------------+
                          v
    memory h_1 ... h_S   e_i1 ... e_iS    how well each place answers the query
                          |
                          softmax over the places that exist
                          v
                         a_i1 ... a_iS    the weights: what comes out for people to see
                          |
                         c_i = sum over j of a_ij h_j    the context: what the network goes on with

The memory is what an encoder left at each place of a sentence, a picture or a recording. Places
past a row's length do not exist: their weight is exactly zero and their content is never read.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError, ShapeError
from unrolled.layers import check_lengths, valid_steps
from unrolled.networks.devices import moved
from unrolled.networks.options import ATTENTION_NAMES

__all__ = ["ATTENTIONS", "AdditiveAttention", "Attention", "Memory", "MultiplicativeAttention"]


class Memory(NamedTuple):
    """A memory as attention reads it at every step; made once by `Attention.read`.

    values: (B, S, M), zero where a place does not exist.
    keys: (B, S, A), what the values are compared by.
    missing: (B, 1, S) boolean, the places that do not exist.
    """

    values: Tensor
    keys: Tensor
    missing: Tensor

    def rows(self, index: Tensor) -> "Memory":
        """Return the memory of the rows `index`, (N,), which may repeat."""
        index = moved(index, self.values)
        return Memory(*(part.index_select(0, index) for part in self))


class Attention(nn.Module, ABC):
    """What the ways of attending share: all but how a place is scored.

    Args:
        query_size: H, features of a query.
        memory_size: M, features of a place.

    Raises:
        OptionError: A size below 1.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        for name, size in (("query_size", query_size), ("memory_size", memory_size)):
            if size < 1:
                where = type(self).__name__
                raise OptionError(f"{where}: {name} must be at least 1, got {size}")
        self.query_size = query_size
        self.memory_size = memory_size

    @abstractmethod
    def _keys(self, values: Tensor) -> Tensor:
        """Return what is the same at every step, (B, S, A)."""

    @abstractmethod
    def _scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return e_ij, (B, T, S), of queries (B, T, H) and keys (B, S, A)."""

    def read(self, memory: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Memory:
        """Prepare a memory for any number of calls.

        Args:
            memory: (B, S, M).
            lengths: (B,), the places that each row has, 1..S; all of them if None.

        Raises:
            ShapeError: Another shape, or a row without a single place.
        """
        where = type(self).__name__
        if memory.dim() != 3 or memory.shape[2] != self.memory_size:
            got = tuple(memory.shape)
            raise ShapeError(f"{where}: memory must be (B, S, {self.memory_size}), got {got}")
        batch_size, num_places, _ = memory.shape
        if lengths is None:
            lengths = torch.full((batch_size,), num_places)
        checked = check_lengths(where, lengths, num_places, batch_size, memory.device)
        if not torch.compiler.is_compiling() and not bool((checked > 0).all()):
            row = int(checked.argmin())
            raise ShapeError(
                f"{where}: row {row} has no memory to attend to, its length is 0",
                "leave the row out, or give it one place, such as an end mark",
            )
        missing = ~valid_steps(checked, num_places).T
        values = memory.masked_fill(missing[:, :, None], 0.0)
        return Memory(values, self._keys(values), missing[:, None, :])

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Attend once for each query; queries do not know each other.

        Args:
            query: (B, T, H).
            memory: What `read` returned.

        Returns:
            The contexts, (B, T, M), and the weights, (B, T, S): at least 0, 1 in sum.

        Raises:
            ShapeError: A query of another shape, or of another batch than the memory's.
        """
        expected = (memory.values.shape[0], self.query_size)
        if query.dim() != 3 or (query.shape[0], query.shape[2]) != expected:
            got = tuple(query.shape)
            where = type(self).__name__
            raise ShapeError(f"{where}: query must be ({expected[0]}, T, {expected[1]}), got {got}")
        scores = self._scores(query, memory.keys)
        weights = scores.masked_fill(memory.missing, -torch.inf).softmax(-1)
        return torch.bmm(weights, memory.values), weights


class AdditiveAttention(Attention):
    """A small network scores each place: e_ij = v^T tanh(W s_i + U h_j), with A = H hidden units.

    Source: D. Bahdanau, K. Cho and Y. Bengio (2015), "Neural machine translation by jointly
    learning to align and translate", section 3.1 and appendix A.1.2. There s is the state before
    the step; here, as in Luong et al. (2015), the one after it.

    Args:
        query_size: H, features of a query.
        memory_size: M, features of a place.

    Raises:
        OptionError: A size below 1.

    Example:
        >>> attention = AdditiveAttention(query_size=4, memory_size=6)
        >>> memory = attention.read(torch.zeros(2, 3, 6), lengths=[3, 1])
        >>> context, weights = attention(torch.zeros(2, 1, 4), memory)
        >>> context.shape
        torch.Size([2, 1, 6])
        >>> weights[1]
        tensor([[1., 0., 0.]], grad_fn=<SelectBackward0>)
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(query_size, memory_size)
        self.query = nn.Linear(query_size, query_size, bias=False)  # W
        self.key = nn.Linear(memory_size, query_size, bias=False)  # U
        self.score = nn.Linear(query_size, 1, bias=False)  # v

    def _keys(self, values: Tensor) -> Tensor:
        keys: Tensor = self.key(values)
        return keys

    def _scores(self, query: Tensor, keys: Tensor) -> Tensor:
        both = self.query(query)[:, :, None, :] + keys[:, None, :, :]  # (B, T, S, A)
        scores: Tensor = self.score(both.tanh())
        return scores.squeeze(-1)


class MultiplicativeAttention(Attention):
    """A bilinear form scores each place: e_ij = s_i^T W h_j.

    Source: M.-T. Luong, H. Pham and C. D. Manning (2015), "Effective approaches to attention-based
    neural machine translation", equation 8, "general".

    Args:
        query_size: H, features of a query.
        memory_size: M, features of a place.

    Raises:
        OptionError: A size below 1.

    Example:
        >>> attention = MultiplicativeAttention(query_size=4, memory_size=6)
        >>> memory = attention.read(torch.zeros(2, 3, 6))
        >>> context, weights = attention(torch.zeros(2, 5, 4), memory)
        >>> context.shape, weights.shape
        (torch.Size([2, 5, 6]), torch.Size([2, 5, 3]))
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(query_size, memory_size)
        self.key = nn.Linear(memory_size, query_size, bias=False)  # W

    def _keys(self, values: Tensor) -> Tensor:
        keys: Tensor = self.key(values)
        return keys

    def _scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return torch.bmm(query, keys.transpose(1, 2))


_CLASSES = (AdditiveAttention, MultiplicativeAttention, None)

ATTENTIONS: dict[str, type[Attention] | None] = dict(zip(ATTENTION_NAMES, _CLASSES, strict=True))
"""The ways of attending by their names in options."""
