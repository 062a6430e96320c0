"""The methods by which a forecaster makes steps of the future.

    direct             [layer] ... [layer] -> h_T -> all H steps at once
    segment            w steps are one: [layer] [layer] -> state, and from that state each segment
                       of the future by one step of its own: a place and a target in, w steps out
    encoder-decoder    [layer] ... [layer] -> state -> [decoder] -> 1, [decoder] -> 2, ...
                       which reads its place, and what is known of the step
    recursive          [layer] ... [layer] -> 1 -> [layer] -> 2 -> ...     `recursive.py`

Source:
    Segment: Lin et al. (2023), SegRNN. Encoder and decoder: Sutskever et al. (2014); but the
    decoder does not read what it said.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from unrolled.layers import RecurrentLayer, SequenceLayer, map_state
from unrolled.networks.sequence_layers import make_layer
from unrolled.tasks.forecast.model import Forecaster, Inputs, joined
from unrolled.tasks.forecast.model_options import ModelOptions
from unrolled.tasks.forecast.recursive import RecursiveForecaster

__all__ = [
    "DirectForecaster",
    "EncoderDecoderForecaster",
    "SegmentForecaster",
    "make_forecaster",
]

_KNOWN_SIZE = 32  # units between what is known of a future step and what is said of it


class DirectForecaster(Forecaster):
    """All steps at once from the layer's last output."""

    def __init__(self, options: ModelOptions, **sizes: Any) -> None:
        super().__init__(options, **sizes)
        self.layer = make_layer(options, self.step_size)
        self.answer = nn.Linear(self.output_size, self.horizon * self.spoken_size)
        self.known: nn.Sequential | None = None
        if self.ahead_size:
            self.known = nn.Sequential(
                nn.Linear(self.output_size + self.ahead_size, _KNOWN_SIZE),
                nn.ReLU(),
                nn.Linear(_KNOWN_SIZE, self.spoken_size),
            )

    def read(self, inputs: Inputs) -> Tensor:
        """Return all that is known of each step."""
        return joined(inputs)

    def raw(self, inputs: Inputs) -> Tensor:
        """Return the raw numbers of the steps to come."""
        output, _ = self.layer(self.read(inputs))
        return self.answers(self.dropout(output[:, -1]), inputs.future)

    def answers(self, last: Tensor, future: Tensor) -> Tensor:
        """Return the raw numbers after an output, (rows, H, width R).

        Args:
            last: The layer's output at the last step, (rows, O).
            future: What is known of the steps to come, (rows, H, K).
        """
        raw: Tensor = self.answer(last).view(last.shape[0], self.horizon, -1)
        if self.known is None:
            return raw
        every = last[:, None].expand(-1, self.horizon, -1)
        raw = raw + self.known(torch.cat([every, future[:, : self.horizon]], 2))
        return raw

    def start(self, residuals: Tensor) -> Tensor:
        """Return what fits the residuals of each step; of targets apart, of all of them."""
        if self.known is not None:
            added = cast(nn.Linear, self.known[-1])
            added.weight.zero_()
            added.bias.zero_()
        if self.options.is_independent:
            residuals = residuals.transpose(1, 2).flatten(0, 1)[..., None]
        return self.head.start(residuals)


class SegmentForecaster(Forecaster):
    """Several steps are read as one, and each segment of the future is one step from one state."""

    def __init__(self, options: ModelOptions, **sizes: Any) -> None:
        super().__init__(options, **sizes)
        size = options.hidden_size
        most = options.segment or max(1, self.lookback // 4)
        self.segment = min(self.horizon, most, self.lookback)
        self.num_segments = -(-self.horizon // self.segment)
        self.embed = nn.Linear(self.segment * self.step_size, size)
        self.layer = make_layer(options, size)
        self.place = nn.Parameter(torch.randn(self.num_segments, size // 2))
        rows = self.num_targets if options.is_independent else 1
        self.channel = nn.Parameter(torch.randn(rows, size - size // 2))
        self.known: nn.Sequential | None = None
        if self.ahead_size:
            self.known = nn.Sequential(nn.Linear(self.segment * self.ahead_size, size))
        self.answer = nn.Linear(self.output_size, self.segment * self.spoken_size)

    def read(self, inputs: Inputs) -> Tensor:
        """Return the segments of windows, (rows, n, H); the oldest steps that make none are cut."""
        steps = joined(inputs)
        num = steps.shape[1] // self.segment
        cut = steps[:, steps.shape[1] - num * self.segment :]
        embedded: Tensor = self.embed(cut.reshape(steps.shape[0], num, -1))
        return embedded.relu()

    def raw(self, inputs: Inputs) -> Tensor:
        """Return the raw numbers of the steps to come."""
        _, state = self.layer(self.read(inputs))
        rows, num = inputs.past.shape[0], self.num_segments  # len() would be a constant in a graph
        channel = self.channel.repeat(rows // len(self.channel), 1)  # (rows, D / 2)
        where = torch.cat(
            [
                self.place.repeat(rows, 1).view(rows, num, -1),
                channel[:, None].expand(-1, num, -1),
            ],
            2,
        )
        if self.known is not None:
            missing = num * self.segment - self.horizon
            future = nn.functional.pad(inputs.future[:, : self.horizon], (0, 0, 0, missing))
            where = where + self.known(future.reshape(rows, num, -1))
        state = map_state(lambda part: part.repeat_interleave(num, 1).contiguous(), state)
        output, _ = self.layer(where.reshape(rows * num, 1, -1), state)
        raw: Tensor = self.answer(self.dropout(output[:, 0]))
        return raw.view(rows, num * self.segment, -1)[:, : self.horizon]

    def start(self, residuals: Tensor) -> Tensor:
        """Return what fits the residuals of all steps and targets."""
        return self.head.start(residuals.reshape(-1)).expand(self.segment, self.width, -1)


class EncoderDecoderForecaster(Forecaster):
    """A layer reads the window, and another one of the same cell goes on from its state.

    The decoder reads at each step to come a learned vector for its place, and what is known of it;
    so all steps are one call. A layer without a recurrent state has none to hand over: its decoder
    reads the encoder's last output at each step instead.
    """

    def __init__(self, options: ModelOptions, **sizes: Any) -> None:
        super().__init__(options, **sizes)
        size = options.hidden_size
        self.layer = make_layer(options, self.step_size)
        self.decoder = make_layer(options, size)
        self.summary: nn.Linear | None = None
        if not isinstance(self.layer, RecurrentLayer):
            self.summary = nn.Linear(self.output_size, size)
        self.place = nn.Parameter(torch.randn(self.horizon, size))
        self.known = nn.Linear(self.ahead_size, size) if self.ahead_size else None
        self.answer = nn.Linear(cast(SequenceLayer, self.decoder).output_size, self.spoken_size)

    def read(self, inputs: Inputs) -> Tensor:
        """Return all that is known of each step."""
        return joined(inputs)

    def raw(self, inputs: Inputs) -> Tensor:
        """Return the raw numbers of the steps to come."""
        output, state = self.layer(self.read(inputs))
        steps = self.place.expand(inputs.past.shape[0], -1, -1)
        if self.known is not None:
            steps = steps + self.known(inputs.future[:, : self.horizon])
        if self.summary is None:
            decoded, _ = self.decoder(steps, state)
        else:
            decoded, _ = self.decoder(steps + self.summary(output[:, -1:]))
        raw: Tensor = self.answer(self.dropout(decoded))
        return raw

    def start(self, residuals: Tensor) -> Tensor:
        """Return what fits the residuals of all steps, of each target or of all of them."""
        together = residuals.flatten(0, 1)
        return self.head.start(together.reshape(-1, 1) if self.width == 1 else together)


_METHODS: dict[str, type[Forecaster]] = {
    "direct": DirectForecaster,
    "recursive": RecursiveForecaster,
    "segment": SegmentForecaster,
    "encoder-decoder": EncoderDecoderForecaster,
}


def make_forecaster(options: ModelOptions, **sizes: Any) -> Forecaster:
    """Return a new forecaster of a method.

    Args:
        options: What it is made of.
        sizes: Those of `Forecaster`.

    Example:
        >>> sizes = {"num_targets": 2, "num_past": 0, "num_known": 0, "lookback": 8, "horizon": 3}
        >>> model = make_forecaster(ModelOptions(loss="mae"), **sizes, marks_missing=False)
        >>> nothing = torch.zeros(5, 8, 0)
        >>> model(Inputs(torch.randn(5, 8, 2), nothing, nothing[:, :3])).shape
        torch.Size([5, 3, 2, 1])
    """
    return _METHODS[options.method](options, **sizes)
