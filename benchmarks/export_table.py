"""Every layer exported in every way, run elsewhere, and held against the layer itself.

python benchmarks/export_table.py --results benchmarks/results/export.json --write docs/export.md

Ways: torch's two exporters of ONNX, run by ONNX Runtime; torch.export, loaded in a fresh process
with `unrolled`; the same without an operator of ours, in a process without `unrolled`; AOTInductor.
Exported with 7 steps and 3 rows; run with 20 and 5, a row without steps and NaN past every end
among them. States go in and come out. A figure is the greatest absolute difference of any number
that comes out. AOTInductor compiles each for a quarter of a minute and more: `--missing --ways
AOTInductor` does what is not among the results yet, and keeps what is done before it is stopped.
"""

import argparse
import itertools
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import min_gru
import peephole_lstm

import unrolled

BEGIN, END = "<!-- table:begin -->\n", "<!-- table:end -->\n"
INPUT_SIZE, HIDDEN_SIZE = 5, 8
LAYERS = {
    "RNN": unrolled.RNN,
    "RNN relu": lambda *sizes, **how: unrolled.RNN(*sizes, nonlinearity="relu", **how),
    "LSTM": unrolled.LSTM,
    "LSTM projected": lambda *sizes, **how: unrolled.LSTM(*sizes, proj_size=3, **how),
    "GRU": unrolled.GRU,
    "GRU reset before": lambda *sizes, **how: unrolled.GRU(*sizes, reset="before", **how),
    "JANET": unrolled.JANET,
    "own: minGRU": lambda *sizes, **how: unrolled.Recurrent(min_gru.min_gru, *sizes, **how),
    "own: peephole LSTM": lambda *sizes, **how: unrolled.Recurrent(
        peephole_lstm.peephole_lstm, *sizes, **how
    ),
    "TCN": lambda *sizes, **how: unrolled.TCN(*sizes, how["num_layers"]),
}
WAYS = ("dynamo", "legacy", "torch.export", "plain", "AOTInductor")

IN_A_FRESH_PROCESS = """
import sys, torch
if sys.argv[2] == "with":
    sys.path[:0] = sys.argv[3:]
    import unrolled, min_gru, peephole_lstm
else:
    sys.modules["unrolled"] = None
for job in torch.load(sys.argv[1]):
    program = torch.export.load(job["program"]).module()
    torch.save([each.detach() for each in program(*job["inputs"])], job["outputs"])
"""


class Exported(nn.Module):
    """A layer whose states and lengths are plain tensors."""

    def __init__(self, layer: nn.Module, num_states: int, ragged: bool) -> None:
        super().__init__()
        self.layer, self.num_states, self.ragged = layer, num_states, ragged

    def forward(self, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Return the output and the states, of x, states and perhaps lengths."""
        states = rest[: self.num_states]
        lengths = rest[-1] if self.ragged else None
        is_tensor = isinstance(self.layer.initial_state(1), Tensor)
        output, state = self.layer(x, states[0] if is_tensor else states, lengths=lengths)
        return (output, state) if isinstance(state, Tensor) else (output, *state)


def states_of(layer: nn.Module, batch_size: int) -> list[Tensor]:
    state = layer.initial_state(batch_size)
    tensors = [state] if isinstance(state, Tensor) else list(state)
    return [torch.randn_like(tensor) for tensor in tensors]


def inputs_of(layer: nn.Module, num_steps: int, batch_size: int, ragged: bool) -> list[Tensor]:
    x = torch.randn(num_steps, batch_size, INPUT_SIZE)
    lengths = torch.tensor([num_steps, 0, 2, *[num_steps - 1] * (batch_size - 3)])
    if ragged:
        x[torch.arange(num_steps)[:, None] >= lengths] = torch.nan
    return [x, *states_of(layer, batch_size), *([lengths] if ragged else [])]


def free_axes(num_states: int, ragged: bool) -> tuple[dict[int, str], ...]:
    lengths = ({0: "batch"},) if ragged else ()
    return ({0: "time", 1: "batch"}, *[{1: "batch"}] * num_states, *lengths)


def by_onnx(model, example, other, axes, folder, dynamo):
    names = [f"in{number}" for number in range(len(example))]
    file = str(folder / "model.onnx")
    if dynamo:
        how = {"dynamic_shapes": (axes[0], axes[1:]), "verbose": False}
    else:
        how = {"dynamic_axes": dict(zip(names, axes, strict=True))}
    torch.onnx.export(model, tuple(example), file, dynamo=dynamo, input_names=names, **how)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    taken = {each.name for each in session.get_inputs()}
    arrays = {n: t.numpy() for n, t in zip(names, other, strict=True) if n in taken}
    return [torch.from_numpy(array) for array in session.run(None, arrays)]


def program_of(model, example, axes):
    sizes = {"time": torch.export.Dim("time", min=2), "batch": torch.export.Dim("batch", min=2)}
    free = [{axis: sizes[name] for axis, name in each.items()} for each in axes]
    shapes = (free[0], tuple(free[1:]))
    return torch.export.export(model, tuple(example), dynamic_shapes=shapes)


def difference(got, expected) -> float:
    pairs = zip(got, expected, strict=True)
    return max((float((a - b).abs().max()) if b.numel() else 0.0) for a, b in pairs)


def run_fresh(jobs, folder, how) -> None:
    """Run programs in one process that has never seen the layers."""
    torch.save(jobs, folder / f"{how}.pt")
    source = str(Path(unrolled.__file__).parents[1])
    examples = str(Path(min_gru.__file__).parent)
    arguments = [folder / f"{how}.pt", how, source, examples]
    subprocess.run([sys.executable, "-c", IN_A_FRESH_PROCESS, *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--short", action="store_true", help="simplest and most involved alone")
    parser.add_argument("--missing", action="store_true", help="what the results lack alone")
    parser.add_argument("--results", type=Path, help="file that results are added to")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    rows: dict[tuple, dict[str, float]] = {}
    fresh: dict[str, list] = {"with": [], "without": []}
    expected = {}
    earlier = json.loads(chosen.results.read_text()) if chosen.missing else {}
    for name in chosen.layers:
        make = LAYERS[name]
        for num_layers, both, ragged in itertools.product((1, 2), (False, True), (False, True)):
            if name == "TCN" and both:
                continue
            how_involved = (num_layers, both or name == "TCN", ragged)
            if chosen.short and how_involved not in ((1, False, False), (2, True, True)):
                if (name, how_involved) != ("TCN", (1, True, False)):
                    continue
            key = (name, num_layers, both, ragged)
            if set(chosen.ways) <= earlier.get(json.dumps(key), {}).keys():
                continue
            torch.manual_seed(0)
            layer = make(INPUT_SIZE, HIDDEN_SIZE, num_layers=num_layers, bidirectional=both).eval()
            num_states = len(states_of(layer, 1))
            model = Exported(layer, num_states, ragged)
            example, other = inputs_of(layer, 7, 3, ragged), inputs_of(layer, 20, 5, ragged)
            axes = free_axes(num_states, ragged)
            row = rows[key] = {}
            with torch.no_grad():
                expected[key] = model(*other)
                for way in {"dynamo", "legacy"} & set(chosen.ways):
                    got = by_onnx(model, example, other, axes, folder, way == "dynamo")
                    row[way] = difference(got, expected[key])
                if {"torch.export", "plain", "AOTInductor"} & set(chosen.ways):
                    program = program_of(model, example, axes)
                    plain = unrolled.export.plain(program)
                for how, each, way in (
                    ("with", program, "torch.export"),
                    ("without", plain, "plain"),
                ):
                    if way in chosen.ways:
                        file = folder / f"{len(rows)}-{how}.pt2"
                        torch.export.save(each, file)
                        outputs = folder / f"{len(rows)}-{how}.pt"
                        job = {"program": str(file), "inputs": other, "outputs": str(outputs)}
                        fresh[how].append(job | {"key": key})
                if "AOTInductor" in chosen.ways:
                    package = torch._inductor.aoti_compile_and_package(
                        program, package_path=str(folder / "package.pt2")
                    )
                    got = torch._inductor.aoti_load_package(package)(*other)
                    row["AOTInductor"] = difference(got, expected[key])
            print(*key, row, file=sys.stderr, flush=True)
            keep(rows, chosen.results)
    for how, way in (("with", "torch.export"), ("without", "plain")):
        if jobs := fresh[how]:
            run_fresh(jobs, folder, how)
            for job in jobs:
                got = torch.load(job["outputs"])
                rows[job["key"]][way] = difference(got, expected[job["key"]])
    figures = keep(rows, chosen.results)
    rows = {tuple(json.loads(key)): row for key, row in figures.items()}
    text = table(rows)
    print(text)
    worst = max(value for row in rows.values() for value in row.values())
    if chosen.write:
        page = chosen.write.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        chosen.write.write_text(f"{before}{BEGIN}{text}{END}{after}", encoding="utf-8")
    if not (worst <= 1e-5 and np.isfinite(worst)):
        sys.exit(f"the greatest difference is {worst:.1e}")


def keep(rows, results: Path | None) -> dict[str, dict[str, float]]:
    """Return the figures with those of earlier runs, and add them to the file of results."""
    figures = {json.dumps(key): row for key, row in rows.items()}
    if results:
        if results.exists():
            earlier = json.loads(results.read_text())
            figures = {k: earlier.get(k, {}) | figures.get(k, {}) for k in earlier | figures}
        results.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def table(rows, ways=WAYS) -> str:
    versions = [f"{name} {version(name)}" for name in ("torch", "onnxruntime", "onnxscript")]
    lines = [
        f"{', '.join(versions)}; greatest absolute differences.",
        "",
        f"| layer | layers | directions | ragged | {' | '.join(ways)} |",
        f"|---|---:|---:|---|{'---:|' * len(ways)}",
    ]
    order = list(LAYERS)
    in_order = sorted(rows.items(), key=lambda item: (order.index(item[0][0]), *item[0][1:]))
    for (name, num_layers, both, ragged), row in in_order:
        figures = [f"{row[way]:.1e}" if way in row else "" for way in ways]
        cells = [name, num_layers, 1 + both, "yes" if ragged else "no", *figures]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
