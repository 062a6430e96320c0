from .model import Tagger
from .options import DataOptions, ModelOptions, PredictOptions, TrainingOptions
from .task import TagTask

__all__ = [
    "DataOptions",
    "ModelOptions",
    "PredictOptions",
    "TagTask",
    "Tagger",
    "TrainingOptions",
]
