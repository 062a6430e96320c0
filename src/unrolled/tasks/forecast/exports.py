"""A forecaster as a graph: windows and their scales in, what is said of the steps to come out.

Numbers are those of the data, in float64: a graph scales what it reads, and scales back what it
says. Recursive forecasters, which draw or feed themselves, are no graph; in C they are fed.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import OptionError, field
from unrolled.tasks.forecast.ends import typed_columns
from unrolled.tasks.forecast.model import Inputs
from unrolled.tasks.forecast.model_options import DISTRIBUTIONS
from unrolled.tasks.forecast.rows import draws_paths, ends_of_interval
from unrolled.tasks.forecast.windows import Window
from unrolled.tasks.graphs import Graph, Graphs, Parts, Steps, Tensors, Windows

__all__ = ["ForecasterGraphs"]

_AT_ONCE = 16
_MOST_ENDS = 20  # of series, in a page


class ForecasterGraphs(Graphs[Window]):
    """Whole windows, of as many steps as the model looks at.

    past: The targets, (B, L, C), NaN where one is missing.
    columns: What else is known of these steps, (B, L, P + K); left out where there is nothing.
    future: What is known of the steps to come, (B, H, K); left out where there is nothing.
    numbers, words: What is known of each series, (B, N) as it is and NaN where it is missing, and
        (B, W), which of the column's words it is, from 1, 0 for another; left out where there is
        nothing.
    center, width: The scale of each series, (B, C), of logarithms where those are learned.
    scores: The parameters of the model's head, (B, H, C, R).
    """

    def whole(self) -> Graph:
        """Return the graph of windows.

        Raises:
            OptionError: A recursive model.
        """
        if self.model.options.method == "recursive":
            message = f"a forecaster of {field('method')} recursive reads what it said itself, "
            message += "which a graph does not"
            raise OptionError(
                message, f"train with another {field('method')}, or write {field('c')}"
            )
        return self.scored()

    def typed(self, examples: Sequence[Window]) -> dict[str, Any]:
        """Return what a page reads beside the last values of a series, as of a line that is typed.

        columns, future: What the calendar says of each step, flat; steps go on as the training's
            did.
        past, known: Names of other columns that are read.
        learns, levels, deviates: The loss, its quantiles or those of the interval, and these of a
            normal distribution.
        curve, above: What is learned of a number, and above what it must be; null of any.
        ends: The last values of series by their names, null where one is missing: of the
            targets, then of `past` and `known`.
        ahead: What series have of `known` after these; of `repeated` series what they had last,
            null where they never had it.

        Raises:
            OptionError: The model reads what is known of whole series, or draws paths.
        """
        data, options = self.task.options.data, self.model.options
        others = f"export it with {field('c')} or {field('onnx')}"
        if names := data.static:
            message = "a page does not run a forecaster that also reads what is known of a whole "
            message += f"series: {', '.join(names)}"
            raise OptionError(message, f"{others}, or train without {field('static')}")
        if draws_paths(options):
            message = f"a page does not draw the paths of {field('method')} recursive with "
            message += f"{field('loss')} {options.learns}"
            raise OptionError(message, f"{others}; another {field('method')} draws none")
        fitted, scaling = self.task.fitted, self.task.scaling
        lookback, horizon = fitted.sizes
        place = fitted.last_place
        _, known = typed_columns(data, fitted.calendar, lookback, horizon, place)
        levels = options.levels if options.learns == "quantile" else ()
        deviates: list[float] = []
        if options.learns == "normal":
            levels = ends_of_interval(options, None) or ()
            deviates = torch.special.ndtri(torch.tensor(levels, dtype=torch.float64)).tolist()
        above = scaling.curve.above
        return {
            "columns": known[:lookback].flatten().tolist(),
            "future": known[lookback:].flatten().tolist(),
            "learns": options.learns,
            "levels": [*levels],
            "deviates": deviates,
            "curve": data.transform.removesuffix("diff").rstrip("-"),
            "above": above if above > -torch.inf else None,
            "past": [*data.past],
            "known": [*data.known],
            **_ends_of(examples, lookback, horizon),
        }

    def parts(self) -> Parts:
        """Return the model, and how what it reads is scaled."""
        scaling = self.task.scaling
        says_data = self.model.options.learns not in DISTRIBUTIONS
        transform = self.task.options.data.transform
        return Windows(self.model, scaling.columns, scaling.statics.scale, transform, says_data)

    def scored(self) -> Graph:
        """Return the graph of windows; a recursive model reads its own point forecasts."""
        model, scaling = self.model, self.task.scaling
        center, width = scaling.columns
        curve, num_past = scaling.curve, model.num_past
        as_data = model.options.learns not in DISTRIBUTIONS
        lookback, horizon = self.task.sizes
        names = self._names()

        def run(*tensors: Tensor) -> list[Tensor]:
            given = dict(zip(names, tensors, strict=True))
            past, offset, size = given["past"], given["center"][:, None], given["width"][:, None]
            past = (curve.apply(past) - offset) / size
            none = past[:, :, :0]
            columns, future = none, none[:, :1].expand(-1, horizon, -1)
            if "columns" in given:
                columns = (given["columns"] - center) / width
            if "future" in given:
                future = (given["future"] - center[num_past:]) / width[num_past:]
            static = None
            if "numbers" in given or "words" in given:
                numbers = given["numbers"] if "numbers" in given else none[:, 0, :0]
                words = given["words"] if "words" in given else none[:, 0, :0].long()
                static = scaling.scaled_static(numbers, words)
            said = model(Inputs(past.float(), columns.float(), future.float(), static=static))
            scores = model.head.moved(said.double(), offset, size)
            return [curve.undo(scores) if as_data else scores]

        examples = {
            "past": torch.zeros(2, lookback, model.num_targets),
            "columns": torch.zeros(2, lookback, len(center)),
            "future": torch.zeros(2, horizon, model.num_known),
            "numbers": torch.zeros(2, scaling.statics.sizes[0]),
            "center": torch.zeros(2, model.num_targets),
            "width": torch.ones(2, model.num_targets),
        }
        inputs = {name: examples[name].double() for name in names if name != "words"}
        if "words" in names:
            inputs["words"] = torch.zeros(2, len(scaling.statics.sizes[1]), dtype=torch.long)
        inputs = {name: inputs[name] for name in names}
        return Graph(model, run, inputs, {name: {0: "batch"} for name in names}, ("scores",))

    def steps(self) -> Steps:
        """Raise `OptionError`: a forecast looks at a whole window."""
        message = f"{field('stream')}: a forecast looks at a whole window, and has no single steps"
        raise OptionError(message, "export the whole alone")

    def batches(self, examples: Sequence[Window]) -> Iterator[dict[str, Tensor]]:
        """Yield what the graph reads of windows."""
        names = self._names()
        for start in range(0, len(examples), _AT_ONCE):
            windows = examples[start : start + _AT_ONCE]
            rows: dict[str, list[Tensor]] = {name: [] for name in names}
            known = {series: series.known for series in {window.series for window in windows}}
            for window in windows:
                series, origin = window.series, window.origin
                seen = slice(origin - window.sizes.lookback, origin)
                scale = self.task.scaling.scale(series)
                numbers, words = self.task.scaling.statics.read(series.where, series.static)
                read = {
                    "past": series.values[seen],
                    "columns": torch.cat([series.past[seen], known[series][seen]], 1),
                    "future": known[series][origin : origin + window.sizes.horizon],
                    "numbers": numbers,
                    "words": words,
                    "center": scale.center,
                    "width": scale.width,
                }
                for name in names:
                    rows[name].append(read[name])
            yield {name: torch.stack(tensors) for name, tensors in rows.items()}

    def in_steps(
        self, inputs: Tensors, scores: Tensor
    ) -> tuple[dict[str, Tensor], list[tuple[dict[str, Tensor], Tensor]]]:
        """Raise as `steps` does, which is asked first."""
        raise NotImplementedError

    def _names(self) -> list[str]:
        names = ["past"]
        names += ["columns"] if len(self.task.scaling.columns[0]) else []
        names += ["future"] if self.model.num_known else []
        num_numbers, num_words = self.task.scaling.statics.sizes
        names += ["numbers"] * bool(num_numbers) + ["words"] * bool(num_words)
        return [*names, "center", "width"]


def _ends_of(windows: Sequence[Window], lookback: int, horizon: int) -> dict[str, Any]:
    """Return the last rows of series, by their names, and what is known of the steps to come."""
    ends: dict[str, list[list[float | None]]] = {}
    ahead: dict[str, list[list[float | None]]] = {}
    repeated: list[str] = []
    for name, series in {window.series.id: window.series for window in windows}.items():
        seen = slice(len(series) - lookback, len(series))
        if bool(series.values[seen].isnan().all()) or len(ends) == _MOST_ENDS:
            continue
        known = series.given[:, : series.num_columns]
        rows = torch.cat([series.values[seen], series.past[seen], known[seen]], 1)
        ends[name] = [_with_nulls(row) for row in rows]
        coming = known[len(series) : len(series) + horizon]
        if known.shape[1] and (len(coming) < horizon or bool(coming.isnan().any())):
            columns = (column[~column.isnan()] for column in known[: len(series)].T)
            last = [float(column[-1]) if len(column) else None for column in columns]
            ahead[name] = [last] * horizon
            repeated.append(name)
        else:
            ahead[name] = [_with_nulls(row) for row in coming]
    return {"ends": ends, "ahead": ahead, "repeated": repeated}


def _with_nulls(row: Tensor) -> list[float | None]:
    """Return numbers as JSON has them."""
    return [None if value != value else value for value in row.tolist()]
