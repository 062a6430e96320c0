"""Which weights a run keeps: those that predict the held-out part best, by a metric."""

import math
from collections.abc import Mapping

from unrolled.metrics import Metric
from unrolled.training.schedule import Progress

__all__ = ["Choice"]


class Choice:
    """Tells the best of a run's evaluations.

    Figures that a count of so few cannot tell from the best one, within a standard error, are taken
    as equal: among them the loss decides, which says more than a count of what is right.

    Args:
        metric: By which weights are ranked.
        num_judged: What it counts: texts, or the words of all sentences; for the standard error.
    """

    def __init__(self, metric: Metric, num_judged: int) -> None:
        self.metric = metric
        self.num_judged = num_judged

    def is_best(self, measured: Mapping[str, float], progress: Progress) -> bool:
        """Whether these figures are the best so far; where nothing was measured, none are."""
        if not measured:
            return False
        figure, best = measured[self.metric.name], progress.best_figure
        if progress.best_update is None or not math.isfinite(figure):
            return progress.best_update is None
        if best is None or not math.isfinite(best):
            return True
        top = self._top(figure, progress)
        margin = self.metric.standard_error(top, self.num_judged)

        def is_worse(value: float) -> bool:
            return self.metric.is_better(top, value) and abs(top - value) > margin

        return not is_worse(figure) and (is_worse(best) or measured["loss"] < progress.best_loss)

    def note(self, measured: Mapping[str, float], progress: Progress) -> bool:
        """Write an evaluation into the run's progress; return whether it is the best so far."""
        improved = self.is_best(measured, progress)
        if improved:
            progress.best_loss, progress.best_figure = measured["loss"], measured[self.metric.name]
            progress.best_update = progress.update
            progress.evaluations_without_improvement = 0
            progress.improvements_in_a_row += 1
        else:
            progress.evaluations_without_improvement += 1
            progress.improvements_in_a_row = 0
        if measured and math.isfinite(measured[self.metric.name]):
            progress.top_figure = self._top(measured[self.metric.name], progress)
        return improved

    def _top(self, figure: float, progress: Progress) -> float:
        """Return the best figure so far, `figure` included."""
        top = progress.top_figure
        return figure if top is None or self.metric.is_better(figure, top) else top
