"""scikit-learn's own checks of estimators, on series of numbers in the rows of a table."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from unrolled.sklearn import SequenceClassifier, SequenceRegressor

QUICK = {"cell": "gru", "hidden_size": 8, "updates": 40, "learning_rate": 0.02, "random_state": 0}


@parametrize_with_checks([SequenceClassifier(**QUICK), SequenceRegressor(**QUICK)])
def test_as_scikit_learn_expects(estimator, check):
    check(estimator)
