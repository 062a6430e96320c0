"""What `unrolled predict` writes of a forecaster: rows of steps to come, or of steps that came.

Not here: what a row is (`rows.py`), the ends of series (`ends.py`), and scores (`scores.py`).
"""

from collections.abc import Iterator
from typing import Any

from unrolled.data.source import Source
from unrolled.tasks.forecast.ends import ends_of_source
from unrolled.tasks.forecast.fitted import Fitted
from unrolled.tasks.forecast.forecasting import forecast
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.options import PredictOptions
from unrolled.tasks.forecast.rows import (
    as_one,
    ends_of_interval,
    horizon_of,
    says_one_number,
    to_rows,
)
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.scores import scored_table
from unrolled.tasks.task import TaskOptions

__all__ = ["heading_of", "predictions"]


def predictions(
    source: Source,
    asked: PredictOptions,
    options: TaskOptions,
    fitted: Fitted,
    scaling: Scaling,
    model: Forecaster,
) -> Iterator[dict[str, Any]]:
    """Yield each row; of a line that was typed all steps are one.

    Args:
        source: A table, or what was typed.
        asked: What is wanted of it.
        options: Of the task.
        fitted: To the training.
        scaling: By which series are scaled.
        model: In eval mode.

    Raises:
        DataError: As of `ends_of_source` or `scored_table`.
        OptionError: A horizon or an interval that the model does not have.
    """
    data = options.data
    horizon = horizon_of(options.model, asked, fitted.sizes)
    levels = ends_of_interval(options.model, asked.interval) or ()
    if asked.scores:
        yield from scored_table(source, data, fitted, scaling, model, levels)
        return
    for window in ends_of_source(source, data, fitted, scaling, horizon):
        point, quantiles = forecast(scaling, model, [window], levels)
        said = {"forecast": point[0, :horizon]}
        if quantiles is not None:
            said |= dict(zip(("low", "high"), quantiles[:, 0, :horizon], strict=True))
        if source.path is None:
            yield as_one(window, said, data.target)
        else:
            yield from to_rows(window, said, data.target, named=data.id is not None)


def heading_of(options: TaskOptions, asked: PredictOptions) -> str:
    """Return the names of what stands in a row, with tabs between them."""
    names = ["id"] * (options.data.id is not None)
    ends = [] if says_one_number(options.model) else ["low", "high"]
    value, score = (["value"], ["score"]) if asked.scores else ([], [])
    return "\t".join([*names, "time", "target", *value, "forecast", *ends, *score])
