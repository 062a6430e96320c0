"""Models: a sequence layer between what is read and what is predicted, one file a configuration."""

from unrolled.models.budget import hidden_size_for
from unrolled.models.language_model import LanguageModel, LanguageModelConfig
from unrolled.models.sequence_layers import CELLS, make_layer

__all__ = ["CELLS", "LanguageModel", "LanguageModelConfig", "hidden_size_for", "make_layer"]
