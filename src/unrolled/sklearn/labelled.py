"""Many to one: the class of each sequence, or a number for it."""

from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)
from torch import Tensor

from unrolled.errors import DataError
from unrolled.sklearn.estimator import Estimator, takes_options_of
from unrolled.sklearn.sequences import Sequences, read_sequences
from unrolled.tasks.classify import ClassifyTask
from unrolled.tasks.classify.examples import Labelled
from unrolled.tasks.classify.labels import same_label

__all__ = ["SequenceClassifier", "SequenceRegressor"]

Floats = NDArray[np.float64]

_OF_DATA = ("tokens", "vocabulary_size", "scale", "min_count", "lowercase", "max_length")
_OF_MEDIA = {"frames_per_step", "channels", "flip"}


class _Labelled(Estimator):
    """An estimator that says one thing of each sequence."""

    def _examples(self, given: Sequences, labels: list[str] | None) -> list[Labelled]:
        size = 0 if given.are_texts else given.contents[0].shape[1]
        names = tuple(f"x{index}" for index in range(size))
        return [
            Labelled(
                f"X[{index}]",
                content[: self.max_length]
                if isinstance(content, str)
                else tuple(map(tuple, content[: self.max_length].tolist())),
                None if labels is None else labels[index],
                id=str(index),
                names=names,
            )
            for index, content in enumerate(given.contents)
        ]

    def _fit_to(self, given: Sequences, labels: list[str], *, number: bool) -> None:
        """Train; the data are called as a file of their kind would be."""
        examples = self._examples(given, labels)
        data: dict[str, Any] = {"files": ("X.ts",), "number": number}
        if given.are_texts:
            data |= {"files": ("X.csv",), "input": ("text",), "target": "y"}
        self._train(examples, None if number else labels, **data)

    def _scores(self, given: Any) -> Tensor:
        check_is_fitted(self)
        examples = self._examples(read_sequences(self, given, reset=False), None)
        task = cast(ClassifyTask, self._loaded.task)
        return task.scores(self.model_, examples)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags


@takes_options_of(ClassifyTask, data=(*_OF_DATA, "stratify"), but=_OF_MEDIA)
class SequenceClassifier(ClassifierMixin, _Labelled):  # type: ignore[misc]  # the mixin has no types
    """The class of a series of numbers, or of a text.

    `fit(X, y)` trains as `unrolled train classify` does, `predict`, `predict_proba` and `score`
    are scikit-learn's. X is (N, T) or (N, T, I) numbers, where NaN is a missing one; a list of
    (T, I) arrays of different lengths; or a list of texts.

    Example:
        >>> import numpy as np
        >>> up = np.linspace(0, 1, 10) * np.ones((40, 1))
        >>> X, y = np.concatenate([up, 1 - up]), ["up"] * 40 + ["down"] * 40
        >>> model = SequenceClassifier(cell="gru", hidden_size=8, updates=30, random_state=0)
        >>> model.fit(X, y).predict(X[[0, -1]]).tolist()
        ['up', 'down']

    Attributes:
        classes_: The classes, sorted.
        n_features_in_: Numbers of a step; of a table, (N, T), the steps; not there for texts.
    """

    def fit(self, X: Any, y: Any) -> Self:  # scikit-learn's name
        """Train on sequences and the class of each.

        Raises:
            DataError: X or y cannot be used.
            OptionError: A parameter is out of range.
            DivergedError: A loss is not finite.
        """
        sequences = read_sequences(self, X, reset=True)
        answers = _answers(y, sequences, self)
        check_classification_targets(answers)
        self.classes_, indices = np.unique(answers, return_inverse=True)
        if len(self.classes_) < 2:
            message = f"y has one class, {self.classes_[0]!r}: there is nothing to tell apart"
            raise DataError(message, "give examples of another")
        names = _names(self.classes_)
        self._fit_to(sequences, [names[index] for index in indices], number=False)
        labels = cast(ClassifyTask, self._loaded.task).answer.labels
        self._order = [labels.index(name) for name in names]
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each class, (N, C), in the order of `classes_`."""
        probabilities = self._class_scores(X).double().softmax(1)
        return cast(Floats, probabilities.numpy())

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class of each sequence, (N,)."""
        best = self._class_scores(X).argmax(1)
        return cast(NDArray[Any], self.classes_[best.numpy()])

    def _class_scores(self, given: Any) -> Tensor:
        """Return scores in the order of `classes_`; a run has its classes as sorted texts."""
        scores = self._scores(given)
        return scores[:, self._order]


@takes_options_of(ClassifyTask, data=_OF_DATA, but={*_OF_MEDIA, "class_weights"})
class SequenceRegressor(RegressorMixin, _Labelled):  # type: ignore[misc]  # the mixin has no types
    """A number for each series of numbers, or text.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(300, 5))
        >>> model = SequenceRegressor(cell="gru", hidden_size=16, epochs=40, random_state=0)
        >>> model.fit(X, X[:, 0]).score(X, X[:, 0]) > 0.9
        True

    Attributes:
        n_features_in_: Numbers of a step; of a table, (N, T), the steps; not there for texts.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on sequences and the number of each.

        Raises:
            DataError: X or y cannot be used.
            OptionError: A parameter is out of range.
            DivergedError: A loss is not finite.
        """
        sequences = read_sequences(self, X, reset=True)
        answers = _answers(y, sequences, self, dtype=np.float64)
        if len(set(answers.tolist())) < 2:
            message = f"y is {answers[0]:g} in {len(answers)} sample(s): there is nothing to learn"
            raise DataError(message, "give samples of another number")
        self._fit_to(sequences, [*map(repr, answers.tolist())], number=True)
        return self

    def predict(self, X: Any) -> Floats:
        """Return the number of each sequence, (N,)."""
        scores = self._scores(X)
        task = cast(ClassifyTask, self._loaded.task)
        return np.asarray(task.answer.decide(scores), dtype=np.float64)


def _answers(
    y: Any, given: Sequences, estimator: Estimator, dtype: type | None = None
) -> NDArray[Any]:
    """Return what is to be learned of each sequence, (N,), checked as scikit-learn does."""
    if y is None:
        name = type(estimator).__name__
        raise ValueError(f"{name} requires y to be passed, but the target y is None")
    checked = check_array(y, ensure_2d=False, dtype=dtype, input_name="y")
    answers: NDArray[Any] = column_or_1d(checked, warn=True)
    check_consistent_length(given.contents, answers)
    return answers


def _names(classes: NDArray[Any]) -> list[str]:
    """Return what a run calls classes: as they are written, or their numbers if two are alike."""
    names = [same_label(str(each)) for each in classes]
    return names if len(set(names)) == len(names) else [*map(str, range(len(names)))]
