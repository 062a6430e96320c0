"""How fast states part that were close.

    |J_t ... J_1 v| ~ e^{kt}   Lyapunov exponents k: a small difference grows or shrinks so fast

As R. Engelken, F. Wolf and L. Abbott (2023), "Lyapunov spectra of chaotic recurrent neural
networks", Physical Review Research 5: an orthonormal basis is pushed along by the Jacobians of the
steps, and made orthonormal anew.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import DivergedError, OptionError, ShapeError
from unrolled.inspection.dynamics.state_map import StateMap, check_finite, check_map
from unrolled.layers import RecurrentLayer, State, StepsRead, map_state, reading_on, state_tensors

__all__ = ["Lyapunov", "lyapunov_exponents"]

_ROUNDING = 1e-14  # what is left of a direction, relative to the longest, that is rounding alone


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

    All in float64. For each step and row it costs a step, `count` times its gradient, and a QR
    decomposition.

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
    check_map(where, layer, inputs, beside)
    by_time = inputs.transpose(0, 1) if layer.batch_first else inputs
    num_steps, batch_size, _ = by_time.shape
    beside = {name: value.reshape(*value.shape[:2], -1) for name, value in beside.items()}
    if layer.batch_first:
        beside = {name: value.transpose(0, 1) for name, value in beside.items()}
    skipped = num_steps // 10 if skip is None else skip
    if not isinstance(skipped, int) or not 0 <= skipped < num_steps:
        raise OptionError(f"{where}: skip must lie in 0..{num_steps - 1}, got {skipped!r}")
    step = StateMap(layer)
    start = layer.initial_state(batch_size)
    if state is not None:
        shapes, got = ([part.shape for part in state_tensors(each)] for each in (start, state))
        if shapes != got:
            expected, actual = (", ".join(str(tuple(s)) for s in each) for each in (shapes, got))
            raise ShapeError(f"{where}: state must be {expected}, got {actual}", "or pass None")
        start = state
    flat = step.flat(map_state(lambda part: part.detach().double(), start))
    check_finite(f"{where}: state", flat)
    size = flat.shape[1]
    count = size if count is None else count
    if not isinstance(count, int) or not 1 <= count <= size:
        raise OptionError(f"{where}: count must lie in 1..{size}, got {count!r}")
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(batch_size, size, count, generator=generator, dtype=torch.float64)
    basis, _ = torch.linalg.qr(random)
    logarithms, steps_read = [], StepsRead()
    for t in range(num_steps):
        inputs_at_t = {name: value[t].detach().double() for name, value in beside.items()}
        with reading_on(steps_read, 1):
            flat, pushed = _pushed(step, by_time[t].detach().double(), inputs_at_t, flat, basis)
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


def _pushed(
    step: StateMap, x: Tensor, beside: dict[str, Tensor], flat: Tensor, basis: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the states a step later, (B, D), and J of each times its basis, (B, D, K)."""
    with torch.enable_grad():
        before = flat.detach().requires_grad_()
        after = step(x, beside, before)
        # J' u is linear in u, and so its derivative by u is J: no forward mode is needed. The step
        # is computed once for each row, and all directions go through its graph together.
        zeros = torch.zeros_like(after, requires_grad=True)
        (backward,) = torch.autograd.grad(after, before, zeros, create_graph=True)
        (pushed,) = torch.autograd.grad(
            backward, zeros, basis.movedim(2, 0), is_grads_batched=True, materialize_grads=True
        )
    return after.detach(), pushed.movedim(0, 2)
