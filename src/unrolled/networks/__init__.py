"""Models: a sequence layer between what is read and what is predicted, one file a configuration."""

from unrolled.networks.budget import hidden_size_for
from unrolled.networks.language_model import LanguageModel, LanguageModelConfig
from unrolled.networks.sequence_layers import CELLS, make_layer

__all__ = ["CELLS", "LanguageModel", "LanguageModelConfig", "hidden_size_for", "make_layer"]
