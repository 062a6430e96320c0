"""Multinomial logistic regression: what controls of a classifier fit, of words and of series."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["fit_logistic"]

_ITERATIONS = 100


def fit_logistic(
    score: Callable[[Tensor, Tensor], Tensor],
    classes: Sequence[int],
    num_features: int,
    num_classes: int,
) -> tuple[Tensor, Tensor]:
    """Return the weight, (D, C), and the bias, (C,), in float64: by L-BFGS, the same each time.

        p(class) = softmax(score),   minimizing  sum of -log p(true class) + |W|^2 / 2

    Args:
        score: Returns the scores of all examples, (N, C), for a weight and a bias.
        classes: The class of each example.
        num_features: D.
        num_classes: C.
    """
    weight = torch.zeros(num_features, num_classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor(classes)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_ITERATIONS,
        tolerance_grad=1e-5 * len(classes),
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = score(weight, bias)
        total = F.cross_entropy(scores, targets, reduction="sum") + weight.square().sum() / 2
        total.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]  # nor for this
    return weight.detach(), bias.detach()
