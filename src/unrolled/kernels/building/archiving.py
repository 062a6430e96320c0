"""Kernels compiled ahead of time, for this platform or another: archives are written here.

Not here: what an archive is, and how it is read (`prebuilt.py`).
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from unrolled.kernels.building.cache import zig_folder
from unrolled.kernels.building.compiler import FLAGS, Compiler, KernelError, ziglang_compiler
from unrolled.kernels.building.platforms import PLATFORMS, InstructionSet, Platform
from unrolled.kernels.building.prebuilt import FORMAT, MANIFEST, PROBE, source_key

__all__ = ["write_archive"]

_BASELINES = {"x86_64": "x86_64", "aarch64": "generic"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of all files: the same libraries give the same archive


def write_archive(file: Path, platform: str, sources: Sequence[str]) -> int:
    """Compile C texts for all instruction sets of a platform, and write the archive of them.

    Args:
        file: What is written, whole or not at all.
        platform: Its name.
        sources: The texts.

    Returns:
        The number of libraries, of which some stand for several instruction sets.

    Raises:
        KernelError: There is no such platform, or no ziglang, or it fails.
    """
    if platform not in PLATFORMS:
        hint = f"platforms are {', '.join(PLATFORMS)}"
        raise KernelError(f"nothing is built for {platform!r}", hint)
    system, compiler, zig_cache = PLATFORMS[platform], ziglang_compiler(), zig_folder()
    processor, _, _ = system.target.partition("-")
    baseline = _BASELINES[processor]
    oldest = InstructionSet("baseline", baseline, 0)
    probe = Path(__file__).with_name("processor.c").read_text(encoding="utf-8")
    jobs = [_Job(probe, compiler, system, oldest, baseline, zig_cache)]
    jobs += [
        _Job(source, compiler, system, instructions, baseline, zig_cache)
        for instructions in system.instruction_sets
        for source in sources
    ]
    with ThreadPoolExecutor(os.cpu_count()) as executor:  # threads do: each waits for a compiler
        contents = list(executor.map(_compile, jobs))
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    sets: dict[str, dict[str, str]] = {i.name: {} for i in system.instruction_sets}
    for job, name in zip(jobs[1:], names[1:], strict=True):
        sets[job.instructions.name][source_key(job.source)] = name
    manifest = {
        "format": FORMAT,
        "platform": platform,
        PROBE: names[0],
        "instruction_sets": sets,
    }
    libraries = dict(sorted(zip(names, contents, strict=True)))
    with TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as own:
        draft = Path(own, file.name)
        with zipfile.ZipFile(draft, "w") as archive:
            for name, content in {MANIFEST: _json(manifest), **libraries}.items():
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content, compresslevel=9)
        draft.replace(file)
    return len(libraries)


class _Job(NamedTuple):
    source: str
    compiler: Compiler
    platform: Platform
    instructions: InstructionSet
    baseline: str
    cache: Path


def _compile(job: _Job) -> bytes:
    platform, instructions, run = job.platform, job.instructions, job.compiler.run
    flags = [flag for flag in FLAGS if not flag.startswith(("-march", "-shared"))]
    flags += ["-target", platform.target, f"-mcpu={instructions.processor}", *instructions.flags]
    # Linked for the baseline: zig builds a system's own libraries anew for each processor.
    link = ["-target", platform.target, f"-mcpu={job.baseline}", "-shared", "-s"]
    with TemporaryDirectory(prefix="unrolled-") as own:
        folder = Path(own)
        # one name for all: a library may hold that of its file
        folder.joinpath("kernel.c").write_text(job.source, encoding="utf-8")
        compiled = [*flags, "-w", *platform.flags, "-c", "kernel.c", "-o", "kernel.o"]
        linked = [*link, "kernel.o", "-o", "kernel.so", "-lm"]
        for arguments in (compiled, linked):
            run(arguments, folder, job.cache, patient=True)
        return _timeless(folder.joinpath("kernel.so").read_bytes())


def _timeless(library: bytes) -> bytes:
    """Return a library without the second in which it was linked, which Windows' format has."""
    if not library.startswith(b"MZ"):
        return library
    second = int.from_bytes(library[0x3C:0x40], "little") + 8  # behind PE, machine, sections
    return library[:second] + bytes(4) + library[second + 4 :]


def _json(manifest: object) -> bytes:
    return json.dumps(manifest, indent=1, sort_keys=True).encode()
