"""What a stack of residual blocks is given, and how it becomes a flat list of tensors."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from unrolled.kernels.rows import Pieces

__all__ = ["BlockShape", "BlockWeights", "NetworkProblem", "NetworkSignature"]

_NUM_WEIGHTS = 6  # of a block


class BlockWeights(NamedTuple):
    """The weights of a residual block; C is the number of its input channels.

    first, second: Of the convolutions, (H, C, k) and (H, H, k). shortcut: Of the 1x1 convolution of
    the input, (H, C, 1); None where the input itself is added. The biases, (H,), may be None.
    """

    first: Tensor
    first_bias: Tensor | None
    second: Tensor
    second_bias: Tensor | None
    shortcut: Tensor | None = None
    shortcut_bias: Tensor | None = None


class BlockShape(NamedTuple):
    """What a residual block is but for its tensors.

    dropout: The probability that a value after a convolution is dropped now; 0 outside of training.
    """

    input_size: int
    hidden_size: int
    kernel_size: int
    dilation: int
    dropout: float

    @property
    def span(self) -> int:
        """How many past inputs each of its convolutions needs."""
        return (self.kernel_size - 1) * self.dilation

    @property
    def scale(self) -> float:
        """What is kept is multiplied by this."""
        return 1 / (1 - self.dropout) if self.dropout < 1 else 0.0


class NetworkProblem(NamedTuple):
    """A stack of blocks over one batch.

    x: (T, B, I). lengths: (B,), int64; None: all T. past: (span, B, C) of each convolution, or
    nothing, which is zeros. keep: What dropout keeps after each convolution, (B, T, H) of bool, or
    None. pieces: Where rows are cut, if they are; then `lengths` are not read.
    """

    shapes: tuple[BlockShape, ...]
    x: Tensor
    lengths: Tensor | None
    past: tuple[Tensor, ...]
    weights: tuple[BlockWeights, ...]
    keep: tuple[Tensor | None, ...]
    pieces: Pieces | None = None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Return x, the past, all weights and what is kept, in order."""
        flat = (weight for block in self.weights for weight in block)
        return (self.x, *self.past, *flat, *self.keep)

    def floats(self) -> list[Tensor]:
        """Return those that hold numbers."""
        return [t for t in self.tensors()[: -len(self.keep)] if t is not None]

    def signature(self) -> "NetworkSignature":
        """Return what this is but for its tensors."""
        return NetworkSignature(self.shapes, bool(self.past))


class NetworkSignature(NamedTuple):
    """How to read a flat list of tensors as a stack of blocks."""

    shapes: tuple[BlockShape, ...]
    has_past: bool

    def problem(
        self,
        tensors: Sequence[Tensor | None],
        lengths: Tensor | None,
        pieces: Pieces | None = None,
    ) -> NetworkProblem:
        """Return the problem of which `tensors` are `NetworkProblem.tensors()`."""
        rest: list[Any] = list(tensors)  # of which only biases, shortcuts and `keep` may be None
        number = len(self.shapes)
        x, num_past, num_weights = rest.pop(0), 2 * number * self.has_past, number * _NUM_WEIGHTS
        past, flat, keep = rest[:num_past], rest[num_past:][:num_weights], rest[-2 * number :]
        blocks = [
            BlockWeights(*flat[begin : begin + _NUM_WEIGHTS])
            for begin in range(0, num_weights, _NUM_WEIGHTS)
        ]
        return NetworkProblem(
            self.shapes, x, lengths, tuple(past), tuple(blocks), tuple(keep), pieces
        )
