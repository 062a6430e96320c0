"""From a layer or a run to files of ONNX that were held against it.

The graphs of a run's model are its task's (`tasks/graphs.py`); how one is written is in
`writing.py`, how it is proved in `proof.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.data.files import read_json, to_json, write_atomically
from unrolled.errors import OptionError, RunError, field
from unrolled.export.proof import REPORT_IT, prove_graph, prove_steps
from unrolled.export.reading import content_of, examples_of
from unrolled.export.writing import check_libraries, check_opset, onnx_bytes
from unrolled.layers import FiniteMemoryLayer, RecurrentLayer, state_tensors
from unrolled.tasks import Loaded, load
from unrolled.tasks.graphs import AFTER, Graph, Graphs, Steps, Tensors, state_names, states_of
from unrolled.training import writing

__all__ = ["MOST_DIFFERENCE", "OnnxFile", "to_onnx"]

MOST_DIFFERENCE = 1e-5
_SEVERAL_STEPS = ((2, 3), (1, 1), (3, 20))  # batch and steps with which a layer is proved


@dataclass(frozen=True)
class OnnxFile:
    """A file that was written, and what it is worth.

    Args:
        path: The file.
        inputs: Its inputs by name, each with its type and shape; free axes by name.
        outputs: The names of its outputs.
        difference: The greatest one to what torch computes, as `proof.py` counts it.
        num_rows: How many sequences it was held against.
    """

    path: Path
    inputs: dict[str, dict[str, Any]]
    outputs: tuple[str, ...]
    difference: float
    num_rows: int


def to_onnx(
    model: nn.Module | Loaded | Path | str,
    path: Path | str,
    *,
    stream: bool = False,
    opset: int | None = None,
    trust_code: bool = False,
) -> list[OnnxFile]:
    """Write a model as ONNX, and have ONNX Runtime prove it.

    Of a run: scores of whole sequences, to `path`; beside it, under the same name with .json, the
    vocabulary and what was written. Proved on the run's held-out data. Of a layer: output and state
    of a batch of sequences, `lengths` and states among the inputs. Proved on random numbers.

    Other modules that hold our layers are written by `torch.onnx.export`, which finds them.

    Args:
        model: A run's folder, a loaded run, or a recurrent or convolutional layer in eval mode.
        path: The file to write.
        stream: Whether a graph of one step is written, too: NAME.step.onnx beside NAME.onnx, and
            NAME.start.onnx where something is read before the first step.
        opset: The version of ONNX's operators; 18 if None.
        trust_code: Whether code that the run holds, a cell of somebody's own, may be run.

    Returns:
        What was written: the whole first, then the step, then the start.

    Raises:
        OptionError: The libraries are missing, no such opset, an operation in the model that ONNX
            does not know, or no graph of a step where the end of a sequence is read first.
        RunError: There is no such run, it held nothing out, the file cannot be written, or ONNX
            Runtime computes something that differs by more than 1e-5.
    """
    check_libraries()
    opset = check_opset(opset)
    path = Path(path)
    if isinstance(model, Path | str):
        model = load(Path(model), trust_code=trust_code)
    if isinstance(model, Loaded):
        return _run_to_onnx(model, path, stream, opset)
    if not isinstance(model, RecurrentLayer | FiniteMemoryLayer):
        raise OptionError(
            f"to_onnx: takes a run or a layer of unrolled, got {type(model).__name__}",
            "torch.onnx.export writes any module, and finds unrolled's layers in it",
        )
    _check_layer(model, stream)
    return _written(_LayerGraphs(None, model), path, stream, opset, None, {})


def _run_to_onnx(loaded: Loaded, path: Path, stream: bool, opset: int) -> list[OnnxFile]:
    if loaded.model.training:
        message = f"{loaded.run.path}: its model is in training mode"
        raise OptionError(message, "call model.eval() first")
    graphs = loaded.task.graphs(loaded.model)
    examples, content = examples_of(loaded), content_of(loaded, graphs)
    return _written(graphs, path, stream, opset, examples, content)


def _written(
    graphs: Graphs[Any],
    path: Path,
    stream: bool,
    opset: int,
    examples: Any,
    content: dict[str, Any],
) -> list[OnnxFile]:
    """Make all graphs, prove them, and only then write them."""
    _check_places([path], None)
    described = graphs.steps() if stream else None
    whole = graphs.whole()
    parts: list[tuple[Path, Graph]] = [(path, whole)]
    if described is not None:
        for name, graph in (("step", described.step), ("start", described.start)):
            if graph is not None:
                file = path.with_name(f"{path.stem}.{name}{path.suffix or '.onnx'}")
                parts.append((file, graph))
    beside = path.with_suffix(".json") if content else None
    _check_places([file for file, _ in parts], beside)
    batches = list(graphs.batches(examples))
    if not batches:
        message = f"{path}: nothing that was held out has a step, so it cannot be proved"
        raise RunError(message, "train with other data held out")
    written = [(file, graph, onnx_bytes(graph, opset)) for file, graph in parts]
    differences = [prove_graph(whole, written[0][2], batches)]
    if described is not None:
        steps = prove_steps(graphs, whole, described, [file for _, _, file in written[1:]], batches)
        differences += [steps] * (len(written) - 1)
    files = [
        OnnxFile(
            file,
            {name: _described(graph, name) for name in graph.inputs},
            graph.outputs,
            difference.greatest,
            difference.num_rows,
        )
        for (file, graph, _), difference in zip(written, differences, strict=True)
    ]
    _check(files)
    for file, _, data in written:
        _write(file, data)
    if beside is not None:
        content |= {"opset": opset, "files": {each.path.name: _told(each) for each in files}}
        _write(beside, to_json(content, indent=1))
    return files


def _check_places(files: list[Path], beside: Path | None) -> None:
    """Raise `RunError` where a file cannot be written, or JSON of somebody else would be lost."""
    hint = f"choose another {field('onnx')}"
    with writing(files[0], "onnx"):
        if not files[0].parent.is_dir():
            raise RunError(f"{files[0]}: there is no folder for it", hint)
        for file in files if beside is None else [*files, beside]:
            if file.is_dir():
                raise RunError(f"{file}: is a folder", hint)
        if beside is None:
            return
        if beside in files:
            raise RunError(f"{beside}: is the name of what goes beside the model", hint)
        if beside.exists() and not _is_ours(beside):
            raise RunError(f"{beside}: is in the way of what goes beside the model", hint)


def _is_ours(path: Path) -> bool:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"opset", "files"} <= content.keys()


def _check(files: list[OnnxFile]) -> None:
    worst = max(files, key=lambda each: each.difference)
    if not worst.difference <= MOST_DIFFERENCE:
        raise RunError(
            f"{worst.path}: not written: ONNX Runtime's scores differ by {worst.difference:.1e}, "
            f"and at most {MOST_DIFFERENCE:.0e} is allowed",
            REPORT_IT,
        )


def _write(path: Path, content: bytes) -> None:
    with writing(path, "onnx"), write_atomically(path) as file:
        file.write(content)


def _told(file: OnnxFile) -> dict[str, Any]:
    return {
        "inputs": file.inputs,
        "outputs": list(file.outputs),
        "greatest_difference": file.difference,
        "sequences": file.num_rows,
    }


def _described(graph: Graph, name: str) -> dict[str, Any]:
    tensor, free = graph.inputs[name], graph.free.get(name, {})
    shape = [free.get(axis, size) for axis, size in enumerate(tensor.shape)]
    return {"type": str(tensor.dtype).removeprefix("torch."), "shape": shape}


# ---- Layers --------------------------------------------------------------------------------------


def _check_layer(layer: nn.Module, stream: bool) -> None:
    weight = next(layer.parameters())
    if weight.dtype not in (torch.float32, torch.float64) or weight.device.type != "cpu":
        has = f"{str(weight.dtype).removeprefix('torch.')} on {weight.device}"
        message = f"to_onnx: {type(layer).__name__} must be of float32 or float64 on the CPU"
        raise OptionError(f"{message}, got {has}", "export a copy: copy.deepcopy(layer).float()")
    if stream and getattr(layer, "bidirectional", False):
        raise OptionError(
            f"to_onnx: {type(layer).__name__} reads both ways, and has no single steps",
            "leave stream out",
        )
    if layer.training and getattr(layer, "dropout", None):
        raise OptionError(
            f"to_onnx: {type(layer).__name__} is in training mode", "call layer.eval() first"
        )


class _LayerGraphs(Graphs[Any]):
    """A layer: x (T, B, I), or (B, T, I) as it has it, states and lengths in; all of it out."""

    def whole(self) -> Graph:
        """Return the graph of a batch."""
        return self._graph()

    def steps(self) -> Steps:
        """Return the graph of one step, x (B, I)."""
        return Steps(self._graph(one_step=True))

    def batches(self, examples: Any) -> Iterator[dict[str, Tensor]]:  # noqa: ARG002
        """Yield random numbers, in a few shapes."""
        generator = torch.Generator().manual_seed(0)
        for batch_size, num_steps in _SEVERAL_STEPS:
            lengths = torch.randint(0, num_steps + 1, (batch_size,), generator=generator)
            lengths[0] = num_steps
            x = torch.randn(*self._shape(batch_size, num_steps), generator=generator)
            weight = next(self.model.parameters())
            yield {"x": x.to(weight.dtype), **self._start(batch_size), "lengths": lengths}

    def in_steps(
        self, inputs: Tensors, scores: Tensor
    ) -> tuple[dict[str, Tensor], list[tuple[dict[str, Tensor], Tensor]]]:
        """Return a step of each row at a time."""
        time = 1 if self.model.batch_first else 0
        x, lengths = inputs["x"].unbind(time), inputs["lengths"]
        expected = [
            output.masked_fill((number >= lengths)[:, None], torch.nan)
            for number, output in enumerate(scores.unbind(time))
        ]
        start = self._start(len(lengths))
        return start, [({"x": each}, wanted) for each, wanted in zip(x, expected, strict=True)]

    def _shape(self, batch_size: int, num_steps: int) -> tuple[int, ...]:
        sizes = (batch_size, num_steps) if self.model.batch_first else (num_steps, batch_size)
        return (*sizes, self.model.input_size)

    def _start(self, batch_size: int) -> dict[str, Tensor]:
        state = self.model.initial_state(batch_size)
        return dict(zip(state_names(self.model), state_tensors(state), strict=True))

    def _graph(self, *, one_step: bool = False) -> Graph:
        layer, names = self.model, state_names(self.model)
        time = 1 if layer.batch_first else 0

        def run(x: Tensor, *given: Tensor) -> list[Tensor]:
            if one_step:
                output, state = layer(x.unsqueeze(time), states_of(layer, given))
                return [output.squeeze(time), *state_tensors(state)]
            *states, lengths = given
            output, state = layer(x, states_of(layer, states), lengths=lengths)
            return [output, *state_tensors(state)]

        x = torch.zeros(self._shape(2, 3), dtype=next(layer.parameters()).dtype)
        inputs = {"x": x.select(time, 0) if one_step else x, **self._start(2)}
        free = {"x": {0: "batch"} if one_step else {time: "time", 1 - time: "batch"}}
        free |= {name: {1: "batch"} for name in names}
        if not one_step:
            inputs["lengths"] = torch.tensor([3, 2])
            free["lengths"] = {0: "batch"}
        outputs = ("scores", *(f"{name}{AFTER}" for name in names))
        return Graph(layer, run, inputs, free, outputs)
