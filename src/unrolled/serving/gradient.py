"""What the page shows of a model's memory: gradients, saturation, time constants."""

from dataclasses import replace
from weakref import WeakKeyDictionary

from unrolled.inspection import (
    Reach,
    Subject,
    gradient_reach,
    saturation,
    time_constants,
)
from unrolled.inspection.reading import Measured, enough_to_measure, measure
from unrolled.serving import schema
from unrolled.serving.errors import ApiError
from unrolled.serving.reading import Reading
from unrolled.serving.recorded import rounded, told_measured, told_reach, told_verdict
from unrolled.serving.runs import ServedRun

__all__ = ["look_back"]

_LAGS_OF_ONE_PLACE = 40
_measured: WeakKeyDictionary[Reading, Measured | None] = WeakKeyDictionary()


def look_back(run: ServedRun, reading: Reading, position: int | None) -> schema.GradientAnswer:
    """Return how far the loss reaches back.

    Args:
        run: The model.
        reading: What it has read.
        position: From what is said at this step; None averages over places.

    Raises:
        ApiError: There is too little, no such position, or it is the first.
        OptionError: The layer cannot be followed.
    """
    length, subject = len(reading.pieces), run.subject
    if position is not None and position >= length:
        raise ApiError("position", most=length, got=position)
    measured = _measure(run, reading)
    if position is not None:
        reach = _from_place(subject, reading, position)
    elif measured is not None:
        reach = measured.reach
    else:
        raise ApiError("too_short", least=4, got=length)
    records = reading.records if subject.recurrent is not None else ()
    forgets = subject.recurrent is not None and subject.recurrent.cell.keeps is not None
    return schema.GradientAnswer(
        version=str(run.version),
        **told_reach(reach),
        verdict=None if measured is None else told_verdict(measured.verdict),
        measured=None if measured is None else schema.Measured(**told_measured(measured)),
        saturation=[
            {name: [low.mean().item(), high.mean().item()] for name, (low, high) in shares.items()}
            for shares in map(saturation, records)
        ],
        time_constants=[rounded(time_constants(record)) for record in records if forgets],
    )


def _measure(run: ServedRun, reading: Reading) -> Measured | None:
    """Return the reach over what was read, or over the held-out part where that is too little."""
    passages, wanted = [reading.passage], run.task.steps_backward
    if not enough_to_measure(passages, wanted) and run.measured is not None:
        return replace(run.measured, held_out=True)
    if reading not in _measured:  # who walks through a text asks again at every step
        _measured[reading] = measure(run.subject, passages, wanted)
    return _measured[reading]


def _from_place(subject: Subject, reading: Reading, position: int) -> Reach:
    """Return the reach of the loss of what is said at one step."""
    if position == 0:
        raise ApiError("nothing_before")
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
