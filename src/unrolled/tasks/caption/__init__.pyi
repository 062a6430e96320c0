from .model import Captioner
from .options import DataOptions, ModelOptions, PredictOptions, TrainingOptions
from .task import CaptionTask

__all__ = [
    "CaptionTask",
    "Captioner",
    "DataOptions",
    "ModelOptions",
    "PredictOptions",
    "TrainingOptions",
]
