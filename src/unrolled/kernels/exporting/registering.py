"""What torch is told of, so that its exporters find the way from our operator by themselves."""

from functools import cache
from typing import Any

import torch

from unrolled.kernels.exporting.plain import decomposed

__all__ = ["prepare_legacy_export", "register"]

_FIRST_OPSET = 13  # of ONNX, in which what the graph of a recurrence holds has its present form


def register(operator: Any) -> None:
    """Tell torch how `operator`, the recurrence, decomposes: ONNX's exporter asks for that."""
    torch._decomp.decomposition_table[operator] = decomposed


@cache
def prepare_legacy_export() -> None:
    """Tell the older exporter of ONNX what `unrolled::recurrence` is, before it asks.

    Not when this package is imported: that would load all of torch.onnx.
    """
    from unrolled.kernels.exporting.legacy import symbolic

    exporter: Any = torch.onnx  # torch does not export the name to mypy
    exporter.register_custom_op_symbolic("unrolled::recurrence", symbolic, _FIRST_OPSET)
