"""A layer in scikit-learn's grid search, by skorch: which symbol came first, after noise.

skorch makes an estimator of a module, so that scikit-learn chooses its sizes, and copies and
pickles it. Run it with `pip install skorch`, then `python examples/with_skorch.py`.
"""

import pickle

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from torch import nn

import unrolled


class FirstSymbol(nn.Module):
    """Scores of the symbols, (B, 4), after a row was read, (B, T, 4)."""

    def __init__(self, hidden_size=4):
        super().__init__()
        self.layer = unrolled.LSTM(4, hidden_size, batch_first=True)
        unrolled.initialize.forget_bias(self.layer, 3.0)
        self.scores = nn.Linear(hidden_size, 4)

    def forward(self, x):
        """Read rows, and return the scores."""
        _, state = self.layer(x)
        return self.scores(state.h[-1])


def rows(num_rows, num_steps=20):
    """Return one-hot symbols (B, T, 4), the first four times as large, and the first's number."""
    symbols = np.random.default_rng(num_rows).integers(4, size=(num_rows, num_steps))
    x = np.eye(4, dtype=np.float32)[symbols]
    x[:, 0] *= 4
    return x, symbols[:, 0]


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)  # matrices this small are slower on several
    estimator = NeuralNetClassifier(
        FirstSymbol,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=0.03,
        batch_size=64,
        max_epochs=15,
        train_split=None,
        verbose=0,
    )
    search = GridSearchCV(estimator, {"module__hidden_size": [1, 16]}, cv=2, scoring="accuracy")
    search.fit(*rows(512))
    results = search.cv_results_
    for options, score in zip(results["params"], results["mean_test_score"], strict=True):
        print(f"{options['module__hidden_size']} units: {score:.1%} right")
    x, first = rows(200)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    print(f"{again.module_.layer}, pickled: {(again.predict(x) == first).mean():.1%} right")


if __name__ == "__main__":
    main()
