"""The temporal convolutional network: causal, dilated, residual. The layer `TCN` and its block.

Source: S. Bai, J. Z. Kolter and V. Koltun (2018), "An empirical evaluation of generic convolutional
and recurrent networks for sequence modeling", arXiv:1803.01271, section 3 and figure 1.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from unrolled.layers.causal_conv import FiniteMemoryLayer, causal_conv, memory_span
from unrolled.layers.observing import (
    observe_input,
    observe_level,
    observes_graph,
    observes_values,
)
from unrolled.layers.options import check_dropout, check_sizes

__all__ = ["TCN"]


class TCN(FiniteMemoryLayer):
    """A temporal convolutional network: a stack of residual blocks of two causal convolutions.

    Block l = 0 ... L - 1 has dilation 2^l and turns x, the output of the block before it, into

        a = dropout(relu(conv1(x)))
        b = dropout(relu(conv2(a)))
        y = relu(b + r),    r = x, or a 1x1 convolution of x if the number of channels changes

    with weight-normalised convolutions of kernel size k. An output sees its own input and the
    2 (k - 1) (2^L - 1) before it. The state is those of each convolution's past inputs that are
    still needed, (span, B, C) with span = (k - 1) 2^l, and goes from call to call as that of a
    recurrent layer does. Initial weights: torch's for the dilated convolutions, which is what the
    official code starts from (its N(0, 0.01) is overwritten by the weight normalisation);
    N(0, 0.01) for the 1x1 convolution.

    Args:
        input_size: I, features of each input step.
        hidden_size: H, channels of every block and features of each output step.
        num_layers: L, residual blocks.
        kernel_size: k, taps of each convolution, at least 1.
        dropout: Probability that a value after a convolution is zeroed in training.
        batch_first: Whether input and output are (B, T, ...) instead of (T, B, ...).
        device: Where the parameters are.
        dtype: The parameters' floating point type.

    Raises:
        OptionError: A size below 1, or a dropout that is not a probability.

    Example:
        >>> tcn = TCN(input_size=2, hidden_size=16, num_layers=3, kernel_size=3)
        >>> tcn.receptive_field
        29
        >>> output, state = tcn(torch.zeros(10, 4, 2))
        >>> output.shape
        torch.Size([10, 4, 16])
        >>> later, state = tcn(torch.zeros(5, 4, 2), state)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        kernel_size: int = 2,
        dropout: float = 0.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "kernel_size": kernel_size,
        }
        check_sizes("TCN", sizes)
        check_dropout("TCN", dropout)
        blocks = [
            ResidualBlock(
                hidden_size if level else input_size,
                hidden_size,
                kernel_size,
                2**level,
                dropout,
                device,
                dtype,
            )
            for level in range(num_layers)
        ]
        super().__init__(
            input_size,
            hidden_size,
            memory=[
                (memory_span(convolution), convolution.in_channels)
                for block in blocks
                for convolution in (block.conv1, block.conv2)
            ],
            batch_first=batch_first,
        )
        self.num_layers = num_layers
        self.kernel_size = kernel_size
        self.dropout = dropout
        self.blocks = nn.ModuleList(blocks)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return (
            f"{self.input_size}, {self.output_size}, num_layers={self.num_layers}, "
            f"kernel_size={self.kernel_size}, dropout={self.dropout}, "
            f"batch_first={self.batch_first}"
        )

    def _run(
        self, x: Tensor, past: tuple[Tensor, ...], lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = x.permute(1, 2, 0)  # (B, C, T), as convolutions have it
        state: tuple[Tensor, ...] = ()
        for level, block in enumerate(self.blocks):
            if level and observes_graph():
                x = observe_input(self, level, x.permute(2, 0, 1)).permute(1, 2, 0)
            read = x
            x, block_state = block(read, past[2 * level : 2 * level + 2], lengths)
            state += block_state
            if observes_values():
                field = 1 + sum(steps for steps, _ in self._memory[: 2 * level + 2])
                both = (read.permute(2, 0, 1), x.permute(2, 0, 1))
                observe_level(self, level, field, *both, lengths)
        return x.permute(2, 0, 1), state


class ResidualBlock(nn.Module):
    """Two weight-normalised causal convolutions, and a path around them. The equations: `TCN`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        kernel_size: int,
        dilation: int,
        dropout: float,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.conv1 = NormalisedConv(input_size, hidden_size, kernel_size, dilation, device, dtype)
        self.conv2 = NormalisedConv(hidden_size, hidden_size, kernel_size, dilation, device, dtype)
        self.dropout = nn.Dropout(dropout)
        self.shortcut: nn.Module = nn.Identity()
        if input_size != hidden_size:
            self.shortcut = nn.Conv1d(input_size, hidden_size, 1, device=device, dtype=dtype)
            nn.init.normal_(self.shortcut.weight, std=0.01)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor], lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the output, (B, H, T), and the new past of both convolutions."""
        a, past1 = causal_conv(self.conv1, x, past[0], lengths)
        a = self.dropout(a.relu())
        b, past2 = causal_conv(self.conv2, a, past[1], lengths)
        b = self.dropout(b.relu())
        return (b + self.shortcut(x)).relu(), (past1, past2)


class NormalisedConv(nn.Conv1d):
    """A weight-normalised convolution that can be pickled, which torch's `weight_norm` cannot.

    The weights have the names that `weight_norm` gives them, and the weight normalisation can be
    taken off in the same way, by `torch.nn.utils.parametrize.remove_parametrizations`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilation: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, dilation=dilation, device=device, dtype=dtype
        )
        register_parametrization(self, "weight", WeightNorm(), unsafe=True)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return what makes this again: its class is made on the spot, so pickle cannot find it."""
        parametrizations: Any = getattr(self, "parametrizations", ())
        if list(parametrizations) != ["weight"]:  # none, or also a user's own
            return super().__reduce_ex__(protocol)
        sizes = (self.in_channels, self.out_channels, self.kernel_size[0], self.dilation[0])
        # without memory or random numbers, for all that it holds is replaced
        return NormalisedConv, (*sizes, "meta"), self.__dict__


class WeightNorm(nn.Module):
    """W = g v / |v|, for each output channel: the direction v and the length g are learned."""

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        """Return W, (out, in, k), of g, (out, 1, 1), and v, (out, in, k)."""
        return torch._weight_norm(v, g, 0)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return g and v that make `weight`."""
        return torch.norm_except_dim(weight, 2, 0), weight
