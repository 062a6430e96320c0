"""Any layer in both directions: one reads a row from its first step on, one from its last.

Recurrent layers do this by themselves; this is for the layers that cannot.
"""

import torch
from torch import Tensor, nn

from unrolled.layers import SequenceLayer, State, check_lengths

__all__ = ["BothDirections", "reverse_rows"]


class BothDirections(nn.Module):
    """Two layers of one kind over the same input, the second over each row reversed.

        y_t = [forwards(x_0 ... x_t), backwards(x_t ... x_{T-1})]

    It has no state, because it cannot go on: the second layer begins at the end.

    Args:
        forwards: Batch first.
        backwards: Of the same sizes.
    """

    batch_first = True
    bidirectional = True

    def __init__(self, forwards: SequenceLayer, backwards: SequenceLayer) -> None:
        super().__init__()
        self.forwards = forwards
        self.backwards = backwards
        self.input_size = forwards.input_size
        self.output_size = forwards.output_size + backwards.output_size

    def initial_state(self, batch_size: int) -> State:  # noqa: ARG002  # any
        """Return the empty state."""
        return ()

    def forward(
        self,
        input: Tensor,
        hx: State | None = None,  # noqa: ARG002  # there is none
        *,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Return the output, (B, T, 2 H), zero after a row's end, and the empty state.

        Args:
            input: (B, T, I).
            hx: The empty state.
            lengths: (B,), the steps of each row; all of them if None.
        """
        batch_size, num_steps = input.shape[:2]
        if lengths is None:
            lengths = torch.full((batch_size,), num_steps)
        lengths = check_lengths("BothDirections", lengths, num_steps, batch_size, input.device)
        ahead, _ = self.forwards(input, lengths=lengths)
        back, _ = self.backwards(reverse_rows(input, lengths), lengths=lengths)
        return torch.cat([ahead, reverse_rows(back, lengths)], dim=2), ()


def reverse_rows(x: Tensor, lengths: Tensor) -> Tensor:
    """Return `x` (B, T, F) with the first `lengths` (B,) steps of each row in reverse order."""
    steps = torch.arange(x.shape[1], device=x.device)
    last = lengths[:, None] - 1
    source = torch.where(steps <= last, last - steps, steps)
    return x.gather(1, source[:, :, None].expand_as(x))
