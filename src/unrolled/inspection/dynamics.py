"""A recurrent layer as a map of its state: where it stands still, and how fast states part.

    s_t = F(s_{t-1}, x_t)      s: all states of all layers of a stack, side by side, D numbers
    F(s, x) = s                a fixed point under a constant input x; q(s) = |F(s, x) - s|^2 / 2
    J = dF / ds                at a fixed point: stable where all of its eigenvalues are within 1
    |J_t ... J_1 v| ~ e^{kt}   Lyapunov exponents k: a small difference grows or shrinks so fast

Fixed points as D. Sussillo and O. Barak (2013), "Opening the black box", Neural Computation 25,
find them: q is minimised from states that the network visits. Exponents as R. Engelken, F. Wolf and
L. Abbott (2023), "Lyapunov spectra of chaotic recurrent neural networks", Physical Review Research
5: an orthonormal basis is pushed along by the Jacobians of the steps, and made orthonormal anew.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import functional_call

from unrolled.errors import DivergedError, OptionError, ShapeError
from unrolled.inspection.record import states_before
from unrolled.kernels import using_path
from unrolled.layers import (
    RecurrentLayer,
    State,
    StepsRead,
    check_count,
    map_state,
    observing_values,
    reading_on,
    state_tensors,
)
from unrolled.networks.modes import evaluating

__all__ = ["FixedPoints", "Lyapunov", "fixed_points", "lyapunov_exponents"]

_STILL = 1e-9  # |F(s) - s| / sqrt(D), from which on a point is a fixed one
_SAME = 1e-4  # distance of two points / sqrt(D), below which they are one
_SAME_END = 1e-2  # the same after the descent, for what Newton starts from
_RATE = 0.1  # of the descent
_NEAR = 1e-3  # |F(s) - s|
_NEWTON_STEPS = 30
_MOST_REFINED = 32  # points, the slowest ones: each takes a matrix of D x D
_ROUNDING = 1e-14  # what is left of a direction, relative to the longest, that is rounding alone

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


@dataclass(frozen=True, eq=False)
class Lyapunov:
    """How fast small differences between states grow along a sequence.

    Args:
        exponents: Nats per step, the largest first, (K,): the mean over rows. A direction of which
            a step leaves nothing but rounding has -inf.
        by_row: The same for each row, (B, K).
        so_far: The mean over rows after each step that is counted, (T, K): how it settles.
        num_directions: D, of which the K largest exponents are given.
    """

    exponents: Tensor
    by_row: Tensor
    so_far: Tensor
    num_directions: int

    @property
    def entropy(self) -> float:
        """Nats per step that a small uncertainty grows by: the sum of what is above 0."""
        return float(self.exponents.clamp_min(0).sum())

    @property
    def dimension(self) -> float | None:
        """Of the attractor, by Kaplan and Yorke (1979); None where more exponents are needed."""
        total = self.exponents.cumsum(0)
        above = int((total >= 0).sum())
        if above == len(total):
            return float(above) if above == self.num_directions else None
        before = float(total[above - 1]) if above else 0.0
        return above + before / abs(float(self.exponents[above]))


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
    _check(where, layer, inputs, beside)
    check_count(where, "number", number)
    check_count(where, "num_updates", num_updates)
    dims = (0, 1)
    x = inputs.double().mean(dims) if constant is None else torch.as_tensor(constant).double()
    if x.shape != (layer.input_size,):
        raise ShapeError(
            f"{where}: constant must be ({layer.input_size},), got {tuple(x.shape)}",
            "what the layer reads at one step",
        )
    _check_finite(f"{where}: constant", x)
    x = x.detach()
    held = {n: v.reshape(*v.shape[:2], -1).double().mean(dims) for n, v in beside.items()}
    visited = _visited(layer, inputs, beside)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(visited), generator=generator)[:number]
    visited = visited[chosen]
    step = _Map(layer)

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


def lyapunov_exponents(
    layer: RecurrentLayer,
    inputs: Tensor,
    *,
    state: State | None = None,
    count: int | None = None,
    skip: int | None = None,
    **beside: Tensor,
) -> Lyapunov:
    """Return how fast small differences between states grow while a layer reads, in nats per step.

    All in float64. It costs a step of `count` rows and a QR decomposition for each step and row.

    Args:
        layer: Reads forwards; a stack is one map.
        inputs: What it reads, (T, B, I), or (B, T, I) with `batch_first`.
        state: Before the first step; None for zeros.
        count: How many exponents, the largest ones; None: all D of them.
        skip: Steps at the beginning that are not counted, in which the directions find their
            places; None: a tenth.
        beside: What its cell reads of each step beside x.

    Returns:
        The exponents.

    Raises:
        OptionError: The layer reads backwards too; there are not as many exponents, or steps; an
            input is not finite.
        ShapeError: The inputs or the state have another shape.
        DivergedError: Weights or differences between states are not finite.

    Example:
        >>> import torch, unrolled
        >>> layer = unrolled.RNN(2, 3)
        >>> found = lyapunov_exponents(layer, torch.randn(50, 4, 2), count=2)
        >>> found.exponents.shape, bool((found.exponents < 0).all())
        (torch.Size([2]), True)
    """
    where = "lyapunov_exponents"
    _check(where, layer, inputs, beside)
    by_time = inputs.transpose(0, 1) if layer.batch_first else inputs
    num_steps, batch_size, _ = by_time.shape
    beside = {name: value.reshape(*value.shape[:2], -1) for name, value in beside.items()}
    if layer.batch_first:
        beside = {name: value.transpose(0, 1) for name, value in beside.items()}
    skipped = num_steps // 10 if skip is None else skip
    if not isinstance(skipped, int) or not 0 <= skipped < num_steps:
        raise OptionError(f"{where}: skip must lie in 0..{num_steps - 1}, got {skipped!r}")
    step = _Map(layer)
    start = layer.initial_state(batch_size)
    if state is not None:
        shapes, got = ([part.shape for part in state_tensors(each)] for each in (start, state))
        if shapes != got:
            expected, found = (", ".join(str(tuple(s)) for s in each) for each in (shapes, got))
            raise ShapeError(f"{where}: state must be {expected}, got {found}", "or pass None")
        start = state
    flat = step.flat(map_state(lambda part: part.detach().double(), start))
    _check_finite(f"{where}: state", flat)
    size = flat.shape[1]
    count = size if count is None else count
    if not isinstance(count, int) or not 1 <= count <= size:
        raise OptionError(f"{where}: count must lie in 1..{size}, got {count!r}")
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(batch_size, size, count, generator=generator, dtype=torch.float64)
    basis, _ = torch.linalg.qr(random)
    logarithms, steps_read = [], StepsRead()
    for t in range(num_steps):
        given = {name: value[t].detach().double() for name, value in beside.items()}
        with reading_on(steps_read, 1):
            flat, pushed = _pushed(step, by_time[t].detach().double(), given, flat, basis)
        if not bool(pushed.isfinite().all()):
            raise DivergedError(
                f"{where}: differences between states are not finite after step {t}",
                "the states may grow without bound; read fewer steps",
            )
        basis, triangle = torch.linalg.qr(pushed)
        if t >= skipped:
            lengths = triangle.diagonal(dim1=-2, dim2=-1).abs()
            rest = lengths <= _ROUNDING * lengths.amax(1, keepdim=True)
            logarithms.append(lengths.log().masked_fill(rest, -math.inf))
    so_far = torch.stack(logarithms).cumsum(0)
    so_far /= torch.arange(1, len(so_far) + 1, dtype=torch.float64)[:, None, None]
    by_row = so_far[-1].sort(dim=1, descending=True).values
    return Lyapunov(by_row.mean(0), by_row, so_far.mean(1), size)


def _check(where: str, layer: Any, inputs: Any, beside: dict[str, Tensor]) -> None:
    if not isinstance(layer, RecurrentLayer):
        name = type(layer).__name__
        raise OptionError(f"{where}: takes a recurrent layer, got {name}", "give the one inside it")
    if layer.bidirectional:
        raise OptionError(
            f"{where}: a layer that reads backwards too is no map of its state",
            "look at a layer that reads forwards",
        )
    if not isinstance(inputs, Tensor):
        raise ShapeError(f"{where}: the input must be a tensor, got a {type(inputs).__name__}")
    shape = tuple(inputs.shape)
    if len(shape) != 3 or shape[-1] != layer.input_size or not inputs.numel():
        raise ShapeError(
            f"{where}: the input must be (T, B, {layer.input_size}) with steps and rows, "
            f"got {shape}"
        )
    _check_finite(f"{where}: the input", inputs)
    for name, value in beside.items():
        if value.shape[:2] != shape[:2]:
            raise ShapeError(f"{where}: {name} must be {shape[:2]}, got {tuple(value.shape)}")
        _check_finite(f"{where}: {name}", value)
    for name, weight in layer.named_parameters():
        if not bool(weight.isfinite().all()):
            raise DivergedError(
                f"{where}: {name} has numbers that are not finite",
                "they may have grown without bound in training",
            )


def _check_finite(what: str, numbers: Tensor) -> None:
    if not bool(numbers.isfinite().all()):
        raise OptionError(f"{what} has numbers that are not finite", "leave them out, or fill them")


# ---- The map -----------------------------------------------------------------------------------


class _Map:
    """A step of a layer as a map of its state, in float64, on the reference loop."""

    def __init__(self, layer: RecurrentLayer) -> None:
        self._layer = layer
        self._weights = {n: p.detach().double() for n, p in layer.named_parameters()}
        self._weights |= {n: b.detach().double() for n, b in layer.named_buffers()}
        self._widths = [part.shape[-1] for part in state_tensors(layer.initial_state(1))]

    def __call__(self, x: Tensor, beside: dict[str, Tensor], flat: Tensor) -> Tensor:
        """Return the states (N, D) a step later, under inputs (I,) or (N, I)."""
        time_dim = 1 if self._layer.batch_first else 0

        def at_once(value: Tensor) -> Tensor:
            return value.expand(len(flat), *value.shape[-1:]).unsqueeze(time_dim)

        given = {name: at_once(value) for name, value in beside.items()}
        with evaluating(self._layer), using_path("reference"):
            _, after = functional_call(
                self._layer, self._weights, (at_once(x), self.state(flat)), given
            )
        return self.flat(after)

    def flat(self, state: State) -> Tensor:
        """Return a layer's state as rows of all its numbers, (N, D)."""
        parts = [part.transpose(0, 1).flatten(1) for part in state_tensors(state)]
        return torch.cat(parts, dim=1)

    def state(self, flat: Tensor) -> State:
        """Return such rows as a layer's state."""
        parts = iter(self._parts(flat))
        return map_state(lambda _: next(parts), self._layer.initial_state(0))

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Return such rows by the names of the cell's states, (L, N, H) each."""
        return dict(zip(self._layer.cell.states, self._parts(flat), strict=True))

    def _parts(self, flat: Tensor) -> list[Tensor]:
        layers = self._layer.num_layers
        parts = torch.split(flat, [layers * width for width in self._widths], dim=1)
        return [part.reshape(len(flat), layers, -1).transpose(0, 1) for part in parts]


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


def _pushed(
    step: _Map, x: Tensor, beside: dict[str, Tensor], flat: Tensor, basis: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the states a step later, (B, D), and J of each times its basis, (B, D, K)."""
    count = basis.shape[2]
    x, *others = (each.repeat_interleave(count, 0) for each in (x, *beside.values()))
    rows = flat.repeat_interleave(count, 0)
    directions = basis.mT.reshape(rows.shape)
    with torch.enable_grad():
        before = rows.requires_grad_()
        after = step(x, dict(zip(beside, others, strict=True)), before)
        # J' u is linear in u, and so its derivative by u is J: no forward mode is needed
        zeros = torch.zeros_like(after, requires_grad=True)
        (backward,) = torch.autograd.grad(after, before, zeros, create_graph=True)
        (pushed,) = torch.autograd.grad(backward, zeros, directions, materialize_grads=True)
    return after.detach()[::count], pushed.reshape(len(flat), count, -1).mT
