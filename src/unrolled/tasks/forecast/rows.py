"""Forecasts as rows of a table: a time, a target, a number, and the ends of its interval."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from unrolled.errors import OptionError, field
from unrolled.tasks.forecast.model_options import DISTRIBUTIONS, ModelOptions
from unrolled.tasks.forecast.options import PredictOptions
from unrolled.tasks.forecast.windows import Sizes, Window

__all__ = [
    "as_one",
    "check_levels",
    "draws_paths",
    "ends_of_interval",
    "horizon_of",
    "says_one_number",
    "to_rows",
    "to_text",
]

_INTERVAL = 0.8
_NEAR = 1e-9


def says_one_number(model: ModelOptions) -> bool:
    """Return whether a model has no intervals."""
    return model.learns not in ("quantile", *DISTRIBUTIONS)


def draws_paths(options: ModelOptions) -> bool:
    """Return whether a model's forecasts are those of paths that it draws."""
    return options.method == "recursive" and options.learns in DISTRIBUTIONS


def check_levels(model: ModelOptions, asked: Sequence[float]) -> list[float]:
    """Return levels of quantiles as numbers.

    Args:
        model: What a model is made of.
        asked: Probabilities.

    Raises:
        OptionError: They are none, or not such that a model has quantiles of all.
    """
    try:
        levels = [float(level) for level in asked]
    except (TypeError, ValueError):
        levels = []
    shown = ", ".join(f"{level:g}" for level in levels)
    if not levels or not all(0 < level < 1 for level in levels):
        message = "levels of quantiles must be numbers between 0 and 1"
        raise OptionError(f"{message}, got {shown or repr(asked)}", "0.1 and 0.9, for example")
    if says_one_number(model):
        message = "quantiles are of models with intervals, and this one says one number"
        raise OptionError(message, f"train with {field('loss')} quantile")
    known = model.levels
    if model.learns == "quantile" and not all(_has(known, level) for level in levels):
        message = f"quantiles of {shown} are asked for, but the model has "
        wanted = ",".join(f"{level:g}" for level in sorted({0.5, *levels}))
        hint = f"train with {field('quantiles')} {wanted}"
        raise OptionError(f"{message}{', '.join(f'{level:g}' for level in known)}", hint)
    return levels


def horizon_of(model: ModelOptions, asked: PredictOptions, sizes: Sizes) -> int:
    """Return how many steps are wanted.

    Raises:
        OptionError: The model does not make as many.
    """
    horizon = asked.horizon or sizes.horizon
    if horizon > sizes.horizon and not draws_paths(model):
        message = f"{field('horizon')} is {horizon}, but the model makes {sizes.horizon} steps"
        hint = f"train with {field('horizon')} {horizon}; {field('method')} recursive with a "
        raise OptionError(message, f"{hint}distribution makes any number")
    return horizon


def ends_of_interval(model: ModelOptions, interval: float | None) -> tuple[float, float] | None:
    """Return the levels of an interval's ends; None of a model that says one number.

    Args:
        model: What a model is made of.
        interval: Its probability; None for 0.8, or that of the outermost quantiles.

    Raises:
        OptionError: The model has no such interval.
    """
    if says_one_number(model):
        if interval is None:
            return None
        message = f"{field('interval')} is for models with intervals, and this one says one number"
        raise OptionError(message, f"train with {field('loss')} quantile")
    if model.learns != "quantile":
        share = interval or _INTERVAL
        return (1 - share) / 2, (1 + share) / 2
    known = model.levels
    if interval is None:
        return known[0], known[-1]
    low, high = (1 - interval) / 2, (1 + interval) / 2
    if not all(_has(known, end) for end in (low, high)):
        shown = ", ".join(f"{level:g}" for level in known)
        message = f"{field('interval')} {interval:g} has ends at {low:g} and {high:g}"
        hint = f"train with {field('quantiles')} {low:g},0.5,{high:g}"
        raise OptionError(f"{message}, but the model has the quantiles {shown}", hint)
    return low, high


def _has(known: Sequence[float], level: float) -> bool:
    return any(abs(level - each) < _NEAR for each in known)


def to_rows(
    window: Window, said: Mapping[str, Tensor], targets: Sequence[str], *, named: bool
) -> Iterator[dict[str, Any]]:
    """Yield each step and target of a forecast.

    Args:
        window: From where it is made.
        said: "forecast" and perhaps "low" and "high", (H, C) each.
        targets: The names of the C targets.
        named: Whether the series has a name.
    """
    name = {"id": window.series.id} if named else {}
    for time, step in zip(_times(window, said), range(len(said["forecast"])), strict=True):
        for column, target in enumerate(targets):
            numbers = {key: float(values[step, column]) for key, values in said.items()}
            yield {**name, "time": time, "target": target, **numbers}


def as_one(window: Window, said: Mapping[str, Tensor], targets: Sequence[str]) -> dict[str, Any]:
    """Return a forecast as one answer: the times, and for each target its numbers."""
    numbers = {
        key: {target: values[:, column].tolist() for column, target in enumerate(targets)}
        for key, values in said.items()
    }
    return {"times": _times(window, said), **numbers}


def to_text(prediction: Mapping[str, Any]) -> str:
    """Return a row, or all of one answer, with tabs between the columns."""
    if "times" not in prediction:
        return "\t".join(
            f"{value:.6g}" if isinstance(value, float) else str(value)
            for value in prediction.values()
        )
    numbers = [prediction[key] for key in ("forecast", "low", "high") if key in prediction]
    lines = []
    for step, time in enumerate(prediction["times"]):
        for target in prediction["forecast"]:
            lines.append("\t".join([time, target, *(f"{n[target][step]:.6g}" for n in numbers)]))
    return "\n".join(lines)


def _times(window: Window, said: Mapping[str, Tensor]) -> list[str]:
    steps = range(window.origin, window.origin + len(said["forecast"]))
    return [window.calendar.text(window.series.places[step]) for step in steps]
