"""The systems and instruction sets that kernels are compiled for ahead of time.

Not here: the files that such kernels are kept in (`prebuilt.py`).
"""

import platform
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["PLATFORMS", "InstructionSet", "Platform", "this_platform"]

_WINDOWS = Path(__file__).with_name("windows")


class InstructionSet(NamedTuple):
    """Instructions that a library uses, beside those that every processor of its kind has.

    name: As compilers call it. processor: As zig calls it, for `-mcpu`. needs: The bits of
    `unrolled_processor` (processor.c). flags: For the compiler, beside.
    """

    name: str
    processor: str
    needs: int
    flags: tuple[str, ...] = ()


class Platform(NamedTuple):
    """A system and a kind of processor.

    target: As zig calls it. wheel_tag: What its wheels are tagged with. instruction_sets: Those
    that are built, the best first. flags: For the compiler.
    """

    target: str
    wheel_tag: str
    instruction_sets: tuple[InstructionSet, ...]
    flags: tuple[str, ...] = ()


# Without it, clang cuts vectors of 16 floats in two.
_WIDE = ("-mprefer-vector-width=512",)
_V3 = InstructionSet("x86-64-v3", "x86_64_v3", 1)
_V4 = InstructionSet("x86-64-v4", "x86_64_v4", 3, _WIDE)
_V4_BF16 = InstructionSet("x86-64-v4-bf16", "x86_64_v4+avx512vnni+avx512bf16", 7, _WIDE)

PLATFORMS: dict[str, Platform] = {
    # glibc 2.17, whose names musl has as well: one library for both
    "linux-x86_64": Platform(
        "x86_64-linux-gnu.2.17",
        "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_2_x86_64",
        (_V4_BF16, _V4, _V3),
    ),
    "linux-arm64": Platform(
        "aarch64-linux-gnu.2.17",
        "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_2_aarch64",
        (InstructionSet("arm64", "generic", 0),),
    ),
    "macos-arm64": Platform(
        "aarch64-macos.12.0",
        "macosx_12_0_arm64",
        (InstructionSet("arm64", "apple_m1", 0),),
    ),
    "macos-x86_64": Platform("x86_64-macos.12.0", "macosx_12_0_x86_64", (_V3,)),
    "windows-x86_64": Platform(
        "x86_64-windows-gnu",
        "win_amd64",
        (_V4_BF16, _V4, _V3),
        ("-include", str(_WINDOWS / "prelude.h"), "-I", str(_WINDOWS)),
    ),
}
"""By the names that commands take."""

_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
_PROCESSORS = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}


def this_platform() -> str | None:
    """Return the name of this machine's platform, or None of one that nothing is built for."""
    system, processor = _SYSTEMS.get(sys.platform), platform.machine().lower()
    name = f"{system}-{_PROCESSORS.get(processor)}"
    return name if name in PLATFORMS and sys.maxsize > 2**32 else None
