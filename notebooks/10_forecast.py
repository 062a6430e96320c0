# %% [markdown]
# # 10. Forecasts with intervals
#
# What comes next, and how sure is that? A forecast without an interval says half of what one wants to know. Here a
# model learns quantiles: a number that the value stays below with a probability of 10 %, 50 % or 90 %. Then we count
# whether it does.
#
# The series is made here: sales of each day, with a trend, a weekly pattern, and noise that grows with the level. Of
# your own data, name the file and its columns.

# %%
import csv
import tempfile
from datetime import date, timedelta
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import unrolled
from unrolled.data import Source
from unrolled.tasks import prepare
from unrolled.tasks.forecast import (
    DataOptions,
    ForecastTask,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)

rng = np.random.default_rng(0)
days = np.arange(1200)
level = 100 * np.exp(0.0005 * days)
week = np.array([0.0, -0.1, -0.1, 0.0, 0.1, 0.3, -0.2])
y = level * (1 + week[days % 7] + 0.05 * rng.normal(size=1200))
names = [date(2022, 1, 3) + timedelta(days=n) for n in range(1200)]  # a Monday

folder = Path(tempfile.mkdtemp())
table = folder / "sales.csv"
with table.open("w", newline="") as file:
    csv.writer(file).writerows([("day", "sales"), *zip(names, y.round(2), strict=True)])
print(table.read_text()[:59])

# %% [markdown]
# ## Training
#
# This is what `unrolled train forecast sales.csv --time day --target sales --horizon 7 --lookback 28` does: it looks
# at four weeks and forecasts one. The last fifth of the steps is measured on, the fifth before it chooses the
# weights, and only what comes before both is learned from. The noise grows with the level, so logarithms are learned.

# %%
prepared = prepare(
    ForecastTask,
    DataOptions(
        file=str(table), time="day", target=("sales",), horizon=7, lookback=28, transform="log"
    ),
    folder / "run",
    model=ModelOptions(cell="gru", hidden_size=16),
    training=TrainingOptions(updates=200, learning_rate=5e-3),
)
prepared.trainer.fit()
results = prepared.finish()
print(f"the model: MASE {results.metrics['mase']:.3f}")
for name, figures in results.baselines.items():
    print(f"{name}: MASE {figures['mase']:.3f}")

# %% [markdown]
# MASE is the mean error, divided by the error of "the same as a week ago" in the part that was learned from. The
# level and the noise have grown since, so all figures are larger than they would be there; compare them with each
# other. Beside a model there are always forecasts that learned little or nothing. Here exponential smoothing (ETS)
# is ahead: a level, a season and noise are just what it was made for. If one of them is as good on your data, it will do.
#
# ## The next week
#
# `predict` goes on from the end of the table. Each step has a forecast, the median, and the ends of an interval that
# is to hold 80 % of the values.

# %%
run = unrolled.load(folder / "run")
rows = list(run.task.predict(run.model, Source.file(table), PredictOptions()))
for row in rows[:3]:
    print(run.task.to_text(row))
forecast, low, high = (np.array([row[key] for row in rows]) for key in ("forecast", "low", "high"))
ahead = np.arange(1200, 1207)

# %%
figure, axes = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
axes.plot(days[-42:], y[-42:], label="observed")
axes.plot(ahead, forecast, label="forecast")
axes.fill_between(ahead, low, high, alpha=0.3, label="80 %")
_ = axes.set(xlabel="day", ylabel="sales")
_ = axes.legend()

# %% [markdown]
# ## Do the intervals hold?
#
# An interval of 80 % should hold 80 % of the values: no fewer, and no more either. The run has counted that on the
# last fifth, which it never learned from.

# %%
print(f"values inside their interval: {results.metrics['coverage']:.0%}")

# %% [markdown]
# The data are made, so what a perfect forecast would say is known: the noise has a deviation of 5 % of the level, and
# 80 % of it lie within 1.28 deviations.

# %%
true_level = 100 * np.exp(0.0005 * ahead)
true_width = 2 * 1.28 * 0.05 * true_level
print(
    f"width of the intervals: {np.mean(high - low):.1f}, of perfect ones {np.mean(true_width):.1f}"
)

# %% [markdown]
# ## Try it
#
# - Leave out `transform="log"`. Are the intervals still wide enough when the level has grown?
# - `PredictOptions(interval=0.5)` asks for narrower intervals.
# - `--scores` says of each step how unlikely it was: put an outlier into the series and look for it.
#
# More: [forecasts](../docs/forecast.md). Next: [attention](11_attention.ipynb).
