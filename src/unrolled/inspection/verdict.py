"""What a reach of the gradient means, in words: does it vanish, explode, or carry far enough.

Not here: measuring it (`gradients.py`).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unrolled.errors import OptionError
from unrolled.inspection.gradients import Reach

__all__ = ["Kind", "Verdict", "verdict"]

Kind = Literal["vanishing", "fading", "exploding", "healthy", "edge", "none"]

_FELT = 0.01  # of its length at lag 0: what is less is not learned from
_GROWN = 10.0  # times its length at lag 0
_ROUNDING = 1e-12  # below this part, float32 knows nothing of a gradient's length
_NO_NUMBERS: "tuple[Kind, str, str]" = (
    "exploding",
    "the gradient is no number: weights or states have grown beyond all numbers",
    "go back to an earlier checkpoint, clip the gradient's norm, or lower the learning rate",
)


@dataclass(frozen=True)
class Verdict:
    """What a reach of the gradient means.

    Args:
        kind: "healthy": it is felt as far back as is wanted; "fading": not quite, but half as far;
            "vanishing": not even that; "exploding": it grows with the lag; "edge": it ends at
            once, as in a network of finite memory; "none": there is no gradient at all.
        sentence: What was found, with its numbers.
        advice: What to do about it; empty if all is well.
        state: The name of what carries the gradient farthest: "h", "c" or "x".
        layer: That layer's number, from 0.
        rate: The slope of ln |dL_T / ds_{T-k}| in k, per step, from lag 1 on.
        half_life_steps: Steps in which the gradient halves; None if it does not shrink, or is lost
            in a single step.
        horizon_steps: The longest lag at which a hundredth of the gradient at lag 0 is left.
        measured_steps: The longest lag that was measured.
    """

    kind: Kind
    sentence: str
    advice: str
    state: str
    layer: int
    rate: float
    half_life_steps: float | None
    horizon_steps: int
    measured_steps: int


def verdict(reach: Reach, *, wanted: int | None = None, unit: str = "step") -> Verdict:
    """Say what a reach means.

    Args:
        reach: From `gradient_reach`, over a few lags at least.
        wanted: How many steps back the loss should be felt, such as k2, the steps that the gradient
            of a training goes back; None asks for half of the lags that were measured.
        unit: What a step is called: "step", "character", "token".

    Raises:
        OptionError: Fewer than three lags, or a `wanted` that was not measured.

    Example:
        >>> import torch
        >>> halving = Reach(torch.arange(99), {"h": 0.5 ** (torch.arange(99.0) / 6)[None]})
        >>> found = verdict(halving, wanted=98, unit="character")
        >>> found.kind, round(found.half_life_steps, 3), found.horizon_steps
        ('vanishing', 6.0, 39)
    """
    measured = int(reach.lags[-1])
    if len(reach.lags) < 3:
        raise OptionError(f"verdict: needs at least 3 lags, got {len(reach.lags)}")
    wanted = max(1, measured // 2) if wanted is None else wanted
    if not 1 <= wanted <= measured:
        raise OptionError(f"verdict: wanted must lie in 1..{measured}, got {wanted}")
    name, layer, curve = _farthest(reach)
    rate = _rate(curve)
    half_life = math.log(0.5) / rate if -math.inf < rate < 0 else None
    horizon = _last_at_least(curve, _FELT)
    gate = reach.keep_gate
    if _is_no_number(reach.by_state[name][layer]):
        kind, sentence, advice = _NO_NUMBERS
    else:
        kind, sentence, advice = _judge(name, gate, curve, wanted, half_life, horizon, unit)
    return Verdict(kind, sentence, advice, name, layer, rate, half_life, horizon, measured)


def _judge(
    state: str,
    keep_gate: str | None,
    curve: Tensor,
    wanted: int,
    half_life: float | None,
    horizon: int,
    unit: str,
) -> tuple[Kind, str, str]:
    if not curve.nan_to_num().any():
        return "none", "no gradient at all reaches the layer", "look for units that never fire"
    if (grown := _first_beyond(curve, _GROWN)) is not None:
        doubling = _doubling(curve)
        pace = f", doubled every {doubling:.1f} {unit}s" if math.isfinite(doubling) else ""
        return (
            "exploding",
            f"gradients explode: {_GROWN:g} times as long {_counted(grown, unit)} back{pace}",
            "clip the gradient's norm, lower the learning rate, or start with smaller recurrent "
            "weights",
        )
    if state == "x" and (edge := _edge(curve)) is not None:
        sentence = f"the memory ends at a hard edge: nothing is seen but {_counted(edge, unit)}"
        if edge > wanted:
            return "healthy", sentence, ""
        return "edge", sentence, "add layers or widen the kernel to see farther"
    if horizon >= wanted:
        sentence = f"gradients are healthy: still felt {_counted(horizon, unit)} back"
        return (
            "healthy",
            sentence + (", all that was measured" if horizon == len(curve) - 1 else ""),
            "",
        )
    pace = "at once" if half_life is None else f"halved every {half_life:.1f} {unit}s"
    advice = "use a gated cell: an LSTM, a GRU or JANET"
    if keep_gate is not None:
        advice = f"to remember longer, start with gate {keep_gate} more open: chrono initialisation"
        advice += f" with max_time={2 * wanted}"
    if 2 * horizon >= wanted:
        return "fading", f"gradients fade: {pace}, felt {_counted(horizon, unit)} back", advice
    return (
        "vanishing",
        f"gradients vanish: {pace}; nothing older than about {_counted(horizon, unit)} can be "
        "learned",
        advice,
    )


def _farthest(reach: Reach) -> tuple[str, int, Tensor]:
    """Return the state's name, the layer and the relative curve (K,) that carries farthest."""
    relative = reach.relative()
    curves = [
        (name, layer, curve)
        for name, layers in relative.items()
        if name != "x"
        for layer, curve in enumerate(layers)
    ]
    if not curves:  # of finite memory: what its first layer reads is all that counts
        curves = [("x", 0, relative["x"][0])]

    def distance(found: tuple[str, int, Tensor]) -> tuple[float, float, float]:
        curve = found[2].nan_to_num(posinf=math.inf)
        grown = float(curve.max())
        return (grown if grown > _GROWN else 0.0, _last_at_least(curve, _FELT), _rate(curve))

    return max(curves, key=distance)


def _rate(curve: Tensor) -> float:
    """Return the slope of the line through ln curve from lag 1 on: least squares."""
    lags = torch.arange(len(curve), dtype=torch.float64)
    usable = curve.isfinite() & (curve > _ROUNDING)
    usable[0] = False  # what the output adds at lag 0 is not the recurrence's
    if usable.sum() < 2:
        return -math.inf
    x, y = lags[usable], curve[usable].double().log()
    x = x - x.mean()
    return float((x * y).sum() / (x * x).sum())


def _doubling(curve: Tensor) -> float:
    rate = _rate(curve)
    return math.log(2) / rate if rate > 0 else math.inf


def _last_at_least(curve: Tensor, part: float) -> int:
    """Return the longest lag at which `curve` is at least `part`."""
    return int((curve >= part).nonzero().max()) if bool((curve >= part).any()) else 0


def _first_beyond(curve: Tensor, factor: float) -> int | None:
    beyond = (curve > factor) | ~curve.isfinite()
    return int(beyond.nonzero()[0]) if bool(beyond.any()) else None


def _is_no_number(norms: Tensor) -> bool:
    """Whether a gradient is NaN, and not because it has grown before."""
    strange = (~norms.isfinite()).nonzero()
    if not len(strange):
        return False
    first = int(strange[0])
    grown = bool((norms[:first] > _GROWN * norms[0]).any())
    return bool(norms[first].isnan()) and not grown


def _edge(curve: Tensor) -> int | None:
    """Return how many steps are seen, if the curve falls to nothing from one to the next."""
    seen = int((curve > 0).nonzero().max()) + 1
    underflow = float(curve[seen - 1]) < _ROUNDING
    return None if seen == len(curve) or underflow else seen


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
