"""Training: from an objective and a model to a run's folder, exactly resumable."""

from unrolled.training.distributed import Processes, initialize_distributed
from unrolled.training.examples import ExamplesObjective
from unrolled.training.metrics_log import loss_curves
from unrolled.training.objective import Objective
from unrolled.training.options import TrainingOptions
from unrolled.training.reporter import NullReporter, Reporter
from unrolled.training.results import Results, results_of
from unrolled.training.run import Run
from unrolled.training.trainer import Trainer, TrainingResult

__all__ = [
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
    "loss_curves",
    "results_of",
]
