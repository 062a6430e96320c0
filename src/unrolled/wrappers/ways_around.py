"""Ways around a layer, by which its input reaches what comes after it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import OptionError
from unrolled.kernels import lengths_tensor, valid_steps
from unrolled.wrappers.wrapper import Wrapper

__all__ = ["Highway", "Residual"]


class _WayAround(Wrapper):
    """A layer whose input goes into its output, unit by unit.

    Raises:
        OptionError: The layer's output is not as wide as its input.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(layer)
        if self.input_size != self.output_size:
            raise OptionError(
                f"{type(self).__name__}: the layer reads {self.input_size} features "
                f"and gives {self.output_size}",
                "both must be the same: the input is added to the output",
            )

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        **given: Any,
    ) -> tuple[Any, Any]:
        """Read a batch of sequences; arguments, results and errors are the layer's."""
        output, state = self.layer(input, hx, lengths=lengths, **given)
        if isinstance(input, PackedSequence):
            return output._replace(data=self._join(input.data, output.data)), state
        if lengths is not None:  # as the layer does, read nothing past a row's end
            time = 1 if self.batch_first and input.dim() == 3 else 0
            counts = lengths_tensor(lengths).to(output.device).reshape(-1)
            valid = valid_steps(counts, input.shape[time])  # (T, B)
            if input.dim() == 2:
                valid = valid[:, 0]
            elif self.batch_first:
                valid = valid.T
            input = input.masked_fill(~valid[..., None], 0.0)
        return self._join(input, output), state

    def _join(self, x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError


class Residual(_WayAround):
    """A layer that its input goes around: x + layer(x).

    Source: K. He et al. (2016), "Deep residual learning for image recognition", equation 1; between
    LSTMs: Y. Wu et al. (2016), "Google's neural machine translation system", section 3.1.

    Args:
        layer: A layer whose output is as wide as its input.

    Raises:
        OptionError: It is not.

    Example:
        >>> import torch
        >>> from unrolled import LSTM
        >>> from unrolled.wrappers import Residual
        >>> output, state = Residual(LSTM(8, 8))(torch.zeros(5, 2, 8))
        >>> output.shape
        torch.Size([5, 2, 8])
    """

    def _join(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Highway(_WayAround):
    """A layer with a gate that chooses, unit by unit, between it and a way around it.

    t * layer(x) + (1 - t) * x, with t = sigmoid(W x + b). The gate begins with W = 0 and at
    t = sigmoid(bias): nearly all goes around.

    Source: R. K. Srivastava, K. Greff and J. Schmidhuber (2015), "Highway networks", equation 3.

    Args:
        layer: A layer whose output is as wide as its input.
        bias: Where b begins.

    Attributes:
        gate: W and b, a `torch.nn.Linear`.

    Raises:
        OptionError: Input and output differ in width.
    """

    def __init__(self, layer: nn.Module, bias: float = -2.0) -> None:
        super().__init__(layer)
        like = next(layer.parameters())
        self.gate = nn.Linear(
            self.input_size, self.input_size, device=like.device, dtype=like.dtype
        )
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, bias)

    def _join(self, x: Tensor, y: Tensor) -> Tensor:
        return x + torch.sigmoid(self.gate(x)) * (y - x)
