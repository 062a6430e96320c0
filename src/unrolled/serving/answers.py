"""What was read, as the API's answers have it: plain numbers, rounded, all of them finite."""

import math
from base64 import b64encode

import torch
from torch import Tensor

from unrolled.inspection import rank_units
from unrolled.serving import schema
from unrolled.serving.errors import ApiError
from unrolled.serving.reading import Reading, named, signal
from unrolled.serving.runs import ServedRun

__all__ = [
    "candidates_at",
    "floats",
    "map_answer",
    "position_in",
    "rank_answer",
    "read_answer",
]

_STEPS_OF_A_MAP = 400


def read_answer(
    run: ServedRun, reading: Reading, question: schema.ReadQuestion
) -> schema.ReadAnswer:
    """Return how surprising each token is, what is expected after one, and a signal to colour by.

    Raises:
        ApiError: A position beyond the text; no such layer, signal or unit.
    """
    length, num_said = len(reading.pieces), len(reading.likeliest)
    position = position_in(reading, question.position)
    values = None
    if question.signal is not None and length:
        chosen = question.signal
        values = floats(signal(reading, chosen.part, chosen.name, chosen.unit))
    return schema.ReadAnswer(
        version=str(run.version),
        pieces=[*reading.pieces],
        surprise=[None if math.isnan(b) else round(b, 4) for b in reading.surprise.tolist()],
        expected=_candidates(run, reading.likeliest[:, 0], reading.probabilities[:, 0])
        if question.expected and num_said
        else None,
        position=position if length else None,
        candidates=candidates_at(run, reading, position),
        values=values,
    )


def position_in(reading: Reading, position: int | None) -> int:
    """Return a position in what was read, the last for None.

    Raises:
        ApiError: It is beyond.
    """
    length = len(reading.pieces)
    position = max(0, length - 1) if position is None else position
    if position >= length and length:
        raise ApiError("position", most=length, got=position)
    return position


def candidates_at(run: ServedRun, reading: Reading, position: int) -> list[schema.Candidate]:
    """Return what is most likely at a position; nothing where nothing is said."""
    if position >= len(reading.likeliest):
        return []
    return _candidates(run, reading.likeliest[position], reading.probabilities[position])


def _candidates(run: ServedRun, ids: Tensor, probabilities: Tensor) -> list[schema.Candidate]:
    return [
        schema.Candidate(text=run.subject.labels[id], probability=round(probability, 7))
        for id, probability in zip(ids.tolist(), probabilities.tolist(), strict=True)
    ]


def map_answer(run: ServedRun, reading: Reading, question: schema.MapQuestion) -> schema.MapAnswer:
    """Return a gate or state of all units over a part of the text, as bytes of a heat map.

    Raises:
        ApiError: A part outside of the text, or too long; no such layer or name.
    """
    start, stop = question.start, min(question.stop, len(reading.pieces))
    if not start < stop <= start + _STEPS_OF_A_MAP:
        asked = {"start": start, "stop": question.stop}
        raise ApiError("map", most=_STEPS_OF_A_MAP, length=len(reading.pieces), **asked)
    values = named(reading, question.part, question.name)[start:stop]
    lowest, highest = values.min().item(), values.max().item()
    if not math.isfinite(lowest + highest):
        raise ApiError("diverged")
    scaled = (values - lowest) * (255 / max(highest - lowest, 1e-12))
    data = scaled.round().clamp(0, 255).to(torch.uint8).contiguous().numpy().tobytes()
    return schema.MapAnswer(
        version=str(run.version),
        start=start,
        steps=stop - start,
        units=values.shape[1],
        lowest=lowest,
        highest=highest,
        data=b64encode(data).decode(),
    )


def rank_answer(
    run: ServedRun, reading: Reading, question: schema.RankQuestion
) -> schema.RankAnswer:
    """Return the five units that follow each pattern of the text best.

    Raises:
        ApiError: No such layer or name.
    """
    patterns = {}
    if len(reading.pieces):
        values = named(reading, question.part, question.name)
        for pattern, mask in run.subject.patterns(reading.passage).items():
            if mask.all() or not mask.any():
                continue
            ranking = rank_units(values, mask)
            best = zip(ranking.units.tolist()[:5], ranking.area.tolist()[:5], strict=True)
            patterns[pattern] = [
                schema.RankedUnit(unit=unit, area=round(area, 4)) for unit, area in best
            ]
    return schema.RankAnswer(version=str(run.version), patterns=patterns)


def floats(values: Tensor) -> list[float]:
    """Return numbers as JSON has them: seven digits after the point, as many as float32 carries.

    Raises:
        ApiError: They are not all finite.
    """
    numbers: list[float] = [round(value, 7) for value in values.tolist()]
    if not all(map(math.isfinite, numbers)):
        raise ApiError("diverged")
    return numbers
