"""Layers as plain C, built for several processors, run, and held against their streams here.

python benchmarks/export_c_table.py --results benchmarks/results/c.json --write docs/export.md

Each layer of 1 input and 64 units, with weights of float32, is written by `unrolled.export.to_c`,
compiled with -std=c99 -Wall -Wextra -pedantic -Werror for each target whose compiler is on PATH,
and run for 200 steps: here, or by qemu's user mode. A figure is the greatest absolute difference to
the stream. Sizes are of code without weights, with -Os for a Cortex-M4. Times are of a step here,
with -O3, the least of 5 turns of 50 repeats of 200 steps; and of the same step of the layer's
kernel, bound from Python (`Stream.bind`), in turns with it.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import min_gru
import peephole_lstm

import unrolled

BEGIN, END = "<!-- table of C:begin -->\n", "<!-- table of C:end -->\n"
STEPS, REPEATS = 200, 50
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-ffp-contract=off")
# compiler, what else it is given, and what runs the program
TARGETS = {
    "x86-64 with FMA": (("gcc", "-march=x86-64-v3"), ()),
    "x86-64": (("gcc",), ()),
    "aarch64": (("aarch64-linux-gnu-gcc", "-static"), ("qemu-aarch64",)),
    "armv7": (
        ("arm-linux-gnueabihf-gcc", "-static", "-march=armv7-a", "-mfpu=neon-vfpv4"),
        ("qemu-arm",),
    ),
    "riscv64": (("riscv64-linux-gnu-gcc", "-static"), ("qemu-riscv64",)),
}
THUMB = ("arm-none-eabi-gcc", "-mthumb", "-mcpu=cortex-m4", "-mfloat-abi=hard", "-ffreestanding")
LAYERS = {
    "RNN": lambda: [unrolled.RNN(1, 64)],
    "RNN relu": lambda: [unrolled.RNN(1, 64, nonlinearity="relu")],
    "LSTM": lambda: [unrolled.LSTM(1, 64)],
    "LSTM and dense": lambda: [unrolled.LSTM(1, 64), nn.Linear(64, 1)],
    "LSTM of 2": lambda: [unrolled.LSTM(1, 64, 2)],
    "LSTM of 16 units": lambda: [unrolled.LSTM(1, 16)],
    "LSTM of 40 units": lambda: [unrolled.LSTM(1, 40)],
    "GRU": lambda: [unrolled.GRU(1, 64)],
    "GRU reset before": lambda: [unrolled.GRU(1, 64, reset="before")],
    "JANET": lambda: [unrolled.JANET(1, 64)],
    "own: minGRU": lambda: [unrolled.Recurrent(min_gru.min_gru, 1, 64)],
    "own: peephole LSTM": lambda: [unrolled.Recurrent(peephole_lstm.peephole_lstm, 1, 64)],
    "TCN": lambda: [unrolled.TCN(1, 25, 4, kernel_size=3)],
}
MAIN = """
#include <stdio.h>
#include <time.h>
#include "model.h"

static float x_of(int t) { return (float)((t * 37) % 23) * 0.125f - 1.4375f; }

int main(int count, char **words) {
  static model m;
  float x[MODEL_INPUTS] = {0}, y[MODEL_OUTPUTS];
  double least = 1e9;
  (void)words;
  for (int repeat = 0; repeat < (count > 1 ? REPEATS : 1); repeat++) {
    const clock_t start = clock();
    model_init(&m);
    for (int t = 0; t < STEPS; t++) {
      x[0] = x_of(t);
      if (model_step(&m, x, y) != 0) return 1;
      if (count == 1) fwrite(y, sizeof y[0], MODEL_OUTPUTS, stdout);
    }
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (seconds < least) least = seconds;
  }
  if (count > 1) printf("%.6f", least / STEPS * 1e6);
  return 0;
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = {}
    for name, make in LAYERS.items():
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = measure([each.eval() for each in make()], Path(folder))
        print(name, rows[name], flush=True)
    content = {"torch": torch.__version__, "rows": rows}
    if arguments.results:
        arguments.results.write_text(json.dumps(content, indent=1) + "\n")
    if arguments.write:
        text = arguments.write.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        after = rest.partition(END)[2]
        arguments.write.write_text(before + BEGIN + table(rows) + END + after, encoding="utf-8")


def measure(modules: list[nn.Module], folder: Path) -> dict[str, float]:
    written = unrolled.export.to_c(modules, folder / "c")
    main_c = f"#define STEPS {STEPS}\n#define REPEATS {REPEATS}\n{MAIN}"
    (folder / "c" / "main.c").write_text(main_c)
    expected = streamed(modules)
    row: dict[str, float] = {}
    for target, (compiler, runner) in TARGETS.items():
        if all(shutil.which(each) for each in (compiler[0], *runner)):
            program = build(folder, *compiler, "-O3")
            said = subprocess.run([*runner, program], capture_output=True, check=True).stdout
            numbers = np.frombuffer(said, np.float32).reshape(expected.shape)
            row[target] = float(np.abs(numbers - expected).max())
    if shutil.which(THUMB[0]):
        argv = [*THUMB, *FLAGS, "-Os", "-c", "model.c", "-o", "model.o"]
        subprocess.run(argv, cwd=folder / "c", check=True)
        size = [THUMB[0].replace("gcc", "size"), "-A", "model.o"]
        said = subprocess.run(size, cwd=folder / "c", capture_output=True, check=True, text=True)
        sections = [line.split()[:2] for line in said.stdout.splitlines() if line[:1] == "."]
        row["code"] = sum(int(bytes_) for section, bytes_ in sections if ".text" in section)
    row["weights"], row["instance"] = written.num_bytes, written.instance
    program = build(folder, "gcc", "-march=native", "-O3")
    row["microseconds"], row["of the kernel"] = times(program, modules)
    return row


def build(folder: Path, *compiler: str) -> Path:
    argv = [*compiler, *FLAGS, "main.c", "model.c", "-o", "main"]
    subprocess.run(argv, cwd=folder / "c", check=True)
    return folder / "c" / "main"


def streamed(modules: list[nn.Module]) -> np.ndarray:
    steps = [((t * 37) % 23) * 0.125 - 1.4375 for t in range(STEPS)]
    layer, *dense = modules
    with torch.inference_mode():
        x = layer.stream(1).push(torch.tensor(steps)[:, None, None])[:, 0]
        for each in dense:
            x = each(x)
    return x.numpy()


def times(program: Path, modules: list[nn.Module]) -> tuple[float, float]:
    """Return microseconds of a step in C, and of a bound step of the stream, the least of turns."""
    layer = modules[0]
    x, y = np.zeros((1, 1), np.float32), np.zeros((1, layer.output_size), np.float32)
    bound = layer.stream(1).bind(x, y)
    ours = kernel = float("inf")
    for _ in range(5):
        said = subprocess.run([program, "time"], capture_output=True, check=True, text=True)
        ours = min(ours, float(said.stdout))
        for _ in range(REPEATS // 5):
            start = time.perf_counter()
            for _ in range(STEPS):
                bound.step()
            kernel = min(kernel, (time.perf_counter() - start) / STEPS * 1e6)
    return ours, kernel


def table(rows: dict[str, dict[str, float]]) -> str:
    targets = list(TARGETS)
    heads = ["layer", *targets, "code, bytes", "weights", "instance", "step, us", "kernel, us"]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for name, row in rows.items():
        cells = [f"{row[target]:.1e}" if target in row else "" for target in targets]
        cells += [f"{row[each]:,.0f}" if each in row else "" for each in ("code",)]
        cells += [f"{row[each]:,.0f}" for each in ("weights", "instance")]
        cells += [f"{row[each]:.2f}" for each in ("microseconds", "of the kernel")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
