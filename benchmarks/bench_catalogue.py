"""Every published cell: kernel or not, its error against float64, its speed beside a loop in torch.

For each cell: whether its equations have a kernel, or why not; the seconds until its first kernel,
and the milliseconds until it is there again in a process that finds it in the cache; the largest
relative error of the output and of all gradients in float32, ragged rows, against the reference
loop in float64; whether a stream gives the layer's bits. Where torchrecurrent is installed and has
the cell: the time of its layer, which is a loop over time, by that of ours, both in training and in
turns, at 64 rows, 128 steps and 256 units unless said otherwise.

    python benchmarks/bench_catalogue.py --threads 2 --results benchmarks/results/catalogue.json
"""

import argparse
import copy
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import unrolled
from unrolled.cells.catalogue import CATALOGUE
from unrolled.kernels import kernel_or_reason, using_path

# Where the same cell is in torchrecurrent, and what makes it the same amount of work.
PEERS = {
    "janet": "JANET",
    "lstm_1997": "OriginalLSTM",
    "lstm_peephole": "PeepholeLSTM",
    "lstm_residual": "ResLSTM",
    "mgu": "MGU",
    "mut1": "MUT1",
    "mut2": "MUT2",
    "mut3": "MUT3",
    "light_ru": "LightRU",
    "li_gru": "LiGRU",
    "miru1": "MiRU1",
    "miru2": "MiRU2",
    "ugrnn": "UGRNN",
    "atr": "ATR",
    "brc": "BR",
    "nbrc": "NBR",
    "cfn": "CFN",
    "ran": "RAN",
    "sgu": "SGU",
    "star": "STAR",
    "minimal_rnn": "MinimalRNN",
    "nas": "NAS",
    "mlstm": "MultiplicativeLSTM",
    "t_rnn": "TRNN",
    "t_gru": "TGRU",
    "t_lstm": "TLSTM",
    "ind_rnn": "IndRNN",
    "fast_rnn": "FastRNN",
    "fast_grnn": "FastGRNN",
    "cornn": "coRNN",
    "unicornn": "UnICORNN",
    "lem": "LEM",
}


LOUD = {"lif": 3.0, "alif": 30.0}  # what the input is multiplied by, so that units fire


def errors(name: str) -> dict[str, float]:
    """Return the largest relative errors of the kernel, norm by norm, and whether streams agree."""
    torch.manual_seed(0)
    layer = unrolled.Recurrent(name, 5, 20)  # of 4 heads, and no whole vector
    double = copy.deepcopy(layer).double()
    x, y = LOUD.get(name, 1.0) * torch.randn(40, 6, 5), torch.randn(40, 6, 20)
    x.requires_grad_()
    x_double = x.detach().double().requires_grad_()
    lengths = [40, 3, 0, 17, 40, 1]
    with using_path("kernel"):
        output, _ = layer(x, lengths=lengths)
    with using_path("reference"):
        expected, _ = double(x_double, lengths=lengths)
    ours, theirs = (
        torch.autograd.grad((out * weight).sum(), [leaf, *each.parameters()], allow_unused=True)
        for out, weight, leaf, each in (
            (output, y, x, layer),
            (expected, y.double(), x_double, double),
        )
    )
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if b is not None and b.norm() > 1e-9]
    stream = layer.stream(2)
    steps = torch.stack([stream.step(x_t) for x_t in x.detach()[:10, :2]])
    whole, _ = layer(x.detach()[:, :2])
    return {
        "output": relative(output, expected),
        "gradient": max(relative(a, b) for a, b in pairs),
        "stream": float(torch.equal(steps, whole[:10])),
    }


def relative(tensor: Tensor, expected: Tensor) -> float:
    difference = tensor.detach().double() - expected.detach()
    return float(difference.norm() / expected.detach().norm())


def trainings(name: str, peers: Any, sizes: tuple[int, int, int]) -> Iterator[Callable[[], None]]:
    """Yield a step of training of our layer, and one of torchrecurrent's."""
    rows, steps, size = sizes
    x = torch.randn(steps, rows, size)
    for layer in (unrolled.Recurrent(name, size, size), getattr(peers, PEERS[name])(size, size)):

        def train(layer: torch.nn.Module = layer) -> None:
            output, _ = layer(x)
            output.sum().backward()

        yield train


def speed(name: str, peers: Any, sizes: tuple[int, int, int], repeats: int) -> dict[str, float]:
    """Return milliseconds of ours, and the quartiles of how many times theirs are.

    With one thread it is the processor's time, which other processes do not change.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    runs = list(trainings(name, peers, sizes))
    for run in runs:
        run()
    ours, ratios = [], []
    for _ in range(repeats):
        times = []
        for run in runs:
            begin = clock()
            run()
            times.append(clock() - begin)
        ours.append(1e3 * times[0])
        ratios.append(times[1] / times[0])
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"ms": statistics.median(ours), "ratio": middle, "low": low, "high": high}


def first_uses(names: list[str]) -> dict[str, float]:
    """Return the seconds until the kernel of each cell is there; what all share is not counted."""
    kernel_or_reason(CATALOGUE["rnn"])
    seconds = {}
    for name in names:
        begin = time.perf_counter()
        kernel_or_reason(CATALOGUE[name])
        seconds[name] = time.perf_counter() - begin
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--sizes", type=int, nargs=3, default=(64, 128, 256), metavar=("B", "T", "H")
    )
    parser.add_argument("--only", nargs="*", default=list(CATALOGUE), metavar="NAME")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--cached", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cached:
        print(json.dumps(first_uses(options.only)))
        return
    torch.set_num_threads(options.threads)
    try:
        peers = importlib.import_module("torchrecurrent")
    except ImportError:
        peers = None
    lines = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["UNROLLED_CACHE"] = cache
        cold = first_uses(options.only)
        command = [sys.executable, __file__, "--cached", "--only", *options.only]
        cached = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        for name in options.only:
            kernel = kernel_or_reason(CATALOGUE[name])
            line: dict[str, Any] = {"kernel": kernel if isinstance(kernel, str) else "yes"}
            line |= {"cold_seconds": cold[name], "cached_ms": 1e3 * cached[name]}
            line |= errors(name) if line["kernel"] == "yes" else {}
            if peers is not None and name in PEERS:
                line |= speed(name, peers, tuple(options.sizes), options.repeats)
            lines[name] = line
            print(f"{name:<17}", *(shown(key, value) for key, value in line.items()), flush=True)
    ratios = [line["ratio"] for line in lines.values() if "ratio" in line]
    summary = {
        "cells": len(lines),
        "kernels": sum(line["kernel"] == "yes" for line in lines.values()),
        "largest output error": max(line.get("output", 0.0) for line in lines.values()),
        "largest gradient error": max(line.get("gradient", 0.0) for line in lines.values()),
        "streams of equal bits": sum(line.get("stream", 0.0) for line in lines.values()),
        "cold seconds, largest": max(cold.values()),
        "cached milliseconds, largest": 1e3 * max(cached.values()),
        "ratio, median": statistics.median(ratios) if ratios else None,
        "ratio, least": min(ratios, default=None),
    }
    print(json.dumps(summary, indent=1))
    if options.results:
        about = {
            "torch": torch.__version__,
            "machine": platform.machine(),
            "threads": options.threads,
            "sizes": options.sizes,
        }
        options.results.write_text(json.dumps(about | summary | {"lines": lines}, indent=1) + "\n")


def shown(key: str, value: float | str) -> str:
    return f"{key} {value if isinstance(value, str) else format(value, '.3g')}"


if __name__ == "__main__":
    main()
