"""Sequence models with scikit-learn's face: fit, predict, score; pipelines, grid search, pickle."""

try:
    import sklearn  # noqa: F401  # whether it is there
except ModuleNotFoundError as error:
    message = 'unrolled.sklearn needs scikit-learn: pip install "unrolled[sklearn]"'
    raise ModuleNotFoundError(message, name="sklearn") from error

from unrolled.sklearn.forecaster import SequenceForecaster
from unrolled.sklearn.labelled import SequenceClassifier, SequenceRegressor
from unrolled.sklearn.tagger import SequenceTagger

__all__ = ["SequenceClassifier", "SequenceForecaster", "SequenceRegressor", "SequenceTagger"]
