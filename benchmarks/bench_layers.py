"""The layers against torch.nn on CPU: forward, and forward with backward.

Peers in the same run, interleaved: torch.nn's layers as installed, packed and padded for ragged
batches; for JANET, which torch lacks, the reference loop, whose input product is hoisted. The
input requires a gradient, as in the middle of a network. Times are medians in milliseconds, with
the quartiles in the JSON; a ratio above 1 means that ours is faster.

    python benchmarks/bench_layers.py --results benchmarks/results/layers.json
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled
from unrolled.kernels import using_path

GRID = [(64, 128, 128), (64, 128, 256), (64, 128, 512), (8, 128, 128), (1, 128, 64)]  # B, T, H


def time_all(calls, seconds):
    """Return for each call the times of its repeats in milliseconds, all calls taking turns."""
    times = {name: [] for name in calls}
    for call in calls.values():
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 5:
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - begin))
    return times


def forward_only(layer, x):
    def call():
        with torch.no_grad():
            layer(x)

    return call


def with_backward(layer, x, d_output, **options):
    def call():
        output = layer(x, **options)[0]
        data = output.data if isinstance(output, torch.nn.utils.rnn.PackedSequence) else output
        data.backward(d_output)

    return call


def on_the_loop(layer):
    def call(x, **options):
        with using_path("reference"):
            return layer(x, **options)

    return call


def cases():
    """Yield a title, and the calls: ours first, then the peers."""
    for kind in ("LSTM", "GRU", "RNN", "JANET"):
        for rows, steps, size in GRID:
            ours = getattr(unrolled, kind)(size, size)
            peer = on_the_loop(ours) if kind == "JANET" else getattr(torch.nn, kind)(size, size)
            x = torch.randn(steps, rows, size, requires_grad=True)
            d_output = torch.randn(steps, rows, size)
            title = f"{kind} B{rows} T{steps} H{size}"
            if kind != "JANET":
                yield f"{title} forward", forward_only(ours, x), {"torch": forward_only(peer, x)}
            yield (
                f"{title} training",
                with_backward(ours, x, d_output),
                {"loop" if kind == "JANET" else "torch": with_backward(peer, x, d_output)},
            )
    for kind in ("LSTM", "GRU"):
        lengths = torch.randint(25, 101, (32,), generator=torch.Generator().manual_seed(0))
        ours, peer = getattr(unrolled, kind)(128, 128), getattr(torch.nn, kind)(128, 128)
        x = torch.randn(100, 32, 128, requires_grad=True)
        d_output = torch.randn(100, 32, 128)
        d_packed = torch.randn(int(lengths.sum()), 128)

        def packed(x, peer=peer, lengths=lengths):
            return peer(pack_padded_sequence(x, lengths, enforce_sorted=False))

        yield (
            f"{kind} B32 T25..100 H128 ragged training",
            with_backward(ours, x, d_output, lengths=lengths),
            {
                "torch packed": with_backward(packed, x, d_packed),
                "torch padded": with_backward(peer, x, d_output),
            },
        )
    ours = unrolled.LSTM(100, 128, 2, bidirectional=True)
    peer = torch.nn.LSTM(100, 128, 2, bidirectional=True)
    x, d_output = torch.randn(400, 32, 100, requires_grad=True), torch.randn(400, 32, 256)
    yield (
        "LSTM 2 layers bidirectional B32 T400 I100 H128 training",
        with_backward(ours, x, d_output),
        {"torch": with_backward(peer, x, d_output)},
    )


def as_markdown(lines):
    """Return the table of README.md, from the lines of the JSON."""
    yield "| | unrolled, ms | peer, ms | ratio |"
    yield "|---|---|---|---|"
    for line in lines:
        for peer, ratio in line["ratio"].items():
            ours, theirs = line["median_ms"]["unrolled"], line["median_ms"][peer]
            yield f"| {line['title']} | {ours:.2f} | {peer} {theirs:.2f} | {ratio:.2f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each line")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="", help="lines that contain this")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    machine = {
        "processor": platform.machine(),
        "vector extensions": torch.backends.cpu.get_cpu_capability(),
        "threads": options.threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    lines = []
    for title, ours, peers in cases():
        if options.only not in title:
            continue
        times = time_all({"unrolled": ours, **peers}, options.seconds)
        medians = {name: statistics.median(values) for name, values in times.items()}
        quartiles = {name: statistics.quantiles(values, n=4) for name, values in times.items()}
        ratios = {name: medians[name] / medians["unrolled"] for name in peers}
        shown = ", ".join(f"{name} {medians[name]:.2f} ({ratios[name]:.2f}x)" for name in peers)
        print(f"{title:52} {medians['unrolled']:8.2f}   {shown}", flush=True)
        lines.append(
            {
                "title": title,
                "repeats": len(times["unrolled"]),
                "median_ms": medians,
                "quartiles_ms": {name: [q[0], q[2]] for name, q in quartiles.items()},
                "ratio": ratios,
            }
        )
    print()
    print("\n".join(as_markdown(lines)))
    if options.results:
        options.results.parent.mkdir(parents=True, exist_ok=True)
        options.results.write_text(json.dumps({"machine": machine, "lines": lines}, indent=2))


if __name__ == "__main__":
    main()
