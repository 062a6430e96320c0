"""Write the table of README.md anew, from the results of `unrolled bench`.

unrolled bench --neighbour --memory --results benchmarks/results/bench.json
python benchmarks/readme_table.py benchmarks/results/bench.json
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path

BEGIN, END = "<!-- bench:begin -->\n", "<!-- bench:end -->\n"

LARGEST_LOAD = 0.5

# What a reader wants to know: the line, the peer, and what the peer is called here.
ROWS = (
    ("LSTM: B64 T128 H256 forward", "torch.nn", "torch"),
    ("LSTM: B64 T128 H256 training", "torch.nn", "torch"),
    ("LSTM: B64 T128 H256 training", "torch.nn, tuned", "torch, allocator tuned"),
    ("LSTM: B1 T128 H64 training", "torch.nn", "torch"),
    ("GRU: B64 T128 H256 forward", "torch.nn", "torch"),
    ("GRU: B64 T128 H256 training", "torch.nn", "torch"),
    ("GRU: B8 T128 H128 training", "torch.nn", "torch"),
    ("RNN: B64 T128 H256 training", "torch.nn", "torch"),
    ("JANET: B64 T128 H256 training", "torch loop", "loop"),
    ("GRU reset before: B64 T128 H256 training", "torch loop", "loop"),
    ("A JANET of the user's own: B64 T128 H256 training", "built-in", "built-in JANET"),
    ("Ragged lengths: LSTM B32 T25..100 H128 training", "packed", "torch packed"),
    ("Ragged lengths: LSTM B32 T25..100 H128 training", "padded", "torch padded"),
    ("LSTM, 2 layers: bidirectional B32 T400 I100 H128 training", "torch.nn", "torch"),
    ("One step of a stream: LSTM B1 H128 step", "torch.nn", "torch"),
    ("One step of a stream: GRU B1 H256 step", "torch.nn", "torch"),
)


def table(results):
    """Return the text between the markers."""
    machine = results["machine"]
    lines = {line["title"]: line for line in results["lines"]}
    text = [
        f"Medians in milliseconds on {machine['cores']} cores with {machine['vector_extensions']}, "
        f"torch {machine['versions']['torch']}, {machine['threads']} threads; a ratio is the "
        "peer's time by ours.",
        "",
        *warning(machine.get("load_before")),
        "| B rows, T steps, H units | unrolled | peer | ratio | ONNX Runtime | JAX |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for title, peer, name in ROWS:
        line = lines.get(title, {"ratio": {}})
        if peer not in line["ratio"]:
            print(f"left out, because it was not measured: {title}, {peer}", file=sys.stderr)
            continue
        ours = "unrolled, tuned" if peer.endswith("tuned") else "unrolled"
        times = line["milliseconds"]
        ratios = line["ratio"] if ours == "unrolled" else {}
        others = [
            f"{ratios[other]:.2f}" if other in ratios else "" for other in ("ONNX Runtime", "JAX")
        ]
        cells = [
            title,
            number(times[ours]["median"]),
            f"{name} {number(times[peer]['median'])}",
            f"{line['ratio'][peer]:.2f}",
            *others,
        ]
        text.append(f"| {' | '.join(cells)} |")
    if busy := results.get("busy"):
        slowdown = busy["slowdown"]
        text += [
            "",
            f"Beside a process that keeps one core busy, LSTM training at H256 takes "
            f"{slowdown['unrolled']:.2f} times as long; torch's {slowdown['torch.nn']:.2f} times.",
        ]
    if memory := results.get("memory"):
        ours, torchs = (memory["peak_bytes"][name] / 2**20 for name in ("unrolled", "torch.nn"))
        text += [
            "",
            f"LSTM training, B64 T1024 H512, needs {ours:,.0f} MiB above inputs and weights at its "
            f"peak; torch's {torchs:,.0f} MiB.",
        ]
    return "\n".join(text) + "\n"


def warning(load_before):
    """Return a line of warning, unless the machine is known to have been idle before the run."""
    if load_before is not None and load_before <= LARGEST_LOAD:
        return []
    return ["**Measured on a busy machine: these figures do not tell.**", ""]


def number(milliseconds):
    """Return a time with three digits that count."""
    digits = 1 if milliseconds >= 100 else 2 if milliseconds >= 1 else 4
    return f"{milliseconds:.{digits}f}"


def with_table(page, results):
    """Return the page with the table of `results` between its markers."""
    pattern = f"({re.escape(BEGIN)}).*?({re.escape(END)})"
    found, count = re.subn(pattern, lambda m: m[1] + table(results) + m[2], page, flags=re.DOTALL)
    assert count == 1, f"the page needs the markers {BEGIN.strip()} and {END.strip()} once"
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    page = Path(__file__).parents[1] / "README.md"
    results = json.loads(parser.parse_args().results.read_text())
    page.write_text(with_table(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    print(f"{os.path.relpath(page)} is written")


if __name__ == "__main__":
    main()
