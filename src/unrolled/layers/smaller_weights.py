"""Whether a layer may be streamed with weights of fewer bits: asked when a stream is opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from unrolled.errors import OptionError
from unrolled.kernels import (
    WEIGHT_FORMATS,
    UnscaledError,
    WeightFormat,
    kernel_or_reason,
    storing_weights,
    too_many_products,
    without_a_scale,
)
from unrolled.layers.recurrent_weights import RecurrentWeights

__all__ = ["check_smaller_weights", "naming_unscaled"]


def check_smaller_weights(layer: RecurrentWeights, method: str, weights: WeightFormat) -> None:
    """Raise `OptionError` unless a kernel of `layer` can store its weights so.

    Compiles that kernel, the first time.

    Args:
        layer: The layer.
        method: What was called, for messages.
        weights: The format.
    """
    where, hint = f"{type(layer).__name__}.{method}", 'use weights="f32"'
    if weights not in WEIGHT_FORMATS:
        raise OptionError(f"{where}: weights must be f32, bf16 or int8, got {weights!r}")
    tensors = dict(zip(layer._flat_weights_names, layer._flat_weights, strict=True))
    wrong = next(
        (t for t in tensors.values() if t.dtype is not torch.float32 or not t.is_cpu), None
    )
    if wrong is not None:
        raise OptionError(
            f'{where}: weights="{weights}" are made of float32 on cpu, '
            f"the layer's are {wrong.dtype} on {wrong.device}",
            "convert it: layer.float(), on cpu",
        )
    if layer.proj_size:
        raise OptionError(
            f'{where}: weights="{weights}" needs a kernel, and proj_size has none', hint
        )
    matrices = {name: tensor for name, tensor in tensors.items() if tensor.dim() == 2}
    if problem := too_many_products(weights, matrices.values()):
        raise OptionError(f"{where}: {problem}", 'use weights="bf16"')
    if problem := without_a_scale(weights, matrices):
        raise OptionError(f"{where}: {problem}", hint)
    with storing_weights(weights):
        kernel = kernel_or_reason(layer.cell)
    if isinstance(kernel, str):
        raise OptionError(f'{where}: weights="{weights}" needs a kernel: {kernel}', hint)


@contextmanager
def naming_unscaled(layer: Any, method: str) -> Iterator[None]:
    """Have a stream that finds weights without a scale say which, as when it was opened."""
    try:
        yield
    except UnscaledError:
        check_smaller_weights(layer, method, "int8")
        raise  # they are finite again
