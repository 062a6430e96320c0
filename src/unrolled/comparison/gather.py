"""What came out of a comparison's trainings: read from their folders, put side by side.

Not here: what it means (`verdict.py`), and how it is shown (`figures.py`, `page.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from unrolled.comparison.metrics import choose_metric, meanings, numbers
from unrolled.comparison.origin import require_one_origin
from unrolled.comparison.plan import AGAIN, Plan, Trial
from unrolled.comparison.statistics import Difference, compare_all
from unrolled.data.files import to_json, write_atomically
from unrolled.errors import RunError
from unrolled.metrics import Metric
from unrolled.training import Run, read_metrics, read_results, writing

__all__ = ["Comparison", "Finished", "Row", "gather"]


@dataclass(frozen=True)
class Finished:
    """A training that is over.

    Args:
        contestant: Its name.
        seed: Random seed of the run.
        results: What its results.json holds.
        curve: (update, elapsed seconds, held-out loss) of every evaluation.
    """

    contestant: str
    seed: int
    results: dict[str, Any]
    curve: list[tuple[int, float, float]]


@dataclass(frozen=True)
class Row:
    """A contestant over its seeds.

    Args:
        contestant: Its name.
        num_seeds: How many of its trainings are over.
        hidden_size: H that the budget allows.
        parameters: How many its model has.
        metrics: By name, the mean over the seeds.
        spreads: By name, the standard deviation over the seeds; nothing with one seed.
        updates: Mean.
        elapsed_seconds: Mean.
        peak_memory_bytes: The most of any seed; None where the system does not tell.
    """

    contestant: str
    num_seeds: int
    hidden_size: int
    parameters: int
    metrics: dict[str, float]
    spreads: dict[str, float]
    updates: float
    elapsed_seconds: float
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Comparison:
    """All that came out.

    Args:
        plan: What was compared.
        finished: The trainings that are over.
        missing: The names of those that are not.
        metric: The one that decides.
        metrics: All that rank.
        part: What was measured on: "test" or "held_out".
        rows: A contestant each, in the order of the plan.
        differences: How far all pairs are apart in the metric that decides.
    """

    plan: Plan
    finished: list[Finished]
    missing: list[str]
    metric: Metric
    metrics: list[Metric]
    part: str
    rows: list[Row]
    differences: list[Difference]

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """The metrics of trivial predictors, the mean over the trainings, by their names."""
        figures: dict[str, list[dict[str, float]]] = {}
        for finished in self.finished:
            for name, metrics in finished.results["baselines"].items():
                figures.setdefault(name, []).append(numbers(metrics, self.metrics))
        return {name: _means(of_all) for name, of_all in figures.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return it in types that JSON has."""
        return {**asdict(self), "baselines": self.baselines}

    def save(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            RunError: The file cannot be written.
        """
        with writing(path, "folder"), write_atomically(path) as file:
            file.write(to_json(self.to_dict(), indent=1))


def gather(plan: Plan, folder: Path, metric: str | None = None) -> Comparison:
    """Return what came out of the trainings of `plan` in `folder` that are over.

    Args:
        plan: What was compared.
        folder: The comparison's.
        metric: The name of the metric that decides; the task's first if None.

    Raises:
        OptionError: The results have no such metric.
        RunError: None is over, or a run's folder is damaged.
    """
    trials = plan.trials(folder)
    over = [trial for trial in trials if trial.results_path.exists()]
    if not over:
        raise RunError(f"{folder}: none of the {len(trials)} trainings has finished")
    finished = [_read(trial) for trial in over]
    require_one_origin(over)
    decisive = choose_metric([each.results for each in finished], metric)
    names = [contestant.name for contestant in plan.contestants]
    by_name = {name: [run for run in finished if run.contestant == name] for name in names}
    values = {
        name: {run.seed: float(run.results["metrics"][decisive.name]) for run in runs}
        for name, runs in by_name.items()
        if runs
    }
    return Comparison(
        plan=plan,
        finished=finished,
        missing=[trial.name for trial in trials if trial not in over],
        metric=decisive,
        metrics=meanings(finished[0].results),
        part=finished[0].results["part"],
        rows=[_row(name, runs) for name, runs in by_name.items() if runs],
        differences=compare_all(values),
    )


def _read(trial: Trial) -> Finished:
    try:
        results = read_results(Run(trial.path))
        curve = [
            (int(line["update"]), float(line["elapsed_seconds"]), float(line["loss"]))
            for line in read_metrics(Run(trial.path))
            if line["kind"] == "held_out"
        ]
        for name in ("cell", "seed", "meanings", "part", "metrics", "baselines", *_COLUMNS):
            results[name]
    except RunError as error:
        raise RunError(error.message, AGAIN) from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{trial.path}: not what `unrolled train` wrote: {error!r}", AGAIN
        ) from error
    cell = trial.contestant.cell
    if results["seed"] != trial.seed or results["cell"] not in (cell, cell.rpartition(":")[2]):
        message = f"{trial.path}: results of {results['cell']}, seed {results['seed']}"
        raise RunError(f"{message}, in the place of {trial.name}", AGAIN)
    return Finished(trial.contestant.name, trial.seed, results, curve)


_COLUMNS = ("hidden_size", "parameters", "updates", "elapsed_seconds", "peak_memory_bytes")


def _row(name: str, runs: Sequence[Finished]) -> Row:
    results = [one.results for one in runs]
    metrics = [numbers(each["metrics"], meanings(each)) for each in results]
    peaks = [one["peak_memory_bytes"] for one in results]
    return Row(
        contestant=name,
        num_seeds=len(runs),
        hidden_size=results[0]["hidden_size"],
        parameters=results[0]["parameters"],
        metrics=_means(metrics),
        spreads={
            metric: stdev(one[metric] for one in metrics)
            for metric in (_means(metrics) if len(runs) > 1 else {})
        },
        updates=fmean(one["updates"] for one in results),
        elapsed_seconds=fmean(one["elapsed_seconds"] for one in results),
        peak_memory_bytes=max((p for p in peaks if p is not None), default=None),
    )


def _means(all_metrics: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return the mean of every metric that all have."""
    dicts = list(all_metrics)
    names = [name for name in dicts[0] if all(name in means for means in dicts)]
    return {name: fmean(means[name] for means in dicts) for name in names}
