"""The weights of a stack of recurrent layers: their names, layout and first values are torch's.

Not here: what is done with them (`recurrent_layer.py`).
"""

import abc
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from unrolled.cells import Cell
from unrolled.kernels import Weights

__all__ = ["RecurrentWeights"]


class Tied(nn.Module):
    """The recurrent matrices of a layer, (R * H, H), of those that are learned.

    Args:
        cell: Says by its `ties` which are made of others, and how.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self._ties = [cell.ties.get(gate) for gate in cell.recurrent]

    def forward(self, learned: Tensor) -> Tensor:
        """Return what the layer multiplies with."""
        blocks = learned.chunk(len(self._ties))
        pairs = zip(blocks, self._ties, strict=True)
        return torch.cat([block if tie is None else tie(block) for block, tie in pairs])


class RecurrentWeights(nn.Module, abc.ABC):
    """What a recurrent layer keeps: for each layer and direction the weights of its cell.

    Args:
        cell: The equations.
        input_size: I, of the first layer.
        hidden_size: H.
        num_layers: How many layers, each reading the output of the one before.
        bias: Whether the gates have biases.
        bidirectional: Whether each layer has a second set of weights.
        proj_size: P; 0 for no projection.
        heads: How many, of H / heads units each; those of two read nothing of one another.
        device: Where the weights are.
        dtype: The type of the weights.

    Attributes:
        output_size: The width of a layer's output: H (or P), twice that when bidirectional.
        suffixes: The endings of the weights' names, one for each layer and direction.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        bidirectional: bool,
        proj_size: int,
        heads: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self.heads = heads
        directions = ("", "_reverse") if bidirectional else ("",)
        self.output_size = (proj_size or hidden_size) * len(directions)
        self.suffixes = tuple(f"l{k}{d}" for k in range(num_layers) for d in directions)
        for index, suffix in enumerate(self.suffixes):
            width = input_size if index < len(directions) else self.output_size
            for name, shape in self._weight_shapes(width).items():
                weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(f"{name}_{suffix}", weight)
        self._weight_names = tuple(self._weight_shapes(0))
        self._all_names = tuple(
            f"{name}_{suffix}" for suffix in self.suffixes for name in self._weight_names
        )
        self.reset_parameters()
        if cell.ties:
            for suffix in self.suffixes:
                # what it gives is looked at when the cell runs: shapes may be of no memory here
                register_parametrization(self, f"weight_hh_{suffix}", Tied(cell), unsafe=True)

    def _weight_shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """Return the weights of one layer and direction that reads `width` features, in order."""
        gate_rows = len(self.cell.feedforward) * self.hidden_size
        recurrent_rows = len(self.cell.recurrent) * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gate_rows, width)}
        if recurrent_rows:
            shapes["weight_hh"] = (recurrent_rows, self.proj_size or self.hidden_size // self.heads)
        if self.bias:
            shapes["bias_ih"] = (gate_rows,)
            if recurrent_rows:
                shapes["bias_hh"] = (recurrent_rows,)
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return shapes | {name: (self.hidden_size,) for name in self.cell.parameters}

    def weights_of(self, suffix: str) -> Weights:
        """Return the weights of one layer and direction, by one of `suffixes`, as they are now."""
        names = [f"{name}_{suffix}" for name in self._weight_names]
        own = self._parameters  # where nothing computes them, this is the short way to them
        values = [own[name] if name in own else getattr(self, name) for name in names]
        weights: dict[str, Any] = dict(zip(self._weight_names, values, strict=True))
        return Weights(
            weights["weight_ih"],
            weights.get("weight_hh"),
            weights.get("bias_ih"),
            weights.get("bias_hh"),
            weights.get("weight_hr"),
            tuple(weights[name] for name in self.cell.parameters),
        )

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights from U(-1/sqrt(H), 1/sqrt(H)); the cell's vectors start as it says.

        The recurrent weights of heads from that of the units that one reads, H / heads.
        """
        for name, weight in self.named_parameters():
            kind = name.rpartition("_l")[0]
            start, spread = self.cell.parameters.get(kind), self.cell.spreads.get(kind)
            fan_in = self.hidden_size // (self.heads if kind == "weight_hh" else 1)
            bound = 1.0 / math.sqrt(fan_in)
            if start is None or spread is not None:
                nn.init.uniform_(weight, *(spread or (-bound, bound)))
            else:
                nn.init.constant_(weight, start)

    def flatten_parameters(self) -> None:
        """Do nothing: here for code that calls it on torch's layers.

        On CUDA, cuDNN wants the weights of a call in one piece of memory. Here they are not, so
        it copies them together at each call and warns of that ("not part of single contiguous
        chunk"): the results are the same, the price is that copy.
        """

    @property
    def _flat_weights_names(self) -> list[str]:
        """The names of all weights in torch's order; torch's name, which much code reads."""
        return list(self._all_names)

    @property
    def _flat_weights(self) -> tuple[Any, ...]:
        """All weights in torch's order; a tuple, as an item replaced would not be used."""
        return tuple(getattr(self, name) for name in self._flat_weights_names)

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The weights of each layer and direction."""
        return [
            [getattr(self, f"{name}_{suffix}") for name in self._weight_names]
            for suffix in self.suffixes
        ]
