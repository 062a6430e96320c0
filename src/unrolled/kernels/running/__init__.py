"""Running a cell on tensors: by its compiled kernel, or by one of the other paths.

The last station of the pipeline, and the only one where anything is done at every call:
`recurrence` asks `paths` for the way and hands the `problem` on; `kernel` makes a C call of it,
with `autograd` between where gradients are wanted. `operator` gives torch.compile the same as one
node, and `stepper` does single steps for streams.
"""

import unrolled.kernels.running.operator  # noqa: F401  # defines torch.ops.unrolled
from unrolled.kernels.running.paths import (
    Path,
    choose_path,
    kernel_or_reason,
    may_read,
    may_step,
    may_use_kernels,
    using_path,
)
from unrolled.kernels.running.recurrence import recurrence
from unrolled.kernels.running.short_calls import ShortCalls, prepare_short_calls
from unrolled.kernels.running.stepper import Places, Stepper, stepper_of
from unrolled.kernels.running.vendor import TORCH_CELLS
from unrolled.kernels.running.weight_cache import WeightCache, are_weights_cached, caching_weights
from unrolled.kernels.running.weight_format import (
    UnscaledError,
    rounded,
    storing_weights,
    too_many_products,
    without_a_scale,
)
from unrolled.kernels.running.writer import Writer, writer_of

__all__ = [
    "TORCH_CELLS",
    "Path",
    "Places",
    "ShortCalls",
    "Stepper",
    "UnscaledError",
    "WeightCache",
    "Writer",
    "are_weights_cached",
    "caching_weights",
    "choose_path",
    "kernel_or_reason",
    "may_read",
    "may_step",
    "may_use_kernels",
    "prepare_short_calls",
    "recurrence",
    "rounded",
    "stepper_of",
    "storing_weights",
    "too_many_products",
    "using_path",
    "without_a_scale",
    "writer_of",
]
