"""The recursive forecaster: step by step, fed with its own output.

    [layer] ... [layer] -> 1 -> [layer] -> 2 -> ...

With a value it reads what is known of the step after it. Where differences are learned, it says how
far each step is from the one before, or a cycle before, and reads that.

Source:
    Salinas et al. (2020), DeepAR.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError, field
from unrolled.layers import State, map_state
from unrolled.networks.devices import moved
from unrolled.networks.sequence_layers import make_layer
from unrolled.tasks.forecast.framing import fill, fill_cycles, sums
from unrolled.tasks.forecast.model import Forecaster, Inputs
from unrolled.tasks.forecast.model_options import ModelOptions

__all__ = ["Reached", "RecursiveForecaster"]


class Reached(NamedTuple):
    """Where a recursive forecaster is after what it read.

    output: Of the layer at the last step, (rows, O).
    state: Of the layer.
    """

    output: Tensor
    state: State


class RecursiveForecaster(Forecaster):
    """Each step from the one before it."""

    widens = False

    def __init__(self, options: ModelOptions, **sizes: Any) -> None:
        super().__init__(options, **sizes)
        if self.num_past:
            message = f"{field('method')} recursive would have to forecast {field('past')} too"
            raise OptionError(message, f"{field('method')} direct, or name them as targets")
        self.layer = make_layer(options, self.step_size)
        self.answer = nn.Linear(self.output_size, self.spoken_size)

    def read(self, inputs: Inputs) -> Tensor:
        """Return each step, and what is known of the step after it."""
        columns = inputs.columns
        if self.ahead_size:
            columns = torch.cat([columns[:, 1:], inputs.future[:, :1]], 1)
        return torch.cat([inputs.past, columns], 2)

    def raw(self, inputs: Inputs) -> Tensor:
        """Return the raw numbers of the steps to come."""
        if self.options.reads_truth and inputs.targets is not None:
            return self._after_truth(inputs, inputs.targets)
        output, state = self.layer(self.read(inputs))
        return self.go_on(Reached(output[:, -1], state), inputs.future)

    def start(self, residuals: Tensor) -> Tensor:
        """Return nothing: it has no linear forecast to begin with."""
        raise NotImplementedError

    def go_on(self, reached: Reached, future: Tensor) -> Tensor:
        """Return the raw numbers of the steps to come, each read as it was said.

        Args:
            reached: What was read.
            future: What is known of the steps to come, (rows, H, K).
        """
        raw, state = self.answer(self.dropout(reached.output)), reached.state
        said = start = raw.new_zeros(len(raw), self.width)  # in the frame, the last value
        raws: list[Tensor] = []
        levels: list[Tensor] = []
        for step in range(self.horizon):
            if step:
                raw, state = self._next(said, future[:, step], state)
            by_target = raw.view(len(raw), self.width, self.head.size)
            said = self.head.point(self.head.parameters(by_target))
            if self.lag:
                level = levels[step - self.lag] if step >= self.lag else start
                by_target = self.with_location(by_target, level)
                levels.append(level + said)
            raws.append(by_target.flatten(1))
        return torch.stack(raws, 1)

    @torch.inference_mode()
    def paths(
        self, inputs: Inputs, num_paths: int, horizon: int, *, seed: int, scales: Tensor
    ) -> Tensor:
        """Return futures that are drawn step by step, (N, B, H, C), scaled.

        Args:
            inputs: With a future of at least `horizon` steps.
            num_paths: N.
            horizon: H, as many steps as are wanted.
            seed: Of what is drawn.
            scales: What targets were divided by, (B, C): counts are drawn as they are.
        """
        self.check(inputs)
        frame = self.frame(inputs.past, horizon)
        framed = self.apart(inputs, frame)
        output, state = self.layer(self.read(framed))
        reached = Reached(output[:, -1], state)
        steps = self.draw(
            reached, framed.future, num_paths, horizon, seed=seed, scales=scales.reshape(-1)
        )
        if self.options.is_independent:
            steps = steps.view(num_paths, -1, self.num_targets, horizon).transpose(2, 3)
        return steps * frame.width + frame.offset

    @torch.inference_mode()
    def draw(
        self,
        reached: Reached,
        future: Tensor,
        num_paths: int,
        horizon: int,
        *,
        seed: int,
        scales: Tensor,
    ) -> Tensor:
        """Return futures that are drawn after what was read, (N, rows, H, width), in the frame.

        Args:
            reached: What was read.
            future: What is known of the steps to come, (rows, at least H, K).
            num_paths: N.
            horizon: H.
            seed: Of what is drawn.
            scales: What targets were divided by, rows * width of them.
        """
        generator = torch.Generator().manual_seed(seed)
        rows = len(reached.output)
        state = map_state(lambda part: part.repeat(1, num_paths, 1), reached.state)
        raw = self.answer(reached.output).repeat(num_paths, 1)
        future = future.repeat(num_paths, 1, 1)
        sizes = moved(scales, raw).reshape(rows, self.width).repeat(num_paths, 1)
        if not self.head.counts:
            sizes = torch.ones_like(sizes)
        drawn: list[Tensor] = []
        for step in range(horizon):
            if step:
                raw, state = self._next(drawn[-1], future[:, step], state)
            by_target = self.head.parameters(raw.view(len(raw), self.width, self.head.size))
            said = self.head.moved(by_target, torch.zeros_like(sizes), sizes)
            # on the CPU, whose generator gives the same numbers everywhere
            drawn.append(moved(self.head.draw(said.cpu(), generator), sizes) / sizes)
        steps = torch.stack(drawn, 1)
        if self.lag:
            steps = sums(steps, self.lag)
        steps = steps.view(num_paths, rows, horizon, self.width)
        if not self.head.counts:
            middle = steps.median(0).values
            steps = middle + self.spread * (steps - middle)
        return steps

    def _after_truth(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """Return what is said of each step after the ones before it were read as they came."""
        if self.lag:
            zeros = targets.new_zeros(len(targets), self.lag, self.width)
            levels = fill_cycles(torch.cat([zeros, targets[:, :-1]], 1), self.lag)
            num = targets.shape[1]
            before = levels[:, :num]  # each step's
            values = levels[:, self.lag :] - levels[:, : num - 1]
        else:
            before = fill(torch.cat([inputs.past[:, -1:, : self.width], targets[:, :-1]], 1))
            values = before[:, 1:]
        missing = targets[:, :-1].isnan().to(values.dtype)
        marks = missing if self.marks_missing else missing[..., :0]
        more = torch.cat([values, marks, inputs.future[:, 1 : self.horizon]], 2)
        output, _ = self.layer(torch.cat([self.read(inputs), more], 1))
        raw: Tensor = self.answer(self.dropout(output[:, inputs.past.shape[1] - 1 :]))
        if self.lag:
            by_target = raw.view(*raw.shape[:2], self.width, self.head.size)
            raw = self.with_location(by_target, before).flatten(2)
        return raw

    def _next(self, values: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what is said after `values`, (rows, width), were read, and the state then."""
        marks = torch.zeros_like(values) if self.marks_missing else values[:, :0]
        step = torch.cat([values, marks, known], 1)
        output, state = self.layer(step[:, None], state)
        return self.answer(self.dropout(output[:, 0])), state
