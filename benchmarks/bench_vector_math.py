"""The kernels' exp, sigmoid and tanh against torch's, one thread, on numbers in the cache.

    python benchmarks/bench_vector_math.py --numbers 16384 --repeats 200

The two are interleaved. Their errors are measured by tests/kernels/test_vector_math.py, on all
floats with UNROLLED_ALL_FLOATS=1.
"""

import argparse
import ctypes
import platform
import time
from pathlib import Path
from statistics import quantiles

import torch

from unrolled import kernels
from unrolled.kernels import find_compiler, load_library

NAMES = ("exp", "sigmoid", "tanh")
EACH = """
void each_{0}(const float *x, float *out, long n) {{
  for (long i = 0; i < n; i += W) store(out + i, n - i, v{0}(load(x + i, n - i)));
}}
"""


def elapsed_nanoseconds(function, calls=20):
    start = time.perf_counter_ns()
    for _ in range(calls):
        function()
    return (time.perf_counter_ns() - start) / calls


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--numbers", type=int, default=16384)
    parser.add_argument("--repeats", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    header = (Path(kernels.__file__).parent / "emitting" / "headers" / "vector.h").read_text()
    library = load_library(header + "".join(EACH.format(name) for name in NAMES), "vector_math")
    x = torch.randn(arguments.numbers) * 3
    out = torch.empty_like(x)
    pointers = (ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(out.data_ptr()))

    print(f"{platform.platform()}, {torch.backends.cpu.get_cpu_capability()}, 1 thread")
    print(f"torch {torch.__version__}; {find_compiler().version()}")
    print(f"{arguments.numbers} numbers, {arguments.repeats} repeats, picoseconds per number:")
    print("function  ours: median (quartiles)  torch: median (quartiles)  torch / ours")
    for name in NAMES:
        ours, theirs = getattr(library, f"each_{name}"), getattr(torch, name)
        candidates = (
            lambda ours=ours: ours(*pointers, ctypes.c_long(len(x))),
            lambda theirs=theirs: theirs(x, out=out),
        )
        times = [[], []]
        for _ in range(arguments.repeats):
            for candidate, measured in zip(candidates, times, strict=True):
                measured.append(1000 * elapsed_nanoseconds(candidate) / len(x))
        (a, b, c), (d, e, f) = (quantiles(measured, n=4) for measured in times)
        spans = f"{b:8.0f} ({a:.0f} to {c:.0f})    {e:16.0f} ({d:.0f} to {f:.0f})"
        print(f"{name:8}  {spans}  {e / b:14.2f}")


if __name__ == "__main__":
    main()
