"""What was written, run by ONNX Runtime, held against what torch computes.

A difference is the greatest absolute one of any number that comes out, divided by the greatest
absolute number of the batch where that is above 1: float32 has no more digits.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolled.errors import RunError, field
from unrolled.tasks.graphs import AFTER, Graph, Graphs, Steps, Tensors

__all__ = ["REPORT_IT", "Difference", "prove_graph", "prove_steps"]

REPORT_IT = "report it, with the cell and the versions that `unrolled doctor` shows"
"""What to do about a difference that is none of rounding."""


class Difference(NamedTuple):
    """The greatest difference, and how many sequences it is of."""

    greatest: float
    num_rows: int


def prove_graph(graph: Graph, file: bytes, batches: Sequence[Tensors]) -> Difference:
    """Return how far the outputs of `file` are from those of the graph on batches."""
    session, greatest, num_rows = _Session(file), 0.0, 0
    for inputs in batches:
        expected = _run(graph, inputs)
        for name, output in session.run(inputs).items():
            wanted = expected[name]
            if not torch.equal(output.isnan(), wanted.isnan()):
                return Difference(float("nan"), num_rows)
            greatest = _greater(greatest, output, wanted)
        num_rows += _num_rows(inputs)
    return Difference(greatest, num_rows)


def prove_steps(
    graphs: Graphs[Any],
    whole: Graph,
    steps: Steps,
    files: Sequence[bytes],
    batches: Sequence[Tensors],
) -> Difference:
    """Return how far the files go, step by step, from the scores of the whole graph by torch.

    Args:
        graphs: How a batch is cut into steps.
        whole: The whole graph.
        steps: The graphs of which the files are.
        files: That of a step; and that of the start, if there is one.
        batches: Inputs of the whole graph.
    """
    step, *start = [_Session(file) for file in files]
    greatest, num_rows = 0.0, 0
    for inputs in batches:
        scores = _run(whole, inputs)["scores"]
        first, pairs = graphs.in_steps(inputs, scores)
        feeds = start[0].run(first) if start else dict(first)
        for read, expected in pairs:
            outputs = step.run({name: (feeds | read)[name] for name in steps.step.inputs})
            greatest = _greater(greatest, outputs["scores"], expected)
            after = {n.removesuffix(AFTER): t for n, t in outputs.items() if n.endswith(AFTER)}
            feeds |= after
        num_rows += _num_rows(inputs)
    return Difference(greatest, num_rows)


def _run(graph: Graph, inputs: Tensors) -> dict[str, Tensor]:
    with torch.inference_mode():
        outputs = graph.run(*(inputs[name] for name in graph.inputs))
    return dict(zip(graph.outputs, outputs, strict=True))


def _num_rows(inputs: Tensors) -> int:
    return int(next(iter(inputs.values())).shape[0])


def _greater(greatest: float, got: Tensor, expected: Tensor) -> float:
    """Return `greatest`, or the difference of two outputs where that is greater, or not a number.

    Where NaN is expected, anything is right.
    """
    counts = ~expected.isnan()
    got, expected = got[counts], expected[counts]
    if not len(got):
        return greatest
    size = expected.abs().max().clamp(min=1.0)
    difference = float((got - expected).abs().max() / size)
    return greatest if difference <= greatest else difference


@contextmanager
def _by_onnx_runtime() -> Iterator[None]:
    """Have its refusal be an error of ours; it has none of its own that others could name."""
    try:
        yield
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        message = f"not written: ONNX Runtime cannot run the model: {reason}"
        raise RunError(message, f"try another {field('opset')}, or report it") from error


class _Session:
    """A file of ONNX, run on one thread."""

    def __init__(self, file: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        with _by_onnx_runtime():
            self._session = onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
        self._inputs = {each.name for each in self._session.get_inputs()}
        self._outputs = [each.name for each in self._session.get_outputs()]

    def run(self, inputs: Tensors) -> dict[str, Tensor]:
        """Return the outputs by name; inputs that the graph does not need are left out."""
        arrays = {name: t.numpy(force=True) for name, t in inputs.items() if name in self._inputs}
        with _by_onnx_runtime():
            outputs = self._session.run(self._outputs, arrays)
        return {n: torch.from_numpy(o) for n, o in zip(self._outputs, outputs, strict=True)}
