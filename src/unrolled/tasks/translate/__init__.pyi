from .delayed_model import DelayedModel
from .model import EncoderDecoder
from .options import DataOptions, ModelOptions, PredictOptions, TrainingOptions
from .task import TranslateTask

__all__ = [
    "DataOptions",
    "DelayedModel",
    "EncoderDecoder",
    "ModelOptions",
    "PredictOptions",
    "TrainingOptions",
    "TranslateTask",
]
