"""The sections of a report, each written to its page from what was read.

Not here: what is measured (`gradients.py`, `memory.py`, `units.py`), or drawn (`figures/`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.inspection import figures
from unrolled.inspection.figures.texts import order_by_change
from unrolled.inspection.gradients import Reach, step_jacobian_norms
from unrolled.inspection.memory import memory_by_perturbation, saturation, time_constants
from unrolled.inspection.page import Page
from unrolled.inspection.reading import (
    EXCERPT,
    MAP_STEPS,
    MAP_UNITS,
    SAID,
    Facts,
    Measured,
    Reading,
)
from unrolled.inspection.units import area_under_curve, rank_units
from unrolled.layers import Record, RecurrentLayer

__all__ = [
    "write_candidates",
    "write_gates",
    "write_memory",
    "write_reach",
    "write_training",
    "write_units",
]

_DIRECTION = (
    " The layer reads both ways: followed is the direction that reads forwards, from its own last "
    "output."
)
_MEMORY_LAGS = 60
_REPLACEMENTS = 4
_GOOD = 0.8  # a unit that follows a pattern less well is not drawn
_MOST_DRAWN = 4
_MOST_PATTERNS = 20
_SWATCHES = '<span class="swatch high"></span> high, <span class="swatch low"></span> low'


def write_reach(
    page: Page,
    reading: Reading,
    facts: Facts,
    measured: Measured | None,
    fresh: Measured | None,
    beside: Mapping[str, Measured | None],
) -> None:
    """Write how far the gradient reaches, in figures and in words."""
    unit = reading.unit
    if measured is None:
        return
    page.section(
        "How far back does learning reach?",
        "Gradient",
        "The error at one place can only teach the network what its gradient still feels. Here it "
        f"is followed back, step by step, {_over(measured, unit)}."
        + _DIRECTION
        * _reads_both_ways(reading),
    )
    reach, trained = measured.reach, measured.verdict
    page.verdict(trained.kind, trained.say())
    state, layer = trained.state, trained.layer
    curves = {"trained": reach}
    grew = ""
    if fresh is not None:
        curves["before training"] = fresh.reach
        before = fresh.verdict
        if (trained.half_life_steps or 0) > (before.half_life_steps or math.inf):
            grew = (
                f" Before training the gradient halved every {before.half_life_steps:.1f} {unit}s, "
                f"now every {trained.half_life_steps:.1f}."
            )
    of_layer = f" of layer {layer + 1}" if len(reach.by_state[state]) > 1 else ""
    page.figure(
        figures.reach_by_lag(
            {
                name: Reach(each.lags, {state: each.by_state[state][layer, None]})
                for name, each in curves.items()
            },
            state=state,
            cut=measured.cut,
            unit=unit,
        ),
        f"Gradient by lag, before and after training. {trained.sentence}",
        f"<b>Length of the gradient of the loss in {escape(_named(state))}{of_layer}, k {unit}s "
        "earlier</b>, "
        f"as part of that at lag 0. A straight line is a fixed half-life.{grew}",
    )
    if beside:
        _write_beside(page, unit, {facts.name: measured, **beside})


def _over(measured: Measured, unit: str) -> str:
    """Return what a reach is the mean over, in words."""
    where = " of the held-out part, for too little was given" if measured.held_out else ""
    windows = "one window" if measured.windows == 1 else f"the mean over {measured.windows} windows"
    return f"{windows}{where}, {int(measured.reach.lags[-1])} {unit}s back"


def _write_beside(page: Page, unit: str, measured: Mapping[str, Measured | None]) -> None:
    """Write the reach of several models, each in the state that carries it farthest."""
    followed = {name: each for name, each in measured.items() if each is not None}
    verdicts = {name: each.verdict for name, each in followed.items()}
    curves = {
        f"{name} ({each.state})": Reach(
            followed[name].reach.lags,
            {"memory": followed[name].reach.by_state[each.state][each.layer, None]},
        )
        for name, each in verdicts.items()
    }
    cuts = {each.cut for each in followed.values()}
    cut = cuts.pop() if len(cuts) == 1 else None
    farthest = max(verdicts, key=lambda name: verdicts[name].horizon_steps)
    page.figure(
        figures.reach_by_lag(curves, state="memory", cut=cut, unit=unit),
        "Gradient by lag for several models",
        f"<b>Several models on the same input</b>, each by the state that carries its gradient "
        f"farthest. {escape(farthest)} reaches farthest: {verdicts[farthest].horizon_steps} "
        f"{unit}s.",
    )
    rows = [
        (
            name,
            each.kind,
            "" if each.half_life_steps is None else f"{each.half_life_steps:.1f}",
            str(each.horizon_steps),
        )
        for name, each in verdicts.items()
    ]
    page.table(("model", "gradient", f"half-life, {unit}s", f"felt back, {unit}s"), rows, 2)


def _reads_both_ways(reading: Reading) -> bool:
    layer = reading.subject.recurrent
    return layer is not None and layer.bidirectional


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def _named(state: str) -> str:
    names = {"h": "the hidden state h", "c": "the cell state c", "x": "the input x"}
    return names.get(state, f"the state {state}")


def write_memory(page: Page, reading: Reading) -> None:
    """Write how long units remember: by trying, by their gates, and step by step."""
    layer = reading.subject.recurrent
    if layer is None:
        return
    page.section(
        "How long do units remember?",
        "Memory",
        "A gradient is about small changes. Here a whole input is replaced by another, and the "
        "units are watched until they have forgotten it.",
    )
    if not layer.bidirectional:
        _write_forgetting(page, reading, layer)
    if layer.cell.keeps is not None:
        constants = {_of(record): time_constants(record) for record in reading.records}
        slowest = max(float(steps.max()) for steps in constants.values())
        page.figure(
            figures.time_constant_curve(constants),
            "Time constants of all units, sorted",
            f"<b>Memory by the gate alone</b>: 1 / (1 - mean {escape(layer.cell.keeps)}). The "
            f"slowest unit holds on for {slowest:.0f} steps.",
        )
    if not layer.bidirectional:
        _write_stretch(page, reading, layer)


def _of(record: Record) -> str:
    """Return which layer and direction a record is of."""
    return f"layer {record.layer + 1}{', backwards' if record.reverse else ''}"


def _write_forgetting(page: Page, reading: Reading, layer: RecurrentLayer) -> None:
    """Write how long each unit feels an input that was replaced."""
    unit, state = reading.unit, layer.cell.states[-1]  # an LSTM's c: what carries
    inputs, replacements, before = reading.replaced(_MEMORY_LAGS, _REPLACEMENTS)
    memory = memory_by_perturbation(layer, inputs, replacements, state=before)
    moved, spans = memory.by_state[state][-1], memory.spans()[state][-1]
    order = spans.argsort(descending=True, stable=True)
    shown = order[:: max(1, len(order) // 64)]
    longest, max_lag = int(spans.max()), int(memory.lags[-1])
    most = f"at least {longest}" if longest == max_lag else str(longest)
    page.figure(
        figures.memory_map(moved, shown.tolist(), unit),
        f"How far each unit still moves, by the {unit}s since an input was replaced",
        f"<b>What is left of one replaced {unit}</b>: each line is a unit of {escape(state)} in "
        f"the last layer, the longest memory on top; full colour is a full swing of that unit. "
        f"Half of all units have forgotten after {int(spans.median()) + 1} {unit}s; unit "
        f"{int(order[0])} still moves by a tenth of its spread after {most}.",
    )


def _write_stretch(page: Page, reading: Reading, layer: RecurrentLayer) -> None:
    """Write how far a single step can stretch a change."""
    first = reading.passages[0]
    steps = min(MAP_STEPS, len(first))
    norms = step_jacobian_norms(layer, first.features[None, :steps].detach())[:, :, 0]
    page.figure(
        figures.step_stretch(norms, first.pieces[:steps]),
        "Spectral norm of each step's Jacobian along the text",
        "<b>The most that one step can stretch a change of the state</b>, along the beginning: "
        f"{float(norms.median()):.1f} times in the median. Above 1 is not an explosion yet: "
        "in the next step the change points elsewhere, and may shrink.",
    )


def write_gates(page: Page, reading: Reading) -> None:
    """Write what the gates do over the text, or the levels of a convolution."""
    layer = reading.subject.recurrent
    if layer is None:
        page.section("What do the levels do?", "Levels")
        _write_maps(page, reading, {f"level {r.layer + 1}": r.values["y"] for r in reading.records})
        return
    page.section("What do the gates do?", "Gates")
    record = reading.records[-1 - layer.bidirectional]  # the last layer, forwards
    if shares := saturation(record):
        which = " or ".join(shares) if len(shares) < 3 else "a gate"
        page.figure(
            figures.saturation_map(shares),
            "Share of steps at which each gate is at either end",
            f"<b>Open, shut, or in between</b>: a point is {escape(which)} of one unit, to the "
            "right if it is often at its low end, to the top if it is often at its high end. On "
            "the dotted line it works like a switch; at the origin like a dimmer.",
        )
    states = {name: record.values[name] for name in layer.cell.states}
    others = {name: value for name, value in record.values.items() if name not in states}
    _write_maps(page, reading, others | states)  # the last of which orders the units


def _write_maps(page: Page, reading: Reading, values: Mapping[str, Tensor]) -> None:
    """Write heat maps of (T, 1, H) values over the beginning of the text."""
    steps = min(MAP_STEPS, reading.num_steps)
    shown = {name: value[:steps, 0] for name, value in values.items()}
    order = order_by_change(list(shown.values())[-1], MAP_UNITS)
    named = ", ".join(escape(name) for name in shown)
    fields = [
        f" Level {record.layer + 1} sees {record.receptive_field} {reading.unit}s."
        for record in reading.records
        if record.receptive_field is not None
    ]
    page.figure(
        figures.gate_maps(shown, reading.pieces[:steps], order, names=list(shown)),
        f"Heat maps of {named} over the beginning",
        f"<b>{named} over the beginning</b>: a column is a {reading.unit}, a line "
        f"one of the {len(order)} liveliest units, those that change slowly on top. {_SWATCHES}, "
        f"the nearer to zero, the fainter.{''.join(fields)}",
    )


def write_units(page: Page, reading: Reading) -> None:
    """Write which units follow a pattern of what is read, and draw the best."""
    masks = reading.patterns()
    half = reading.num_steps // 2
    usable = {
        name: mask
        for name, mask in masks.items()
        if all(0 < int(part.sum()) < len(part) for part in (mask[:half], mask[half:]))
    }
    if not usable:
        return
    page.section(
        "What do single units follow?",
        "Units",
        "For each pattern, the unit that tells best whether one is inside of it: chosen on the "
        "first half of what was read, measured on the second. The area under the curve (AUC) is 1 "
        "for a unit that is never wrong, 0.5 for one that knows nothing.",
    )
    best = {name: _best_unit(reading, mask, half) for name, mask in usable.items()}
    ranked = sorted(best, key=lambda name: -best[name].score)[:_MOST_PATTERNS]
    rows = [
        (
            name,
            best[name].name,
            "high" if best[name].area > 0.5 else "low",
            f"{best[name].score:.3f}",
        )
        for name in ranked
    ]
    page.table(("pattern", "unit", "inside it is", "AUC, second half"), rows, 1)
    drawn: set[str] = set()
    for name in ranked:
        chosen = best[name]
        if chosen.score < _GOOD or chosen.name in drawn or len(drawn) == _MOST_DRAWN:
            continue
        drawn.add(chosen.name)
        start, stop = _excerpt(reading.pieces, usable[name], half)
        page.subsection(_capitalized(name))
        page.figure(
            figures.unit_over_text(chosen.values[start:stop], reading.pieces[start:stop]),
            f"The text coloured by {chosen.name}",
            f"<b>{escape(chosen.name)}</b>, AUC {chosen.score:.3f}: {_SWATCHES}. The colour of a "
            f"{reading.unit} is the unit's value after reading it.",
        )


@dataclass(frozen=True)
class _Best:
    name: str
    area: float
    values: Tensor  # (T,)

    @property
    def score(self) -> float:
        return max(self.area, 1 - self.area)


def _best_unit(reading: Reading, mask: Tensor, half: int) -> _Best:
    """Return the unit of any layer and state that follows `mask` best in the first half."""
    best: tuple[float, str, Tensor] | None = None
    for record in reading.records:
        for state in record.initial or ("y",):
            values = record.values[state][:, 0]
            ranking = rank_units(values[:half], mask[:half])
            unit, score = int(ranking.units[0]), float(ranking.score[0])
            if best is None or score > best[0]:
                where = f" of {_of(record)}" if len(reading.records) > 1 else ""
                best = (score, f"{state}, unit {unit}{where}", values[:, unit])
    assert best is not None
    _, name, values = best
    area = float(area_under_curve(values[half:, None], mask[half:])[0])
    return _Best(name, area, values)


def _excerpt(tokens: Sequence[str], mask: Tensor, half: int) -> tuple[int, int]:
    """Return where in the second half about as much is inside as outside, from a line's start."""
    length = min(EXCERPT, len(tokens) - half)
    inside = F.pad(mask.int().cumsum(0), (1, 0))
    starts = torch.arange(half, len(tokens) - length + 1)
    count = inside[starts + length] - inside[starts]
    start = int(starts[int(torch.minimum(count, length - count).argmax())])
    for later in range(start, min(start + 80, len(tokens) - length) + 1):
        if tokens[later - 1].endswith("\n"):
            return later, later + length
    return start, start + length


def write_candidates(page: Page, reading: Reading) -> None:
    """Write what the model said at each step: what it expected next, or its answer."""
    subject, spoken = reading.subject, reading.log_probabilities
    if not spoken or len(subject.labels) < 2:
        return
    forecasts = reading.passages[0].tokens is not None
    rows = [
        (piece, row)
        for passage, steps in zip(reading.passages, spoken, strict=False)
        for piece, row in zip(passage.pieces, steps, strict=False)
    ][:SAID]
    pieces, log_probabilities = [piece for piece, _ in rows], torch.stack([row for _, row in rows])
    if forecasts:
        page.section(
            "What does it expect?",
            "Next",
            f"Each {reading.unit}, and under it what the model thought would come next.",
        )
        right = reading.share_of_right_forecasts()
        words = (
            "<b>On top what was read, beneath the five likeliest to come next</b>, the stronger "
            "the colour the surer; bold is what did come. The first guess is right "
            f"{right:.0%} of the time."
        )
    else:
        page.section(
            "What does it answer?",
            "Answers",
            f"Each {reading.unit}, and under it what the model answers there.",
        )
        words = (
            "<b>On top what was read, beneath the five likeliest answers</b>, the stronger the "
            "colour the surer."
        )
    page.figure(
        figures.candidates(pieces, log_probabilities.exp(), subject.labels, forecasts=forecasts),
        "What was read, with the likeliest of what is said at each step",
        words,
    )


def write_training(page: Page, facts: Facts) -> None:
    """Write how the loss fell."""
    page.section("How was it trained?", "Training")
    ends = {name: points[-1][1] for name, points in facts.curves.items() if points}
    ended = ", ".join(f"{escape(name)} {value:.3f}" for name, value in ends.items())
    page.figure(
        figures.learning_curves(facts.curves, x_title="update", y_title=facts.loss_unit),
        "Learning curves",
        f"<b>Loss during training</b>, at the end: {ended} {escape(facts.loss_unit)}.",
    )
