"""The peak of this machine: how many fused multiply-adds its cores do in a second, measured.

The share of it that a layer reaches says how much there is left to gain.
"""

import ctypes
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from unrolled.benchmark.problem import Contestant

__all__ = ["make"]

_SECONDS = 0.02  # of one repeat: long beside the start of its threads
_CHAINS = 12


def make(num_threads: int) -> Contestant:
    """Return what keeps `num_threads` cores busy with nothing but multiply-adds.

    Raises:
        KernelError: There is no C compiler, or it fails.
    """
    library = _library()
    start = (ctypes.c_float * _CHAINS)(*(i / _CHAINS for i in range(_CHAINS)))
    pool = ThreadPoolExecutor(num_threads)

    def run(rounds: int) -> None:
        # ctypes gives the interpreter's lock away for as long as a call takes.
        list(pool.map(lambda _: library.run(rounds, start), range(num_threads)))

    rounds, elapsed = 1000, 0.0
    while elapsed < _SECONDS:
        rounds *= 2
        begin = time.perf_counter()
        run(rounds)
        elapsed = time.perf_counter() - begin
    flop = float(rounds * library.flop_of_a_round() * num_threads)
    return Contestant(lambda: run(rounds), dict, flop=flop)


@cache
def _library() -> Any:
    from unrolled.kernels import load_library  # here, because it brings torch

    source = Path(__file__).with_suffix(".c").read_text(encoding="utf-8")
    library = load_library(source, "peak")
    library.run.argtypes = [ctypes.c_long, ctypes.c_void_p]
    library.run.restype = ctypes.c_float
    library.flop_of_a_round.restype = ctypes.c_long
    return library
