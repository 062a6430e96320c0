"""Training: from an objective and a model to a run's folder, exactly resumable."""

from unrolled.training.distributed import Processes, initialize_distributed
from unrolled.training.evaluation import LanguageModelMetrics, evaluate_language_model
from unrolled.training.language_model import (
    TextOptions,
    evaluate_text,
    finish_language_model,
    held_out_text,
    load_language_model,
    prepare_language_model,
    resume_language_model,
)
from unrolled.training.metrics_log import loss_curves
from unrolled.training.objective import LanguageModelObjective, Objective
from unrolled.training.options import TrainingOptions
from unrolled.training.reporter import NullReporter, Reporter
from unrolled.training.results import Results, results_of
from unrolled.training.run import Run
from unrolled.training.tbptt import TruncatedBPTT
from unrolled.training.trainer import Trainer, TrainingResult

__all__ = [
    "LanguageModelMetrics",
    "LanguageModelObjective",
    "NullReporter",
    "Objective",
    "Processes",
    "Reporter",
    "Results",
    "Run",
    "TextOptions",
    "Trainer",
    "TrainingOptions",
    "TrainingResult",
    "TruncatedBPTT",
    "evaluate_language_model",
    "evaluate_text",
    "finish_language_model",
    "held_out_text",
    "initialize_distributed",
    "load_language_model",
    "loss_curves",
    "prepare_language_model",
    "results_of",
    "resume_language_model",
]
