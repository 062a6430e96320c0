"""What a reach of the gradient means: does it vanish, explode, or carry far enough.

The words are those of `unrolled.languages`, the same for the page, the report and the library. Not
here: measuring it (`gradients.py`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unrolled.errors import OptionError
from unrolled.inspection.gradients import Reach
from unrolled.languages import ENGLISH, Words, fill, load_words

__all__ = ["MARKS", "Kind", "Said", "Verdict", "verdict"]

Kind = Literal["vanishing", "fading", "exploding", "healthy", "edge", "none"]

MARKS: dict[Kind, str] = {
    "healthy": "✓",
    "fading": "↘",
    "vanishing": "↓",
    "exploding": "↑",
    "edge": "▮",
    "none": "∅",
}
"""The sign of each verdict, beside its words and its colour."""

_FELT = 0.01  # of its length at lag 0: what is less is not learned from
_GROWN = 10.0  # times its length at lag 0
_ROUNDING = 1e-12  # below this part, float32 knows nothing of a gradient's length


class Said(NamedTuple):
    """A verdict in a language: sentences for people.

    mark: A sign, as in `MARKS`.
    head: The verdict in a word or two.
    sentence: What was found, with its numbers.
    advice: What to do about it; empty if all is well.
    """

    mark: str
    head: str
    sentence: str
    advice: str


@dataclass(frozen=True)
class Verdict:
    """What a reach of the gradient means.

    Args:
        kind: "healthy": it is felt as far back as is wanted; "fading": not quite, but half as far;
            "vanishing": not even that; "exploding": it grows with the lag; "edge": it ends at
            once before that, as in a network of finite memory, and a hundredth is left up to half
            of what is seen at least; "none": there is no gradient at all.
        state: The name of what carries the gradient farthest: "h", "c" or "x".
        layer: That layer's number, from 0.
        rate: The slope of ln |dL_T / ds_{T-k}| in k, per step, from lag 1 on.
        half_life_steps: Steps in which the gradient halves; None if it does not shrink, or is lost
            in a single step.
        horizon_steps: The longest lag at which a hundredth of the gradient at lag 0 is left.
        measured_steps: The longest lag that was measured.
        unit: What a step is called: "step", "character", "token".
        sentence_key: Which of a language's sentences says it.
        advice_key: Which of its advice goes with it; empty for none.
        values: What is put into them, by name; a number of steps is a whole number.
    """

    kind: Kind
    state: str
    layer: int
    rate: float
    half_life_steps: float | None
    horizon_steps: int
    measured_steps: int
    unit: str = "step"
    sentence_key: str = ""
    advice_key: str = ""
    values: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What was found, with its numbers, in English."""
        return self._filled(load_words(), "sentences", self.sentence_key)

    @property
    def advice(self) -> str:
        """What to do about it, in English; empty if all is well."""
        return self._filled(load_words(), "advice", self.advice_key)

    def say(self, language: str = ENGLISH) -> Said:
        """Return the verdict in a language, as whole sentences.

        Raises:
            OptionError: There is no such language.
        """
        words = load_words(language)
        sentence = self._filled(words, "sentences", self.sentence_key)
        advice = self._filled(words, "advice", self.advice_key)
        head = words["verdict"]["kinds"][self.kind]
        return Said(MARKS[self.kind], head, _whole(sentence), _whole(advice))

    def _filled(self, words: Words, part: str, key: str) -> str:
        if not key:
            return ""
        named = words["units"].get(self.unit, {"one": self.unit, "many": f"{self.unit}s"})
        values: dict[str, object] = {"unit": named["one"]}
        for name, value in self.values.items():
            if isinstance(value, int):
                values[name] = f"{value} {named['one' if value == 1 else 'many']}"
            else:
                values[name] = value
        return fill(words["verdict"][part][key], values)


def verdict(reach: Reach, *, wanted: int | None = None, unit: str = "step") -> Verdict:
    """Say what a reach means.

    Args:
        reach: From `gradient_reach`, over a few lags at least.
        wanted: How many steps back the loss should be felt, such as k2, the steps that the gradient
            of a training goes back; None asks for half of the lags that were measured. Where
            fewer were measured, a loss that is felt at the last of them is healthy so far.
        unit: What a step is called: "step", "character", "token".

    Raises:
        OptionError: Fewer than three lags, or a `wanted` below 1.

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
    if wanted < 1:
        raise OptionError(f"verdict: wanted must be at least 1, got {wanted}")
    name, layer, curve = _farthest(reach)
    rate = _rate(curve)
    half_life = math.log(0.5) / rate if -math.inf < rate < 0 else None
    horizon = _last_at_least(curve, _FELT)
    judged = _judge(reach, name, layer, curve, wanted, horizon)
    return Verdict(judged.kind, name, layer, rate, half_life, horizon, measured, unit, *judged[1:])


class _Judgement(NamedTuple):
    """The verdict, and how it is said: see `Verdict`."""

    kind: Kind
    sentence_key: str
    advice_key: str
    values: dict[str, int | str]


def _judge(
    reach: Reach, state: str, layer: int, curve: Tensor, wanted: int, horizon: int
) -> _Judgement:
    """Judge the curve; its sentence has one measured place, and no slope of a fitted line.

    A half-life of 14 steps beside a hundredth left at 19 is read as a contradiction.
    """
    if _is_no_number(reach.by_state[state][layer]):
        return _Judgement("exploding", "no_number", "no_number", {})
    if not curve.nan_to_num().any():
        return _Judgement("none", "none", "none", {})
    if (grown := _first_beyond(curve, _GROWN)) is not None:
        growth: dict[str, int | str] = {"factor": f"{_GROWN:g}", "grown": grown}
        return _Judgement("exploding", "exploding", "exploding", growth)
    last = len(curve) - 1
    if horizon >= min(wanted, last):
        key = "healthy_to_the_end" if horizon == last else "healthy"
        return _Judgement("healthy", key, "", {"horizon": horizon})
    edge = _edge(curve) if state == "x" else None
    if edge is not None and edge <= wanted and 2 * horizon >= edge - 1:  # else lost before that
        return _Judgement("edge", "edge", "edge", {"edge": edge})
    values: dict[str, int | str] = {"horizon": horizon, "wanted": str(wanted)}
    if reach.keep_gate is not None:
        values |= {"gate": reach.keep_gate, "max_time": str(2 * wanted)}
    kind: Kind = "fading" if 2 * horizon >= wanted else "vanishing"
    sentence = kind if horizon else "vanishing_at_once"
    return _Judgement(kind, sentence, _advice_on(reach, state), values)


def _advice_on(reach: Reach, state: str) -> str:
    """Return which advice fits a layer whose gradient is lost."""
    if state == "x":
        return "window"
    if reach.keep_gate is not None:
        return "longer"
    return "keep" if reach.gated else "gated"


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

    def distance(series: tuple[str, int, Tensor]) -> tuple[float, float, float]:
        curve = series[2].nan_to_num(posinf=math.inf)
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


def _whole(text: str) -> str:
    """Return what is said as a sentence: with a capital, and a full stop."""
    return f"{text[0].upper()}{text[1:]}." if text else ""
