"""Where a layer stands still under a constant input, or moves slowly.

    F(s, x) = s                a fixed point; q(s) = |F(s, x) - s|^2 / 2
    J = dF / ds                at a fixed point: stable where all of its eigenvalues are within 1

Found as by D. Sussillo and O. Barak (2013), "Opening the black box", Neural Computation 25: q is
minimised from states that the network visits.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unrolled.errors import DivergedError, ShapeError
from unrolled.inspection.dynamics.state_map import StateMap, check_finite, check_map
from unrolled.inspection.record import states_before
from unrolled.layers import RecurrentLayer, check_count, observing_values, reading_on
from unrolled.networks.modes import evaluating

__all__ = ["FixedPoints", "fixed_points"]

_STILL = 1e-9  # |F(s) - s| / sqrt(D), from which on a point is a fixed one
_SAME = 1e-4  # distance of two points / sqrt(D), below which they are one
_SAME_END = 1e-2  # the same after the descent, for what Newton starts from
_RATE = 0.1  # of the descent
_NEAR = 1e-3  # |F(s) - s|
_NEWTON_STEPS = 30
_MOST_REFINED = 32  # points, the slowest ones: each takes a matrix of D x D

Kind = Literal["stable", "saddle", "unstable"]


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """Points where a layer stands still under a constant input, or moves slowly; slowest first.

    Args:
        states: By name, of all layers, (L, K, H) float64 each.
        speed: |F(s) - s|, the length of a step from there, (K,).
        eigenvalues: Of dF/ds, the largest first, (K, D) complex.
        visits: How many of the states that were started from came there, (K,).
        visited: Those states, by name, (L, N, H) each.
    """

    states: dict[str, Tensor]
    speed: Tensor
    eigenvalues: Tensor
    visits: Tensor
    visited: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.speed)

    @property
    def is_fixed(self) -> Tensor:
        """Which stand still to rounding, (K,) of bool; the others are slow points."""
        return self.speed <= _STILL * math.sqrt(self.eigenvalues.shape[1])

    @property
    def num_unstable(self) -> Tensor:
        """How many directions grow from each, (K,)."""
        return (self.eigenvalues.abs() > 1).sum(1)

    @property
    def kinds(self) -> list[Kind]:
        """What each is: "stable", "unstable" in all directions, or a "saddle"."""
        size = self.eigenvalues.shape[1]
        kind_of: dict[int, Kind] = {0: "stable", size: "unstable"}
        return [kind_of.get(number, "saddle") for number in self.num_unstable.tolist()]


def fixed_points(
    layer: RecurrentLayer,
    inputs: Tensor,
    *,
    constant: Tensor | None = None,
    number: int = 48,
    num_updates: int = 300,
    seed: int = 0,
    **beside: Tensor,
) -> FixedPoints:
    """Return the fixed points of a layer under a constant input, and its slow points.

    From states that the layer visits while it reads `inputs`, q is made small by gradient descent
    (Adam, its rate falling to 0), then by Newton's method with step control. What has come to the
    same point counts once. All in float64; weights are not touched.

    Args:
        layer: Reads forwards; a stack is one map.
        inputs: What it visits states with, (T, B, I), or (B, T, I) with `batch_first`.
        constant: The input under which it may stand still, (I,); None: the mean of `inputs`.
        number: How many of the visited states are started from, drawn without repetition.
        num_updates: Of the descent.
        seed: Of the draw.
        beside: What its cell reads of each step beside x; the means are held.

    Returns:
        The slow points, at most 32 of them.

    Raises:
        OptionError: The layer reads backwards too; a number is below 1, or an input not finite.
        ShapeError: The inputs or the constant have another shape.
        DivergedError: Weights are not finite, or no state has a next one that is.

    Example:
        >>> import torch, unrolled
        >>> layer = unrolled.RNN(2, 3)
        >>> points = fixed_points(layer, torch.randn(20, 4, 2), constant=torch.zeros(2))
        >>> points.kinds
        ['stable']
    """
    where = "fixed_points"
    check_map(where, layer, inputs, beside)
    check_count(where, "number", number)
    check_count(where, "num_updates", num_updates)
    dims = (0, 1)
    x = inputs.double().mean(dims) if constant is None else torch.as_tensor(constant).double()
    if x.shape != (layer.input_size,):
        raise ShapeError(
            f"{where}: constant must be ({layer.input_size},), got {tuple(x.shape)}",
            "what the layer reads at one step",
        )
    check_finite(f"{where}: constant", x)
    x = x.detach()
    held = {n: v.reshape(*v.shape[:2], -1).double().mean(dims) for n, v in beside.items()}
    visited = _visited(layer, inputs, beside)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(visited), generator=generator)[:number]
    visited = visited[chosen]
    step = StateMap(layer)

    def move(states: Tensor) -> Tensor:
        with reading_on(None, 1):  # any step is like any other
            return step(x, held, states)

    ends, group = _distinct(move, _descended(move, visited, num_updates), _SAME_END)
    if not len(ends):
        raise DivergedError(
            f"{where}: no state that was visited has a next one of finite numbers",
            "the weights may have grown without bound in training",
        )
    points, group_of = _distinct(move, _refined(move, ends[:_MOST_REFINED]), _SAME)
    visits = torch.zeros(len(points), dtype=torch.int64)
    known = group[(group >= 0) & (group < _MOST_REFINED)]
    visits.index_add_(0, group_of[known], torch.ones_like(known))
    values = torch.linalg.eigvals(_jacobians(move, points))
    order = values.abs().argsort(dim=1, descending=True)
    return FixedPoints(
        step.named(points),
        _speed(move, points),
        values.gather(1, order),
        visits,
        step.named(visited),
    )


_Move = Callable[[Tensor], Tensor]


@torch.no_grad()
def _visited(layer: RecurrentLayer, inputs: Tensor, beside: dict[str, Tensor]) -> Tensor:
    """Return all states between two steps that a layer visits, (N, D) float64."""
    inputs = inputs.to(next(layer.parameters()).dtype)
    with evaluating(layer), observing_values() as records:
        layer(inputs, **beside)
    parts = [
        torch.cat([states_before(record, name)[1:].flatten(0, 1) for record in records], dim=1)
        for name in layer.cell.states
    ]
    if not len(parts[0]):  # of one step: where it begins
        parts = [torch.cat([r.initial[name] for r in records], 1) for name in layer.cell.states]
    return torch.cat(parts, dim=1).double()


def _speed(move: _Move, points: Tensor) -> Tensor:
    """Return |F(s) - s| of points (K, D), (K,)."""
    with torch.no_grad():
        lengths: Tensor = torch.linalg.vector_norm(move(points) - points, dim=1)
    return lengths


def _descended(move: _Move, starts: Tensor, num_updates: int) -> Tensor:
    """Return where a descent of q comes to from each of `starts`, (N, D)."""
    points = starts.clone().requires_grad_()
    adam = torch.optim.Adam([points], lr=_RATE)
    best, least = starts.clone(), _speed(move, starts)
    for update in range(num_updates):
        adam.param_groups[0]["lr"] = _RATE * (1 + math.cos(math.pi * update / num_updates)) / 2
        with torch.enable_grad():
            lengths = (move(points) - points).square().sum(1)
            (points.grad,) = torch.autograd.grad(lengths.sum() / 2, points)
        speed = lengths.detach().sqrt()
        better = speed < least  # not where it is no number
        best[better], least[better] = points.detach()[better], speed[better]
        adam.step()
        if float(least.max()) < _NEAR:
            break  # Newton is faster from here
    return best


def _refined(move: _Move, points: Tensor) -> Tensor:
    """Return points after some steps of Levenberg and Marquardt, which end where q is least."""
    points, damping = points.clone(), torch.full((len(points),), 1e-6, dtype=torch.float64)
    size = points.shape[1]
    identity = torch.eye(size, dtype=torch.float64)
    speed = _speed(move, points)
    for _ in range(_NEWTON_STEPS):
        active = (speed > 1e-13 * math.sqrt(size)) & (damping < 1e6)
        if not bool(active.any()):
            break
        now, at = points[active], active.nonzero()[:, 0]
        slope = _jacobians(move, now) - identity
        with torch.no_grad():
            rest = (move(now) - now)[:, :, None]
        square = slope.mT @ slope + damping[active, None, None] * identity
        there = now - torch.linalg.solve(square, slope.mT @ rest)[:, :, 0]
        moved = _speed(move, there)
        better = moved < speed[active]
        points[at[better]], speed[at[better]] = there[better], moved[better]
        damping[at] *= torch.where(better, 0.1, 10.0)
    return points


def _distinct(move: _Move, points: Tensor, nearer: float) -> tuple[Tensor, Tensor]:
    """Return points that are not nearer to one another, the slowest first, and which each is of.

    That is -1 for those that are no numbers.
    """
    speed = _speed(move, points)
    group = torch.full((len(points),), -1, dtype=torch.int64)
    leaders: list[int] = []
    near = nearer * math.sqrt(points.shape[1])
    for place in speed.argsort().tolist():
        if not math.isfinite(float(speed[place])):
            continue
        if leaders:
            distance = torch.linalg.vector_norm(points[leaders] - points[place], dim=1)
            if float(distance.min()) < near:
                group[place] = int(distance.argmin())
                continue
        group[place] = len(leaders)
        leaders.append(place)
    return points[leaders], group


def _jacobians(move: _Move, points: Tensor) -> Tensor:
    """Return dF/ds at each of the points (K, D), (K, D, D)."""
    size = points.shape[1]
    identity = torch.eye(size, dtype=torch.float64)
    matrices = []
    for point in points:  # a point at a time, for memory
        rows = point.expand(size, size).clone().requires_grad_()
        with torch.enable_grad():
            matrices.append(torch.autograd.grad(move(rows), rows, identity)[0])
    return torch.stack(matrices) if matrices else points.new_zeros(0, size, size)
