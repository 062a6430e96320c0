"""What the page shows of a model's memory on a visitor's text: gradients, saturation, constants."""

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import DataError, OptionError
from unrolled.inspection.gradients import Reach, gradient_reach
from unrolled.inspection.memory import saturation, time_constants
from unrolled.inspection.record import trace
from unrolled.inspection.verdict import verdict
from unrolled.layers.initialize import keep_gate
from unrolled.layers.recording import Record
from unrolled.layers.recurrent import RecurrentLayer
from unrolled.networks.language_model import LanguageModel
from unrolled.serving import schema
from unrolled.serving.reading import Reading
from unrolled.serving.runs import LanguageRun

__all__ = ["look_back"]

_MOST_LAGS = 100
_LAGS_OF_ONE_PLACE = 40
_MOST_PLACES = 12
_FEWEST_LAGS = 2


def look_back(run: LanguageRun, reading: Reading, position: int | None) -> schema.GradientAnswer:
    """Return how far the loss reaches back.

    Args:
        run: The model.
        reading: The text that it has read.
        position: From the forecast after this token; None averages over places in the text.

    Raises:
        DataError: The text is too short, or the position its first.
        OptionError: There is no such position.
    """
    length = len(reading.tokens)
    if position is not None and position >= length:
        raise OptionError(f"position must be below {length}, got {position}")
    reach = (
        _over_places(run.model, reading.tokens)
        if position is None
        else _from_place(run.model, reading, position)
    )
    said: dict[str, Any] | None = None
    if len(reach.lags) > _FEWEST_LAGS:
        unit = "character" if run.vocabulary.kind == "char" else "token"
        said = {
            name: value if not isinstance(value, float) or math.isfinite(value) else None
            for name, value in asdict(verdict(reach, unit=unit)).items()
        }
    records = _records(run.model, reading.tokens)
    return schema.GradientAnswer(
        version=str(run.version),
        lags=reach.lags.tolist(),
        reach={name: [_numbers(row) for row in rows] for name, rows in reach.relative().items()},
        verdict=said,
        saturation=[
            {name: [low.mean().item(), high.mean().item()] for name, (low, high) in found.items()}
            for found in map(saturation, records)
        ],
        time_constants=[
            _numbers(time_constants(record)) for record in records if _forgets(run.model)
        ],
    )


def _over_places(model: LanguageModel, tokens: Tensor) -> Reach:
    """Return the mean reach from several places, as far back as all of them have text."""
    lags = min(_MOST_LAGS, len(tokens) - 2)
    if lags < _FEWEST_LAGS:
        raise DataError(f"the text has {len(tokens)} tokens, at least 4 are needed", "write more")
    first, last = lags + 1, len(tokens) - 1
    places = torch.linspace(first, last, min(_MOST_PLACES, last - first + 1)).long()
    rows = torch.stack([tokens[place - lags - 1 : place + 1] for place in places.tolist()])
    return gradient_reach(model, rows, max_lag=lags)


def _from_place(model: LanguageModel, reading: Reading, position: int) -> Reach:
    """Return the reach of the loss of the forecast after one token."""
    following = reading.likeliest[position, 0]
    if position + 1 < len(reading.tokens):
        following = reading.tokens[position + 1]
    if position == 0:
        raise DataError("the first token has nothing before it", "choose a later one")
    lags = min(_LAGS_OF_ONE_PLACE, position)
    rows = reading.tokens[None, : position + 1]
    return gradient_reach(model, rows, targets=following[None], max_lag=lags)


def _records(model: LanguageModel, tokens: Tensor) -> list[Record]:
    if not isinstance(model.layer, RecurrentLayer):
        return []
    return trace(model, tokens[None])


def _forgets(model: LanguageModel) -> bool:
    """Whether the cell has a gate that keeps the old state."""
    return isinstance(model.layer, RecurrentLayer) and keep_gate(model.layer.cell) is not None


def _numbers(values: Tensor) -> list[float | None]:
    """Return numbers as JSON has them, None for what is none."""
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in values.tolist()]
