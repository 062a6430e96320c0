"""The forecaster: steps of the past in, steps of the future out; how, says `methods.py`.

What is read is scaled (`scales.py`). Of each window the last value, or mean and deviation, is taken
off first and put back at the end. Where differences are learned, the layer reads of each step how
far it is from the one before it, or from the one a cycle before it. A linear forecast of the window
can be added to the network's.

Source:
    Last value: Zeng et al. (2023), NLinear. Mean and deviation: Kim et al. (2022), reversible
    instance normalisation, without its learned scale.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from unrolled.errors import ShapeError
from unrolled.layers import SequenceLayer, check_sizes
from unrolled.tasks.forecast.framing import Frame, changes, fill, frame_of, last_cycle
from unrolled.tasks.forecast.heads import make_head
from unrolled.tasks.forecast.model_options import ModelOptions
from unrolled.tasks.forecast.statics import StaticReader

__all__ = ["Forecaster", "Inputs", "joined"]


class Inputs(NamedTuple):
    """What a forecast looks at, scaled, NaN where something is missing.

    past: The targets, (B, L, C).
    columns: What else is known of these steps, (B, L, P + K).
    future: What is known of the steps to come, (B, H, K).
    targets: Of those steps, (B, H, C), where they are known: in training.
    static: Of the series numbers, (B, N), and indices of words, (B, W), where it is read.
    """

    past: Tensor
    columns: Tensor
    future: Tensor
    targets: Tensor | None = None
    static: tuple[Tensor, Tensor] | None = None


def joined(inputs: Inputs) -> Tensor:
    """Return all that is known of each step that was, (rows, L, I)."""
    return torch.cat([inputs.past, inputs.columns], 2)


class Forecaster(nn.Module, ABC):
    """What comes next: a sequence layer, and what it says of the steps to come.

    Abstract: `make_forecaster` gives one.

    Args:
        options: What it is made of.
        num_targets: C.
        num_past: P, columns that are known until now.
        num_known: K, columns that are known in advance, the calendar's among them.
        lookback: L, steps that a forecast looks at.
        horizon: H, steps that it makes.
        marks_missing: Whether a step also says which targets are missing.
        lag: 0, or how many steps before it the one is from which each step's distance is read.
        static: How many numbers are known of a whole series, and how many words each other column
            of that kind has; read at each step.

    Raises:
        OptionError: A size below 1, or columns that a recursive forecaster would need to forecast.

    Attributes:
        layer: The sequence layer, batch first.
        head: What its numbers mean.
        spread: What the widths of intervals are multiplied by in eval mode, (1,): 1 until
            held-out values were looked at.
    """

    layer: nn.Module
    answer: nn.Linear
    spread: Tensor
    widens = True
    """Whether intervals are widened as they are said, and not afterwards those of paths."""

    def __init__(
        self,
        options: ModelOptions,
        *,
        num_targets: int,
        num_past: int,
        num_known: int,
        lookback: int,
        horizon: int,
        marks_missing: bool,
        lag: int = 0,
        static: tuple[int, tuple[int, ...]] = (0, ()),
    ) -> None:
        super().__init__()
        sizes = {"num_targets": num_targets, "lookback": lookback, "horizon": horizon}
        check_sizes("Forecaster", sizes)
        self.options = options
        self.num_targets, self.num_past, self.num_known = num_targets, num_past, num_known
        self.lookback, self.horizon = lookback, horizon
        self.marks_missing, self.lag = marks_missing, lag
        self.head = make_head(options.learns, options.levels)
        self.width = 1 if options.is_independent else num_targets  # targets that are read together
        self.statics = StaticReader(*static) if static[0] or static[1] else None
        self.dropout = nn.Dropout(options.dropout)
        self.register_buffer("spread", torch.ones(1))
        self.linear: nn.Linear | None = None
        if options.is_linear:
            self.linear = nn.Linear(lookback, horizon)

    @property
    def differences(self) -> bool:
        """Whether the layer reads differences."""
        return self.lag > 0

    @property
    def step_size(self) -> int:
        """I, what is known of a step that was."""
        return self.width * (1 + self.marks_missing) + self.num_past + self.ahead_size

    @property
    def ahead_size(self) -> int:
        """Numbers that are known of a step to come, those of the whole series among them."""
        return self.num_known + (0 if self.statics is None else self.statics.output_size)

    @property
    def spoken_size(self) -> int:
        """Numbers that are said of a step."""
        return self.width * self.head.size

    @property
    def output_size(self) -> int:
        """O, features of the layer's output."""
        return cast(SequenceLayer, self.layer).output_size

    @abstractmethod
    def raw(self, inputs: Inputs) -> Tensor:
        """Return the raw numbers of the steps to come, (rows, H, width R), of windows in frames."""

    @abstractmethod
    def read(self, inputs: Inputs) -> Tensor:
        """Return what the layer reads of windows in their frames, (rows, steps, I)."""

    @abstractmethod
    def start(self, residuals: Tensor) -> Tensor:
        """Return the raw numbers with which the answer begins, as many as its bias has.

        Args:
            residuals: Of the linear forecast, (N, H, C) in their frames, NaN where one is missing.
        """

    def forward(self, inputs: Inputs) -> Tensor:
        """Return what is said of the steps to come, (B, H, C, R): the head's parameters, scaled.

        Of a recursive forecaster that learns from the truth, and where targets are given, each step
        is said after the ones before it were seen; else after what it said of them itself.

        Raises:
            ShapeError: Inputs of other sizes than the model's.
        """
        self.check(inputs)
        frame = self.frame(inputs.past)
        raw = self.together(self.raw(self.apart(inputs, frame)), inputs.past.shape[0])
        if self.linear is not None:
            raw = self.with_location(raw, self.linear_part(inputs.past, frame))
        return self.said(raw, frame)

    def said(self, raw: Tensor, frame: Frame) -> Tensor:
        """Return the head's parameters of raw numbers, (B, H, C, R), with the frame put back."""
        parameters = self.head.parameters(raw)
        if not self.training and self.widens:
            parameters = self.head.widened(parameters, self.spread)
        if self.options.frame == "none":
            return parameters
        return self.head.moved(parameters, *frame)

    def frame(self, past: Tensor, horizon: int | None = None) -> Frame:
        """Return what is taken off windows, (B, L, C), and off `horizon` steps to come, or H."""
        frame = frame_of(past, self.options.frame)
        if self.lag <= 1:
            return frame
        return Frame(last_cycle(past, self.lag, horizon or self.horizon), frame.width)

    def filled(self, past: Tensor, frame: Frame) -> Tensor:
        """Return what the linear forecast reads of windows, (B, L, C).

        In place of a missing value it is the one before; of cycles it is their differences.
        """
        if self.lag > 1:
            return changes(past, self.lag)
        return fill((past - frame.offset) / frame.width)

    def linear_part(self, past: Tensor, frame: Frame) -> Tensor:
        """Return the linear forecast in its frame, (B, H, C)."""
        assert self.linear is not None
        z = self.filled(past[:, -self.lookback :], frame)
        forecast: Tensor = self.linear(z.transpose(1, 2)).transpose(1, 2)
        return forecast

    def features(self, inputs: Inputs) -> Tensor:
        """Return what the layer reads of windows, (B, T, I); where it reads apart, (B C, n, I)."""
        return self.read(self.apart(inputs, self.frame(inputs.past)))

    @torch.no_grad()
    def begin_with(self, residuals: Tensor) -> None:
        """Have the network answer 0 at first, with the spread of the linear forecast's errors.

        Args:
            residuals: Of the linear forecast, (N, H, C) in their frames, NaN where one is missing.
        """
        self.answer.weight.zero_()
        self.answer.bias.copy_(self.start(residuals).flatten())

    def with_location(self, raw: Tensor, location: Tensor) -> Tensor:
        """Return raw numbers with `location` added to the one that says where values lie."""
        place = getattr(self.head, "middle", 0)
        shift = torch.zeros_like(raw)
        shift[..., place] = location
        return raw + shift

    def check(self, inputs: Inputs) -> None:
        """Raise `ShapeError` unless inputs have the model's sizes."""
        expected = {
            "past": (self.num_targets, inputs.past),
            "columns": (self.num_past + self.num_known, inputs.columns),
            "future": (self.num_known, inputs.future),
        }
        for name, (size, tensor) in expected.items():
            if tensor.dim() != 3 or tensor.shape[2] != size:
                got = tuple(tensor.shape)
                raise ShapeError(f"Forecaster: {name} must be (B, T, {size}), got {got}")
        if inputs.past.shape[1] < self.lookback:
            message = f"Forecaster: past must have at least {self.lookback} steps"
            raise ShapeError(f"{message}, got {inputs.past.shape[1]}")
        if (inputs.static is None) != (self.statics is None):
            what = "is needed" if inputs.static is None else "is not read"
            raise ShapeError(f"Forecaster: static {what}")

    def apart(self, inputs: Inputs, frame: Frame) -> Inputs:
        """Return windows in their frame; where targets are forecast by themselves, a row for each.

        Of a step `past` then has the values, or differences, and the marks of missing ones.
        """
        if self.lag > 1:
            past = changes(inputs.past, self.lag)
        else:
            z = (inputs.past - frame.offset) / frame.width
            past = changes(z) if self.lag else fill(z)
        if self.marks_missing:
            past = torch.cat([past, inputs.past.isnan().to(past.dtype)], 2)
        targets = inputs.targets
        if targets is not None:
            targets = (targets - frame.offset) / frame.width
        columns, future = inputs.columns.nan_to_num(0.0), inputs.future.nan_to_num(0.0)
        if self.statics is not None and inputs.static is not None:
            features = self.statics(*inputs.static)[:, None]
            columns, future = (
                torch.cat([each, features.expand(-1, each.shape[1], -1)], 2)
                for each in (columns, future)
            )
        if not self.options.is_independent:
            return Inputs(past, columns, future, targets)
        size, num = past.shape[0], self.num_targets

        def rows(tensor: Tensor) -> Tensor:
            return tensor.transpose(1, 2).reshape(size * num, -1, 1)

        values = rows(past[..., :num])
        if self.marks_missing:
            values = torch.cat([values, rows(past[..., num:])], 2)
        return Inputs(
            values,
            columns.repeat_interleave(num, 0),
            future.repeat_interleave(num, 0),
            None if targets is None else rows(targets),
        )

    def together(self, raw: Tensor, batch_size: int) -> Tensor:
        """Return (rows, H, width R) as (B, H, C, R)."""
        horizon, size = raw.shape[1], self.head.size
        if not self.options.is_independent:
            return raw.view(batch_size, horizon, self.num_targets, size)
        return raw.view(batch_size, self.num_targets, horizon, size).transpose(1, 2)
