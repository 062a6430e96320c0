"""Multiply-adds a nanosecond of a product's tile, by rows and vectors, for one compiler or several.

    python benchmarks/bench_tiles.py --compilers gcc "python -m ziglang cc" --marches native

C does not say what stays in a register. A compiler that keeps sums in memory, or reads a weight
again for each row, halves a kernel and changes none of its numbers. So whoever edits `tile.h` looks
here: at gcc and ziglang, with 32 registers and with 16 (x86-64-v3, for zig x86_64_v3). A panel lies
in the first cache; one thread.
"""

import argparse
import shlex
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import unrolled

HEADERS = Path(unrolled.__file__).parent / "kernels" / "emitting" / "headers"
FLAGS = ["-std=gnu11", "-O2", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
DEPTH, REPEATS = 128, 400
PROGRAM = """
#define WEIGHT_BITS 32
#define MIXED 0
#include <stdio.h>
#include <time.h>
#include "vector.h"
#include "words.h"
#include "tile.h"

float panel[{depth} * 8 * W] __attribute__((aligned(64)));
float row[{depth}];
vf out[256]; /* all seen from outside: else clang knows that they are zero */

static double now(void) {{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}}

#define TILE(R, V)                                         \\
  OUT_OF_LINE void tile_##R##_##V(const float *const *a) {{ \\
    tile(R, V, V, {depth}, a, panel, out);                 \\
  }}
{tiles}
static void show(int rows, int vectors, void (*run)(const float *const *)) {{
  const float *a[12];
  for (int r = 0; r < 12; r++) a[r] = row;
  double least = 1e30;
  for (int turn = 0; turn < 20; turn++) {{
    const double begin = now();
    for (int i = 0; i < {repeats}; i++) run(a);
    const double each = (now() - begin) / {repeats};
    if (each < least) least = each;
  }}
  printf(" %dx%d %.1f", rows, vectors, rows * vectors * W * {depth} / least);
}}

int main(void) {{
{calls}
  printf("\\n");
}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--compilers", nargs="+", default=["gcc", "clang"])
    parser.add_argument("--marches", nargs="+", default=["native", "x86-64-v3"])
    chosen = parser.parse_args()
    # those that kernels have: of 24 sums where there are 32 registers, of 12 where there are 16
    for march, most in ((march, 24 if march == "native" else 12) for march in chosen.marches):
        shapes = [(r, v) for v in (1, 2, 3, 4, 5, 6, 8) for r in range(1, 13) if r * v <= most]
        for compiler in chosen.compilers:
            print(f"{compiler}, {march}, rows x vectors:", flush=True)
            print(times(compiler, march, shapes))


def times(compiler: str, march: str, shapes: list[tuple[int, int]]) -> str:
    """Return what the program prints, or why there is none."""
    text = PROGRAM.format(
        depth=DEPTH,
        repeats=REPEATS,
        tiles="\n".join(f"TILE({r}, {v})" for r, v in shapes),
        calls="\n".join(f"  show({r}, {v}, tile_{r}_{v});" for r, v in shapes),
    )
    with TemporaryDirectory() as folder:
        source, program = Path(folder) / "tiles.c", Path(folder) / "tiles"
        source.write_text(text)
        command = [*shlex.split(compiler), *FLAGS, f"-march={march}", f"-I{HEADERS}", str(source)]
        try:
            subprocess.run([*command, "-o", str(program)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return f" not compiled: {error}"
        done = subprocess.run([str(program)], check=True, capture_output=True, text=True)
        return done.stdout.rstrip()


if __name__ == "__main__":
    main()
