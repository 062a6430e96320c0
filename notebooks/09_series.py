# %% [markdown]
# # 9. The class of a series
#
# A series of numbers goes in, one class comes out: which gesture a sensor has recorded, whether a heart beats as it
# should. Series need not be of the same length. `unrolled.sklearn` has such models as estimators of scikit-learn, so
# `fit`, `predict`, cross-validation and pipelines are as everywhere (`pip install "unrolled[sklearn]"`).
#
# The data are made here: a sensor with two channels and three movements. Of your own data, `X` is a list of arrays,
# each of (steps, numbers), and `y` a list of classes.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split

from unrolled.sklearn import SequenceClassifier

rng = np.random.default_rng(0)
MOVEMENTS = ["circle left", "circle right", "to and fro"]


def movement(name):
    steps = rng.integers(30, 60)
    phase = rng.uniform(0, 2 * np.pi) + np.arange(steps) * rng.uniform(0.15, 0.25)
    sign = -1 if name == "circle left" else 1
    second = np.sin(phase) if "circle" in name else np.cos(phase)
    return np.stack([np.cos(phase), sign * second], axis=1) + 0.4 * rng.normal(size=(steps, 2))


y = np.array(MOVEMENTS * 60)
X = [movement(name) for name in y]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
print(len(X_train), "series to learn from,", len(X_test), "to test on; the first is", X[0].shape)

# %%
figure, axes = plt.subplots(1, 3, figsize=(7.5, 2.6), layout="constrained", sharey=True)
for axis, name, series in zip(axes, MOVEMENTS, X[:3], strict=True):
    axis.plot(series, linewidth=1)
    axis.set_title(name)
    axis.set_xlabel("step")

# %% [markdown]
# Both channels of both circles look alike. What differs is which channel comes first: the order in time decides.
#
# ## Training
#
# The parameters are the options of `unrolled train classify`, by the same names and with the same defaults. A GRU
# of 16 units reads each series from both ends; the mean over its outputs makes the scores of the classes.

# %%
model = SequenceClassifier(
    cell="gru", hidden_size=16, updates=80, learning_rate=0.01, random_state=0
).fit(X_train, y_train)
print(f"right on the test part: {model.score(X_test, y_test):.1%}")

# %% [markdown]
# ## What is that worth?
#
# Two predictors that need no network: one that guesses, and logistic regression on the mean, the deviation and the
# correlation of the channels. These figures know no order, so left and right are the same to them.


# %%
def summary(series):
    return [*series.mean(0), *series.std(0), np.corrcoef(series.T)[0, 1]]


def beside(estimator):
    estimator.fit([summary(each) for each in X_train], y_train)
    return estimator.score([summary(each) for each in X_test], y_test)


print(f"guessing: {beside(DummyClassifier(strategy='most_frequent')):.1%}")
print(f"logistic regression: {beside(LogisticRegression()):.1%}")

# %% [markdown]
# Which classes does the network confuse? Rows are what is true, columns what the model says.

# %%
for name, row in zip(MOVEMENTS, confusion_matrix(y_test, model.predict(X_test)), strict=True):
    print(f"{name:13}", row)

# %% [markdown]
# ## How sure, and how soon?
#
# `predict_proba` gives a probability for each class. Here for the beginnings of one series: how many steps does the
# model need to see?

# %%
series, truth = X_test[0], y_test[0]
print("true:", truth)
for steps in (2, 5, 10, 20, len(series)):
    (chances,) = model.predict_proba([series[:steps]])
    shown = ", ".join(f"{name} {p:.2f}" for name, p in zip(model.classes_, chances, strict=True))
    print(f"after {steps:2} steps: {shown}")

# %% [markdown]
# ## Try it
#
# - Turn the noise up from 0.4 to 1.0. When does the network begin to fail?
# - `SequenceClassifier(cell="tcn")` is a convolution, `cell="dense"` has no memory at all. Which can tell left from
#   right?
# - `model.save("runs/movements")` writes a run; `unrolled inspect runs/movements` looks inside.
# - Real data: the UCR and UEA archives come as `.ts` files, which `unrolled train classify` reads as they are.
#
# More: [classes](../docs/classify.md), [with scikit-learn](../docs/sklearn.md). Next: [forecasts with
# intervals](10_forecast.ipynb).
