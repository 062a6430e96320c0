from .evaluation import LanguageModelMetrics, TextSize, evaluate_language_model
from .model import LanguageModel
from .options import DataOptions, ModelOptions, PredictOptions, TrainingOptions
from .sampling import default_prompt, generate, generate_many
from .subject import LanguageSubject
from .task import LanguageModelTask

__all__ = [
    "DataOptions",
    "LanguageModel",
    "LanguageModelMetrics",
    "LanguageModelTask",
    "LanguageSubject",
    "ModelOptions",
    "PredictOptions",
    "TextSize",
    "TrainingOptions",
    "default_prompt",
    "evaluate_language_model",
    "generate",
    "generate_many",
]
