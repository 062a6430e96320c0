"""What predictors without a network say of the next set: frequencies, and what was there before."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from unrolled.tasks.multilabel.measures import Counts

__all__ = ["baseline_figures", "shares_of"]

_HALF = (
    0.5  # of a step, in which each label is there, and one in which it is not: none is impossible
)


def shares_of(sets: Iterable[Tensor]) -> Tensor:
    """Return in which share of steps each label is there, (V,) within (0, 1).

    Args:
        sets: At least one, (T, V) zeros and ones each; the first step is never predicted.
    """
    steps = torch.cat([each[1:] for each in sets]).double()
    return (steps.sum(0) + _HALF) / (len(steps) + 2 * _HALF)


def baseline_figures(
    training: Iterable[Tensor], examples: Iterable[Tensor]
) -> dict[str, dict[str, Any]]:
    """Return the figures of predictors that count in the training part.

    Args:
        training: (T, V) zeros and ones each.
        examples: What is predicted, likewise.

    Returns:
        "each label's frequency", whatever was before; "the last set again", which has no loss, as
        it leaves nothing possible beside; "each label after itself", how often it is there after a
        set with it, and after one without it.
    """
    training = [*training]
    frequency = shares_of(training).logit()
    before = torch.cat([each[:-1] for each in training]).double()
    after = torch.cat([each[1:] for each in training]).double()
    stays = (((before * after).sum(0) + _HALF) / (before.sum(0) + 2 * _HALF)).logit()
    without = 1 - before
    comes = (((without * after).sum(0) + _HALF) / (without.sum(0) + 2 * _HALF)).logit()
    counts = {
        "each label's frequency": Counts(),
        "the last set again": Counts(loss=None),
        "each label after itself": Counts(),
    }
    first, again, itself = counts.values()
    for each in examples:
        was, came = each[:-1] > 0, each[1:] > 0
        first.add(frequency.expand(len(came), -1), came)
        again.add_said(was, came)
        itself.add(torch.where(was, stays, comes), came)
    return {name: count.figures() for name, count in counts.items()}
