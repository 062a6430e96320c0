"""What a stream and a pool of streams share: which layers, which rows, where outputs go."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from unrolled.errors import OptionError, ShapeError
from unrolled.layers.state import SequenceLayer

__all__ = ["check_streamable", "put_out", "row_mask"]


def put_out(output: Tensor, out: Any, *, as_array: bool) -> Any:
    """Return an output where the caller wants it: in `out`, or else as a tensor or an array."""
    if out is None:
        return output.numpy(force=True) if as_array else output
    if isinstance(out, Tensor):
        with torch.no_grad():
            return out.copy_(output)
    out[...] = output.numpy(force=True)
    return out


def row_mask(where: str, rows: Tensor | Sequence[int], batch_size: int) -> Tensor:
    """Return `rows` (indices, or a boolean mask) as a boolean mask, (B,).

    Raises:
        ShapeError: There are no such rows, or it could mean others.
    """
    index, problem = torch.as_tensor(rows).cpu(), ""
    if not index.numel():
        index = index.long()
    elif index.dtype == torch.bool:
        index = index.nonzero()[:, 0] if index.shape == (batch_size,) else index
    if index.dim() != 1 or index.dtype in (torch.bool, torch.uint8) or index.is_floating_point():
        problem = f"got {index.dtype} {tuple(index.shape)}"
    elif len(set(index.tolist())) < len(index):
        problem = "a row is named twice"
    elif len(index) and not -batch_size <= index.min() <= index.max() < batch_size:
        problem = f"got {index.tolist()}"
    if problem:
        raise ShapeError(
            f"{where}: cannot reset rows of a batch of {batch_size}: {problem}",
            "give the numbers of the rows, or a mask (B,) of dtype bool",
        )
    mask = torch.zeros(batch_size, dtype=torch.bool)
    mask[index] = True
    return mask


def check_streamable(where: str, layer: SequenceLayer) -> None:
    """Raise `OptionError` for a layer that reads backwards too, or would drop units at random."""
    if getattr(layer, "bidirectional", False):
        raise OptionError(
            f"{where}: a bidirectional layer needs the end of the sequence first",
            "use bidirectional=False to stream",
        )
    parts = layer.modules() if isinstance(layer, nn.Module) else [layer]
    if any(part.training and _dropout_of(part) for part in parts):
        raise OptionError(f"{where}: the layer is in training mode", "call layer.eval() first")


def _dropout_of(part: Any) -> float:
    rate = part.p if isinstance(part, _DropoutNd) else getattr(part, "dropout", 0.0)
    return rate if isinstance(rate, (int, float)) else 0.0  # a layer may have a module of this name
