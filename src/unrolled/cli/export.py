"""`unrolled export`: a run's model as files for those who run no torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unrolled.cli.loading import load_run
from unrolled.cli.terminal import say
from unrolled.cli.trust import TrustCode
from unrolled.errors import OptionError, field

if TYPE_CHECKING:
    from unrolled.export.c.proof import Proof
    from unrolled.tasks import Loaded

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained model.")],
    onnx: Annotated[
        Path | None,
        typer.Option(
            "--onnx", metavar="FILE", help="File to write; the vocabulary goes beside it, as .json."
        ),
    ] = None,
    c: Annotated[
        Path | None,
        typer.Option("--c", metavar="DIR", help="New folder for one C file and its header."),
    ] = None,
    wasm: Annotated[
        Path | None,
        typer.Option("--wasm", metavar="DIR", help="New folder for a page that runs the model."),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="ONNX: write the graph of one step, too, as .step.onnx."),
    ] = False,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", help="ONNX: version of its operators.", show_default="18"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="f32|bf16|int8",
            help="C, page: how matrices are stored; int8 with a scale for each row. A page has "
            "no bf16.",
            show_default="f32",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="C: how functions and files begin.", show_default="model"
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="C, page: run it here, a page by node, and compare with the model first.",
        ),
    ] = False,
    trust_code: TrustCode = False,
) -> None:
    r"""Write a trained model as ONNX, as C or as a page: tokens in, scores out.

    ONNX is run by ONNX Runtime on the run's held-out data first, and held against the model: where
    it differs by more than 1e-5, nothing is written. Needs pip install "unrolled\[export]". C is
    held against it likewise with --check, which needs a C compiler; a page, which is WebAssembly,
    with --check where node is installed. A cell of your own needs pip install "unrolled\[compiler]"
    for a page.
    """
    if sum(each is not None for each in (onnx, c, wasm)) != 1:
        message = f"one of {field('onnx')}, {field('c')} and {field('wasm')} must be given"
        raise OptionError(message, "each can be written, one after the other")
    if onnx is not None:
        _refuse("c", {"weights": weights, "name": name, "check": check})
        _to_onnx(run, onnx, stream, opset, trust_code)
        return
    _refuse("onnx", {"stream": stream, "opset": opset})
    if c is not None:
        _to_c(run, c, weights or "f32", name or "model", check, trust_code)
    elif wasm is not None:
        _refuse("c", {"name": name})
        _to_wasm(run, wasm, weights or "f32", check, trust_code)


def _refuse(other: str, options: dict[str, object]) -> None:
    """Raise `OptionError` if an option was given that only the other kind of file has."""
    for name, value in options.items():
        if value not in (None, False):
            raise OptionError(f"{field(name)} is of {field(other)}", f"leave {field(name)} out")


def _loaded(run: Path, trust_code: bool) -> "Loaded":
    """Return a run's task and model; what of it is not exported is said on stderr."""
    loaded = load_run(run, trust_code=trust_code)
    if (left_out := loaded.task.graphs(loaded.model).left_out) is not None:
        say(f"note: {left_out}", err=True)
    return loaded


def _to_onnx(run: Path, onnx: Path, stream: bool, opset: int | None, trust_code: bool) -> None:
    from unrolled.export import to_onnx
    from unrolled.export.writing import check_libraries, check_opset

    check_libraries()
    check_opset(opset)
    for file in to_onnx(_loaded(run, trust_code), onnx, stream=stream, opset=opset):
        say(f"{file.path}: {_difference(file.difference, file.num_rows)}")


def _to_c(run: Path, c: Path, weights: str, name: str, check: bool, trust_code: bool) -> None:
    from unrolled.export import to_c
    from unrolled.export.c.files import weight_format
    from unrolled.export.folder import check_folder

    stored = weight_format(weights, name)
    check_folder(c, "c")
    model = to_c(_loaded(run, trust_code), c, weights=stored, name=name, check=check)
    sizes = f"{model.num_bytes:,} bytes of weights, {model.instance:,} of each instance"
    say(f"{model.source}: {sizes}")
    if (proof := model.proof) is None:
        say("not compared with the model: --check does that")
        return
    _say_proof(proof, stored)


def _to_wasm(run: Path, wasm: Path, weights: str, check: bool, trust_code: bool) -> None:
    from unrolled.export import to_wasm
    from unrolled.export.folder import check_folder
    from unrolled.export.wasm.files import check_format

    stored = check_format(weights)
    check_folder(wasm, "wasm")
    model = to_wasm(_loaded(run, trust_code), wasm, weights=stored, check=check)
    module = "the module of the built-in cells" if model.is_prebuilt else "a module compiled here"
    say(f"{wasm / 'index.html'}: {model.num_bytes:,} bytes of weights as {stored}, {module}")
    if model.num_ends:
        say(f"the page holds the last values of series, which it begins with: {model.num_ends}")
    if (proof := model.proof) is not None:
        _say_proof(proof, stored)
    elif check:
        say("not compared with the model: there is no node here, which would run it")
    else:
        say("not compared with the model: --check does that")


def _say_proof(proof: "Proof", stored: str) -> None:
    say(_difference(proof.difference, proof.num_rows))
    if proof.num_written:
        say(f"greedy words: the same as Python's for {_sequences(proof.num_written)}")
    if stored != "f32":
        say(f"of {stored}: greatest difference {proof.of_rounding:.1e} to the model itself")


def _difference(difference: float, num_rows: int) -> str:
    return f"greatest difference {difference:.1e} on {_sequences(num_rows)}"


def _sequences(num_rows: int) -> str:
    return f"{num_rows:,} held-out sequence{'s' * (num_rows != 1)}"
