"""The temporal convolutional network: causal, dilated, residual. The layer `TCN` and its block.

Source: S. Bai, J. Z. Kolter and V. Koltun (2018), "An empirical evaluation of generic convolutional
and recurrent networks for sequence modeling", arXiv:1803.01271, section 3 and figure 1.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler import record_function
from torch.nn.modules import module as torch_module
from torch.nn.utils.parametrize import register_parametrization

from unrolled.kernels import (
    BlockShape,
    BlockWeights,
    NetworkProblem,
    NetworkStepper,
    Pieces,
    convolve_blocks,
    may_step,
    network_stepper,
)
from unrolled.layers.causal_conv import FiniteMemoryLayer, causal_conv, memory_span
from unrolled.layers.observing import (
    is_observed,
    observe_input,
    observe_level,
    observes_graph,
    observes_values,
)
from unrolled.layers.options import check_dropout, check_sizes
from unrolled.layers.stream import Stream

__all__ = ["TCN", "ResidualBlock"]


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

    def _run_compiled(
        self,
        x: Tensor,
        past: tuple[Tensor, ...] | None,
        lengths: Tensor | None,
        pieces: Pieces | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]] | None:
        if torch.compiler.is_compiling() or not may_step(x) or x.dtype is not torch.float32:
            return None
        shapes = self._shapes()
        if shapes is None:
            return None
        weights, keep = self._weights(), _what_dropout_keeps(shapes, x)
        if not (observes_graph() or observes_values()):
            problem = NetworkProblem(shapes, x, lengths, past or (), weights, keep, pieces)
            if not torch._C._autograd._profiler_enabled():
                results = convolve_blocks(problem)
            else:  # a name for the call
                with record_function(f"unrolled::tcn {tuple(x.shape)} -> {self.output_size}"):
                    results = convolve_blocks(problem)
            return None if results is None else (results[0], tuple(results[1:]))
        state: list[Tensor] = []
        for level in range(self.num_layers):
            if level and observes_graph():
                x = observe_input(self, level, x)
            own = slice(2 * level, 2 * level + 2)
            own_past = past[own] if past else ()
            block = (shapes[level : level + 1], x, lengths, own_past, weights[level : level + 1])
            results = convolve_blocks(NetworkProblem(*block, keep[own]))
            if results is None:
                return None
            self._observe(level, x, results[0], lengths)
            x = results[0]
            state += results[1:]
        return x, tuple(state)

    def stream(self, batch_size: int = 1) -> Stream:
        """Return a `Stream` that reads `batch_size` sequences piece by piece."""
        return Stream(self, batch_size, partial(self._stepper, batch_size), self._may_be_stepped)

    def _stepper(self, batch_size: int, stepper: NetworkStepper | None) -> NetworkStepper | None:
        """Return `stepper` if it has these modules and weights, else a new one, if there may be."""
        if self._may_be_stepped() is None:
            return None
        if stepper is not None and stepper.serves():
            return stepper
        if next(self.parameters()).dtype is not torch.float32 or _is_changed(self):
            return None
        parameters, shapes = list(self.parameters()), self._shapes()
        if shapes is None:
            return None
        dicts: list[dict[Any, Any]] = []
        for module in self.modules():
            dicts += [d for d in (module._modules, module._parameters) if d]
        for module in (self, *(m for block in self.blocks for m in (block, *block.children()))):
            dicts += [module._forward_hooks, module._forward_pre_hooks]
        return network_stepper(shapes, self._weights, parameters, dicts, batch_size)

    def _may_be_stepped(self) -> dict[str, Any] | None:
        """Return nothing, None where a step is more than to compute with the weights."""
        dropouts: list[Any] = [block.dropout for block in self.blocks] if self.dropout else []
        dropped = any(dropout.training and dropout.p for dropout in dropouts)
        return None if dropped or is_observed() or _has_global_hook() else {}

    def _observe(self, level: int, read: Tensor, output: Tensor, lengths: Tensor | None) -> None:
        """Give what a block read and returned, (T, B, C), to who looks."""
        if observes_values():
            field = 1 + sum(steps for steps, _ in self._memory[: 2 * level + 2])
            observe_level(self, level, field, read, output, lengths)

    def _shapes(self) -> tuple[BlockShape, ...] | None:
        """Return what the blocks are, None where they are more than what `TCN` says."""
        if _has_global_hook():
            return None
        shapes = []
        for level, block in enumerate(self.blocks):
            input_size = self.output_size if level else self.input_size
            shape = BlockShape(input_size, self.output_size, self.kernel_size, 2**level, 0.0)
            if type(block) is not ResidualBlock or not block.computes(shape):
                return None
            dropout = block.dropout
            shapes.append(shape._replace(dropout=dropout.p if dropout.training else 0.0))
        return tuple(shapes)

    def _weights(self) -> tuple[BlockWeights, ...]:
        weights = []
        for block in self.blocks:
            convolutions: list[Any] = [block.conv1, block.conv2]
            if not isinstance(block.shortcut, nn.Identity):
                convolutions.append(block.shortcut)
            flat = [tensor for module in convolutions for tensor in (module.weight, module.bias)]
            weights.append(BlockWeights(*flat))
        return tuple(weights)

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
            self._observe(level, read.permute(2, 0, 1), x.permute(2, 0, 1), lengths)
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

    def computes(self, shape: BlockShape) -> bool:
        """Whether it is what it was made as: no hook, and no module of another kind or size."""
        sizes = (shape.kernel_size, shape.dilation)
        same = shape.input_size == shape.hidden_size
        return (
            not _is_changed(self)
            and _is_convolution(self.conv1, shape.input_size, shape.hidden_size, *sizes)
            and _is_convolution(self.conv2, shape.hidden_size, shape.hidden_size, *sizes)
            and type(self.dropout) is nn.Dropout
            and not _is_changed(self.dropout)
            and (
                type(self.shortcut) is nn.Identity and not _is_changed(self.shortcut)
                if same
                else _is_convolution(self.shortcut, shape.input_size, shape.hidden_size, 1, 1)
            )
        )


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _has_global_hook() -> bool:
    """Whether there are hooks for the calls of all modules."""
    has_hook: bool = torch_module._has_any_global_hook()  # type: ignore[no-untyped-call]  # torch has no types for it
    return has_hook


def _is_changed(module: nn.Module) -> bool:
    """Whether a call of a module is more than its class's `forward`."""
    return any(getattr(module, name) for name in _HOOKS) or "forward" in module.__dict__


def _is_convolution(
    module: Any, in_channels: int, out_channels: int, kernel_size: int, dilation: int
) -> bool:
    """Whether a module is an unpadded convolution of these sizes and of stride 1."""
    kind = type(module)
    return (
        isinstance(module, nn.Conv1d)
        and kind.forward is nn.Conv1d.forward
        and kind._conv_forward is nn.Conv1d._conv_forward
        and not _is_changed(module)
        and (module.in_channels, module.out_channels) == (in_channels, out_channels)
        and (module.kernel_size, module.dilation) == ((kernel_size,), (dilation,))
        and (module.stride, module.padding, module.groups) == ((1,), (0,), 1)
    )


def _what_dropout_keeps(shapes: tuple[BlockShape, ...], x: Tensor) -> tuple[Tensor | None, ...]:
    """Return for each convolution which values, (B, T, H), dropout keeps; None for all."""
    num_steps, batch_size, _ = x.shape
    keep: list[Tensor | None] = []
    for shape in shapes:
        for _ in range(2):
            mask = None
            if shape.dropout:
                size = (batch_size, num_steps, shape.hidden_size)
                mask = torch.empty(size, dtype=torch.bool, device=x.device)
                mask.bernoulli_(1 - shape.dropout)
            keep.append(mask)
    return tuple(keep)


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
