"""The estimators on what scikit-learn's own checks do not try: lengths, texts, pipelines."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import unrolled
from unrolled.cells import cell
from unrolled.errors import DataError, OptionError, RunError
from unrolled.sklearn import SequenceClassifier, SequenceRegressor
from unrolled.tasks import load

QUICK = {"cell": "gru", "hidden_size": 8, "updates": 60, "learning_rate": 0.02, "random_state": 0}


@pytest.fixture(scope="module")
def ragged():
    """Series of 5 to 9 steps of 2 numbers; the class is the sign of the first number's mean."""
    generator = np.random.default_rng(0)
    X = [generator.normal(size=(generator.integers(5, 10), 2)) for _ in range(120)]
    y = np.array(["above" if len(x) % 2 else "below" for x in X])
    for x, sign in zip(X, y, strict=True):
        x[:, 0] += 2 if sign == "above" else -2
    return X, y


@pytest.fixture(scope="module")
def fitted(ragged):
    return SequenceClassifier(**QUICK).fit(*ragged)


def test_series_of_different_lengths(fitted, ragged):
    X, y = ragged
    assert fitted.score(X, y) > 0.95
    assert fitted.n_features_in_ == 2
    assert fitted.predict_proba(X).sum(1) == pytest.approx(1.0)
    # one at a time, the same bits as together
    alone = np.concatenate([fitted.predict_proba([x]) for x in X[:20]])
    assert np.abs(alone - fitted.predict_proba(X[:20])).max() < 1e-6


def test_three_dimensions_are_the_same_as_a_list(ragged):
    X = [x[:5] for x in ragged[0]]
    one = SequenceClassifier(**QUICK).fit(X, ragged[1]).predict_proba(X)
    other = SequenceClassifier(**QUICK).fit(np.stack(X), ragged[1]).predict_proba(np.stack(X))
    assert np.array_equal(one, other)


def test_frames_of_pandas_hold_series_in_their_rows_or_in_their_cells(fitted, ragged):
    pandas = pytest.importorskip("pandas")
    X = ragged[0][:6]
    told = fitted.predict_proba(X)
    frames = dict(enumerate(map(pandas.DataFrame, X)))
    cells = [[pandas.Series(column) for column in x.T] for x in X]
    for given in (
        pandas.concat(frames),  # sktime's pd-multiindex
        pandas.concat({"all": pandas.concat(frames)}),  # pd_multiindex_hier
        pandas.DataFrame(cells),  # nested_univ
    ):
        assert np.array_equal(fitted.predict_proba(given), told)
    unnamed = pandas.concat({None if n == 1 else n: frame for n, frame in frames.items()})
    assert np.array_equal(fitted.predict_proba(unnamed), told)
    with pytest.raises(ValueError, match="at least one array"):
        fitted.predict(pandas.DataFrame(index=range(3)))
    cells[2][1] = cells[2][1][:-1]
    with pytest.raises(DataError, match=r"X\[2\]: cells of the shapes"):
        fitted.predict(pandas.DataFrame(cells))


def test_texts_and_a_saved_run(tmp_path):
    X = ["a good film", "good and kind", "a bad film", "bad and dull"] * 15
    y = [1, 1, 0, 0] * 15
    model = SequenceClassifier(**QUICK, embedding_size=8).fit(X, y)
    assert model.predict(["good film", "dull"]).tolist() == [1, 0]
    assert not hasattr(model, "n_features_in_")
    model.save(tmp_path / "run")
    loaded = load(tmp_path / "run")
    assert loaded.task.answer.labels == ("0", "1")
    with pytest.raises(RunError, match="File exists"):
        model.save(tmp_path / "run")
    with pytest.raises(DataError, match=r"X has numbers, but .* was fitted to texts"):
        model.predict([[1.0, 2.0]])


def test_classes_keep_their_type_and_order(ragged):
    X, y = ragged
    numbers = np.where(y == "above", 10.0, 9.0)  # as text, "10" is before "9"
    model = SequenceClassifier(**QUICK).fit(X, numbers)
    assert model.classes_.tolist() == [9.0, 10.0]
    assert (model.predict(X) == numbers).mean() > 0.95
    assert (model.predict_proba(X).argmax(1) == (numbers == 10.0)).mean() > 0.95


@pytest.mark.parametrize("copy_of", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_say_the_same(fitted, ragged, copy_of):
    other = copy_of(fitted)
    assert np.array_equal(other.predict_proba(ragged[0]), fitted.predict_proba(ragged[0]))
    assert other.model_ is not fitted.model_


def test_a_pipeline_a_grid_and_folds(ragged):
    X, y = np.stack([x[:5] for x in ragged[0]]), ragged[1]
    model = SequenceClassifier(**QUICK | {"updates": 20})
    pipeline = make_pipeline(FunctionTransformer(np.negative), model)
    assert pipeline.fit(X, y).predict(X).shape == y.shape
    grid = GridSearchCV(model, {"hidden_size": [4, 8], "cell": ["gru", "rnn"]}, cv=2)
    assert set(grid.fit(X, y).best_params_) == {"hidden_size", "cell"}
    assert cross_val_score(model, X, y, cv=2).shape == (2,)


@cell(gates="c", states="h")
def leaky(x, u, h):
    h = 0.9 * h + 0.1 * torch.tanh(x.c + u.c)
    return {"h": h}


def test_a_cell_of_ones_own(ragged):
    model = clone(SequenceClassifier(**QUICK | {"cell": leaky})).fit(*ragged)
    assert model.score(*ragged) > 0.9
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(ragged[0]), model.predict_proba(ragged[0]))


def test_the_callers_random_numbers_are_left_alone(ragged):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    SequenceClassifier(**QUICK | {"updates": 1}).fit(*ragged)
    assert torch.equal(torch.rand(3), expected)


def test_the_state_that_is_given_decides(ragged):
    X, y = ragged
    one, same = (SequenceClassifier(**QUICK).fit(X, y).predict_proba(X) for _ in range(2))
    assert np.array_equal(one, same)
    other = SequenceClassifier(**QUICK | {"random_state": 1}).fit(X, y).predict_proba(X)
    assert not np.array_equal(one, other)


def test_numbers_for_series():
    X = np.random.default_rng(0).normal(size=(200, 6, 2))
    y = 100 + 5 * X[:, :, 0].mean(1)
    model = SequenceRegressor(**QUICK | {"updates": 400}).fit(X, y)
    assert model.score(X, y) > 0.8


def test_parameters_are_those_of_the_command():
    """A name that the options have is a parameter, with their default."""
    parameters = SequenceClassifier().get_params()
    assert parameters["pooling"] == "max"
    assert parameters["hidden_size"] == 64
    assert not {"seed", "start_from", "vectors", "channels"} & parameters.keys()
    assert "pooling: How the outputs of all steps are pooled." in SequenceClassifier.__doc__
    with pytest.raises(TypeError, match="no parameter 'hiden_size'"):
        SequenceClassifier(hiden_size=3)


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        ([[[1.0], [2.0]], [[1.0, 2.0]]], [0, 1], DataError, r"X\[1\]: 2 numbers in each step"),
        # as aeon has a list: channels first
        ([np.zeros((2, 4)), np.zeros((2, 5))], [0, 1], DataError, r"is time last\? \[x\.T for"),
        (["a", 3], [0, 1], DataError, r"X\[1\]: a int among texts"),
        ([[1.0, 2.0], [np.inf, 1.0]], [0, 1], ValueError, "infinity"),
        ([np.zeros((2, 1)), np.full((3, 1), np.inf)], [0, 1], ValueError, r"X\[1\]"),
        ([np.zeros((2, 1)), np.zeros((0, 1))], [0, 1], ValueError, "0 sample"),
        (np.zeros((2, 3, 1, 1)), [0, 1], DataError, r"expected \(N, T\) or \(N, T, I\)"),
        ([[1.0], [2.0]], [0, 1, 1], ValueError, "inconsistent"),
        ([[1.0], [2.0]], [0, 0], DataError, "one class"),
        ([[1.0], [2.0]], [0, np.nan], ValueError, "NaN"),
        ([], [], ValueError, "empty|0 sample|1D"),
        (["a", "b"], [0.5, 0.7], ValueError, "Unknown label type"),
    ],
)
def test_what_cannot_be_used_is_named(X, y, error, message):
    with pytest.raises(error, match=message):
        SequenceClassifier(**QUICK).fit(X, y)


def test_a_parameter_out_of_range(ragged):
    with pytest.raises(OptionError, match="hidden_size must be at least 1, got 0"):
        SequenceClassifier(hidden_size=0).fit(*ragged)
    with pytest.raises(OptionError, match="cell"):
        SequenceClassifier(cell="no such").fit(*ragged)


def test_other_numbers_than_it_was_fitted_to(fitted):
    with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 2 features"):
        fitted.predict(np.zeros((2, 5, 3)))


def test_it_is_there_by_its_name():
    assert unrolled.sklearn.SequenceClassifier is SequenceClassifier
