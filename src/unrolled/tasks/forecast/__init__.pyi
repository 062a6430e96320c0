from .model import Forecaster
from .options import DataOptions, ModelOptions, PredictOptions, TrainingOptions
from .stream import ForecastStream
from .task import ForecastTask

__all__ = [
    "DataOptions",
    "ForecastStream",
    "ForecastTask",
    "Forecaster",
    "ModelOptions",
    "PredictOptions",
    "TrainingOptions",
]
