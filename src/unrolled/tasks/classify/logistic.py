"""Multinomial logistic regression: what controls of a classifier fit, of words and of series."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["fit_logistic"]

_ITERATIONS = 100
_FEWEST_KEPT = 10  # of the steps before, by which the next one is chosen
_MOST_KEPT = 2**22  # numbers of theirs: twice 32 MB


def fit_logistic(
    score: Callable[[Tensor, Tensor], Iterable[Tensor]],
    classes: Sequence[int],
    num_features: int,
    num_classes: int,
) -> tuple[Tensor, Tensor]:
    """Return the weight, (D, C), and the bias, (C,), in float64: by L-BFGS, the same each time.

        p(class) = softmax(score),   minimizing  sum of -log p(true class) + |W|^2 / 2

    Args:
        score: Yields the scores of all examples for a weight and a bias: of some after others,
            (n, C), whose gradients are added up one by one.
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
        history_size=max(_FEWEST_KEPT, min(_ITERATIONS, _MOST_KEPT // max(1, weight.numel()))),
        tolerance_grad=1e-5 * len(classes),
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        total, first = weight.square().sum() / 2, 0
        for scores in score(weight, bias):
            those = targets[first : first + len(scores)]
            total = F.cross_entropy(scores, those, reduction="sum") + total
            total.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
            total, first = total.detach(), first + len(scores)
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]  # nor for this
    return weight.detach(), bias.detach()
