"""What `resets=` costs, and what it saves: training on rows of several episodes each.

Each row of a batch holds episodes one after the other, of lengths by chance. One pass is forward
and backward, three ways in turn: with a mark before each episode; the same batch without marks, as
if each row were one sequence; and with every episode a row of its own, padded to the longest. Times
are medians, ratios medians of those of passes in the same turn; of one thread, times of the
processor, which other processes disturb less. With `--check` it fails where a ratio is beyond its
target.

    python benchmarks/bench_resets.py
    python benchmarks/bench_resets.py --layers LSTM --hidden 256 --threads 1
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import unrolled
from unrolled.benchmark.machine import available_cores, load, processor

LAYERS = {
    "RNN": unrolled.RNN,
    "LSTM": unrolled.LSTM,
    "GRU": unrolled.GRU,
    "JANET": unrolled.JANET,
    "LSTM, both directions": lambda i, h: unrolled.LSTM(i, h, bidirectional=True),
    "TCN": lambda i, h: unrolled.TCN(i, h, num_layers=4, kernel_size=3),
}
SIZES = {"steps": 500, "rows": 32, "episodes": 10, "input": 128, "hidden": 256}
MOST_OF_NONE, LEAST_OF_PADDED = 1.1, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--layers", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    for name, value in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--check", action="store_true", help="Fail beyond the targets.")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print(f"{processor()}, {available_cores()} cores, torch {torch.__version__}, load {load():.1f}")
    print({name: getattr(chosen, name) for name in SIZES}, f"{chosen.threads} threads")
    missed = [name for name in chosen.layers if not measure(name, chosen)]
    if missed and chosen.check:
        raise SystemExit(f"beyond the targets: {', '.join(missed)}")


def measure(name: str, chosen: argparse.Namespace) -> bool:
    """Print the times of a layer; return whether its ratios are within the targets."""
    torch.manual_seed(0)
    layer = LAYERS[name](chosen.input, chosen.hidden)
    resets, lengths = episodes(chosen.steps, chosen.rows, chosen.episodes)
    x = torch.randn(chosen.steps, chosen.rows, chosen.input)
    each = x.transpose(0, 1).flatten(0, 1).split(lengths.tolist())
    ways = {
        "resets": (x, {"resets": resets}),
        "none": (x, {}),
        "padded": (torch.nn.utils.rnn.pad_sequence(each), {}),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(chosen.repeats + 1):
        for way, (input, options) in ways.items():
            clock = time.process_time if chosen.threads == 1 else time.perf_counter
            taken = seconds(layer, input, options, clock)
            if turn:  # the first compiles
                times[way].append(taken)
    pairs = {way: zip(times["resets"], times[way], strict=True) for way in ("none", "padded")}
    of_none = statistics.median(mine / other for mine, other in pairs["none"])
    of_padded = statistics.median(other / mine for mine, other in pairs["padded"])
    figures = ", ".join(
        f"{way} {1e3 * statistics.median(taken):.0f} ({1e3 * min(taken):.0f} to "
        f"{1e3 * max(taken):.0f})"
        for way, taken in times.items()
    )
    print(
        f"{name}: {of_none:.2f} times as long as without resets, {of_padded:.1f} times as fast as "
        f"padded episodes; ms: {figures}"
    )
    return of_none <= MOST_OF_NONE and of_padded >= LEAST_OF_PADDED


def episodes(num_steps: int, num_rows: int, per_row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return marks (T, B), `per_row` episodes in each row, and their lengths, row after row."""
    resets = torch.zeros(num_steps, num_rows, dtype=torch.bool)
    for row in range(num_rows):
        resets[1 + torch.randperm(num_steps - 1)[: per_row - 1], row] = True
    resets[0] = True
    begins = resets.T.flatten().nonzero()[:, 0]
    ends = torch.cat([begins[1:], torch.tensor([num_steps * num_rows])])
    return resets, ends - begins


def seconds(
    layer: torch.nn.Module, x: torch.Tensor, options: dict, clock: Callable[[], float]
) -> float:
    """Return how long a pass takes, forward and backward, with the gradient of the input."""
    x.requires_grad_()
    begin = clock()
    output, _ = layer(x, **options)
    output.sum().backward()
    return clock() - begin


if __name__ == "__main__":
    main()
