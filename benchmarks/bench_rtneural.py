"""A step of an LSTM for audio plug-ins: the C of `to_c`, and RTNeural, in turns in one program.

python benchmarks/bench_rtneural.py RTNEURAL --results benchmarks/results/rtneural.json

RTNEURAL is a checkout of github.com/jatinchowdhury18/RTNeural with its submodule modules/xsimd.
Each model is one input, an LSTM of 16 to 40 units, and one output, with the same weights in both;
RTNeural's is its `ModelT`, whose sizes are known to the compiler, with each backend that it has.
Both are compiled with the flags of RTNeural's RTNEURAL_USE_AVX, and with -march=native. A figure is
the median of a step over turns of 4,800 samples, a tenth of a second of sound. Programs that say
other numbers than torch, by more than 1e-5, end the run.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import nn

import unrolled

SIZES = (16, 20, 24, 32, 40)
BACKENDS = ("STL", "EIGEN", "XSIMD")
FLAGS = {  # of both, and the alignment that RTNeural is told with them
    "avx2": (("-mavx2", "-mfma"), 32),
    "native": (("-march=native",), 32),
}
SAMPLES = 4800
MAIN = """
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>
#include <RTNeural/RTNeural.h>
#include "model.h"
#include "weights.h"

template <int rows, int columns>
static std::vector<std::vector<float>> of(const float (&numbers)[rows][columns]) {
  std::vector<std::vector<float>> all;
  for (const auto &row : numbers) all.emplace_back(row, row + columns);
  return all;
}

int main(int, char **words) {
  static RTNeural::ModelT<float, 1, 1, RTNeural::LSTMLayerT<float, 1, UNITS>,
                          RTNeural::DenseT<float, UNITS, 1>> theirs;
  static model ours;
  auto &lstm = theirs.get<0>();
  lstm.setWVals(of(INPUT));
  lstm.setUVals(of(RECURRENT));
  lstm.setBVals(std::vector<float>(BIAS, BIAS + 4 * UNITS));
  theirs.get<1>().setWeights(of(DENSE));
  theirs.get<1>().setBias(DENSE_BIAS);
  const std::vector<float> none(SAMPLES);
  std::vector<float> x = none, said[2] = {none, none};
  for (int t = 0; t < SAMPLES; t++) x[t] = std::sin(0.05f * t) * std::sin(0.0021f * t);
  std::vector<double> times[2];
  for (int turn = 0; turn < std::atoi(words[1]); turn++) {
    for (int which = 0; which < 2; which++) {
      theirs.reset();
      model_init(&ours);
      const auto start = std::chrono::steady_clock::now();
      if (which) {
        for (int t = 0; t < SAMPLES; t++) said[1][t] = theirs.forward(&x[t]);
      } else {
        for (int t = 0; t < SAMPLES; t++) model_step(&ours, &x[t], &said[0][t]);
      }
      const auto end = std::chrono::steady_clock::now();
      const std::chrono::duration<double, std::micro> took = end - start;
      times[which].push_back(took.count() / SAMPLES);
    }
  }
  for (auto &each : times) {
    std::sort(each.begin(), each.end());
    std::printf("%.4f %.4f ", each[each.size() / 2], each[0]);
  }
  for (auto &each : said) {
    for (int t = 0; t < 200; t++) std::printf("%.9g ", each[t]);
  }
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rtneural", type=Path)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--turns", type=int, default=101)
    arguments = parser.parse_args()
    source = arguments.rtneural.resolve()
    rows = []
    for units in SIZES:
        torch.manual_seed(0)
        lstm, dense = unrolled.LSTM(1, units).eval(), nn.Linear(units, 1).eval()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            unrolled.export.to_c([lstm, dense], folder / "c")
            (folder / "weights.h").write_text(weights_of(lstm, dense, units))
            (folder / "main.cpp").write_text(MAIN)
            for flags in FLAGS:
                for backend in BACKENDS:
                    program = build(folder, source, flags, backend)
                    row = {"units": units, "flags": flags, "backend": backend}
                    rows.append(row | measured(program, arguments.turns, said_by(lstm, dense)))
                    print(rows[-1], flush=True)
    print(table(rows))
    if arguments.results:
        arguments.results.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


def build(folder: Path, source: Path, flags: str, backend: str) -> Path:
    """Return the program with both models."""
    some, alignment = FLAGS[flags]
    c = ["gcc", "-std=c99", "-O3", *some, "-c", "c/model.c", "-o", "model.o"]
    includes = [source, source / "modules/Eigen", source / "modules/xsimd/include", "c"]
    cpp = ["g++", "-std=c++17", "-O3", *some, "main.cpp", "model.o", "-o", "main"]
    cpp += [f"-I{each}" for each in includes]
    cpp += [f"-DRTNEURAL_USE_{backend}=1", f"-DRTNEURAL_DEFAULT_ALIGNMENT={alignment}"]
    if backend == "EIGEN":
        cpp.append("-DEIGEN_MAX_ALIGN_BYTES=" + str(alignment))
    for argv in (c, [*cpp, f"-DSAMPLES={SAMPLES}"]):
        subprocess.run(argv, cwd=folder, check=True)
    return folder / "main"


def weights_of(lstm: unrolled.LSTM, dense: nn.Linear, units: int) -> str:
    """Return the weights as C++; RTNeural's gates have the order of torch's."""
    bias = lstm.bias_ih_l0 + lstm.bias_hh_l0
    arrays = {
        f"INPUT[1][{4 * units}]": lstm.weight_ih_l0.T,
        f"RECURRENT[{units}][{4 * units}]": lstm.weight_hh_l0.T,
        f"BIAS[{4 * units}]": bias,
        f"DENSE[1][{units}]": dense.weight,
        "DENSE_BIAS[1]": dense.bias,
    }
    lines = [f"enum {{ UNITS = {units} }};"]
    for name, numbers in arrays.items():
        text = str(numbers.tolist()).replace("[", "{").replace("]", "}")
        lines.append(f"static const float {name} = {text};")
    return "\n".join(lines)


@torch.inference_mode()
def said_by(lstm: unrolled.LSTM, dense: nn.Linear) -> torch.Tensor:
    """Return what torch says of the first 200 samples."""
    t = torch.arange(200.0)
    x = (0.05 * t).sin() * (0.0021 * t).sin()
    return dense(lstm(x[:, None, None])[0])[:, 0, 0]


def measured(program: Path, turns: int, expected: torch.Tensor) -> dict[str, float]:
    """Return microseconds of a step of each, and the greatest difference to torch."""
    done = subprocess.run([program, str(turns)], check=True, capture_output=True, text=True)
    numbers = [float(each) for each in done.stdout.split()]
    ours, ours_least, theirs, theirs_least = numbers[:4]
    said = torch.tensor(numbers[4:]).view(2, 200)
    error = float((said - expected).abs().max())
    assert error < 1e-5, (program, error)
    return {
        "c": ours,
        "c, least": ours_least,
        "rtneural": theirs,
        "rtneural, least": theirs_least,
        "error": error,
    }


def table(rows: list[dict]) -> str:
    """Return for each size the fastest of RTNeural's backends and flags, and of ours."""
    lines = ["| units | RTNeural, us | with | C, us | ratio |", "|---:|---:|---|---:|---:|"]
    for units in SIZES:
        own = [row for row in rows if row["units"] == units]
        best = min(own, key=lambda row: row["rtneural"])
        ours = min(row["c"] for row in own)
        built = f"{best['backend']}, {best['flags']}"
        ratio = best["rtneural"] / ours
        lines.append(f"| {units} | {best['rtneural']:.3f} | {built} | {ours:.3f} | {ratio:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
