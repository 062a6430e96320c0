"""The C of every published cell: compiled without a warning, and held against its stream.

python benchmarks/export_c_catalogue.py

Each cell of the catalogue is a layer of 20 inputs and 20 units, written by `unrolled.export.to_c`
with weights of float32, bfloat16 and int8. Each file is compiled by those of gcc and clang that are
on PATH, with -std=c99, the warnings below as errors and each of the flags below: for x86-64, for
AVX2, and number by number. `to_c(check=True)` runs what was written on three sequences. A figure is
the greatest difference to the layer with the weights as they are stored: 0.0 where every bit is
equal.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch

import unrolled
from unrolled.cells.catalogue import CATALOGUE
from unrolled.errors import OptionError

UNITS = 20  # of 4 heads, and no whole vector
WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow", "-Werror")
FLAGS = (("-O2",), ("-O2", "-march=x86-64-v3"), ("-Os", "-DTILE=4"))
WEIGHTS: tuple[Any, ...] = ("f32", "bf16", "int8")


def main() -> None:
    compilers = [name for name in ("gcc", "clang") if shutil.which(name)]
    compiled, refused = 0, []
    differences: dict[str, list[float]] = {weights: [] for weights in WEIGHTS}
    for name in CATALOGUE:
        torch.manual_seed(0)
        layer = unrolled.Recurrent(name, UNITS, UNITS).eval()
        for weights in WEIGHTS:
            with tempfile.TemporaryDirectory() as place:
                try:
                    written = unrolled.export.to_c(
                        layer, Path(place, "c"), weights=weights, check=True
                    )
                except OptionError as error:
                    refused.append(f"{name}, {weights}: {error}")
                    continue
                assert written.proof is not None
                differences[weights].append(written.proof.difference)
                for compiler in compilers:
                    for flags in FLAGS:
                        argv = [compiler, "-std=c99", *WARNINGS, *flags, "-c", written.source]
                        subprocess.run([*argv, "-o", Path(place, "o")], check=True)
                        compiled += 1
    num, kinds = len(CATALOGUE), len(WEIGHTS)
    print(f"{num} cells with {kinds} kinds of weights: {num * kinds - len(refused)} written")
    print(f"{compiled} compiled without a warning, by {' and '.join(compilers)}")
    for weights, each in differences.items():
        equal = sum(difference == 0.0 for difference in each)
        print(f"{weights}: {equal} equal to the last bit, the greatest difference {max(each):.2g}")
    print(*(f"refused: {line}" for line in refused), sep="\n")


if __name__ == "__main__":
    main()
