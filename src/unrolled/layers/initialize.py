"""Initial values for recurrent layers, by functions rather than by flags.

The layers start with torch's uniform values; these functions change them in place.
"""

import math

import torch
from torch import Tensor

from unrolled.cells import ZONE, Cell
from unrolled.errors import OptionError
from unrolled.layers.recurrent_layer import RecurrentLayer

__all__ = ["chrono", "decay", "forget_bias", "keeping_gate", "one_hot_input", "ring", "uniform"]


def forget_bias(layer: RecurrentLayer, value: float = 1.0) -> None:
    """Set the bias of the gate that keeps the old state to `value`, the sum of its two biases.

    That is an LSTM's or JANET's forget gate f, a GRU's z, and what `@cell(keeps=...)` names. Where
    a gate admits the new and one minus it keeps the old, its bias is set to -`value`.

    Source: F. A. Gers, J. Schmidhuber and F. Cummins (2000); R. Jozefowicz, W. Zaremba and
    I. Sutskever (2015), "An empirical exploration of recurrent network architectures".

    Raises:
        OptionError: the cell declares no such gate, or the layer has no biases.
    """
    gate, sign = _keep_gate("forget_bias", layer)
    for suffix in layer.suffixes:
        _set_bias(layer, suffix, gate, torch.full((layer.hidden_size,), sign * value))


def chrono(layer: RecurrentLayer, max_time: int, generator: torch.Generator | None = None) -> None:
    """Spread the memory of `layer`'s units over time spans of 1 to `max_time` steps.

    b_k = log(u), u uniform in [1, max_time - 1], for the gate k that keeps the old state, and
    b_a = -b_k where another gate a admits the new: in an LSTM f and i. Where no gate keeps, but one
    minus a does, b_a = -log(u).

    Source: C. Tallec and Y. Ollivier (2018), "Can recurrent neural networks warp time?",
    section 2; for JANET, van der Westhuizen and Lasenby (2018), section 3.

    Args:
        layer: An LSTM, GRU or JANET, or a layer over any cell that declares what keeps.
        max_time: The longest dependency expected, in steps, at least 2.
        generator: Where the random numbers come from; torch's own unless given.

    Raises:
        OptionError: the cell declares no such gate, or the layer has no biases; `max_time` is too
            small.
    """
    if max_time < 2:
        raise OptionError(f"chrono: max_time must be at least 2 steps, got {max_time}")
    gate, sign = _keep_gate("chrono", layer)
    for suffix in layer.suffixes:
        spans = torch.empty(layer.hidden_size).uniform_(1.0, max_time - 1.0, generator=generator)
        _set_bias(layer, suffix, gate, sign * spans.log())
        if layer.cell.admits not in (None, gate):
            _set_bias(layer, suffix, layer.cell.admits, -spans.log())


@torch.no_grad()
def one_hot_input(layer: RecurrentLayer, bound: float = 1.0) -> None:
    """Draw the weights by which the first layer of `layer` reads its input from U(-bound, bound).

    For one-hot input. torch's bound of 1/sqrt(H) counts on a sum over many features; of a one-hot
    input a single one is not zero, and a token starts as hardly more than a whisper in the state.
    The default is 1/sqrt(fan-in) with that fan-in of one.

    Raises:
        OptionError: `bound` is not above 0.
    """
    if not bound > 0:
        raise OptionError(f"one_hot_input: bound must be above 0, got {bound}")
    for suffix in layer.suffixes[: 1 + layer.bidirectional]:
        layer.get_parameter(f"weight_ih_{suffix}").uniform_(-bound, bound)


def uniform(
    layer: RecurrentLayer,
    vector: str,
    low: float,
    high: float,
    generator: torch.Generator | None = None,
) -> None:
    """Draw a vector of the cell, one weight a unit, from U(low, high) in each layer and direction.

    An IndRNN's recurrent weights are `uniform(layer, "w", 0, 1)`.

    Source: S. Li, W. Li, C. Cook, C. Zhu and Y. Gao (2018), "Independently recurrent neural network
    (IndRNN)".

    Args:
        layer: A layer over a cell with such a vector.
        vector: Its name, as the cell's equations call it.
        low: The least value.
        high: The greatest value.
        generator: Where the random numbers come from; torch's own unless given.

    Raises:
        OptionError: the cell has no such vector, or `low` is above `high`.
    """
    _check_vectors("uniform", layer, vector)
    if not low <= high:
        raise OptionError(f"uniform: low must not be above high, got {low} and {high}")
    for suffix in layer.suffixes:
        _set_vector(layer, suffix, vector, _draw(layer, generator) * (high - low) + low)


def ring(
    layer: RecurrentLayer,
    inner: float = 0.0,
    outer: float = 1.0,
    max_angle: float = 2 * math.pi,
    generator: torch.Generator | None = None,
) -> None:
    """Spread the eigenvalues of an LRU evenly over a ring in the complex plane.

    |l|^2 is uniform between inner^2 and outer^2, and the angle between 0 and `max_angle`: nu is
    log(-log |l|), theta the logarithm of the angle.

    Source: A. Orvieto et al. (2023), "Resurrecting recurrent neural networks for long sequences",
    lemma 3.2.

    Args:
        layer: A layer over the cell `lru`, or another with vectors nu and theta of that meaning.
        inner: The least modulus, at least 0.
        outer: The greatest modulus, at most 1.
        max_angle: The greatest angle, in radians: how fast the state may turn, a step.
        generator: Where the random numbers come from; torch's own unless given.

    Raises:
        OptionError: the cell has no such vectors, or these are no radii of a ring.
    """
    _check_vectors("ring", layer, "nu", "theta")
    if not 0 <= inner < outer <= 1:
        raise OptionError(f"ring: 0 <= inner < outer <= 1 is wanted, got {inner} and {outer}")
    if not max_angle > 0:
        raise OptionError(f"ring: max_angle must be above 0, got {max_angle}")
    for suffix in layer.suffixes:
        square = _draw(layer, generator) * (outer**2 - inner**2) + inner**2
        _set_vector(layer, suffix, "nu", (-square.log() / 2).log())
        _set_vector(layer, suffix, "theta", (_draw(layer, generator) * max_angle).log())


def decay(
    layer: RecurrentLayer,
    low: float = 0.9,
    high: float = 0.999,
    generator: torch.Generator | None = None,
) -> None:
    """Spread how much units of an RG-LRU keep in a step, with open gates, over U(low, high).

    What is kept is s(Lambda)^8.

    Source: S. De et al. (2024), "Griffin: mixing gated linear recurrences with local attention for
    efficient language models", section 2.4.

    Args:
        layer: A layer over the cell `rg_lru`, or another with a vector Lambda of that meaning.
        low: The least part kept, above 0.
        high: The greatest part kept, below 1.
        generator: Where the random numbers come from; torch's own unless given.

    Raises:
        OptionError: the cell has no such vector, or these are no parts.
    """
    _check_vectors("decay", layer, "Lambda")
    if not 0 < low <= high < 1:
        raise OptionError(f"decay: 0 < low <= high < 1 is wanted, got {low} and {high}")
    for suffix in layer.suffixes:
        decays = _draw(layer, generator) * (high - low) + low
        _set_vector(layer, suffix, "Lambda", torch.logit(decays ** (1 / 8)))


def _check_vectors(where: str, layer: RecurrentLayer, *names: str) -> None:
    """Raise `OptionError` unless the cell of `layer` has vectors of these names."""
    cell = layer.cell
    for name in names:
        if name not in cell.parameters:
            vectors = ", ".join(cell.parameters) or "none"
            message = f"{where}: cell {cell.name} has no vector {name}; its vectors: {vectors}"
            raise OptionError(message, "a vector is declared after a *, with its first value")


def _draw(layer: RecurrentLayer, generator: torch.Generator | None) -> Tensor:
    """Return (H,) numbers of U(0, 1), without 0 and 1, of which logarithms may be taken."""
    tiny = 2.0**-24
    numbers = torch.empty(layer.hidden_size, dtype=torch.float64)
    return numbers.uniform_(tiny, 1 - tiny, generator=generator)


@torch.no_grad()
def _set_vector(layer: RecurrentLayer, suffix: str, name: str, value: Tensor) -> None:
    layer.get_parameter(f"{name}_{suffix}").copy_(value)


def keeping_gate(cell: Cell) -> tuple[str, float] | None:
    """Return the gate whose bias says how long a unit remembers; None if there is none.

    With it 1.0, where the gate keeps the old state; or -1.0, where it is one that admits the new,
    and one minus it is what a step keeps of the state.
    """
    if cell.keeps is not None:
        return cell.keeps, 1.0
    if cell.admits is None or not all(_keeps_the_rest(cell, at) for at in (-2.0, 1.0)):
        return None
    return cell.admits, -1.0


@torch.enable_grad()
def _keeps_the_rest(cell: Cell, value: float) -> bool:
    """Whether a step keeps 1 - s(`value`) of a unit's state, if that is what its gate admits.

    Of the state as it stands in the equations, past all products, and before zoneout.
    """

    def number(value: float) -> Tensor:
        return torch.full((1, 1), value, dtype=torch.float64)

    x = {gate: number(value if gate == cell.admits else 0.0) for gate in cell.feedforward}
    reads_state_alone = cell.admits not in cell.feedforward
    parts = {
        gate: number(value if gate == cell.admits and reads_state_alone else 0.0)
        for gate in cell.recurrent
    }
    u = {gate: (lambda _, v=v: v) if gate in cell.applied else v for gate, v in parts.items()}
    states = {name: number(0.3).requires_grad_() for name in cell.states}
    vectors = {name: number(start)[0] for name, start in cell.parameters.items()}
    defaults = {n: 0.0 if n.startswith(ZONE) else 1.0 for n in cell.step_inputs}
    inputs = {n: number(start) for n, start in (defaults | dict(cell.input_defaults)).items()}
    after = cell(x, u, states, vectors, inputs)
    carried = after[cell.carrier]
    if not carried.requires_grad:
        return False
    (slope,) = torch.autograd.grad(carried, states[cell.carrier], materialize_grads=True)
    return math.isclose(float(slope), 1 / (1 + math.exp(value)), abs_tol=1e-6)


def _keep_gate(where: str, layer: RecurrentLayer) -> tuple[str, float]:
    """Return `keeping_gate` of a layer, whose biases can be set."""
    cell = layer.cell
    keeping = keeping_gate(cell)
    if keeping is None:
        gates = " ".join(cell.gates)
        message = f"{where}: cell {cell.name} declares no gate that keeps the old state"
        raise OptionError(f"{message}, only gates {gates}", '@cell(..., keeps="f") declares it')
    if not layer.bias:
        raise OptionError(f"{where}: the layer has bias=False", "make it with bias=True")
    return keeping


@torch.no_grad()
def _set_bias(layer: RecurrentLayer, suffix: str, gate: str, value: Tensor) -> None:
    """Make the two biases of `gate` sum to `value`, (H,): that of the input has all, if any."""
    size = layer.hidden_size
    for side, gates in (("ih", layer.cell.feedforward), ("hh", layer.cell.recurrent)):
        if gate in gates:
            start = size * gates.index(gate)
            layer.get_parameter(f"bias_{side}_{suffix}")[start : start + size] = value
            value = torch.zeros_like(value)
