"""How JAX does a work: `lax.scan` over a cell of the same equations, compiled by `jit`.

The input's product is one, before the scan. A process without torch.
"""

from typing import Any

import numpy as np

from unrolled.benchmark.grid import Work
from unrolled.benchmark.problem import Array, Contestant, pose

__all__ = ["make"]


def make(contestant: str, work: Work) -> Contestant:
    """Return the contestant. The first call of `repeat` or `answers` compiles."""
    import jax

    assert contestant == "JAX"
    problem = pose(work)
    weights = {name.removesuffix("_l0"): jax.numpy.array(w) for name, w in problem.weights.items()}
    x, d_output = jax.numpy.array(problem.x), jax.numpy.array(problem.d_output)
    step = _steps()[work.cell]

    def forward(weights: Any, x: Any) -> Any:
        gates = x @ weights["weight_ih"].T + weights["bias_ih"]
        zeros = jax.numpy.zeros((work.rows, work.hidden_size))
        state = (zeros, zeros) if work.cell == "lstm" else (zeros,)
        _, output = jax.lax.scan(lambda state, gate: step(weights, state, gate), state, gates)
        return output

    @jax.jit
    def train(weights: Any, x: Any, d_output: Any) -> Any:
        output, backward = jax.vjp(forward, weights, x)
        return output, *backward(d_output)

    infer = jax.jit(forward)

    def repeat() -> Any:
        result = train(weights, x, d_output) if work.mode == "training" else infer(weights, x)
        return jax.block_until_ready(result)  # type: ignore[no-untyped-call]  # jax has no types for it

    def answers() -> dict[str, Array]:
        if work.mode == "forward":
            return {"output": np.asarray(repeat())}
        output, d_weights, d_x = repeat()
        tensors = {"output": output, "input": d_x}
        tensors |= {f"{name}_l0": d_weight for name, d_weight in d_weights.items()}
        return {name: np.asarray(value) for name, value in tensors.items()}

    return Contestant(repeat, answers)


def _steps() -> dict[str, Any]:
    """Return the cells: weights, states and the gates' input parts to new states and output."""
    from jax.nn import sigmoid
    from jax.numpy import split, tanh

    def recurrent(weights: Any, h: Any) -> Any:
        return h @ weights["weight_hh"].T + weights["bias_hh"]

    def lstm(weights: Any, state: Any, gates: Any) -> Any:
        h, c = state
        i, f, g, o = split(gates + recurrent(weights, h), 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (h, c), h

    def gru(weights: Any, state: Any, gates: Any) -> Any:
        (h,) = state
        x_r, x_z, x_n = split(gates, 3, axis=-1)
        u_r, u_z, u_n = split(recurrent(weights, h), 3, axis=-1)
        z = sigmoid(x_z + u_z)
        h = (1 - z) * tanh(x_n + sigmoid(x_r + u_r) * u_n) + z * h
        return (h,), h

    def gru_before(weights: Any, state: Any, gates: Any) -> Any:
        (h,) = state
        both = 2 * h.shape[1]
        weight, bias = weights["weight_hh"], weights["bias_hh"]
        r, z = split(sigmoid(gates[:, :both] + h @ weight[:both].T + bias[:both]), 2, axis=-1)
        h = (1 - z) * tanh(gates[:, both:] + (r * h) @ weight[both:].T + bias[both:]) + z * h
        return (h,), h

    def rnn(weights: Any, state: Any, gates: Any) -> Any:
        h = tanh(gates + recurrent(weights, state[0]))
        return (h,), h

    def janet(weights: Any, state: Any, gates: Any) -> Any:
        a, g = split(gates + recurrent(weights, state[0]), 2, axis=-1)
        h = sigmoid(a) * state[0] + (1 - sigmoid(a - 1)) * tanh(g)
        return (h,), h

    return {"lstm": lstm, "gru": gru, "gru_before": gru_before, "rnn": rnn, "janet": janet}
