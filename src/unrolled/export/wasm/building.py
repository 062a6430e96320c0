"""A module's C compiled to WebAssembly, by ziglang or by a clang that has the target."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from unrolled.kernels import KernelError

__all__ = ["build", "compiler_or_none"]

_LIMIT = 300  # seconds that a compiler may take
_FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=off", "-fno-strict-aliasing", "-mbulk-memory")
_ALONE = ("-nostdlib", "-Wl,--no-entry")
_LINKED = ("-Wl,--strip-all", "-Wl,-z,stack-size=16384")
_SIMD = ("-msimd128",)


def compiler_or_none(*, has_library: bool) -> tuple[str, ...] | None:
    """Return the command that compiles C to a module, or None.

    Args:
        has_library: Whether with C's library, which only ziglang brings; the first time it compiles
            that, too, for a minute or two.
    """
    if find_spec("ziglang") is not None:
        zig = (sys.executable, "-P", "-m", "ziglang", "cc", "-target")
        if has_library:
            return (*zig, "wasm32-wasi", "-mexec-model=reactor")
        return (*zig, "wasm32-freestanding", *_ALONE)
    if has_library or shutil.which("clang") is None or shutil.which("wasm-ld") is None:
        return None
    targets = subprocess.run(["clang", "--print-targets"], capture_output=True, text=True)
    if "wasm32" not in targets.stdout:
        return None
    return ("clang", "--target=wasm32", *_ALONE)


def build(text: str, *, simd: bool) -> bytes:
    """Return the module of a C text.

    Args:
        text: The C.
        simd: Whether it may use vectors of 128 bits.

    Raises:
        KernelError: There is no compiler, or it fails.
    """
    compiler = compiler_or_none(has_library="#include <math.h>" in text)
    if compiler is None:
        message = "there is no compiler for WebAssembly, which a cell of your own needs"
        raise KernelError(message, 'pip install "unrolled[compiler]"')
    with TemporaryDirectory() as folder:
        source, module = Path(folder, "module.c"), Path(folder, "module.wasm")
        source.write_text(text, encoding="utf-8")
        command = [*compiler, *_FLAGS, *(_SIMD if simd else ()), *_LINKED]
        command += ["-o", str(module), str(source)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT)
        except subprocess.TimeoutExpired as error:
            message = f"the compiler for WebAssembly took over {_LIMIT} seconds"
            raise KernelError(message, "try again on an idle machine") from error
        if done.returncode or not module.is_file():
            last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise KernelError(f"the compiler for WebAssembly failed: {last}", " ".join(compiler))
        return module.read_bytes()
