from .checkpoint import (
    load_weights,
    of_another_model,
    read_weights,
    require_checkpoint,
    require_finite,
    save_weights,
    weight_shapes,
)
from .distributed import ALONE, Processes, initialize_distributed, num_sharing, share, share_rows
from .ending import TrainingResult
from .examples import ExamplesObjective
from .metrics_log import loss_curves, read_metrics
from .objective import Objective
from .options import FEWEST, LAST, Budget, LengthOptions, TrainingOptions
from .reporter import NullReporter, Reporter
from .results import Results, peak_memory_bytes, read_results
from .run import Run, checksum, reading, writing
from .trainer import Trainer

__all__ = [
    "ALONE",
    "FEWEST",
    "LAST",
    "Budget",
    "ExamplesObjective",
    "LengthOptions",
    "NullReporter",
    "Objective",
    "Processes",
    "Reporter",
    "Results",
    "Run",
    "Trainer",
    "TrainingOptions",
    "TrainingResult",
    "checksum",
    "initialize_distributed",
    "load_weights",
    "loss_curves",
    "num_sharing",
    "of_another_model",
    "peak_memory_bytes",
    "read_metrics",
    "read_results",
    "read_weights",
    "reading",
    "require_checkpoint",
    "require_finite",
    "save_weights",
    "share",
    "share_rows",
    "weight_shapes",
    "writing",
]
