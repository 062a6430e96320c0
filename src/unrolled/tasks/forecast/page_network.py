"""A forecaster as the page of a report computes it: of what is typed, as `predict` reads a line."""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from unrolled.data.source import Source
from unrolled.inspection.gradients import direction_of
from unrolled.tasks.forecast.methods import EncoderDecoderForecaster, SegmentForecaster
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.rows import ends_of_interval
from unrolled.tasks.page_network import PageParts

if TYPE_CHECKING:
    from unrolled.tasks.forecast.task import ForecastTask

__all__ = ["page_network"]


def page_network(parts: PageParts, *, model: Forecaster, task: "ForecastTask") -> dict[str, Any]:
    """Return how it scales a window, what it makes of the states, and what steps are called."""
    data, options, layer = task.options.data, model.options, model.layer
    assert not model.statics
    lookback, horizon = task.sizes
    line = ":".join([",".join(["1"] * lookback)] * len(data.target))  # whose numbers do not matter
    (window,) = task.ends(Source.text(line))
    inputs, (scale,) = task.scaling.batch([window])
    ends = ends_of_interval(options, None)
    deviates = torch.special.ndtri(torch.tensor(ends or (), dtype=torch.float64))
    above = task.scaling.curve.above
    places = window.series.places[window.origin : window.origin + horizon]
    return {
        "method": options.method,
        "lookback": lookback,
        "horizon": horizon,
        "targets": [*data.target],
        "is_independent": options.is_independent,
        "pieces": [*task.subject(model).passage(window).pieces],
        "times": [window.calendar.text(place) for place in places],
        "center": scale.center.tolist(),
        "width": scale.width.tolist(),
        "curve": data.transform.removesuffix("diff").removesuffix("season-").rstrip("-"),
        "above": above if above > -torch.inf else None,
        "lag": model.lag,
        "frame": options.frame,
        "marks_missing": model.marks_missing,
        "columns": parts.matrix(inputs.columns[0]) if model.num_known else None,
        "future": parts.matrix(inputs.future[0]) if model.num_known else None,
        "learns": options.learns,
        "size": model.head.size,
        "middle": getattr(model.head, "middle", 0),
        "tail": ends[0] if ends else None,
        "deviates": deviates.tolist(),
        "spread": float(model.spread) if model.widens else 1.0,
        "linear": None if model.linear is None else parts.linear(model.linear),
        "answer": parts.linear(model.answer),
        "known": [parts.linear(each) for each in _linears(getattr(model, "known", None))],
        **_of_method(parts, model),
        "direction": direction_of(layer, 1)[0].tolist(),  # type: ignore[arg-type]  # a recurrent one
    }


def _linears(module: nn.Module | None) -> list[nn.Linear]:
    """Return the linear layers of what is known of the steps to come."""
    return [] if module is None else [m for m in module.modules() if isinstance(m, nn.Linear)]


def _of_method(parts: PageParts, model: Forecaster) -> dict[str, Any]:
    """Return what one method alone has."""
    if isinstance(model, SegmentForecaster):
        return {
            "segment": model.segment,
            "embed": parts.linear(model.embed),
            "place": parts.matrix(model.place),
            "channel": parts.matrix(model.channel),
        }
    if isinstance(model, EncoderDecoderForecaster):
        decoder: Any = model.decoder
        return {"decoder": parts.stack(decoder), "place": parts.matrix(model.place)}
    return {}
