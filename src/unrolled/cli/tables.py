"""Measurements as tables for people: a line a metric, a column a predictor."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from unrolled.cli.terminal import visible
from unrolled.metrics import Metric, find_metric
from unrolled.training import Results

__all__ = ["confusion_table", "figures_table", "results_table", "results_texts", "shown"]

_MOST_CLASSES = 20

_PARTS = {"test": "on the test part", "held_out": "on the held-out part"}


def results_table(results: Results) -> Table:
    """Return what was measured, beside the baselines."""
    table = Table(box=None, pad_edge=False)
    table.add_column(_PARTS[results.part], style="dim", overflow="fold", min_width=16)
    table.add_column("model", justify="right", style="bold")
    for name in results.baselines:
        table.add_column(name, justify="right")
    for name, value in results.metrics.items():
        others = [shown(metrics.get(name)) for metrics in results.baselines.values()]
        if isinstance(value, int | float):
            table.add_row(_label(name, results.meanings), shown(value), *others)
    return table


def results_texts(results: Results) -> Iterator[str]:
    """Yield what was measured with, a line each: too long for a column."""
    for name, value in results.metrics.items():
        if isinstance(value, str):
            yield f"{_label(name, results.meanings)}: {value}"


def figures_table(figures: Mapping[str, Any], metrics: Sequence[Metric]) -> Iterator[str]:
    """Yield a line for each figure that is a number, or a text."""
    for name, value in figures.items():
        if isinstance(value, int | float):
            yield f"{_label(name, metrics):<22}{shown(value):>14}"
        elif isinstance(value, str):
            yield f"{_label(name, metrics)}: {value}"


def confusion_table(metrics: Mapping[str, Any]) -> Table | None:
    """Return which class was taken for which; None if there is none to show, or it is too wide."""
    confusion = metrics.get("confusion")
    if confusion is None or len(confusion["classes"]) > _MOST_CLASSES:
        return None
    table = Table(box=None, pad_edge=False)
    table.add_column("true class, and what it was taken for", style="dim")
    for name in confusion["classes"]:
        table.add_column(visible(name), justify="right")
    for name, counts in zip(confusion["classes"], confusion["counts"], strict=True):
        table.add_row(visible(name), *(f"{count:,}" for count in counts))
    return table


def shown(value: Any) -> str:
    """Return a measurement in about four digits; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _label(name: str, metrics: Sequence[Metric]) -> str:
    metric = find_metric(metrics, name) or Metric(name, None)  # a count, or a text
    return metric.label
