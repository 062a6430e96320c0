"""The linear forecast that a new model begins with: naive, or least squares drawn to that.

    W = argmin |Y - W X|^2 + l |W - W_0|^2        W_0 copies the last value, or that of a cycle ago

Which W_0 and which l is decided by the last fifth of what is learned from, forecast by what the
rest gives; then all of it is fitted. An infinite l leaves W_0 as it is.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolled.data.packed_examples import Selected
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.windows import Window

__all__ = ["Start", "begin", "find_start"]

_MOST_SEEN = 5000  # windows that are fitted to

_SHARE = 0.2
_FEWEST = 8  # windows that decide
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the mean of the diagonal of X X'


class Start(NamedTuple):
    """A linear forecast.

    weights: (H, L).
    residuals: Of windows that it was not fitted to, where there are enough, (N, H, C).
    name: In words.
    """

    weights: Tensor
    residuals: Tensor
    name: str


@torch.no_grad()
def begin(model: Forecaster, scaling: Scaling, training: Sequence[Window], season: int) -> str:
    """Have a new model begin as a linear forecast, its intervals as the errors of that.

    Returns:
        The forecast in words.
    """
    places = array("d", (window.series.places[window.origin] for window in training))
    ordered = np.argsort(np.frombuffer(places), kind="stable")
    some: list[int] = ordered[:: -(-len(ordered) // _MOST_SEEN)].tolist()
    inputs, _ = scaling.batch(Selected(training, some))
    assert inputs.targets is not None
    assert model.linear is not None
    frame = model.frame(inputs.past)
    targets = (inputs.targets - frame.offset) / frame.width
    copies = dict(_copies(model, season))
    start = find_start(model.filled(inputs.past, frame), targets, copies)
    model.linear.weight.copy_(start.weights)
    model.linear.bias.zero_()
    model.begin_with(start.residuals)
    return start.name


def find_start(past: Tensor, targets: Tensor, copies: Mapping[str, Tensor]) -> Start:
    """Return the linear forecast for windows in the order of their places.

    Args:
        past: (N, L, C), nothing missing.
        targets: (N, H, C), NaN where one is missing.
        copies: Each W_0 by its name, (H, L).
    """
    num = len(past)
    horizon = targets.shape[1]
    cut = num - max(1, round(_SHARE * num))
    known = cut - horizon  # windows whose targets the deciding ones do not forecast
    if known < 1 or num - cut < _FEWEST:
        errors = {name: targets - _forecast(weights, past) for name, weights in copies.items()}
        best = min(errors, key=lambda name: float(errors[name].abs().nanmean()))
        return Start(copies[best], errors[best], f"the {best} one")
    found: list[tuple[float, str, float | None]] = []
    residuals: dict[tuple[str, float | None], Tensor] = {}
    for name, copied in copies.items():
        for strength, weights in [
            (None, copied),
            *_fitted(past[:known], targets[:known], copied),
        ]:
            error = targets[cut:] - _forecast(weights, past[cut:])
            residuals[name, strength] = error
            found.append((float(error.abs().nanmean()), name, strength))
    _, name, chosen = min(found, key=lambda each: each[0])
    if chosen is None:
        return Start(copies[name], residuals[name, None], f"the {name} one")
    weights = dict(_fitted(past, targets, copies[name]))[chosen]
    return Start(weights, residuals[name, chosen], f"least squares, drawn to the {name} one")


def _copies(model: Forecaster, season: int) -> Iterator[tuple[str, Tensor]]:
    """Yield each W_0 and its name; of differences from cycle to cycle that adds nothing to them."""
    lookback, horizon = model.lookback, model.horizon
    if model.lag > 1:
        yield "seasonal naive", torch.zeros(horizon, lookback, dtype=torch.float64)
        return
    steps = torch.arange(horizon)
    places = {"naive": torch.full_like(steps, lookback - 1)}
    if 1 < season <= lookback:
        places["seasonal naive"] = lookback - season + steps % season
    for name, at in places.items():
        weights = torch.zeros(horizon, lookback, dtype=torch.float64)
        weights[steps, at] = 1.0
        yield name, weights


def _forecast(weights: Tensor, past: Tensor) -> Tensor:
    return torch.einsum("hl,nlc->nhc", weights.to(past.dtype), past)


def _fitted(past: Tensor, targets: Tensor, copied: Tensor) -> Iterator[tuple[float, Tensor]]:
    """Yield strengths, and the weights that each gives."""
    x = past.double().transpose(1, 2).flatten(0, 1)  # (N C, L)
    y = (targets - _forecast(copied, past)).double().nan_to_num(0.0).transpose(1, 2).flatten(0, 1)
    products, answers = x.T @ x, x.T @ y
    size = products.diagonal().mean().clamp(min=1e-12)
    identity = torch.eye(len(products), dtype=torch.float64)
    for strength in _STRENGTHS:
        solved = torch.linalg.solve(products + strength * size * identity, answers)
        yield strength, copied + solved.T
