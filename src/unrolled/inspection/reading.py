"""What a report looks at: a model's reading of passages. `sections.py` shows it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.errors import DataError, OptionError
from unrolled.inspection.gradients import Reach, gradient_reach
from unrolled.inspection.subject import Passage, Subject, stacked_states
from unrolled.inspection.verdict import Verdict, verdict
from unrolled.languages import Phrases
from unrolled.layers import Record, State, map_state

__all__ = [
    "EXCERPT",
    "MAP_STEPS",
    "MAP_UNITS",
    "SAID",
    "Facts",
    "Measured",
    "Read",
    "Reading",
    "Windows",
    "enough_to_measure",
    "first_passages",
    "measure",
    "steps_to_measure",
]

Read = Callable[[Subject], Iterable[Passage]]
"""What a subject reads for a report."""

_FEWEST = 24  # steps that a report needs
_MOST = 20_000  # steps that are looked at: units are ranked in the time of a breath
_MOST_PASSAGES = 500
_AT_ONCE = 64  # passages
_LAGS = 160  # that the gradient is followed back, where no more are wanted
_MOST_LAGS = 1_000
_ROWS = 24  # windows of the passages that it is averaged over
_ROWS_REPLACED = 8
_SHARED_BY = 8  # passages that are at least as long as a window
_FEWEST_LAGS = 2
MAP_STEPS = 120  # steps that gates are drawn over
MAP_UNITS = 48
EXCERPT = 440  # characters that a unit is drawn over
SAID = 320  # steps that what is said is drawn under


@dataclass(frozen=True)
class Facts:
    """What is known of a model beside what it reads.

    Args:
        name: As the report calls it.
        facts: What stands beneath the title, by short names.
        wanted: The steps that the gradient of its training went back; None for all.
        curves: The measurements of its training, (update, loss) by name; may be empty.
        loss_unit: The unit of the loss.
    """

    name: str
    facts: Mapping[str, str] = field(default_factory=dict)
    wanted: int | None = None
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    loss_unit: str = ""


class Reading:
    """A model's reading of passages: what all sections look at.

    Args:
        subject: What reads.
        read: What it reads.

    Raises:
        DataError: There is too little to see anything.
    """

    def __init__(self, subject: Subject, read: Read) -> None:
        self.subject = subject
        self.passages, self.num_given = first_passages(read(subject))
        self.num_steps = sum(map(len, self.passages))
        unit = subject.unit
        if self.num_steps < _FEWEST:
            raise DataError(
                f"there is too little to look into: {self.num_steps} {unit}s, at least {_FEWEST} "
                "are needed",
                "give more",
            )
        batches = [
            subject.run(self.passages[start : start + _AT_ONCE])
            for start in range(0, len(self.passages), _AT_ONCE)
        ]
        by_layer = zip(*(records for records, _ in batches), strict=True)
        self.records = [_joined(records) for records in by_layer]
        self.outputs = [output for _, outputs in batches for output in outputs]
        self.pieces = [piece for passage in self.passages for piece in passage.pieces]
        self.log_probabilities = self._said()
        self.windows = Windows.over(self.passages)

    @torch.no_grad()
    def _said(self) -> list[Tensor]:
        """Return what is said at each step: all forecasts, for their loss; the first answers."""
        by_passage: list[Tensor] = []
        num_said = 0
        for passage, output in zip(self.passages, self.outputs, strict=True):
            if num_said >= SAID and passage.tokens is None:
                break
            steps = self.subject.log_probabilities(passage, output)
            if steps is None:
                break
            by_passage.append(steps)
            num_said += len(steps)
        return by_passage

    @property
    def unit(self) -> str:
        """What a step is called."""
        return self.subject.unit

    @property
    def loss(self) -> float | None:
        """The mean of the forecasts' losses, in nats; None of a model that forecasts no tokens."""
        pairs = [
            (forecasts, passage.tokens)
            for forecasts, passage in zip(self.log_probabilities, self.passages, strict=False)
            if passage.tokens is not None
        ]
        if not pairs:
            return None
        total = sum(float(F.nll_loss(s[:-1], t[1:], reduction="sum")) for s, t in pairs)
        count = sum(len(tokens) - 1 for _, tokens in pairs)
        return total / count if count else None

    def replaced(self, most: int, count: int) -> tuple[Tensor, Tensor, State | None]:
        """Return a few windows, and what stands in the place of each of their last steps.

        Args:
            most: Steps at most.
            count: R, other inputs for each step.

        Returns:
            (B, T, I); (B, K, R, I); the state before the windows.
        """
        inputs = self.windows.features[:_ROWS_REPLACED]
        generator = torch.Generator().manual_seed(0)
        tokens = self.windows.tokens
        rows = [
            self.subject.others(features, None if tokens is None else tokens[row], generator, count)
            for row, features in enumerate(inputs)
        ]
        state = self.windows.state
        if state is not None:
            state = map_state(lambda part: part[:, : len(inputs)], state)
        return inputs, torch.stack(rows)[:, -min(most + 1, inputs.shape[1]) :], state

    def patterns(self) -> dict[str, Tensor]:
        """Return masks of all steps by name, those that are known of every passage."""
        by_passage = [self.subject.patterns(passage) for passage in self.passages]
        names = dict.fromkeys(name for masks in by_passage for name in masks)
        return {
            name: torch.cat(
                [
                    masks.get(name, torch.zeros(len(passage), dtype=torch.bool))
                    for masks, passage in zip(by_passage, self.passages, strict=True)
                ]
            )
            for name in names
        }

    def share_of_right_forecasts(self) -> float:
        """Return how often the likeliest next token is the right one."""
        right = torch.cat(
            [
                forecasts[:-1].argmax(1) == passage.tokens[1:]
                for forecasts, passage in zip(self.log_probabilities, self.passages, strict=True)
                if passage.tokens is not None
            ]
        )
        return float(right.double().mean()) if len(right) else 0.0

    def notes(self, say: Phrases) -> list[str]:
        """Return what was looked at, and what was thinned, in sentences."""
        what = f"{say.number(self.num_steps, ',')} {say.many(self.unit)}"
        if self.num_given > self.num_steps:
            what = say("notes.first", seen=what, given=say.number(self.num_given, ","))
        elif len(self.passages) > 1:
            what = say("notes.pieces", seen=what, number=say.number(len(self.passages), ","))
        steps = min(MAP_STEPS, self.num_steps)
        sizes = {"steps": steps, "units": MAP_UNITS, "characters": EXCERPT}
        return [say("notes.looked", what=what, **sizes), say("notes.made")]


@dataclass(frozen=True)
class Windows:
    """Parts of passages of one length, side by side.

    Args:
        features: (B, K + 2, I); the last step is not read, but forecast.
        state: Before the first step of each.
        tokens: The labels of all steps, (B, K + 2); None where nothing is forecast.
    """

    features: Tensor
    state: State | None
    tokens: Tensor | None

    @property
    def max_lag(self) -> int:
        """How far back is looked, in steps."""
        return self.features.shape[1] - 2

    @classmethod
    def over(cls, passages: Sequence[Passage], wanted: int | None = None) -> "Windows":
        """Return windows of passages, so long that the lag wanted is within them if it can be."""
        lengths = sorted(map(len, passages), reverse=True)
        width = min(_width(wanted), lengths[min(_SHARED_BY, len(lengths)) - 1])
        width = max(width, min(lengths[0], 4))
        long = [passage for passage in passages if len(passage) >= width]
        room = sum(len(passage) // width for passage in long)
        num_rows = min(_ROWS, room)
        each = max(1, math.ceil(num_rows / len(long)))
        places = [
            (passage, start)
            for passage in long
            for start in torch.linspace(0, len(passage) - width, min(each, len(passage) // width))
            .long()
            .tolist()
        ][:num_rows]
        features = torch.stack([p.features[start : start + width] for p, start in places])
        states = [p.state if start == 0 else None for p, start in places]
        rows = [p.tokens[s : s + width] if p.tokens is not None else None for p, s in places]
        tokens = None if any(r is None for r in rows) else torch.stack(cast(list[Tensor], rows))
        return cls(features, stacked_states(states), tokens)

    def reach(self, subject: Subject) -> Reach | None:
        """Return how far the gradient reaches; None of a layer that cannot be followed."""
        following = None if self.tokens is None else self.tokens[:, -1]
        try:
            return gradient_reach(
                subject.layer,
                self.features[:, :-1],
                state=self.state,
                loss=subject.loss(following),
                max_lag=self.max_lag,
            )
        except OptionError:
            return None


@dataclass(frozen=True)
class Measured:
    """How far a model's gradient reaches, and what that means.

    Args:
        reach: The mean over windows.
        verdict: Whether it is felt as far back as the gradient of the training went.
        windows: How many there are.
        held_out: Whether they are of the held-out part, because too little else was read.
        cut: The lag at which training cut its gradient; None where it did not, or where that is
            beyond what was measured.
    """

    reach: Reach
    verdict: Verdict
    windows: int
    held_out: bool
    cut: int | None


def measure(
    subject: Subject,
    passages: Sequence[Passage],
    wanted: int | None,
    held_out: Callable[[], Sequence[Passage]] | None = None,
) -> Measured | None:
    """Return how far the gradient of a model reaches: one rule for whoever shows it.

    It is measured over the first windows of what was read, if there are several in which the lag
    wanted lies; else over those of the held-out part.

    Args:
        subject: The model.
        passages: What it has read.
        wanted: k2, the steps that the gradient of the training went back; None where it went
            through whole sequences: then it should be felt over all of a sequence.
        held_out: Returns passages of the held-out part, none if there are none to be had.

    Returns:
        None where too few steps were read, or the layer cannot be followed.
    """
    windows, on_held_out = _windows_to_measure(passages, wanted), False
    if not _are_enough(windows, wanted) and held_out is not None and (others := held_out()):
        windows, on_held_out = _windows_to_measure(others, wanted), True
    if windows is None or windows.max_lag < _FEWEST_LAGS:
        return None
    reach = windows.reach(subject)
    if reach is None:
        return None
    steps = windows.max_lag if wanted is None else wanted
    judged = verdict(reach, wanted=steps, unit=subject.unit)
    cut = wanted if wanted is not None and wanted <= windows.max_lag else None
    return Measured(reach, judged, len(windows.features), on_held_out, cut)


def enough_to_measure(passages: Sequence[Passage], wanted: int | None) -> bool:
    """Whether `measure` looks at what was read, and at nothing else."""
    return _are_enough(_windows_to_measure(passages, wanted), wanted)


def steps_to_measure(wanted: int | None) -> int:
    """Return how many steps `measure` looks at, at most."""
    return _ROWS * _width(wanted)


def _width(wanted: int | None) -> int:
    """Return the steps of a window that has the lag wanted in it; the last one is forecast."""
    return max(_LAGS, min(wanted or 0, _MOST_LAGS)) + 2


def _windows_to_measure(passages: Sequence[Passage], wanted: int | None) -> Windows | None:
    first, _ = first_passages(passages, steps_to_measure(wanted))
    return Windows.over(first, wanted) if first else None


def _are_enough(windows: Windows | None, wanted: int | None) -> bool:
    """Whether the mean over windows says something of the lag wanted, and not of one place."""
    if windows is None or len(windows.features) < _SHARED_BY:
        return False
    longest = windows.max_lag if wanted is None else min(wanted, _MOST_LAGS)
    return windows.max_lag >= max(longest, _FEWEST_LAGS)


def first_passages(
    passages: Iterable[Passage], most: int | None = None
) -> tuple[list[Passage], int]:
    """Return passages of as many steps as are looked at, and how many steps these had."""
    first: list[Passage] = []
    num_taken = num_given = 0
    most = _MOST if most is None else most
    for passage in passages:
        num_given += len(passage)
        if len(passage):
            first.append(passage.beginning(most - num_taken))
            num_taken += len(first[-1])
        if num_taken == most or len(first) == _MOST_PASSAGES:
            break
    return first, num_given


def _joined(records: Sequence[Record]) -> Record:
    """Return the records of one layer, each of one row, one after the other."""
    first = records[0]
    return replace(
        first,
        values={
            name: torch.cat([record.values[name] for record in records]) for name in first.values
        },
        lengths=torch.stack([record.lengths for record in records]).sum(0),
        input=torch.cat([record.input for record in records]),
    )
