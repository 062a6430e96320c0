"""The forecaster: steps of the past in, steps of the future out, by one of three methods.

    direct       [layer] ... [layer] -> h_T -> all H steps at once
    recursive    [layer] ... [layer] -> 1 -> [layer] -> 2 -> ...      fed with what it said itself
    segment      w steps are one: [layer] [layer] -> state, and from that state each segment of the
                 future by one step of its own: a place and a target in, w steps out

What is read is scaled (`scales.py`). Of each window the last value, or mean and deviation, is taken
off first and put back at the end. A linear forecast of the window can be added to the network's.

Source:
    Segment: Lin et al. (2023), SegRNN. Last value: Zeng et al. (2023), NLinear. Mean and deviation:
    Kim et al. (2022), reversible instance normalisation, without its learned scale. Recursive:
    Salinas et al. (2020), DeepAR.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError, ShapeError, field
from unrolled.layers import State, check_sizes, map_state
from unrolled.networks.sequence_layers import make_layer
from unrolled.tasks.forecast.heads import make_head
from unrolled.tasks.forecast.model_options import ModelOptions

__all__ = ["Forecaster", "Frame", "Inputs"]

_EPSILON = 1e-5  # of a window's deviation
_KNOWN_SIZE = 32  # units between what is known of a future step and what is said of it


class Inputs(NamedTuple):
    """What a forecast looks at, scaled, NaN where something is missing.

    past: The targets, (B, L, C).
    columns: What else is known of these steps, (B, L, P + K).
    future: What is known of the steps to come, (B, H, K).
    targets: Of those steps, (B, H, C), where they are known: in training.
    """

    past: Tensor
    columns: Tensor
    future: Tensor
    targets: Tensor | None = None


class Frame(NamedTuple):
    """What is taken off a window and put back, (B, 1, C) each: y = offset + width * z."""

    offset: Tensor
    width: Tensor


class Forecaster(nn.Module):
    """What comes next: a sequence layer, and what it says of the steps to come.

    Args:
        options: What it is made of.
        num_targets: C.
        num_past: P, columns that are known until now.
        num_known: K, columns that are known in advance, the calendar's among them.
        lookback: L, steps that a forecast looks at.
        horizon: H, steps that it makes.
        marks_missing: Whether a step also says which targets are missing.

    Raises:
        OptionError: A size below 1, or columns that a recursive forecaster would need to forecast.

    Attributes:
        layer: The sequence layer, batch first.
        head: What its numbers mean.
        spread: What the widths of intervals are multiplied by in eval mode, (1,): 1 until
            held-out values were looked at.

    Example:
        >>> sizes = {"num_targets": 2, "num_past": 0, "num_known": 0, "lookback": 8, "horizon": 3}
        >>> model = Forecaster(ModelOptions(loss="mae"), **sizes, marks_missing=False)
        >>> nothing = torch.zeros(5, 8, 0)
        >>> model(Inputs(torch.randn(5, 8, 2), nothing, nothing[:, :3])).shape
        torch.Size([5, 3, 2, 1])
    """

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
    ) -> None:
        super().__init__()
        sizes = {"num_targets": num_targets, "lookback": lookback, "horizon": horizon}
        check_sizes("Forecaster", sizes)
        self.options = options
        self.num_targets, self.num_past, self.num_known = num_targets, num_past, num_known
        self.lookback, self.horizon = lookback, horizon
        self.marks_missing = marks_missing
        self.head = make_head(options.learns, options.levels)
        self.width = 1 if options.is_independent else num_targets  # targets that are read together
        features = self.width * (1 + marks_missing) + num_past + num_known
        spoken = self.width * self.head.size
        self.dropout = nn.Dropout(options.dropout)
        self.spread: Tensor
        self.register_buffer("spread", torch.ones(1))
        self.linear: nn.Linear | None = None
        if options.is_linear:
            self.linear = nn.Linear(lookback, horizon)
        self.embed: nn.Linear | None = None
        self.known: nn.Sequential | None = None
        if options.method == "segment":
            size = options.hidden_size
            self.segment = min(horizon, options.segment or max(1, lookback // 4), lookback)
            self.num_segments = -(-horizon // self.segment)
            self.embed = nn.Linear(self.segment * features, size)
            self.layer = make_layer(options, size)
            self.place = nn.Parameter(torch.randn(self.num_segments, size // 2))
            rows = num_targets if options.is_independent else 1
            self.channel = nn.Parameter(torch.randn(rows, size - size // 2))
            if num_known:
                self.known = nn.Sequential(nn.Linear(self.segment * num_known, size))
            self.answer = nn.Linear(self._output_size, self.segment * spoken)
        elif options.method == "recursive":
            if num_past:
                message = f"{field('method')} recursive would have to forecast {field('past')} too"
                raise OptionError(message, f"{field('method')} direct, or name them as targets")
            self.layer = make_layer(options, features)
            self.answer = nn.Linear(self._output_size, spoken)
        else:
            self.layer = make_layer(options, features)
            self.answer = nn.Linear(self._output_size, horizon * spoken)
            if num_known:
                size = self._output_size + num_known
                self.known = nn.Sequential(
                    nn.Linear(size, _KNOWN_SIZE), nn.ReLU(), nn.Linear(_KNOWN_SIZE, spoken)
                )

    @property
    def _output_size(self) -> int:
        return cast(int, self.layer.output_size)

    def forward(self, inputs: Inputs) -> Tensor:
        """Return what is said of the steps to come, (B, H, C, R): the head's parameters, scaled.

        Of a recursive forecaster that learns from the truth, and where targets are given, each step
        is said after the ones before it were seen; else after what it said of them itself.

        Raises:
            ShapeError: Inputs of other sizes than the model's.
        """
        self._check(inputs)
        frame = self.frame(inputs.past)
        framed = self._apart(inputs, frame)
        if self.options.method == "recursive":
            raw = self._recursive(framed)
        else:
            raw = (
                self._segments(framed) if self.options.method == "segment" else self._direct(framed)
            )
        raw = self._together(raw, inputs.past.shape[0])
        if self.linear is not None:
            raw = self.with_location(raw, self.linear_part(inputs.past, frame))
        return self.said(raw, frame)

    def said(self, raw: Tensor, frame: Frame) -> Tensor:
        """Return the head's parameters of raw numbers, (B, H, C, R), with the frame put back."""
        parameters = self.head.parameters(raw)
        if not self.training and self.options.method != "recursive":  # of that, paths are widened
            parameters = self.head.widened(parameters, self.spread)
        if self.options.frame == "none":
            return parameters
        return self.head.moved(parameters, *frame)

    def frame(self, past: Tensor) -> Frame:
        """Return what is taken off windows, (B, L, C)."""
        observed = ~past.isnan()
        none = ~observed.any(1, keepdim=True)
        values = past.nan_to_num(0.0)
        zero, one = torch.zeros_like(values[:, :1]), torch.ones_like(values[:, :1])
        if self.options.frame == "none":
            return Frame(zero, one)
        if self.options.frame == "last":
            steps = torch.arange(past.shape[1], device=past.device)[:, None]
            last = torch.where(observed, steps, 0).amax(1, keepdim=True)
            return Frame(values.gather(1, last).masked_fill(none, 0.0), one)
        count = observed.sum(1, keepdim=True).clamp(min=1)
        mean = values.sum(1, keepdim=True) / count
        squares = ((values - mean) * observed).square().sum(1, keepdim=True) / count
        return Frame(mean, (squares + _EPSILON).sqrt())

    def filled(self, past: Tensor, frame: Frame) -> Tensor:
        """Return windows in their frame, (B, L, C), in place of a missing value the one before."""
        z = (past - frame.offset) / frame.width
        missing = z.isnan()
        if not torch.compiler.is_compiling() and not bool(missing.any()):
            return z
        steps = torch.arange(z.shape[1], device=z.device)[:, None]
        before = torch.where(missing, -1, steps)
        reach = 1
        while reach < z.shape[1]:  # a running maximum; ONNX has no operator for it
            earlier = nn.functional.pad(before[:, :-reach], (0, 0, reach, 0), value=-1)
            before, reach = torch.maximum(before, earlier), 2 * reach
        return z.nan_to_num(0.0).gather(1, before.clamp(min=0)).masked_fill(before < 0, 0.0)

    def linear_part(self, past: Tensor, frame: Frame) -> Tensor:
        """Return the linear forecast in its frame, (B, H, C)."""
        assert self.linear is not None
        z = self.filled(past[:, -self.lookback :], frame)
        forecast: Tensor = self.linear(z.transpose(1, 2)).transpose(1, 2)
        return forecast

    def features(self, inputs: Inputs) -> Tensor:
        """Return what the layer reads of windows, (B, T, I); where it reads apart, (B C, n, I)."""
        framed = self._apart(inputs, self.frame(inputs.past))
        if self.options.method == "segment":
            return self._embedded(framed)
        return self._read(framed)

    @torch.no_grad()
    def begin_with(self, residuals: Tensor) -> None:
        """Have the network answer 0 at first, with the spread of the linear forecast's errors.

        Args:
            residuals: Of the linear forecast, (N, H, C) in their frames, NaN where one is missing.
        """
        if self.options.method == "segment":
            raw = self.head.start(residuals.reshape(-1)).expand(self.segment, self.width, -1)
        elif self.options.is_independent:
            raw = self.head.start(residuals.transpose(1, 2).flatten(0, 1)[..., None])
        else:
            raw = self.head.start(residuals)
        self.answer.weight.zero_()
        self.answer.bias.copy_(raw.flatten())
        if self.options.method == "direct" and self.known is not None:
            added = cast(nn.Linear, self.known[-1])
            added.weight.zero_()
            added.bias.zero_()

    def with_location(self, raw: Tensor, location: Tensor) -> Tensor:
        """Return raw numbers with `location` added to the one that says where values lie."""
        place = getattr(self.head, "middle", 0)
        shift = torch.zeros_like(raw)
        shift[..., place] = location
        return raw + shift

    def _check(self, inputs: Inputs) -> None:
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

    def _apart(self, inputs: Inputs, frame: Frame) -> Inputs:
        """Return windows in their frame; where targets are forecast by themselves, a row for each.

        Of a step `past` then has the values, and the marks of those that are missing.
        """
        past = self.filled(inputs.past, frame)
        if self.marks_missing:
            past = torch.cat([past, inputs.past.isnan().to(past.dtype)], 2)
        targets = inputs.targets
        if targets is not None:
            targets = (targets - frame.offset) / frame.width
        columns, future = inputs.columns.nan_to_num(0.0), inputs.future.nan_to_num(0.0)
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

    def _together(self, raw: Tensor, batch_size: int) -> Tensor:
        """Return (rows, H, width R) as (B, H, C, R)."""
        horizon, size = raw.shape[1], self.head.size
        if not self.options.is_independent:
            return raw.view(batch_size, horizon, self.num_targets, size)
        return raw.view(batch_size, self.num_targets, horizon, size).transpose(1, 2)

    def _read(self, inputs: Inputs) -> Tensor:
        """Return what the layer reads of each step, (rows, L, I).

        A recursive forecaster reads with a value what is known of the step after it.
        """
        columns = inputs.columns
        if self.options.method == "recursive" and self.num_known:
            columns = torch.cat([columns[:, 1:], inputs.future[:, :1]], 1)
        return torch.cat([inputs.past, columns], 2)

    def _direct(self, inputs: Inputs) -> Tensor:
        output, _ = self.layer(self._read(inputs))
        last = self.dropout(output[:, -1])
        return self.answers(last, inputs.future)

    def answers(self, last: Tensor, future: Tensor) -> Tensor:
        """Return the raw numbers of a direct forecaster, (rows, H, width R).

        Args:
            last: The layer's output at the last step, (rows, O).
            future: What is known of the steps to come, (rows, H, K).
        """
        raw: Tensor = self.answer(last).view(last.shape[0], self.horizon, -1)
        if self.known is None:
            return raw
        steps = torch.cat(
            [last[:, None].expand(-1, self.horizon, -1), future[:, : self.horizon]], 2
        )
        raw = raw + self.known(steps)
        return raw

    def _embedded(self, inputs: Inputs) -> Tensor:
        """Return the segments of windows, (rows, n, H); the oldest steps that make none are cut."""
        steps = self._read(inputs)
        num = steps.shape[1] // self.segment
        cut = steps[:, steps.shape[1] - num * self.segment :]
        assert self.embed is not None
        embedded: Tensor = self.embed(cut.reshape(steps.shape[0], num, -1))
        return embedded.relu()

    def _segments(self, inputs: Inputs) -> Tensor:
        _, state = self.layer(self._embedded(inputs))
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

    def _recursive(self, inputs: Inputs) -> Tensor:
        read = self._read(inputs)
        if self.options.reads_truth and inputs.targets is not None:
            known = inputs.future[:, 1 : self.horizon]
            more = torch.cat([self._marked(inputs.targets[:, :-1]), known], 2)
            output, _ = self.layer(torch.cat([read, more], 1))
            raw: Tensor = self.answer(self.dropout(output[:, self.lookback - 1 :]))
            return raw
        output, state = self.layer(read)
        raws = [self.answer(self.dropout(output[:, -1]))]
        for step in range(1, self.horizon):
            said = self.head.point(self._by_target(raws[-1]))
            raw, state = self._next(said, inputs.future[:, step], state)
            raws.append(raw)
        return torch.stack(raws, 1)

    def _marked(self, targets: Tensor) -> Tensor:
        """Return values that are read as steps, with their marks, missing ones as what was last."""
        if not self.marks_missing:
            return targets.nan_to_num(0.0)
        return torch.cat([targets.nan_to_num(0.0), targets.isnan().to(targets.dtype)], 2)

    def _by_target(self, raw: Tensor) -> Tensor:
        """Return the parameters of raw numbers of one step, (rows, width, R), in the frame."""
        return self.head.parameters(raw.view(len(raw), self.width, self.head.size))

    def _next(self, values: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what is said after `values`, (rows, width), were read, and the state then."""
        marks = torch.zeros_like(values) if self.marks_missing else values[:, :0]
        step = torch.cat([values, marks, known], 1)
        output, state = self.layer(step[:, None], state)
        return self.answer(self.dropout(output[:, 0])), state

    @torch.inference_mode()
    def paths(
        self, inputs: Inputs, num_paths: int, horizon: int, *, seed: int, scales: Tensor
    ) -> Tensor:
        """Return futures that a recursive forecaster draws step by step, (N, B, H, C), scaled.

        Args:
            inputs: With a future of at least `horizon` steps.
            num_paths: N.
            horizon: H, as many steps as are wanted.
            seed: Of what is drawn.
            scales: What targets were divided by, (B, C): counts are drawn as they are.
        """
        self._check(inputs)
        generator = torch.Generator().manual_seed(seed)
        frame = self.frame(inputs.past)
        framed = self._apart(inputs, frame)
        output, state = self.layer(self._read(framed))
        rows = len(framed.past)
        state = map_state(lambda part: part.repeat(1, num_paths, 1), state)
        raw = self.answer(output[:, -1]).repeat(num_paths, 1)
        future = framed.future.repeat(num_paths, 1, 1)
        sizes = scales.reshape(rows, self.width).repeat(num_paths, 1)
        if not self.head.counts:
            sizes = torch.ones_like(sizes)
        drawn: list[Tensor] = []
        for step in range(horizon):
            if step:
                raw, state = self._next(drawn[-1], future[:, step], state)
            said = self.head.moved(self._by_target(raw), torch.zeros_like(sizes), sizes)
            drawn.append(self.head.draw(said, generator) / sizes)
        steps = torch.stack(drawn, 1).view(num_paths, rows, horizon, self.width)
        if self.options.is_independent:
            steps = steps.view(num_paths, -1, self.num_targets, horizon).transpose(2, 3)
        if not self.head.counts:
            middle = steps.median(0).values
            steps = middle + self.spread * (steps - middle)
        return steps * frame.width + frame.offset
