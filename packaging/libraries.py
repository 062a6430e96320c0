"""What a compiled library shows without being loaded: what it gives, needs, and where it fits.

For systems that this one cannot run. Not proof that a library computes what it should.
"""

import json
import re
import zipfile
from pathlib import Path

import lief

# What each system has everywhere; a library may need no other.
_NEEDED = {
    "linux": r"lib[cm]\.so\.6",
    "macos": r"/usr/lib/libSystem\.B\.dylib",
    "windows": r"KERNEL32\.dll|api-ms-win-crt-[a-z0-9-]+\.dll",
}
_MACHINES = {
    "linux-x86_64": "ARCH.X86_64",
    "linux-arm64": "ARCH.AARCH64",
    "macos-arm64": "CPU_TYPE.ARM64",
    "macos-x86_64": "CPU_TYPE.X86_64",
    "windows-x86_64": "MACHINE_TYPES.AMD64",
}
_OLDEST_GLIBC = (2, 17)
_OLDEST_MACOS = [12, 0, 0]
# What linkers add of their own.
_LINKED = {"_CRT_INIT", "__mingw_module_is_dll", "atexit", "__mh_dylib_header", "___dso_handle"}
_OURS = re.compile(r"_?unrolled_\w+")


def problems_of(archive: Path, platform: str) -> list[str]:
    """Return what is wrong with the libraries of an archive."""
    with zipfile.ZipFile(archive) as opened:
        manifest = json.loads(opened.read("manifest.json"))
        names = [name for name in opened.namelist() if name != "manifest.json"]
        used = {manifest["processor"]}.union(
            *(libraries.values() for libraries in manifest["instruction_sets"].values())
        )
        problems = [] if used == set(names) else ["libraries and manifest do not agree"]
        for name in names:
            problems += [f"{name[:12]} {p}" for p in _problems(opened.read(name), platform)]
    return problems


def _problems(content: bytes, platform: str) -> list[str]:
    library = lief.parse(content)
    system = platform.partition("-")[0]
    if library is None:
        return ["is not a library"]
    exported = {symbol.name for symbol in library.exported_functions} - _LINKED
    problems = [f"exports {name}" for name in exported if not _OURS.fullmatch(name)]
    if not exported:
        problems.append("exports nothing")
    own = {"kernel.so"} if system == "macos" else set()  # its own name stands among them
    for needed in {*map(_name_of, library.libraries)} - own:
        if not re.fullmatch(_NEEDED[system], needed):
            problems.append(f"needs {needed}")
    header = library.header
    machine = {"linux": "machine_type", "macos": "cpu_type", "windows": "machine"}[system]
    if str(getattr(header, machine)) != _MACHINES[platform]:
        problems.append(f"is for {getattr(header, machine)}")
    checks = {"linux": _linux, "macos": _macos, "windows": _windows}
    return problems + checks[system](library)


def _name_of(library: object) -> str:
    return library if isinstance(library, str) else str(library.name)  # type: ignore[attr-defined]


def _linux(library: "lief.ELF.Binary") -> list[str]:
    problems = []
    for requirement in library.symbols_version_requirement:
        for version in requirement.get_auxiliary_symbols():
            numbers = tuple(map(int, re.findall(r"\d+", version.name)))
            if numbers[:2] > _OLDEST_GLIBC:
                problems.append(f"needs {version.name}")
    tags = {str(entry.tag) for entry in library.dynamic_entries}
    if "TAG.TEXTREL" in tags:
        problems.append("has relocations in its code")
    if {"TAG.RPATH", "TAG.RUNPATH"} & tags:
        problems.append("names a folder of this machine")
    return problems


def _macos(library: "lief.MachO.Binary") -> list[str]:
    problems = []
    version = library.build_version
    if version is None or list(version.minos) > _OLDEST_MACOS:
        problems.append(f"needs macOS {version and version.minos}")
    if str(library.header.cpu_type) == "CPU_TYPE.ARM64" and not library.has_code_signature:
        problems.append("is not signed, and would not be loaded")
    return problems


def _windows(library: "lief.PE.Binary") -> list[str]:
    if not library.is_pie or not library.has_relocations:
        return ["cannot be loaded at any address"]
    return []
