"""The modules of the built-in cells, compiled beforehand, and what is compiled for other cells.

`make modules` makes the files in `prebuilt` again, with ziglang. modules.json holds the digest of
what they were made of, which a test compares with that as it is now.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unrolled.cells import CELLS, Cell
from unrolled.data.files import to_json, write_atomically
from unrolled.export.wasm.building import build
from unrolled.export.wasm.module import module_source
from unrolled.kernels import PlainStep, PlainTrace, plain_step, plain_trace

__all__ = ["Module", "digest", "make", "module_of", "source_of_builtin"]

_FILES = ("cells.wasm", "cells-scalar.wasm")
_FOLDER = Path(__file__).with_name("prebuilt")


@dataclass(frozen=True)
class Module:
    """A compiled module.

    Args:
        simd: The bytes of the one that computes with vectors.
        scalar: Those of the one for browsers that have none.
        functions: What its functions take, by name, in the order of their numbers.
        is_prebuilt: Whether it came with the package.
    """

    simd: bytes
    scalar: bytes
    functions: dict[str, str]
    is_prebuilt: bool


def module_of(steps: Mapping[str, PlainStep], traces: Mapping[str, PlainTrace]) -> Module:
    """Return a module with cells: the prebuilt one, or one that is compiled now.

    Args:
        steps: The steps of the cells, by the names of their functions.
        traces: What traces them, by the same names.

    Raises:
        KernelError: There is no compiler for other cells, or it fails.
    """
    description = _description()
    known = description["cells"]
    if all(known.get(name) == _known_by(step, traces[name]) for name, step in steps.items()):
        simd, scalar = (_FOLDER.joinpath(name).read_bytes() for name in _FILES)
        return Module(simd, scalar, description["functions"], True)
    source = module_source(steps, traces)
    simd, scalar = (build(source.text, simd=simd) for simd in (True, False))
    return Module(simd, scalar, source.functions, False)


@cache
def _description() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_FOLDER.joinpath("modules.json").read_bytes())
    return content


def digest(text: str) -> str:
    """Return what stands for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _known_by(step: PlainStep, trace: PlainTrace) -> str:
    return digest(f"{step.text}\n{trace.text}")


def source_of_builtin() -> tuple[str, dict[str, Any]]:
    """Return the C of the module of the built-in cells, and its description."""
    steps = {name: plain_step(cell, name) for name, cell in _builtin().items()}
    traces = {name: plain_trace(cell, name) for name, cell in _builtin().items()}
    source = module_source(steps, traces)
    cells = {name: _known_by(step, traces[name]) for name, step in steps.items()}
    return source.text, {"functions": source.functions, "cells": cells}


def _builtin() -> dict[str, Cell]:
    return {f"cell_{cell.name}": cell for cell in CELLS.values()}


def make() -> None:
    """Compile the modules of the built-in cells, and write them where they lie."""
    text, description = source_of_builtin()
    files = {name: build(text, simd=simd) for name, simd in zip(_FILES, (True, False), strict=True)}
    content = {**description, "source": digest(text), "ziglang": version("ziglang")}
    content["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    for name, data in {**files, "modules.json": to_json(content, indent=1)}.items():
        with write_atomically(_FOLDER / name) as file:
            file.write(data)
