"""Where torch's own layers are faster than accelerated ones: the shapes that `prefer.py` knows.

Both run in turns, in one process. With one thread the processor's time is taken, which other
processes do not change; with more, the clock. A line for each shape: the median of the ratios of
neighbours, and the spread (the quarter and three quarters of them).

    python benchmarks/bench_accelerate.py --threads 1 --results benchmarks/results/accelerate.json
"""

import argparse
import copy
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import unrolled

LAYERS = (nn.LSTM, nn.GRU, nn.RNN)
CELLS = (nn.LSTMCell, nn.GRUCell, nn.RNNCell)
# T, B, I, H
SHAPES = [
    *((1, 1, 64, 64), (1, 1, 256, 256), (1, 1, 512, 512), (1, 8, 64, 64), (1, 8, 256, 256)),
    *((1, 64, 128, 128), (1, 256, 64, 64), (4, 1, 64, 64), (16, 8, 64, 64), (16, 8, 256, 256)),
    *((50, 1, 16, 16), (50, 1, 128, 128), (100, 1, 256, 256), (100, 1, 64, 512), (20, 256, 8, 8)),
    *((50, 32, 128, 128), (100, 32, 128, 256), (50, 128, 256, 256), (600, 1, 40, 64)),
    *((600, 2, 64, 64), (30, 64, 512, 512), (100, 16, 768, 128), (40, 8, 32, 1024)),
]
STEPS = [(1, 1), (1, 16), (1, 64), (1, 256), (1, 512), (8, 128), (64, 256), (256, 128), (1200, 64)]


def call(module: nn.Module, x: torch.Tensor, hx: object, train: bool) -> Callable[[], None]:
    """Return a function that calls a layer once, and its backward pass if it is trained."""

    def run() -> None:
        with torch.set_grad_enabled(train):
            result = module(x, hx)
            while isinstance(result, tuple):
                result = result[0]
            if train:
                result.sum().backward()

    return run


def ratios(kind: type, shape: tuple[int, ...], train: bool, repeats: int) -> list[float]:
    """Return how many times torch's time is ours, call by call."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    input_size, hidden_size = shape[-2:]
    layer = kind(input_size, hidden_size)
    fast, _ = unrolled.accelerate(copy.deepcopy(layer))
    state = torch.zeros(*((1, shape[1]) if len(shape) == 4 else shape[:1]), hidden_size)
    hx = (state, state.clone()) if kind in (nn.LSTM, nn.LSTMCell) else state
    x = torch.randn(*shape[:-1])
    runs = [call(module, x, hx, train) for module in (layer, fast)]
    for run in runs * 2:
        run()
    begin = clock()
    runs[0]()
    number = max(1, int(0.01 / max(clock() - begin, 1e-6)))
    measured = []
    for _ in range(repeats):
        times = []
        for run in runs:
            begin = clock()
            for _ in range(number):
                run()
            times.append(clock() - begin)
        measured.append(times[0] / times[1])
    return measured


def main() -> None:
    """Measure every kind of layer at every shape, and print the slow ones again at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = [(kind, shape) for kind in LAYERS for shape in SHAPES]
    cases += [(kind, (rows, size, size)) for kind in CELLS for rows, size in STEPS]
    lines = []
    for train in (False, True):
        for kind, shape in cases:
            measured = ratios(kind, shape, train, options.repeats)
            low, middle, high = statistics.quantiles(measured, n=4)
            how = "train" if train else "infer"
            lines.append([kind.__name__, shape, how, low, middle, high])
            print(
                f"{kind.__name__:8} {shape!s:20} {how} {middle:6.2f} [{low:.2f}, {high:.2f}]",
                flush=True,
            )
    middles = sorted(line[4] for line in lines)
    slow = [line for line in lines if line[4] < 0.97]
    print(f"median {statistics.median(middles):.2f}, least {middles[0]:.2f}, slower: {slow}")
    if options.results:
        about = {
            "torch": torch.__version__,
            "machine": platform.machine(),
            "threads": options.threads,
        }
        options.results.write_text(json.dumps(about | {"ratios": lines}, indent=1))


if __name__ == "__main__":
    main()
