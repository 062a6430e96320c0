from .model import Classifier
from .options import DataOptions, ModelOptions, PredictOptions, TrainingOptions
from .task import ClassifyTask

__all__ = [
    "Classifier",
    "ClassifyTask",
    "DataOptions",
    "ModelOptions",
    "PredictOptions",
    "TrainingOptions",
]
