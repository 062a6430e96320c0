"""A model's WebAssembly within a report: its image but for the weights, which the page fills in.

The weights of a report lie in its store once, row by row, where both the page's own arithmetic and
the module's image take them from. A row that is not in the store stays in the image.
"""

import base64
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unrolled.errors import OptionError
from unrolled.export.c.program import program_of
from unrolled.export.wasm.linking import link
from unrolled.export.wasm.modules import module_of
from unrolled.kernels import KernelError, WeightFormat, plain_trace
from unrolled.serving.bundle import packed
from unrolled.tasks import Task

__all__ = ["compiled"]


def compiled(
    task: Task[Any], model: Any, weights: WeightFormat, rows: Mapping[bytes, int]
) -> dict[str, Any] | None:
    """Return what the page makes a model in WebAssembly of; None where there is no module for it.

    Args:
        task: Of the model.
        model: The model.
        weights: How the matrices are stored.
        rows: Where each row of the matrices is in the store, in bytes, by its content.
    """
    try:
        program = program_of(task.graphs(model).parts(), "model", weights)
        source = program.source
        if source is None or not program.passes:
            return None
        traces = {name: plain_trace(step.cell, name) for name, step in source.steps.items()}
        module = module_of(source.steps, traces)
        linked = link(program, traces, module.functions)
    except (OptionError, KernelError):
        return None
    image, fills = bytearray(linked.image), []
    for name, matrix in source.matrices.items():
        numbers = source.arrays[f"{name}_numbers"].numbers.reshape(matrix.depth, matrix.columns)
        (at, panels), length = linked.matrices[name], matrix.depth
        places = _places(numbers.T, rows)
        if places is None and not panels:  # of a table, which lies row by row
            places, panels, length = _places(numbers, rows), (0,), matrix.columns
        if places is None:
            continue
        fills.append({"at": at, "length": length, "panels": panels, "rows": places})
        image[at : at + numbers.nbytes] = bytes(numbers.nbytes)
    return {
        **linked.layout,
        "bytes": len(image),
        "fills": fills,
        "image": packed(bytes(image)),
        "module": base64.b64encode(module.simd).decode(),
        "scalar": base64.b64encode(module.scalar).decode(),
    }


def _places(numbers: Tensor, rows: Mapping[bytes, int]) -> list[int] | None:
    """Return where each row is in the store; None where one is not."""
    places = [rows.get(row.tobytes()) for row in numbers.contiguous().numpy()]
    return None if None in places else [place for place in places if place is not None]
