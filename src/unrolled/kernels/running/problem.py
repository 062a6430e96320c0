"""What one recurrence is given, and how it becomes the flat list of tensors that autograd takes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from torch import Tensor

from unrolled.cells import Cell
from unrolled.errors import ShapeError
from unrolled.kernels.weights import Weights

__all__ = ["Problem", "Recurrence", "Signature", "split"]

_T = TypeVar("_T")
Recurrence = tuple[Tensor, tuple[Tensor, ...]]
"""The result of a recurrence: its output, (N, P), and the states at the end of each row."""


class Problem(NamedTuple):
    """One layer in one direction over one batch. What each means: `reference_recurrence`."""

    cell: Cell
    x: Tensor
    batch_sizes: tuple[int, ...]
    weights: Weights
    states: tuple[Tensor, ...]
    reverse: bool

    @property
    def has_heads(self) -> bool:
        """Whether the recurrent weights are those of heads: `Weights`."""
        return self.weights.has_heads(self.states[0].shape[-1])

    def tensors(self) -> tuple[Tensor, ...]:
        """Return x, the states and the weights that are there, in order."""
        return (self.x, *self.states, *self.weights.tensors())

    def check_shapes(self) -> None:
        """Raise `ShapeError` unless the tensors have the sizes that the first state asks for.

        Operations of torch take some that do not fit, and read half of a state that is too wide.
        """
        cell, weights, (first, *others) = self.cell, self.weights, self.states
        output_size = hidden_size = first.shape[-1]
        if weights.weight_hr is not None:
            hidden_size = weights.weight_hr.shape[-1]
        input_size = self.x.shape[-1] - len(cell.inputs) * hidden_size
        head_size = weights.head_size(cell, output_size)
        shapes = [*weights.shapes(cell, input_size, hidden_size, head_size)]
        shapes.append((output_size, hidden_size))  # of the projection
        named = [*zip(weights._fields[:5], weights[:5], shapes, strict=True)]
        named += [("weight vector", vector, (hidden_size,)) for vector in weights.parameters]
        named += [("state", state, (len(first), hidden_size)) for state in others]
        for name, tensor, shape in named:
            if tensor is not None and tensor.shape != shape:
                message = f"{name} must be {shape}, got {tuple(tensor.shape)}"
                hint = f"x has {self.x.shape[-1]} features, the first state {output_size} units"
                raise ShapeError(f"cell {cell.name}: {message}", hint)

    def signature(self) -> "Signature":
        """Return what this is but for its tensors and rows."""
        biased, projected = self.weights.bias_ih is not None, self.weights.weight_hr is not None
        return Signature(self.cell, biased, projected, self.reverse)

    def solved_by(self, path: Callable[..., Recurrence], **options: object) -> Recurrence:
        """Return what `path` makes of it: `reference_recurrence`, or one with its arguments."""
        return path(
            self.cell,
            self.x,
            self.batch_sizes,
            self.weights,
            self.states,
            reverse=self.reverse,
            **options,
        )


class Signature(NamedTuple):
    """How to read a flat list of tensors as one layer in one direction."""

    cell: Cell
    biased: bool
    projected: bool
    reverse: bool

    def problem(self, tensors: Sequence[Tensor], batch_sizes: tuple[int, ...]) -> Problem:
        """Return the problem of which `tensors` are `Problem.tensors()`."""
        x, states, flat = split(tensors, len(self.cell.states))
        weights = Weights.of(self.cell, flat, biased=self.biased, projected=self.projected)
        return Problem(self.cell, x, batch_sizes, weights, tuple(states), self.reverse)


def split(tensors: Sequence[_T], num_states: int) -> tuple[_T, Sequence[_T], Sequence[_T]]:
    """Split what is in the order of `Problem.tensors()` into (x, states, weights)."""
    return tensors[0], tensors[1 : 1 + num_states], tensors[1 + num_states :]
