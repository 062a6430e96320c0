"""Whether the kernels of an installed wheel work here: taken, proven, right, and no slower.

    python packaging/installed.py

Run outside of the repository's `src`, after `pip install unrolled`. It hides every compiler, takes
an empty cache, and ends with status 1 where a published cell has no kernel or computes otherwise
than the loop.
"""

import importlib.util
import os
import sys
import tempfile
import time

os.environ["PATH"] = ""
os.environ["UNROLLED_CACHE"] = tempfile.mkdtemp()
os.environ.pop("CC", None)

import torch

import unrolled
from unrolled.cells.catalogue import CATALOGUE
from unrolled.kernels import kernel_or_reason, network_or_reason, prebuilt_archives, using_path

NEAR = 1e-4  # relative, float32 against the loop in float32


def main() -> None:
    if importlib.util.find_spec("ziglang"):
        sys.exit("ziglang is installed: it would compile what is missing")
    archives, problem = prebuilt_archives()
    if not archives:
        sys.exit(f"no kernels: {problem or 'this is the wheel for all platforms'}")
    print(f"{archives[0].file}: {archives[0].instruction_set}")
    begin = time.perf_counter()
    layer = unrolled.LSTM(64, 128)
    x = torch.randn(50, 16, 64)
    layer(x)[0].sum().backward()
    print(f"first call of a kernel, forward and backward: {time.perf_counter() - begin:.2f} s")
    reasons = {name: kernel_or_reason(cell) for name, cell in CATALOGUE.items()}
    reasons["tcn"] = network_or_reason()
    missing = {name: kernel for name, kernel in reasons.items() if isinstance(kernel, str)}
    for name, reason in missing.items():
        print(f"{name}: {reason}")
    print(f"{len(reasons) - len(missing)} of {len(reasons)} kernels, each proven against the loop")
    with torch.no_grad():
        ours = layer(x)[0]
        with using_path("reference"):
            loop = layer(x)[0]
    error = float((ours - loop).norm() / loop.norm())
    print(f"LSTM against the loop: {error:.1e}")
    ours, theirs = speed(layer, x), speed(torch.nn.LSTM(64, 128), x)
    print(f"training step: {1e3 * ours:.2f} ms, torch.nn.LSTM {1e3 * theirs:.2f} ms")
    sys.exit(1 if missing or error > NEAR else 0)


def speed(layer: torch.nn.Module, x: torch.Tensor) -> float:
    """Return the seconds of the fastest of some training steps."""
    seconds = []
    for _ in range(30):
        begin = time.perf_counter()
        layer(x)[0].sum().backward()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


if __name__ == "__main__":
    main()
