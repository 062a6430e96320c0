"""What the page shows of a model's memory: gradients, saturation, time constants."""

import math
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import DataError, OptionError
from unrolled.inspection import (
    Reach,
    Subject,
    Verdict,
    gradient_reach,
    saturation,
    time_constants,
    verdict,
)
from unrolled.inspection.verdict import MARKS
from unrolled.languages import language_names
from unrolled.serving import schema
from unrolled.serving.reading import Reading
from unrolled.serving.runs import ServedRun

__all__ = ["look_back"]

_MOST_LAGS = 100
_LAGS_OF_ONE_PLACE = 40
_MOST_PLACES = 12
_FEWEST_LAGS = 2


def look_back(run: ServedRun, reading: Reading, position: int | None) -> schema.GradientAnswer:
    """Return how far the loss reaches back.

    Args:
        run: The model.
        reading: What it has read.
        position: From what is said at this step; None averages over places.

    Raises:
        DataError: There is too little, or the position is the first.
        OptionError: There is no such position, or the layer cannot be followed.
    """
    length, subject = len(reading.pieces), run.subject
    if position is not None and position >= length:
        raise OptionError(f"position must be below {length}, got {position}")
    reach = (
        _over_places(subject, reading)
        if position is None
        else _from_place(subject, reading, position)
    )
    judged = None
    if len(reach.lags) > _FEWEST_LAGS:
        judged = _in_words(verdict(reach, unit=subject.unit))
    records = reading.records if subject.recurrent is not None else ()
    forgets = subject.recurrent is not None and subject.recurrent.cell.keeps is not None
    return schema.GradientAnswer(
        version=str(run.version),
        lags=reach.lags.tolist(),
        reach={name: [_numbers(row) for row in rows] for name, rows in reach.relative().items()},
        verdict=judged,
        saturation=[
            {name: [low.mean().item(), high.mean().item()] for name, (low, high) in shares.items()}
            for shares in map(saturation, records)
        ],
        time_constants=[_numbers(time_constants(record)) for record in records if forgets],
    )


def _in_words(judged: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON has it, with how it is said in each language."""
    rate = judged.rate if math.isfinite(judged.rate) else None
    return {
        "kind": judged.kind,
        "mark": MARKS[judged.kind],
        "state": judged.state,
        "layer": judged.layer,
        "rate": rate,
        "half_life_steps": judged.half_life_steps,
        "horizon_steps": judged.horizon_steps,
        "measured_steps": judged.measured_steps,
        "words": {code: judged.say(code)._asdict() for code in language_names()},
    }


def _over_places(subject: Subject, reading: Reading) -> Reach:
    """Return the mean reach from several places, as far back as all of them have steps."""
    passage, unit = reading.passage, subject.unit
    lags = min(_MOST_LAGS, len(passage) - 2)
    if lags < _FEWEST_LAGS:
        message = f"at least 4 {unit}s are needed, got {len(passage)}"
        raise DataError(message, "write more")
    first, last = lags + 1, len(passage) - 1
    places = torch.linspace(first, last, min(_MOST_PLACES, last - first + 1)).long().tolist()
    rows = torch.stack([passage.features[place - lags - 1 : place] for place in places])
    following = None if passage.tokens is None else passage.tokens[torch.tensor(places)]
    return gradient_reach(subject.layer, rows, loss=subject.loss(following), max_lag=lags)


def _from_place(subject: Subject, reading: Reading, position: int) -> Reach:
    """Return the reach of the loss of what is said at one step."""
    if position == 0:
        raise DataError(f"the first {subject.unit} has nothing before it", "choose a later one")
    passage, following = reading.passage, None
    if passage.tokens is not None and position + 1 < len(passage):
        following = passage.tokens[position + 1][None]
    return gradient_reach(
        subject.layer,
        passage.features[None, : position + 1],
        state=passage.state,
        loss=subject.loss(following),
        max_lag=min(_LAGS_OF_ONE_PLACE, position),
    )


def _numbers(values: Tensor) -> list[float | None]:
    """Return numbers as JSON has them, None for what is none."""
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in values.tolist()]
