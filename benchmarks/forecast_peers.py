r"""How long forecasters take, and how wrong they are: ours against darts and neuralforecast.

All read the same series and learn from its first four fifths: a GRU with one layer of the same
number of units, the same lookback and horizon, the absolute error, Adam at 1e-3, the same number of
updates of 64 windows, no dropout, nothing held out, the weights of the last update. All forecast
the same windows of the last fifth, from every N-th step. One thread, each package in a process and
an environment of its own (`hosts/run.py` makes them), one after the other, several times.

What differs: "unrolled" takes the last value off each window (with `--normalize instance` mean and
deviation, as darts does by RevIN); "unrolled, default" also adds a linear forecast, as users
have it. Our learning rate falls from 1e-3 along half a cosine, so that its mean is half of
theirs, which stays; `--our-rate 2e-3` makes the means equal. Our weights are averaged over the last
updates. darts is given the series standardised; neuralforecast scales each window by median and
deviation (its default), takes windows at random, and its head is an MLP of its own shape.

The clock runs from numbers in memory (ours: a CSV file) to a trained model, after three updates
that nobody counts; then over all test windows in one call (ours: in calls of 256), then over
single series, one call each. Errors are measured here, by one function, on the scale of the data;
MASE by the seasonal error of what was learned from.

    python benchmarks/forecast_peers.py --environments benchmarks/hosts/.venv \
        airline-passengers.csv:Passengers:24:12:12 ETTh1.csv:OT:96:96:24
"""

import argparse
import csv
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
BATCH = 64
WARM_UP = 3  # updates
PACKAGES = ("unrolled", "unrolled, default", "darts", "neuralforecast")
SHARE = 0.8


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return a result, and the seconds that passed and those of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - processor


# ---- One package, in its own process -------------------------------------------------------------


def of_unrolled(case: dict[str, Any], values: np.ndarray, *, linear: bool) -> tuple[Any, ...]:
    """Return how it trains, forecasts all windows, and one series; and how many parameters."""
    import torch

    from unrolled.data.source import Source
    from unrolled.tasks import load, prepare
    from unrolled.tasks.forecast import DataOptions, ForecastTask, ModelOptions, TrainingOptions
    from unrolled.tasks.forecast.options import PredictOptions

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    (folder / "series.csv").write_text("\n".join(["y", *map(repr, values.tolist())]))

    def train(updates: int) -> Any:
        path = Path(tempfile.mkdtemp()) / "run"
        data = DataOptions(
            file=str(folder / "series.csv"),
            target=("y",),
            horizon=case["horizon"],
            lookback=case["lookback"],
            season=case["season"],
            held_out=0.0,
            test=1 - SHARE,
        )
        model = ModelOptions(
            cell="gru",
            hidden_size=case["units"],
            num_layers=1,
            dropout=0.0,
            loss="mae",
            linear=linear,
            normalize=None if linear else case["normalize"],
        )
        training = TrainingOptions(
            updates=updates, batch_size=BATCH, learning_rate=case["our_rate"], seed=case["seed"]
        )
        prepared = prepare(ForecastTask, data, path, model=model, training=training)
        prepared.trainer.fit()
        return prepared, load(path)

    def windows(trained: Any) -> np.ndarray:
        prepared, loaded = trained
        origins = set(case["origins"])
        chosen = [window for window in prepared.splits.test if window.origin in origins]
        said = [
            loaded.task.forecast(loaded.model, chosen[start : start + 256], ()).point[..., 0]
            for start in range(0, len(chosen), 256)
        ]
        return torch.cat(said).numpy()

    def single(trained: Any, seen: np.ndarray) -> Any:
        _, loaded = trained
        source = Source.text(",".join(map(repr, seen.tolist())))
        return [*loaded.task.predict(loaded.model, source, PredictOptions())]

    return train, windows, single, lambda trained: trained[1].model


def of_darts(case: dict[str, Any], values: np.ndarray) -> tuple[Any, ...]:
    """Return the same for darts."""
    import torch
    from darts import TimeSeries
    from darts.models import BlockRNNModel

    torch.set_num_threads(1)
    learned = values[: case["learned"]]
    mean, deviation = learned.mean(), learned.std()
    series = TimeSeries.from_values(((values - mean) / deviation).astype(np.float32))
    lookback, horizon = case["lookback"], case["horizon"]
    num_windows = case["learned"] - lookback - horizon + 1

    def train(updates: int) -> Any:
        trainer = {"accelerator": "cpu", "max_steps": updates, "enable_progress_bar": False}
        trainer |= {"enable_model_summary": False, "logger": False, "enable_checkpointing": False}
        model = BlockRNNModel(
            lookback,
            horizon,
            model="GRU",
            hidden_dim=case["units"],
            n_rnn_layers=1,
            batch_size=BATCH,
            n_epochs=updates // -(-num_windows // BATCH) + 1,
            loss_fn=torch.nn.L1Loss(),
            optimizer_kwargs={"lr": 1e-3},
            use_reversible_instance_norm=True,
            random_state=case["seed"],
            pl_trainer_kwargs=trainer,
        )
        model.fit(series[: case["learned"]])
        return model

    def windows(model: Any) -> np.ndarray:
        first, stride = case["origins"][0], case["stride"]
        said = model.historical_forecasts(
            series,
            start=first,
            start_format="position",
            forecast_horizon=horizon,
            stride=stride,
            retrain=False,
            last_points_only=False,
        )
        return np.stack([each.values()[:, 0] for each in said]) * deviation + mean

    def single(model: Any, seen: np.ndarray) -> Any:
        scaled = ((seen - mean) / deviation).astype(np.float32)
        return model.predict(horizon, TimeSeries.from_values(scaled), show_warnings=False).values()

    return train, windows, single, lambda model: model.model


def of_neuralforecast(case: dict[str, Any], values: np.ndarray) -> tuple[Any, ...]:
    """Return the same for neuralforecast."""
    import pandas
    import torch
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MAE
    from neuralforecast.models import GRU

    torch.set_num_threads(1)
    lookback, horizon = case["lookback"], case["horizon"]

    def table(rows: list[np.ndarray]) -> Any:
        return pandas.DataFrame(
            {
                "unique_id": np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
                "ds": np.concatenate([np.arange(len(row)) for row in rows]),
                "y": np.concatenate(rows),
            }
        )

    def train(updates: int) -> Any:
        model = GRU(
            h=horizon,
            input_size=lookback,
            encoder_n_layers=1,
            encoder_hidden_size=case["units"],
            decoder_hidden_size=case["units"],
            loss=MAE(),
            max_steps=updates,
            learning_rate=1e-3,
            batch_size=1,
            windows_batch_size=BATCH,
            random_seed=case["seed"],
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
            enable_checkpointing=False,
        )
        forecaster = NeuralForecast([model], freq=1)
        forecaster.fit(table([values[: case["learned"]]]))
        return forecaster

    def windows(forecaster: Any) -> np.ndarray:
        rows = [values[origin - lookback : origin] for origin in case["origins"]]
        return forecaster.predict(table(rows))["GRU"].to_numpy().reshape(len(rows), horizon)

    def single(forecaster: Any, seen: np.ndarray) -> Any:
        return forecaster.predict(table([seen]))["GRU"].to_numpy()

    return train, windows, single, lambda forecaster: forecaster.models[0]


def child(package: str, case: dict[str, Any]) -> None:
    """Measure one package, and print its figures as one line of JSON."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    values = np.array(case.pop("values"))
    with redirect_stdout(sys.stderr):
        if package.startswith("unrolled"):
            made = of_unrolled(case, values, linear=package != "unrolled")
        else:
            made = (of_darts if package == "darts" else of_neuralforecast)(case, values)
        train, windows, single, network = made
        train(WARM_UP)
        model, train_wall, train_processor = timed(lambda: train(case["updates"]))
        windows(model)
        said, windows_wall, _ = timed(lambda: windows(model))
        calls = []
        for number in range(case["calls"]):
            origin = case["origins"][number % len(case["origins"])]
            seen = values[origin - case["lookback"] : origin]
            calls.append(timed(lambda seen=seen: single(model, seen))[1:])
        parameters = sum(each.numel() for each in network(model).parameters())
    result = {
        "train": train_wall,
        "train_processor": train_processor,
        "windows": windows_wall,
        "median_call": float(np.quantile([wall for wall, _ in calls[5:]], 0.5)),
        "p99_call": float(np.quantile([wall for wall, _ in calls[5:]], 0.99)),
        "p99_call_processor": float(np.quantile([processor for _, processor in calls[5:]], 0.99)),
        "parameters": parameters,
        "said": said.tolist(),
    }
    print(json.dumps(result))


# ---- All of them ---------------------------------------------------------------------------------


def read_case(text: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a case FILE:COLUMN:LOOKBACK:HORIZON:SEASON is of."""
    file, column, *sizes = text.rsplit(":", 4)
    lookback, horizon, season = map(int, sizes)
    with Path(file).open(newline="", encoding="utf-8") as lines:
        values = [float(row[column]) for row in csv.DictReader(lines)]
    if options.rows:
        values = values[: options.rows]
    learned = len(values) - round((1 - SHARE) * len(values))
    last = len(values) - horizon
    stride = max(1, (last - learned) // options.windows)
    return {
        "name": f"{Path(file).stem} {column}",
        "values": values,
        "lookback": lookback,
        "horizon": horizon,
        "season": season,
        "learned": learned,
        "stride": stride,
        "origins": [*range(learned, last + 1, stride)],
        "units": options.units,
        "updates": options.updates,
        "calls": options.calls,
        "our_rate": options.our_rate,
        "normalize": options.normalize,
    }


def errors(case: dict[str, Any], said: np.ndarray) -> tuple[float, float]:
    """Return MAE and MASE of forecasts, (N, H), from the places of a case."""
    values, horizon, season = np.array(case["values"]), case["horizon"], case["season"]
    truth = np.stack([values[origin : origin + horizon] for origin in case["origins"]])
    if said.shape != truth.shape:
        raise SystemExit(f"{case['name']}: forecasts {said.shape}, expected {truth.shape}")
    mae = float(np.abs(said - truth).mean())
    learned = values[: case["learned"]]
    return mae, mae / float(np.abs(learned[season:] - learned[:-season]).mean())


def measure(case: dict[str, Any], options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the figures of all packages, one run of each after the other, several times."""
    results: dict[str, list[dict[str, Any]]] = {package: [] for package in options.packages}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for seed in range(options.repeats):
        for package in options.packages:
            python, paths = sys.executable, HERE.parent / "src"
            if not package.startswith("unrolled"):
                python, paths = str(options.environments / package / "bin" / "python"), HERE
            done = subprocess.run(
                [python, Path(__file__).resolve(), "--child", package],
                input=json.dumps({**case, "seed": seed}),
                env={**environment, "PYTHONPATH": str(paths)},
                capture_output=True,
                text=True,
                check=False,
                cwd=tempfile.gettempdir(),
            )
            if done.returncode:
                raise SystemExit(f"{package} failed:\n{done.stderr[-3000:]}")
            result = json.loads(done.stdout.splitlines()[-1])
            result["mae"], result["mase"] = errors(case, np.array(result.pop("said")))
            results[package].append(result)
    return results


def main() -> None:
    """Measure the cases that are named, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="FILE:COLUMN:LOOKBACK:HORIZON:SEASON")
    parser.add_argument("--environments", type=Path, default=HERE / "hosts" / ".venv")
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, default=PACKAGES)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--our-rate", type=float, default=1e-3, help="our peak learning rate")
    parser.add_argument("--normalize", default="last", help="of the GRU alone: last, instance")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--windows", type=int, default=200, help="forecasts to measure, about")
    parser.add_argument("--calls", type=int, default=105)
    parser.add_argument("--rows", type=int, help="of each file, at most")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, json.load(sys.stdin))
        return
    written = {}
    print(f"{platform.machine()}, {os.cpu_count()} cores, 1 thread, {options.updates} updates")
    for text in options.cases:
        case = read_case(text, options)
        results = written[case["name"]] = measure(case, options)
        print(f"\n{case['name']}: {case['lookback']} -> {case['horizon']} steps")
        print("package | parameters | train s | its processor | windows ms | call ms | p99", end="")
        print(" | p99, processor | MAE | MASE")
        for package, rows in results.items():
            middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
            spread = f"{min(r['train'] for r in rows):.2f} ... {max(r['train'] for r in rows):.2f}"
            print(
                f"{package} | {middle['parameters']:,.0f} | {middle['train']:.2f} ({spread})"
                f" | {middle['train_processor']:.2f}"
                f" | {1e3 * middle['windows']:.1f} | {1e3 * middle['median_call']:.2f}"
                f" | {1e3 * middle['p99_call']:.2f} | {1e3 * middle['p99_call_processor']:.2f}"
                f" | {middle['mae']:.4g} | {middle['mase']:.3f}",
                flush=True,
            )
    if options.results:
        options.results.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
