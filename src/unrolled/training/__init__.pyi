from .checkpoint import load_weights, save_weights
from .distributed import ALONE, Processes, initialize_distributed
from .examples import ExamplesObjective
from .metrics_log import loss_curves
from .objective import Objective
from .options import Budget, TrainingOptions
from .reporter import NullReporter, Reporter
from .results import Results, peak_memory_bytes
from .run import Run, writing
from .trainer import Trainer, TrainingResult

__all__ = [
    "ALONE",
    "Budget",
    "ExamplesObjective",
    "NullReporter",
    "Objective",
    "Processes",
    "Reporter",
    "Results",
    "Run",
    "Trainer",
    "TrainingOptions",
    "TrainingResult",
    "initialize_distributed",
    "load_weights",
    "loss_curves",
    "peak_memory_bytes",
    "save_weights",
    "writing",
]
