"""A PackedSequence in, a PackedSequence out: torch's own form of rows without padding."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from unrolled.errors import ShapeError
from unrolled.kernels import RaggedRows
from unrolled.layers.arguments import check_dtype

__all__ = ["packed_inputs", "read_packed", "run_padded"]


class _Layer(Protocol):
    batch_first: bool

    def forward(self, *arguments: Any, **keywords: Any) -> tuple[Any, Any]: ...


def read_packed(
    where: str, input: PackedSequence, input_size: int, lengths: object, weight: Tensor
) -> tuple[Tensor, RaggedRows]:
    """Return the rows of `input`, (N, I), and how they lie.

    Args:
        where: The layer.
        input: Its input.
        input_size: I.
        lengths: What the layer was given beside it, which must be None.
        weight: A weight of the layer, for its dtype.

    Raises:
        ShapeError: Another shape or dtype, lengths besides those that it has, or `batch_sizes` that
            no sorted batch has.
    """
    x = input.data
    _check_no_lengths(where, lengths)
    if x.dim() != 2 or x.shape[1] != input_size:
        raise ShapeError(f"{where}: packed input must be (N, {input_size}), got {tuple(x.shape)}")
    check_dtype(where, x, weight)
    sizes = tuple(input.batch_sizes.tolist())
    if not sizes or sizes[-1] < 1 or sizes != tuple(sorted(sizes, reverse=True)):
        raise ShapeError(
            f"{where}: the batch_sizes of packed input must be 1 or more and never grow",
            "pack_padded_sequence and pack_sequence make them",
        )
    if sum(sizes) != len(x):
        raise ShapeError(
            f"{where}: packed input has {len(x)} rows, its batch_sizes add up to {sum(sizes)}"
        )
    return x, RaggedRows(sizes, len(sizes), sizes[0], input.sorted_indices)


def packed_inputs(
    where: str, input: PackedSequence, inputs: Mapping[str, object]
) -> dict[str, Tensor]:
    """Return the inputs of a step beside `input`, a row for each of its own.

    Raises:
        ShapeError: One is no PackedSequence, or is packed otherwise.
    """
    rows = {}
    for name, value in inputs.items():
        if value is None:  # as if it was not given
            continue
        if not isinstance(value, PackedSequence):
            raise ShapeError(
                f"{where}: {name} must be a PackedSequence as the input is, got a "
                f"{type(value).__name__}",
                "pack it with the same lengths and enforce_sorted=, or give a padded batch, and "
                "lengths=",
            )
        if value.batch_sizes.tolist() != input.batch_sizes.tolist() or not _same_order(
            value.sorted_indices, input.sorted_indices
        ):
            raise ShapeError(
                f"{where}: {name} is packed for other rows than the input",
                "pack it with the same lengths and enforce_sorted=",
            )
        rows[name] = value.data
    return rows


def _same_order(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else a.tolist() == b.tolist()


def run_padded(
    layer: _Layer,
    input: PackedSequence,
    hx: Any,
    lengths: object,
    inputs: Mapping[str, Tensor] | None = None,
) -> tuple[PackedSequence, Any]:
    """Run `layer` on a padded batch, for what cannot do without; torch's padding breaks a graph."""
    _check_no_lengths(type(layer).__name__, lengths)
    x, sizes = pad_packed_sequence(input, layer.batch_first)
    beside = {
        name: pad_packed_sequence(input._replace(data=rows), layer.batch_first)[0]
        for name, rows in (inputs or {}).items()
    }
    output, state = layer.forward(x, hx, lengths=sizes, **beside)
    if input.sorted_indices is not None:
        output = output.index_select(0 if layer.batch_first else 1, input.sorted_indices)
        sizes = sizes[input.sorted_indices.to(sizes.device)]
    packed = pack_padded_sequence(output, sizes, layer.batch_first)
    return input._replace(data=packed.data), state


def _check_no_lengths(where: str, lengths: object) -> None:
    if lengths is not None:
        raise ShapeError(f"{where}: a PackedSequence has its own lengths", "drop lengths=")
