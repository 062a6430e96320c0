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
from unrolled.languages import ENGLISH, Phrases
from unrolled.layers import Record, RecurrentLayer

__all__ = [
    "write_candidates",
    "write_gates",
    "write_memory",
    "write_reach",
    "write_training",
    "write_units",
]

_MEMORY_LAGS = 60
_REPLACEMENTS = 4
_GOOD = 0.8  # a unit that follows a pattern less well is not drawn
_MOST_DRAWN = 4
_MOST_PATTERNS = 20


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
    say = page.say
    intro = say("reach.intro", over=_over(say, measured, unit))
    both_ways = say("reach.direction") * _reads_both_ways(reading)
    page.section(say("reach.heading"), say("reach.link"), intro + both_ways)
    reach, trained = measured.reach, measured.verdict
    wording = trained.say(say.language)
    page.verdict(trained.kind, wording)
    state, layer = trained.state, trained.layer
    curves = {say("reach.trained"): reach}
    grew = ""
    if fresh is not None:
        curves[say("reach.before")] = fresh.reach
        half_lives = [each.verdict.half_life_steps for each in (fresh, measured)]
        if (half_lives[1] or 0) > (half_lives[0] or math.inf):
            was, now = (say.number(steps or 0.0, ".1f") for steps in half_lives)
            grew = say("reach.grew", before=was, now=now, units=say.many(unit))
    of_layer = say("reach.of_layer", layer=layer + 1) if len(reach.by_state[state]) > 1 else ""
    page.figure(
        figures.reach_by_lag(
            {
                name: Reach(each.lags, {state: each.by_state[state][layer, None]})
                for name, each in curves.items()
            },
            state=state,
            cut=measured.cut,
            unit=unit,
            language=say.language,
        ),
        say("reach.label", sentence=wording.sentence),
        say(
            "reach.caption",
            state=escape(say.of("reach.states", state, state=state)),
            of_layer=of_layer,
            units=say.many(unit),
            grew=grew,
        ),
    )
    if beside:
        _write_beside(page, unit, {facts.name: measured, **beside})


def _over(say: Phrases, measured: Measured, unit: str) -> str:
    """Return what a reach is the mean over, in words."""
    one = measured.windows == 1
    windows = say("reach.one_window" if one else "reach.windows", number=measured.windows)
    where = say("reach.held_out") * measured.held_out
    lag = int(measured.reach.lags[-1])
    return say("reach.over", windows=windows, where=where, lag=lag, units=say.many(unit))


def _write_beside(page: Page, unit: str, measured: Mapping[str, Measured | None]) -> None:
    """Write the reach of several models, each in the state that carries it farthest."""
    say = page.say
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
        figures.reach_by_lag(curves, state="memory", cut=cut, unit=unit, language=say.language),
        say("reach.beside_label"),
        say(
            "reach.beside",
            farthest=escape(farthest),
            steps=verdicts[farthest].horizon_steps,
            units=say.many(unit),
        ),
    )
    rows = [
        (
            name,
            each.say(say.language).head if say.language != ENGLISH else each.kind,
            "" if each.half_life_steps is None else say.number(each.half_life_steps, ".1f"),
            str(each.horizon_steps),
        )
        for name, each in verdicts.items()
    ]
    page.table(say.all("reach.columns", units=say.many(unit)), rows, 2)


def _reads_both_ways(reading: Reading) -> bool:
    layer = reading.subject.recurrent
    return layer is not None and layer.bidirectional


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def write_memory(page: Page, reading: Reading) -> None:
    """Write how long units remember: by trying, by their gates, and step by step."""
    layer = reading.subject.recurrent
    if layer is None:
        return
    say = page.say
    page.section(say("memory.heading"), say("memory.link"), say("memory.intro"))
    if not layer.bidirectional:
        _write_forgetting(page, reading, layer)
    if layer.cell.keeps is not None:
        constants = {_of(say, record): time_constants(record) for record in reading.records}
        slowest = max(float(steps.max()) for steps in constants.values())
        page.figure(
            figures.time_constant_curve(constants, language=say.language),
            say("memory.gate_label"),
            say("memory.gate", gate=escape(layer.cell.keeps), steps=say.number(slowest, ".0f")),
        )
    if not layer.bidirectional:
        _write_stretch(page, reading, layer)


def _of(say: Phrases, record: Record) -> str:
    """Return which layer and direction a record is of."""
    name = "memory.backwards" if record.reverse else "memory.layer"
    return say(name, layer=record.layer + 1)


def _write_forgetting(page: Page, reading: Reading, layer: RecurrentLayer) -> None:
    """Write how long each unit feels an input that was replaced."""
    say, unit, state = page.say, reading.unit, layer.cell.carrier  # an LSTM's c
    inputs, replacements, before = reading.replaced(_MEMORY_LAGS, _REPLACEMENTS)
    memory = memory_by_perturbation(layer, inputs, replacements, state=before)
    moved, spans = memory.by_state[state][-1], memory.spans()[state][-1]
    order = spans.argsort(descending=True, stable=True)
    shown = order[:: max(1, len(order) // 64)]
    longest, max_lag = int(spans.max()), int(memory.lags[-1])
    most = say("memory.at_least", steps=longest) if longest == max_lag else str(longest)
    page.figure(
        figures.memory_map(moved, shown.tolist(), unit, language=say.language),
        say("memory.map_label", units=say.many(unit)),
        say(
            "memory.map",
            unit=say.one(unit),
            units=say.many(unit),
            state=escape(state),
            median=int(spans.median()) + 1,
            slowest=int(order[0]),
            most=most,
        ),
    )


def _write_stretch(page: Page, reading: Reading, layer: RecurrentLayer) -> None:
    """Write how far a single step can stretch a change."""
    say, first = page.say, reading.passages[0]
    steps = min(MAP_STEPS, len(first))
    norms = step_jacobian_norms(layer, first.features[None, :steps].detach())[:, :, 0]
    page.figure(
        figures.step_stretch(norms, first.pieces[:steps], language=say.language),
        say("memory.stretch_label"),
        say("memory.stretch", median=say.number(float(norms.median()), ".1f")),
    )


def write_gates(page: Page, reading: Reading) -> None:
    """Write what the gates do over the text, or the levels of a convolution."""
    say, layer = page.say, reading.subject.recurrent
    if layer is None:
        page.section(say("gates.levels"), say("gates.levels_link"))
        levels = {say("gates.level", layer=r.layer + 1): r.values["y"] for r in reading.records}
        _write_maps(page, reading, levels)
        return
    page.section(say("gates.heading"), say("gates.link"))
    record = reading.records[-1 - layer.bidirectional]  # the last layer, forwards
    if shares := saturation(record):
        which = say("gates.or").join(shares) if len(shares) < 3 else say("gates.any")
        page.figure(
            figures.saturation_map(shares, language=say.language),
            say("gates.saturation_label"),
            say("gates.saturation", which=escape(which)),
        )
    states = {name: record.values[name] for name in layer.cell.states}
    others = {name: value for name, value in record.values.items() if name not in states}
    _write_maps(page, reading, others | states)  # the last of which orders the units


def _write_maps(page: Page, reading: Reading, values: Mapping[str, Tensor]) -> None:
    """Write heat maps of (T, 1, H) values over the beginning of the text."""
    say, steps = page.say, min(MAP_STEPS, reading.num_steps)
    shown = {name: value[:steps, 0] for name, value in values.items()}
    order = order_by_change(list(shown.values())[-1], MAP_UNITS)
    named = ", ".join(escape(name) for name in shown)
    fields = [
        say(
            "gates.field",
            layer=record.layer + 1,
            steps=record.receptive_field,
            units=say.many(reading.unit),
        )
        for record in reading.records
        if record.receptive_field is not None
    ]
    page.figure(
        figures.gate_maps(
            shown, reading.pieces[:steps], order, names=list(shown), language=say.language
        ),
        say("gates.maps_label", names=named),
        say(
            "gates.maps",
            names=named,
            unit=say.one(reading.unit),
            number=len(order),
            swatches=_swatches(say),
            fields="".join(fields),
        ),
    )


def _swatches(say: Phrases) -> str:
    """Return which colour is which, as HTML."""
    ends = (f'<span class="swatch {end}"></span> {say(f"gates.{end}")}' for end in ("high", "low"))
    return ", ".join(ends)


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
    say = page.say
    page.section(say("units.heading"), say("units.link"), say("units.intro"))
    best = {name: _best_unit(say, reading, mask, half) for name, mask in usable.items()}
    ranked = sorted(best, key=lambda name: -best[name].score)[:_MOST_PATTERNS]
    rows = [
        (
            say.pattern(name),
            best[name].name,
            say("gates.high" if best[name].area > 0.5 else "gates.low"),
            say.number(best[name].score, ".3f"),
        )
        for name in ranked
    ]
    page.table(say.all("units.columns"), rows, 1)
    drawn: set[str] = set()
    for name in ranked:
        chosen = best[name]
        if chosen.score < _GOOD or chosen.name in drawn or len(drawn) == _MOST_DRAWN:
            continue
        drawn.add(chosen.name)
        start, stop = _excerpt(reading.pieces, usable[name], half)
        page.subsection(_capitalized(say.pattern(name)))
        page.figure(
            figures.unit_over_text(
                chosen.values[start:stop], reading.pieces[start:stop], language=say.language
            ),
            say("units.label", name=chosen.name),
            say(
                "units.caption",
                name=escape(chosen.name),
                area=say.number(chosen.score, ".3f"),
                swatches=_swatches(say),
                unit=say.one(reading.unit),
            ),
        )


@dataclass(frozen=True)
class _Best:
    name: str
    area: float
    values: Tensor  # (T,)

    @property
    def score(self) -> float:
        return max(self.area, 1 - self.area)


def _best_unit(say: Phrases, reading: Reading, mask: Tensor, half: int) -> _Best:
    """Return the unit of any layer and state that follows `mask` best in the first half."""
    best: tuple[float, str, Tensor] | None = None
    for record in reading.records:
        for state in record.initial or ("y",):
            values = record.values[state][:, 0]
            ranking = rank_units(values[:half], mask[:half])
            unit, score = int(ranking.units[0]), float(ranking.score[0])
            if best is None or score > best[0]:
                key = "units.unit_of" if len(reading.records) > 1 else "units.unit"
                name = say(key, state=state, number=unit, layer=_of(say, record))
                best = (score, name, values[:, unit])
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
    kind, unit = "next" if forecasts else "answer", page.say.one(reading.unit)
    say = page.say
    page.section(
        say(f"said.{kind}"), say(f"said.{kind}_link"), say(f"said.{kind}_intro", unit=unit)
    )
    share = say.number(reading.share_of_right_forecasts(), ".0%") if forecasts else ""
    page.figure(
        figures.candidates(
            pieces,
            log_probabilities.exp(),
            subject.labels,
            forecasts=forecasts,
            language=say.language,
        ),
        say("said.label"),
        say(f"said.{kind}_caption", share=share),
    )


def write_training(page: Page, facts: Facts) -> None:
    """Write how the loss fell."""
    say = page.say
    page.section(say("training.heading"), say("training.link"))
    curves = {say.of("training.curves", name): points for name, points in facts.curves.items()}
    ends = {name: say.number(points[-1][1], ".3f") for name, points in curves.items() if points}
    ended = ", ".join(f"{escape(name)} {value}" for name, value in ends.items())
    page.figure(
        figures.learning_curves(
            curves, x_title=say("figures.update"), y_title=facts.loss_unit, language=say.language
        ),
        say("training.label"),
        say("training.caption", ends=ended, unit=escape(facts.loss_unit)),
    )
