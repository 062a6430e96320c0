"""How far back a loss reaches: the gradient of the last step's loss in every state before it.

    L_T <- h_T <- h_{T-1} <- ... <- h_{T-k} <- ...    reach: |dL_T / dh_{T-k}| for each lag k
             J_T       J_{T-1}                        step Jacobians: |J_t|, J_t = ds_t / ds_{t-1}

What it means is said in words by `verdict.py`; how it is drawn, in `figures/`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cells import Cell
from unrolled.errors import OptionError, ShapeError
from unrolled.inspection.memory import bounds
from unrolled.kernels import Weights, reference_recurrence
from unrolled.layers import (
    FiniteMemoryLayer,
    GraphRecord,
    RecurrentLayer,
    State,
    observing_graph,
    observing_values,
)
from unrolled.networks.modes import evaluating

__all__ = ["Reach", "gradient_reach", "step_jacobian_norms"]

_POWER_ITERATIONS = 100


@dataclass(frozen=True)
class Reach:
    """The length of a loss's gradient in what a network held k steps earlier.

    Args:
        lags: k, the steps between the loss and the state, (K,) int64, from 0.
        by_state: For each state of the cell by its name, and for the layers' input "x", the mean
            over the rows of |dL_T / ds_{T-k}|, (L, K) float64. It is the whole derivative: that
            in an LSTM's c counts the way through its h. A network of finite memory has only "x".
        keep_gate: The name of the cell's gate that keeps the old state, if it has one.
        gated: Whether the cell has gates at all.
    """

    lags: Tensor
    by_state: dict[str, Tensor]
    keep_gate: str | None = None
    gated: bool = False

    def relative(self) -> dict[str, Tensor]:
        """Return `by_state` with each layer's values divided by the one at lag 0."""
        return {name: norms / norms[:, :1] for name, norms in self.by_state.items()}


def gradient_reach(
    layer: nn.Module,
    inputs: Tensor,
    *,
    state: State | None = None,
    targets: Tensor | None = None,
    loss: Callable[[Tensor], Tensor] | None = None,
    max_lag: int | None = None,
) -> Reach:
    """Measure how far back the loss of the last step reaches.

    One pass through the reference loop and one backward for all lags, in the layer's own type and
    without dropout; gradients of the weights are neither computed nor touched. The steps before
    the lags asked for run without a graph, by the layer's own fast path. Of a bidirectional layer
    the direction that reads forwards is followed; without `targets` or `loss`, from its own half of
    the last output.

    Args:
        layer: A recurrent or convolutional layer.
        inputs: What it reads, (T, B, I), or (B, T, I) with `batch_first`.
        state: Before the first step; None for zeros.
        targets: The directions v, (B, output), of L_T = v . y_T; if None, random directions of
            length 1, always the same.
        loss: In place of `targets`: L_T of the last output, (B, output), a sum over the rows.
        max_lag: The longest lag, less than the steps that are read; None takes all of them.

    Returns:
        The `Reach`, over lags 0 ... max_lag.

    Raises:
        OptionError: `max_lag` is out of its range; the layer is of a kind that has no last step;
            targets and a loss.
        ShapeError: Inputs or targets of the wrong shape.

    Example:
        >>> import torch, unrolled
        >>> layer = unrolled.LSTM(3, 4)
        >>> reach = gradient_reach(layer, torch.randn(20, 2, 3), max_lag=10)
        >>> sorted(reach.by_state), reach.by_state["c"].shape
        (['c', 'h', 'x'], torch.Size([1, 11]))
    """
    if not isinstance(layer, RecurrentLayer | FiniteMemoryLayer):
        raise OptionError(
            f"gradient_reach: takes one layer, got {type(layer).__name__}",
            "give the layer inside it, and what that reads",
        )
    if inputs.dim() != 3:
        raise ShapeError(
            f"gradient_reach: the input must be 3-D, a batch of sequences, got {inputs.dim()}-D"
        )
    if loss is not None and targets is not None:
        raise OptionError("gradient_reach: targets or a loss, not both", "leave one out")
    time_dim = 1 if layer.batch_first else 0
    longest = inputs.shape[time_dim] - 1
    lag = longest if max_lag is None else max_lag
    if not 0 <= lag <= longest:
        raise OptionError(
            f"gradient_reach: max_lag must lie in 0..{longest} for {longest + 1} steps, got {lag}",
            "give a longer sequence, or a shorter lag",
        )
    if loss is None:
        loss = _directed(layer, inputs.shape[1 - time_dim], inputs, targets)
    first = longest - lag
    if _is_bidirectional(layer):
        first = 0  # what reads backwards begins at the end: no state stands for the steps before
    with evaluating(layer):
        if first > 0:
            with torch.no_grad():
                _, state = layer(inputs.narrow(time_dim, 0, first), state)
        num_steps = longest + 1 - first
        with observing_graph() as watched:
            output, _ = layer(inputs.narrow(time_dim, first, num_steps), state)
            total = loss(output.select(time_dim, -1))
            norms = _norms(total, [each for each in watched if not each.reverse], num_steps)
    by_state = {name: lengths[:, : lag + 1] for name, lengths in norms.items()}
    if not isinstance(layer, RecurrentLayer):
        return Reach(torch.arange(lag + 1), by_state)
    ends = bounds(layer.cell)
    gated = any(ends.get(gate) == (0, 1) for gate in layer.cell.gates)
    return Reach(torch.arange(lag + 1), by_state, layer.cell.keeps, gated)


def _directed(
    layer: RecurrentLayer | FiniteMemoryLayer,
    batch_size: int,
    inputs: Tensor,
    targets: Tensor | None,
) -> Callable[[Tensor], Tensor]:
    """Return the loss v . y_T, v being `targets` or random directions of length 1."""
    shape = (batch_size, layer.output_size)
    targets = direction_of(layer, batch_size).to(inputs) if targets is None else targets
    if targets.shape != shape:
        raise ShapeError(
            f"gradient_reach: targets must be {shape}, got {tuple(targets.shape)}",
            "a direction of the output for each row",
        )
    return lambda last: (last * targets).sum()


def direction_of(layer: RecurrentLayer | FiniteMemoryLayer, batch_size: int) -> Tensor:
    """Return random directions of length 1, always the same, (B, output) float64."""
    shape, generator = (batch_size, layer.output_size), torch.Generator().manual_seed(0)
    random = torch.randn(shape, generator=generator, dtype=torch.float64)
    if _is_bidirectional(layer):
        random[:, layer.output_size // 2 :] = 0  # the half that reads backwards
    return F.normalize(random, dim=1)


def _is_bidirectional(layer: nn.Module) -> bool:
    return bool(getattr(layer, "bidirectional", False))


def _check_forwards(where: str, layer: nn.Module) -> None:
    if _is_bidirectional(layer):
        raise OptionError(
            f"{where}: a bidirectional layer sees the whole sequence at every step",
            "look at a layer that reads forwards",
        )


def _norms(loss: Tensor, watched: list[GraphRecord], num_lags: int) -> dict[str, Tensor]:
    """Return the mean lengths of the gradients of `loss`, (L, K) for each state and for "x"."""
    recurrent = watched[0].module
    names = recurrent.cell.states if isinstance(recurrent, RecurrentLayer) else ()
    by_state: dict[str, list[Tensor]] = {name: [] for name in [*names, "x"]}
    tensors = [step[name] for layer in watched for name in names for step in _in_order(layer)]
    tensors += [layer.input for layer in watched]
    gradients = iter(torch.autograd.grad(loss, tensors, materialize_grads=True))
    for layer in watched:
        for name in names:
            steps = torch.stack([next(gradients) for _ in layer.steps])
            by_state[name].append(steps)
    for _ in watched:
        gradient = next(gradients)
        by_state["x"].append(gradient.reshape(num_lags, -1, gradient.shape[-1]))  # it may be packed
    return {
        name: torch.stack([_by_lag(gradient) for gradient in layers])
        for name, layers in by_state.items()
    }


def _in_order(layer: GraphRecord) -> list[dict[str, Tensor]]:
    return [layer.steps[t] for t in range(len(layer.steps))]


def _by_lag(gradients: Tensor) -> Tensor:
    """Return the mean length of `gradients` (T, B, F) over the rows, the last step first, (T,)."""
    # in float64: the squares of what float32 can just hold are beyond it
    lengths: Tensor = torch.linalg.vector_norm(gradients.double(), dim=2)
    return lengths.mean(1).flip(0).cpu()


def step_jacobian_norms(layer: RecurrentLayer, inputs: Tensor) -> Tensor:
    """Return by how much a single step stretches a change of the state at most, along a sequence.

    The spectral norm of J_t = ds_t / ds_{t-1}, s being all states of a layer side by side, by power
    iteration for all steps at once. A product of norms below 1 must vanish; one of norms above 1
    may explode.

    Args:
        layer: Reads forwards.
        inputs: What it reads, (T, B, I), or (B, T, I) with `batch_first`.

    Returns:
        (L, T, B) float64; step 0 is measured from the initial state.

    Raises:
        OptionError: The layer reads backwards too.

    Example:
        >>> import torch, unrolled
        >>> step_jacobian_norms(unrolled.GRU(3, 4, num_layers=2), torch.randn(5, 1, 3)).shape
        torch.Size([2, 5, 1])
    """
    _check_forwards("step_jacobian_norms", layer)
    with evaluating(layer), observing_values() as records:
        layer(inputs)
    below = inputs.transpose(0, 1) if layer.batch_first else inputs  # (T, B, I)
    norms = []
    for suffix, record in zip(layer.suffixes, records, strict=True):
        weights = _detached(layer.weights_of(suffix))
        after = [record.values[name] for name in layer.cell.states]
        if weights.weight_hr is not None:
            after[0] = F.linear(after[0], weights.weight_hr)
        before = tuple(torch.cat([torch.zeros_like(s[:1]), s[:-1]]) for s in after)
        read = layer.with_default_inputs(below)
        norms.append(_spectral_norms(layer.cell, weights, read, before))
        below = after[0]
    return torch.stack(norms)


def _detached(weights: Weights) -> Weights:
    def cut(weight: Tensor | None) -> Tensor | None:
        return None if weight is None else weight.detach()

    return Weights(
        weights.weight_ih.detach(),
        cut(weights.weight_hh),
        cut(weights.bias_ih),
        cut(weights.bias_hh),
        cut(weights.weight_hr),
        tuple(vector.detach() for vector in weights.parameters),
    )


def _spectral_norms(cell: Cell, weights: Weights, x: Tensor, states: tuple[Tensor, ...]) -> Tensor:
    """Return |ds_t / ds_{t-1}| for every step and row, (T, B)."""
    num_steps, batch_size = x.shape[:2]
    rows = num_steps * batch_size  # every step of every row is a row of one step

    with torch.enable_grad():
        before = tuple(state.reshape(rows, -1).requires_grad_() for state in states)
        _, after = reference_recurrence(cell, x.reshape(rows, -1), [rows], weights, before)
        # J' u is linear in u, and so its derivative by u is J: no forward mode is needed
        zeros = tuple(torch.zeros_like(state, requires_grad=True) for state in after)
        backward = _gradient(after, before, zeros, create_graph=True)
        generator = torch.Generator().manual_seed(0)
        v = tuple(torch.randn(s.shape, generator=generator).to(s) for s in before)
        for _ in range(_POWER_ITERATIONS):
            u = _gradient(backward, zeros, _divided(v, _lengths(v)))
            norm = _lengths(u)
            v = _gradient(after, before, _divided(u, norm))
    return norm.reshape(num_steps, batch_size).cpu()


def _gradient(
    outputs: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    directions: tuple[Tensor, ...],
    *,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    return torch.autograd.grad(
        outputs,
        inputs,
        directions,
        retain_graph=True,
        create_graph=create_graph,
        materialize_grads=True,
    )


def _lengths(parts: tuple[Tensor, ...]) -> Tensor:
    """Return the length of each row of all parts side by side, (N,) float64."""
    lengths: Tensor = torch.linalg.vector_norm(torch.cat(parts, dim=1).double(), dim=1)
    return lengths


def _divided(parts: tuple[Tensor, ...], lengths: Tensor) -> tuple[Tensor, ...]:
    lengths = lengths.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    return tuple((part / lengths).to(part.dtype) for part in parts)
