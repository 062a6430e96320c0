"""The recurrent layer over any cell, a user's own included."""

import torch

from unrolled.cells import Cell
from unrolled.errors import OptionError
from unrolled.layers.recurrent_layer import RecurrentLayer

__all__ = ["Recurrent"]


class Recurrent(RecurrentLayer):
    """A recurrent layer over any cell, a user's own included.

    Args:
        cell: The equations, a function marked with `unrolled.cell`; or the name of a published
            cell, one of those that `unrolled cells` lists.
        input_size: I, at least 1.
        hidden_size: H, at least 1.
        num_layers: How many layers, each reading the output of the one before.
        bias: Whether the gates have biases.
        batch_first: Whether input and output are (B, T, ...) rather than (T, B, ...).
        dropout: The probability with which each output of a layer but the last is dropped.
        bidirectional: Whether a second set of weights reads backwards, its output appended.
        device: Where the weights are.
        dtype: The type of the weights.
        heads: How many groups the units are in, of H / heads each, that do not read one another's
            outputs: the recurrent matrices have blocks on their diagonals. As the cell declares
            unless given.

    Attributes:
        weight_ih_l0: W_x, (F * H, I), of the gates with a part of the input, in the cell's order;
            `_l1` ... and `_reverse` follow.
        weight_hh_l0: W_h, (R * H, H / heads), of the gates with a recurrent part. Row n of a gate
            is of unit n, and reads the units of its head.
        bias_ih_l0: b_x, (F * H,).
        bias_hh_l0: b_h, (R * H,).

    Raises:
        OptionError: No cell, a size below 1, heads that do not divide H, or dropout outside [0, 1].

    Example:
        >>> import torch, unrolled
        >>> @unrolled.cell(gates="z n", recurrent="")
        ... def min_gru(x, h):
        ...     z = torch.sigmoid(x.z)
        ...     return dict(h=(1 - z) * h + z * x.n, z=z)
        >>> layer = unrolled.Recurrent(min_gru, input_size=3, hidden_size=4)
        >>> output, state = layer(torch.zeros(5, 2, 3))
        >>> output.shape, state.shape
        (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self,
        cell: Cell | str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        heads: int | None = None,
    ) -> None:
        if isinstance(cell, str):
            from unrolled.cells.catalogue import named_cell  # most layers are of no such cell

            cell = named_cell(cell)
        if not isinstance(cell, Cell):
            raise OptionError(
                f"Recurrent: cell must be a cell or the name of one, got {type(cell).__name__}",
                "mark the function that holds the equations with @unrolled.cell(gates=...)",
            )
        super().__init__(
            cell,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
            heads=heads,
        )

    def extra_repr(self) -> str:
        """Return the cell's name and what every layer shows."""
        return f"{self.cell.name}, {super().extra_repr()}"
