from .model import LabelSetModel
from .options import DataOptions, ModelOptions, PredictOptions, TrainingOptions
from .task import MultilabelTask

__all__ = [
    "DataOptions",
    "LabelSetModel",
    "ModelOptions",
    "MultilabelTask",
    "PredictOptions",
    "TrainingOptions",
]
