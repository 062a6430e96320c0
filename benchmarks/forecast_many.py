"""One model for many series of different kinds, beside what is naive for each of them.

The columns of ETTh1 (their first rows) and the small series become one table with a name for each
series and no times, as their frequencies differ. One forecaster learns from all; its errors on the
last fifth of each series stand beside those of the last value.

    python benchmarks/forecast_many.py ETTh1.csv airline-passengers.csv monthly-sunspots.csv
"""

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from unrolled.tasks import Loaded, load, prepare
from unrolled.tasks.forecast import DataOptions, ForecastTask, ModelOptions, TrainingOptions
from unrolled.tasks.forecast.baselines import naive
from unrolled.tasks.forecast.windows import Window

AT_ONCE = 256


def columns_of(path: Path, rows: int) -> dict[str, list[str]]:
    """Return the columns of a table but its first one, the time: their first rows, by name."""
    with path.open(newline="", encoding="utf-8") as lines:
        _, *names = (header := next(reader := csv.reader(lines)))
        table = [row for row in reader if len(row) == len(header)][:rows]
    prefix = path.stem
    return {
        f"{prefix} {name}" if len(names) > 1 else prefix: [row[index] for row in table]
        for index, name in enumerate(names, 1)
    }


def by_series(windows: Sequence[Window]) -> dict[str, list[Window]]:
    """Return windows by the names of their series."""
    groups: dict[str, list[Window]] = {}
    for window in windows:
        groups.setdefault(window.series.id, []).append(window)
    return groups


def errors(loaded: Loaded, windows: list[Window]) -> tuple[float, float]:
    """Return the mean absolute errors of the model and of the last value."""
    said = torch.cat(
        [
            loaded.task.forecast(loaded.model, windows[start : start + AT_ONCE], ()).point
            for start in range(0, len(windows), AT_ONCE)
        ]
    )
    truth = [w.series.values[w.origin : w.origin + w.sizes.horizon] for w in windows]
    ours, theirs = (float((e - torch.stack(truth)).abs().nanmean()) for e in (said, naive(windows)))
    return ours, theirs


def main() -> None:
    """Train once for each seed, and print a table of the series."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rows", type=int, default=4000, help="of each file, at most")
    parser.add_argument("--lookback", type=int, default=14)
    parser.add_argument("--horizon", type=int, default=6)
    parser.add_argument("--normalize", choices=["last", "instance", "none"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lines = ["series,y"]
    for path in options.files:
        for name, values in columns_of(path, options.rows).items():
            lines += [f"{name},{value}" for value in values]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "many.csv"
        table.write_text("\n".join(lines), encoding="utf-8")
        prepared = prepare(
            ForecastTask,
            DataOptions(
                file=str(table),
                target=("y",),
                id="series",
                lookback=options.lookback,
                horizon=options.horizon,
            ),
            Path(folder) / "run",
            model=ModelOptions(normalize=options.normalize),
            training=TrainingOptions(seed=options.seed),
        )
        for note in prepared.splits.notes:
            print(note)
        prepared.trainer.fit()
        loaded = load(Path(folder) / "run")
    print(f"{prepared.trainer.progress.update} updates; MAE of {options.horizon} steps")
    print("series | forecasts | model | naive | ratio | ratio, held out")
    held_out = by_series(prepared.splits.held_out)
    for name, windows in by_series(prepared.splits.test).items():
        ours, theirs = errors(loaded, windows)
        before = errors(loaded, held_out[name])
        print(
            f"{name} | {len(windows):,} | {ours:.4g} | {theirs:.4g} | {ours / theirs:.3f}"
            f" | {before[0] / before[1]:.3f}"
        )


if __name__ == "__main__":
    main()
