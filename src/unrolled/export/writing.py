"""A graph of a model as the bytes of an ONNX file, by torch's exporter."""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError, field
from unrolled.tasks.graphs import Graph

__all__ = ["check_libraries", "check_opset", "onnx_bytes"]

_OPSET = 18  # in which torch's exporter writes; to later ones it converts
_LATEST_OPSET = 23  # that torch's exporter converts to


def check_libraries() -> None:
    """Raise `OptionError` if what writes and runs ONNX is not installed."""
    for library in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(library) is None:
            message = f"ONNX export needs {library}, which is not installed"
            raise OptionError(message, 'pip install "unrolled[export]"')


def check_opset(opset: int | None) -> int:
    """Return the version of ONNX's operators that is meant.

    Raises:
        OptionError: torch's exporter does not write it.
    """
    if opset is None:
        return _OPSET
    if not _OPSET <= opset <= _LATEST_OPSET:
        message = f"{field('opset')} must be {_OPSET} ... {_LATEST_OPSET}, got {opset}"
        raise OptionError(message, "most runtimes read 18")
    return opset


class _Flat(nn.Module):
    """A graph as a module of tensors, which is what exporters take."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.model, self._run = graph.model, graph.run

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self._run(*tensors))


def onnx_bytes(graph: Graph, opset: int) -> bytes:
    """Return the content of an ONNX file.

    Raises:
        OptionError: The model has an operation that ONNX does not know, or that depends on numbers.
    """
    free = tuple(graph.free.get(name, {}) for name in graph.inputs)
    inputs = tuple(graph.inputs.values())
    try:
        with _quiet(), torch.no_grad():
            program: Any = torch.onnx.export(
                _Flat(graph),
                inputs,
                dynamo=True,
                verbose=False,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=(free,),
                opset_version=opset,
            )
    except torch.onnx.OnnxExporterError as error:
        raise OptionError(*_reason(error)) from error
    model = program.model_proto
    (written,) = {each.version for each in model.opset_import if each.domain in ("", "ai.onnx")}
    if written != opset:
        message = f"{field('opset')}: this model cannot be written in {opset}, but in {written}"
        raise OptionError(message, f"use {written}")
    content: bytes = model.SerializeToString()
    return content


def _reason(error: BaseException) -> tuple[str, str]:
    """Return what is wrong with a model that cannot be exported, and a hint."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    if own := next((each for each in chain if isinstance(each, OptionError)), None):
        return own.message, own.hint
    text = "\n".join(map(str, chain))
    if unknown := re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", text):
        name = unknown[1].rpartition(".")[2]
        message = f"ONNX has no operator for {name}, which the model computes"
        return message, "write the cell's equations with other operations"
    if re.search(r"GuardOnDataDependent|data-dependent|Data dependent", text):
        message = "the model decides by the numbers that it reads, which a graph cannot"
        return message, "write it with torch.where"
    lines = [line.strip() for line in str(chain[-1]).splitlines() if line.strip()]
    first = lines[0] if lines else type(chain[-1]).__name__
    return f"torch cannot export the model: {first}", "report it, with the cell"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says of its own code from the user's screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(before)
