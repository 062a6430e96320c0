"""From graphs to C: the kernel of a cell as one text, with the headers that it is embedded in.

The second station of the pipeline, after capturing.
"""

from unrolled.kernels.emitting.call import MOST_STATES, Call
from unrolled.kernels.emitting.emit import (
    PRODUCT_FORMATS,
    WEIGHT_FORMATS,
    ProductFormat,
    WeightFormat,
    call_text,
    emit,
    kernel_source,
)
from unrolled.kernels.emitting.plain_step import (
    PlainStep,
    PlainTrace,
    calls_library,
    only_needed,
    plain_functions,
    plain_step,
    plain_trace,
)

__all__ = [
    "MOST_STATES",
    "PRODUCT_FORMATS",
    "WEIGHT_FORMATS",
    "Call",
    "PlainStep",
    "PlainTrace",
    "ProductFormat",
    "WeightFormat",
    "call_text",
    "calls_library",
    "emit",
    "kernel_source",
    "only_needed",
    "plain_functions",
    "plain_step",
    "plain_trace",
]
