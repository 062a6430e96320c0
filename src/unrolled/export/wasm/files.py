"""From a layer or a run to a folder with a model in WebAssembly: for a page, or for node."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from unrolled.errors import OptionError, field
from unrolled.export.c.model import exported
from unrolled.export.c.program import Program, program_of
from unrolled.export.c.proof import Proof
from unrolled.export.folder import check_folder, write_folder
from unrolled.export.wasm.linking import link
from unrolled.export.wasm.modules import module_of
from unrolled.export.wasm.node import has_node, running_in_node
from unrolled.export.wasm.page import CHECKED, page_of, script, scripts_for, web_file
from unrolled.kernels import WeightFormat, plain_trace
from unrolled.tasks import Loaded

__all__ = ["FORMATS", "MOST_BYTES", "WasmModel", "check_format", "described", "to_wasm"]

FORMATS: tuple[WeightFormat, ...] = ("f32", "int8")
"""How a page can have its weights; those of int8 become floats as it is opened."""

MOST_BYTES = 100_000_000
"""Of weights: a page with more takes over 130 MB of text, which browsers open slowly or not."""


@dataclass(frozen=True)
class WasmModel:
    """A model that was written as WebAssembly.

    Args:
        folder: Where it is: index.html, model.js, unrolled.js, tokens.js, and types; of a
            forecaster forecast.js, too, of what writes words writing.js, of what reads pictures
            pictures.js.
        weights: How its matrices are stored.
        num_bytes: Bytes of its constants.
        module: Bytes of the module that computes with vectors.
        is_prebuilt: Whether that came with the package, or else was compiled here.
        proof: What it computes beside the model, run by node; None where that was not asked for, or
            there is no node.
        num_ends: Of how many series the last values are in the page, of a forecaster.
    """

    folder: Path
    weights: WeightFormat
    num_bytes: int
    module: int
    is_prebuilt: bool
    proof: Proof | None
    num_ends: int = 0


def to_wasm(
    model: nn.Module | Sequence[nn.Module] | Loaded | Path | str,
    folder: Path | str,
    *,
    weights: WeightFormat = "f32",
    check: bool = False,
    trust_code: bool = False,
) -> WasmModel:
    """Write a model as WebAssembly and what runs it in a page, in a new folder.

    What it computes is what the C of `to_c` computes without multiply-adds, to the last bit.

    Args:
        model: A run's folder, a loaded run, one of unrolled's layers, or modules one after the
            other, as for `to_c`.
        folder: The folder to make.
        weights: How matrices are stored: "f32", as they are, or "int8" with a scale for each row.
        check: Whether node runs it on held-out data, of a layer on random numbers, and what comes
            out is compared with the model, before anything is written; not where there is no node.
        trust_code: Whether code that the run holds, a cell of somebody's own, may be run.

    Returns:
        What was written.

    Raises:
        OptionError: A model that there is no C for, that is too large for a page, or whose
            weights are not finite.
        RunError: There is no such run, the folder exists or cannot be written, or what it
            computes differs by more than 1e-5.
        KernelError: There is no compiler for a cell that is not built in.
    """
    folder = Path(folder)
    stored = check_format(weights)
    check_folder(folder, "wasm")
    source = exported(model, trust_code=trust_code)
    program = program_of(source.parts, "model", stored)
    content, typed = source.content(), source.typed()
    if content is not None and content["task"] == "caption" and program.grid is None:
        raise _not_in_a_page("a captioner of recordings, whose sound a page does not decode")
    if content is not None and typed:
        content |= {"typed": typed}
    description, module, is_prebuilt = described(program, content)
    proof = None
    if check and has_node():
        scripts = {name: web_file(name) for name in CHECKED}
        running = running_in_node(scripts, description)
        proof = source.prove(program, stored, running)
    files = {
        "unrolled.js": web_file("unrolled.js"),
        "unrolled.d.ts": web_file("unrolled.d.ts"),
        "tokens.js": web_file("tokens.js"),
        "model.js": f"export default {script(description)};\n",
        "model.d.ts": web_file("model.d.ts"),
        "package.json": '{"type": "module", "main": "unrolled.js", "types": "unrolled.d.ts"}\n',
        "index.html": page_of(description),
    }
    for name in scripts_for(description):
        files[name] = web_file(name)
    write_folder(folder, {name: text.encode() for name, text in files.items()}, "wasm")
    num_ends = len(typed.get("ends", ()))
    return WasmModel(folder, stored, program.num_bytes, module, is_prebuilt, proof, num_ends)


def described(
    program: Program, content: dict[str, Any] | None = None
) -> tuple[dict[str, Any], int, bool]:
    """Return what `Model.load` of unrolled.js takes, bytes of the module, whether it is prebuilt.

    Args:
        program: The model.
        content: What text becomes tokens by, of a run.

    Raises:
        OptionError: It is too large for a page.
        KernelError: There is no compiler for a cell that is not built in.
    """
    source = program.source
    if source is None or not program.passes:
        raise _refused(program)
    if program.num_bytes > MOST_BYTES:
        stored = source.weights
        message = f"the model has {program.num_bytes:,} bytes of weights as {stored}, and a page "
        message += f"takes at most {MOST_BYTES:,}"
        smaller = f"{field('weights=int8')} has about a quarter, or " if stored == "f32" else ""
        raise OptionError(message, f"{smaller}export with {field('c')} or {field('onnx')}")
    steps = source.steps
    traces = {name: plain_trace(step.cell, name) for name, step in steps.items()}
    module = module_of(steps, traces)
    linked = link(program, traces, module.functions)
    description = {
        **linked.layout,
        "weights": source.weights,
        "bytes": len(linked.image),
        **({} if content is None else {"content": content}),
        "module": _base64(module.simd),
        "scalar": _base64(module.scalar),
        "image": _base64(linked.image),
    }
    for record in description["records"]:
        record["cell"] = steps[record.pop("function")].cell.name
    return description, len(module.simd), module.is_prebuilt


def _refused(program: Program) -> OptionError:
    """Return why a page does not run a model, and what does."""
    others = ""
    if program.scaled is not None:
        what = "a forecaster that reads what is known of whole series"
    elif program.row is not None:
        what = "a tagger that reads letters or affixes, or answers late"
        others = f"; or train with {field('letter_size=0')} {field('affix_size=0')}"
        others += f", without {field('delay')}"
    else:
        what = "a layer that reads both ways, with inputs of a step"
    return _not_in_a_page(what, others)


def _not_in_a_page(what: str, others: str = "") -> OptionError:
    ways = f"export it with {field('c')} or {field('onnx')}{others}"
    return OptionError(f"a page does not run {what}", ways)


def check_format(weights: str) -> WeightFormat:
    """Return how matrices are stored.

    Raises:
        OptionError: No module has such weights.
    """
    stored = next((each for each in FORMATS if each == weights), None)
    if stored is None:
        names = " or ".join(FORMATS)
        raise OptionError(f"{field('weights')} must be {names} in a page, got {weights!r}")
    return stored


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
