from .model import ToyModel
from .options import DataOptions, ModelOptions, PredictOptions, TrainingOptions
from .problems import make_toy
from .task import ToyTask

__all__ = [
    "DataOptions",
    "ModelOptions",
    "PredictOptions",
    "ToyModel",
    "ToyTask",
    "TrainingOptions",
    "make_toy",
]
