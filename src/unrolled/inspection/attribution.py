"""What one prediction is made of: how much each step of the input has added to it, in nats.

    gradient x input     a_s = x_s . dF/dx_s
    integrated           a_s = (x_s - b_s) . mean of dF/dx_s on the straight line from b to x
    leave one out        a_s = F(x) - F(x with b_s in the place of x_s)

F is the log-probability of what is said at one step, b a baseline that stands for no input.
Integrated gradients are those of M. Sundararajan, A. Taly and Q. Yan (2017), "Axiomatic attribution
for deep networks": they add up to F(x) - F(b), and what is missing of that is given.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import DivergedError, OptionError, ShapeError
from unrolled.inspection.subject import Passage, Subject
from unrolled.layers import RecurrentLayer, SequenceLayer
from unrolled.networks.modes import evaluating

__all__ = ["Attribution", "Method", "attribute"]

Method = Literal["gradient", "integrated", "leave-one-out"]

_FEWEST_POINTS = 16  # of the line
_COMPLETE = 0.005  # of F(x) - F(b), or nats where that is less than 1
_MOST_ROWS = 32  # that are read together
_STEPS_AT_ONCE = 1 << 16  # of all of them, for memory: a graph is kept


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each step of what was read has added to one prediction.

    Args:
        values: Nats, (T,): above 0 where a step speaks for it; 0 at steps that it does not see.
        pieces: What stands at each step, T texts.
        step: The step at which it is said.
        label: What is said, as its number.
        text: As its text.
        method: Of the attribution.
        score: F(x), the log-probability, in nats.
        baseline_score: F(b).
        residual: F(x) - F(b) - the sum of `values`, nats; what integrated gradients leave over.
            None of the other methods, which do not add up.
        num_points: Of the line that was integrated along; None of the other methods.
    """

    values: Tensor
    pieces: tuple[str, ...]
    step: int
    label: int
    text: str
    method: Method
    score: float
    baseline_score: float
    residual: float | None = None
    num_points: int | None = None


def attribute(
    subject: Subject,
    passage: Passage,
    *,
    step: int = -1,
    label: int | None = None,
    method: Method = "integrated",
    baseline: Tensor | None = None,
    most_points: int = 1024,
) -> Attribution:
    """Return what one prediction is made of.

    Of a decoder, that is the words that it has written itself: what it writes about is the same
    for all of them.

    Args:
        subject: The model: `run.task.subject(run.model)`.
        passage: What it reads: `next(iter(subject.read(Source.text("..."))))`.
        step: At which step it is said; negative ones count from the last at which anything is.
        label: Of what; None: of what came next, where that is known, else of the likeliest.
        method: "gradient": gradient x input; "integrated": integrated gradients, with as many
            points as it takes until less than 0.5 % is missing; "leave-one-out": exact, one run for
            each step.
        baseline: What stands for no input, (F,) or (T, F) as `subject.evidence`; None: zeros.
        most_points: Of integrated gradients; 16 are the fewest.

    Returns:
        The attribution.

    Raises:
        OptionError: Nothing is said there, or by this model; no such label or method.
        ShapeError: The baseline has another shape.
        DivergedError: What is said is not a finite number.
    """
    where = "attribute"
    if method not in get_args(Method):
        methods = ", ".join(get_args(Method))
        raise OptionError(f"{where}: method must be one of {methods}, got {method!r}")
    if not isinstance(most_points, int) or most_points < _FEWEST_POINTS:
        least = _FEWEST_POINTS
        raise OptionError(f"{where}: most_points must be at least {least}, got {most_points!r}")
    scores = _said(subject, passage)
    if scores is None or not len(scores):
        raise OptionError(
            f"{where}: this model says nothing with a probability at a step of this",
            "classifiers, taggers and models that write do",
        )
    num_said = len(scores)
    if not _is_number(step) or not -num_said <= step < num_said:
        raise OptionError(f"{where}: something is said at steps 0..{num_said - 1}, got {step!r}")
    step %= num_said
    if label is None:
        tokens = passage.tokens
        known = tokens is not None and step + 1 < len(tokens)
        label = int(cast(Tensor, tokens)[step + 1]) if known else int(scores[step].argmax())
    if not _is_number(label) or not 0 <= label < scores.shape[1]:
        raise OptionError(
            f"{where}: label must lie in 0..{scores.shape[1] - 1}, got {label!r}",
            "the number of a text is subject.labels.index(text)",
        )
    with evaluating(subject.model), torch.no_grad():
        x = subject.evidence(passage)
    base = torch.zeros_like(x) if baseline is None else torch.as_tensor(baseline).detach().to(x)
    if base.shape not in (x.shape, x.shape[1:]):
        raise ShapeError(
            f"{where}: baseline must be {tuple(x.shape)} or {tuple(x.shape[1:])}, got "
            f"{tuple(base.shape)}",
            "what the layer reads where there is no input",
        )
    base = base.expand_as(x)
    seen = _seen_at(subject, passage, step)
    score = _Score(subject, passage, step, label)
    x, base = x[:seen], base[:seen]
    with evaluating(subject.model):
        ends = score(torch.stack([x, base])).tolist()
        if not all(map(math.isfinite, ends)):
            raise DivergedError(
                f"{where}: what the model says, or says of the baseline, is not a finite number",
                "its weights may have grown without bound in training",
            )
        residual, num_points = None, None
        if method == "gradient":
            values = (x * score.gradients(x[None])[0]).sum(1)
        elif method == "leave-one-out":
            values = ends[0] - _left_out(score, x, base)
        else:
            values, num_points = _integrated(score, x, base, ends[0] - ends[1], most_points)
            residual = ends[0] - ends[1] - float(values.sum())
    whole = torch.zeros(len(passage), dtype=torch.float64)
    whole[:seen] = values
    return Attribution(
        whole,
        passage.pieces,
        step,
        label,
        subject.labels[label],
        method,
        ends[0],
        ends[1],
        residual,
        num_points,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _said(subject: Subject, passage: Passage) -> Tensor | None:
    """Return what is said at each step, (S, V); None if nothing is."""
    if not len(passage):
        return None
    with evaluating(subject.model), torch.no_grad():
        output, _ = cast(SequenceLayer, subject.layer)(passage.features[None], passage.state)
        return subject.log_probabilities(passage, output[0])


def _seen_at(subject: Subject, passage: Passage, step: int) -> int:
    """Return how many steps what is said at one may depend on."""
    layer = subject.layer
    forwards = isinstance(layer, RecurrentLayer) and not layer.bidirectional
    return step + 1 if forwards and subject.by_step else len(passage)


class _Score:
    """The log-probability of one label at one step, as a function of evidences (N, T, F)."""

    def __init__(self, subject: Subject, passage: Passage, step: int, label: int) -> None:
        self._subject, self._passage = subject, passage
        self._step, self._label = step, label

    def __call__(self, rows: Tensor) -> Tensor:
        """Return it of each row, (N,) float64, without a graph."""
        with torch.no_grad():
            return torch.cat([self._of(part) for part in torch.split(rows, _at_once(rows[0]))])

    def gradients(self, rows: Tensor) -> Tensor:
        """Return its gradient by each of the rows, (N, T, F) float64."""
        gradients = []
        for part in torch.split(rows, _at_once(rows[0])):
            with torch.enable_grad():
                leaf = part.detach().clone().requires_grad_()
                gradients.append(torch.autograd.grad(self._of(leaf).sum(), leaf)[0].double())
        return torch.cat(gradients)

    def _of(self, rows: Tensor) -> Tensor:
        log_probabilities = self._subject.said_at(self._passage, rows, self._step)
        return log_probabilities[:, self._label].double()


def _at_once(x: Tensor) -> int:
    """Return how many rows like x, (T, F), are read together."""
    return max(1, min(_MOST_ROWS, _STEPS_AT_ONCE // len(x)))


def _left_out(score: _Score, x: Tensor, base: Tensor) -> Tensor:
    """Return the score without each of the steps, (T,)."""
    steps, scores = torch.arange(len(x)), []
    for part in torch.split(steps, _at_once(x)):
        rows = x.expand(len(part), *x.shape).clone()
        rows[torch.arange(len(part)), part] = base[part]
        scores.append(score(rows))
    return torch.cat(scores)


def _integrated(
    score: _Score, x: Tensor, base: Tensor, difference: float, most_points: int
) -> tuple[Tensor, int]:
    """Return integrated gradients, (T,) float64, and with how many points of Gauss and Legendre."""
    num_points = _FEWEST_POINTS
    while True:
        at, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(num_points))
        mean = torch.zeros(x.shape, dtype=torch.float64)
        parts = (torch.split(each, _at_once(x)) for each in (at, weights))
        for places, shares in zip(*parts, strict=True):
            line = base + (places[:, None, None] + 1).to(x) / 2 * (x - base)
            mean += (score.gradients(line) * shares[:, None, None] / 2).sum(0)
        values = ((x - base).double() * mean).sum(1)
        missing = abs(difference - float(values.sum()))
        if missing <= _COMPLETE * max(1.0, abs(difference)) or num_points * 2 > most_points:
            return values, num_points
        num_points *= 2
