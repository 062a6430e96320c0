"""How ONNX Runtime does a work: one LSTM, GRU or RNN node, in a process without torch."""

import os
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

from unrolled.benchmark.grid import Work
from unrolled.benchmark.problem import Array, Contestant, Problem, pose

__all__ = ["make"]

# The operator, and which block of torch's rows comes where: ONNX has i, o, f, g and z, r, n.
_OPERATORS = {
    "lstm": ("LSTM", (0, 3, 1, 2)),
    "gru": ("GRU", (1, 0, 2)),
    "gru_before": ("GRU", (1, 0, 2)),
    "rnn": ("RNN", (0,)),
}


def make(contestant: str, work: Work) -> Contestant:
    """Return the contestant; its session's pool has as many threads as `UNROLLED_BENCH_THREADS`."""
    import onnxruntime

    assert contestant == "ONNX Runtime"
    problem = pose(work)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["UNROLLED_BENCH_THREADS"])
    options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(_model(work, problem), options, providers)
    if work.mode == "step":
        return _stream(session, work, problem)
    state = {name: _zeros(work) for name in _states(work)}

    def repeat() -> Any:
        return session.run(["output"], {"x": problem.x, **state})[0]

    return Contestant(repeat, lambda: {"output": repeat()[:, 0]})


def _stream(session: Any, work: Work, problem: Problem) -> Contestant:
    from onnxruntime import OrtValue

    names = _states(work)
    outputs = ["output", *(f"{name}_after" for name in names)]

    def start() -> Callable[[Any], Any]:
        state = [OrtValue.ortvalue_from_numpy(_zeros(work)) for _ in names]

        def step(x: Any) -> Any:
            nonlocal state
            inputs = {"x": x, **dict(zip(names, state, strict=True))}
            output, *state = session.run_with_ort_values(outputs, inputs)
            return output

        return step

    inputs = [OrtValue.ortvalue_from_numpy(x[None]) for x in problem.x]
    going, next_input = start(), cycle(inputs)

    def answers() -> dict[str, Array]:
        step = start()
        return {"output": np.stack([step(x).numpy().reshape(1, -1) for x in inputs])}

    return Contestant(lambda: going(next(next_input)), answers)


def _states(work: Work) -> list[str]:
    return ["h", "c"] if work.cell == "lstm" else ["h"]


def _zeros(work: Work) -> Array:
    return np.zeros((1, work.rows, work.hidden_size), np.float32)


def _model(work: Work, problem: Problem) -> bytes:
    """Return a model of the node: x (T, B, I) and the state in; output and state out."""
    from onnx import TensorProto, helper, numpy_helper

    operator, order = _OPERATORS[work.cell]

    def rows(name: str) -> Array:
        blocks = np.split(problem.weights[name], len(order))
        return np.concatenate([blocks[block] for block in order])

    tensors = {
        "W": rows("weight_ih_l0")[None],
        "R": rows("weight_hh_l0")[None],
        "B": np.concatenate([rows("bias_ih_l0"), rows("bias_hh_l0")])[None],
    }
    states = _states(work)
    size: dict[str, Any] = {"hidden_size": work.hidden_size}
    if operator == "GRU":
        size["linear_before_reset"] = int(work.cell == "gru")
    after = [f"{state}_after" for state in states]
    node = helper.make_node(operator, ["x", *tensors, "", *states], ["output", *after], **size)

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    steps = 1 if work.mode == "step" else work.steps
    state_shape = (1, work.rows, work.hidden_size)
    graph = helper.make_graph(
        [node],
        work.cell,
        [value("x", steps, work.rows, work.input_size), *(value(s, *state_shape) for s in states)],
        [value("output", steps, *state_shape), *(value(s, *state_shape) for s in after)],
        [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()],
    )
    # Old enough for any ONNX Runtime of these years.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content
