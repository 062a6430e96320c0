"""How a cell is run over a sequence: `recurrence` is the one door, and picks the path.

Paths: `kernel` (C compiled from the cell's equations; float32 on CPU), `torch` (the cells that
torch implements) and `reference` (any cell, a loop in torch, which proves the others).

A kernel comes about in the order of the folders: `capturing` makes graphs of the equations,
`emitting` makes C of those, `building` compiles it, `running` calls it. What all paths are given
stands beside them: `weights`, `rows`, `observer`. Networks without a recurrence have a kernel that
is written by hand, and a door of their own: `convolving`.
"""

from unrolled.kernels.building import (
    CacheEntry,
    CacheFolder,
    Compiler,
    KernelError,
    cache_entries,
    cache_folder,
    clear_cache,
    find_compiler,
    load_library,
)
from unrolled.kernels.capturing import (
    EquationsError,
    StepGraph,
    StepNode,
    step_graph,
)
from unrolled.kernels.convolving import (
    BlockShape,
    BlockWeights,
    NetworkProblem,
    NetworkStepper,
    convolve_blocks,
    network_or_reason,
    network_stepper,
    run_pieces,
    window_and_past,
)
from unrolled.kernels.emitting import (
    WEIGHT_FORMATS,
    PlainStep,
    WeightFormat,
    kernel_source,
    only_needed,
    plain_functions,
    plain_step,
)
from unrolled.kernels.exporting import decomposed
from unrolled.kernels.memory import check_memory
from unrolled.kernels.observer import GraphObserver, Observer, ValueObserver
from unrolled.kernels.reference import reference_recurrence
from unrolled.kernels.rows import (
    PaddedRows,
    Pieces,
    RaggedRows,
    check_lengths,
    keeps_padding,
    lengths_tensor,
    valid_steps,
)
from unrolled.kernels.running import (
    TORCH_CELLS,
    Path,
    Places,
    ShortCalls,
    Stepper,
    WeightCache,
    Writer,
    are_weights_cached,
    caching_weights,
    choose_path,
    kernel_or_reason,
    may_read,
    may_step,
    may_use_kernels,
    prepare_short_calls,
    recurrence,
    stepper_of,
    storing_weights,
    using_path,
    writer_of,
)
from unrolled.kernels.weights import Weights, recurrent_product

__all__ = [
    "TORCH_CELLS",
    "WEIGHT_FORMATS",
    "BlockShape",
    "BlockWeights",
    "CacheEntry",
    "CacheFolder",
    "Compiler",
    "EquationsError",
    "GraphObserver",
    "KernelError",
    "NetworkProblem",
    "NetworkStepper",
    "Observer",
    "PaddedRows",
    "Path",
    "Pieces",
    "Places",
    "PlainStep",
    "RaggedRows",
    "ShortCalls",
    "StepGraph",
    "StepNode",
    "Stepper",
    "ValueObserver",
    "WeightCache",
    "WeightFormat",
    "Weights",
    "Writer",
    "are_weights_cached",
    "cache_entries",
    "cache_folder",
    "caching_weights",
    "check_lengths",
    "check_memory",
    "choose_path",
    "clear_cache",
    "convolve_blocks",
    "decomposed",
    "find_compiler",
    "keeps_padding",
    "kernel_or_reason",
    "kernel_source",
    "lengths_tensor",
    "load_library",
    "may_read",
    "may_step",
    "may_use_kernels",
    "network_or_reason",
    "network_stepper",
    "only_needed",
    "plain_functions",
    "plain_step",
    "prepare_short_calls",
    "recurrence",
    "recurrent_product",
    "reference_recurrence",
    "run_pieces",
    "step_graph",
    "stepper_of",
    "storing_weights",
    "using_path",
    "valid_steps",
    "window_and_past",
    "writer_of",
]
