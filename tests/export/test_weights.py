"""Weights of other packages compute there what they compute here, and come back as they were."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

import unrolled
from unrolled.errors import OptionError, ShapeError
from unrolled.export import weights as others

T, B, NUM_INPUTS, H = 5, 2, 3, 4
X = np.random.default_rng(0).standard_normal((T, B, NUM_INPUTS)).astype(np.float32)
LAYERS = {
    "rnn": lambda **how: unrolled.RNN(NUM_INPUTS, H, **how),
    "lstm": lambda **how: unrolled.LSTM(NUM_INPUTS, H, **how),
    "gru": lambda **how: unrolled.GRU(NUM_INPUTS, H, **how),
    "gru before": lambda **how: unrolled.GRU(NUM_INPUTS, H, reset="before", **how),
}
every_kind = pytest.mark.parametrize("name", LAYERS)


def output_of(layer) -> np.ndarray:
    with torch.no_grad():
        return layer(torch.from_numpy(X))[0].numpy()


def filled(name: str, directions) -> np.ndarray:
    """The output of a layer that has been given the weights."""
    layer = LAYERS[name](bidirectional=len(directions) == 2, bias="bias_ih" in directions[0])
    for suffix, weights in zip(layer.suffixes, directions, strict=True):
        others.load(layer, weights, suffix)
    return output_of(layer)


def by_onnx(name: str, w, r, b) -> np.ndarray:
    kind, given = name.split()[0], {"X": X, "W": w, "R": r} | ({} if b is None else {"B": b})
    attributes = {"linear_before_reset": int(name == "gru")} if kind == "gru" else {}
    direction = "bidirectional" if len(w) == 2 else "forward"
    node = helper.make_node(
        kind.upper(), list(given), ["Y"], hidden_size=H, direction=direction, **attributes
    )
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in given.items()
    ]
    output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (T, len(w), B, H))
    graph = helper.make_graph([node], "node", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, given)[0].transpose(0, 2, 1, 3).reshape(T, B, -1)


@pytest.mark.parametrize(("num_directions", "bias"), [(1, True), (2, True), (1, False)])
@every_kind
def test_a_node_of_onnx_computes_the_same_with_weights_of_either_side(name, num_directions, bias):
    kind = name.split()[0]
    layer = LAYERS[name](bidirectional=num_directions == 2, bias=bias)
    ours = [others.weights_of(layer, suffix) for suffix in layer.suffixes]
    w, r, b = others.to_onnx_weights(kind, ours)
    np.testing.assert_allclose(by_onnx(name, w, r, b), output_of(layer), atol=1e-6)
    back = others.from_onnx(kind, w, r, b)
    for mine, other in zip(ours, back, strict=True):
        assert mine.keys() == other.keys()
        for key in mine:
            np.testing.assert_array_equal(mine[key], other[key])
    np.testing.assert_allclose(filled(name, back), by_onnx(name, w, r, b), atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras, by numpy
@every_kind
def test_a_layer_of_keras_computes_the_same_with_weights_of_either_side(name, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    kind, how = name.split()[0], {"return_sequences": True, "bias_initializer": "random_normal"}
    made = {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
    after = {"reset_after": name == "gru"}
    how |= after if kind == "gru" else {}
    theirs = made[kind](H, **how)
    expected = keras.ops.convert_to_numpy(theirs(X.transpose(1, 0, 2))).transpose(1, 0, 2)
    ours = others.from_keras(kind, theirs.get_weights(), **(after if kind == "gru" else {}))
    np.testing.assert_allclose(filled(name, [ours]), expected, atol=1e-6)
    layer = LAYERS[name]()
    weights = others.weights_of(layer)
    theirs.set_weights(others.to_keras(kind, weights, **(after if kind == "gru" else {})))
    got = keras.ops.convert_to_numpy(theirs(X.transpose(1, 0, 2))).transpose(1, 0, 2)
    np.testing.assert_allclose(got, output_of(layer), atol=1e-6)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_cell_of_flax_computes_the_same_with_weights_of_either_side(kind):
    linen = pytest.importorskip("flax.linen")
    jax = pytest.importorskip("jax")
    cell = {"lstm": linen.OptimizedLSTMCell, "gru": linen.GRUCell}[kind](features=H)
    rnn = linen.RNN(cell, time_major=True)
    params = rnn.init(jax.random.PRNGKey(0), X)["params"]
    inner = params["cell"] if "cell" in params else params
    inner = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.1, inner)  # biases start at zero

    def output(inner):
        return np.asarray(rnn.apply({"params": {"cell": inner}}, X))

    ours = others.from_flax(kind, inner)
    np.testing.assert_allclose(filled(kind, [ours]), output(inner), atol=1e-6)
    layer = LAYERS[kind]()
    back = others.to_flax(kind, others.weights_of(layer))
    assert jax.tree.structure(back) == jax.tree.structure(dict(inner))
    np.testing.assert_allclose(output(back), output_of(layer), atol=1e-6)


def test_the_janet_paper_computes_the_same_with_weights_of_either_side():
    def sigmoid(s):
        return 1 / (1 + np.exp(-s))

    def output(kernels, recurrents, biases):
        h, outputs = np.zeros((B, H)), []
        for x in X:
            s, c = (
                x @ w.T + h @ u.T + b for w, u, b in zip(kernels, recurrents, biases, strict=True)
            )
            h = sigmoid(s) * h + (1 - sigmoid(s - 1)) * np.tanh(c)
            outputs.append(h)
        return np.stack(outputs)

    layer = unrolled.JANET(NUM_INPUTS, H)
    theirs = others.to_janet_paper(others.weights_of(layer))
    np.testing.assert_allclose(output(*theirs), output_of(layer), atol=1e-6)
    other = unrolled.JANET(NUM_INPUTS, H)
    others.load(other, others.from_janet_paper(*theirs))
    np.testing.assert_allclose(output(*theirs), output_of(other), atol=1e-6)


def test_arrays_that_do_not_fit_are_named():
    w, r, b = others.to_onnx_weights("lstm", [others.weights_of(LAYERS["lstm"]())])
    cases = [
        (lambda: others.from_onnx("gru", w, r, b), ShapeError, "not of 3 gates of 4 units"),
        (lambda: others.from_onnx("lstm", w, r, b[:, :-1]), ShapeError, r"B must be \(1, 32\)"),
        (lambda: others.from_onnx("elman", w, r, b), OptionError, "one of rnn, lstm, gru"),
        (lambda: others.from_keras("lstm", [w[0]]), ShapeError, "2 or 3 weights, got 1"),
        (
            lambda: others.from_keras("lstm", [w[0].T, r[0].T, b[0]]),
            ShapeError,
            r"bias must be \(16,\), got \(32,\)",
        ),
        (lambda: others.from_flax("gru", {"ir": {}}), OptionError, "lacks iz, in"),
        (lambda: others.from_janet_paper((w[0], w[0]), (w, w), (b, b)), ShapeError, "U_f must be"),
        (lambda: others.load(LAYERS["gru"](), {}, "l1"), OptionError, "no layer l1"),
        (lambda: others.load(LAYERS["gru"](), {}), OptionError, "needs weight_ih"),
        (
            lambda: others.load(LAYERS["gru"](), others.weights_of(LAYERS["lstm"]())),
            ShapeError,
            r"weight_ih must be \(12, 3\), got \(16, 3\)",
        ),
    ]
    one = others.weights_of(LAYERS["lstm"]())
    in_keras = others.to_keras("lstm", one)
    huge = {**one, "weight_hh": one["weight_hh"].astype(np.float64) * 1e300}
    half = {**one, "weight_hh": one["weight_hh"].astype(np.float16)}
    cases += [
        (lambda: others.from_keras("lstm", [a.T for a in in_keras]), ShapeError, "get_weights"),
        (lambda: others.from_keras("lstm", in_keras[::-1]), ShapeError, "recurrent_kernel"),
        (lambda: others.from_keras("lstm", in_keras * 2), ShapeError, "one at a time"),
        (lambda: others.from_keras("lstm", [*in_keras[:2], "b"]), ShapeError, "float32 or float64"),
        (
            lambda: others.from_keras("gru", [a[..., :12] for a in in_keras]),
            ShapeError,
            "reset_after=False",
        ),
        (lambda: others.from_onnx("lstm", w[0], r[0]), ShapeError, "must be 3-D"),
        (lambda: others.to_keras("gru", one), ShapeError, "not of 3 gates"),
        (lambda: others.to_flax("gru", {}), OptionError, r"weights_of\(layer\)"),
        (lambda: others.to_onnx_weights("lstm", [[]]), OptionError, "got list"),
        (lambda: others.load(LAYERS["lstm"](), [one]), OptionError, "got list"),
        (lambda: others.load(torch.nn.LSTM(3, 4), one), OptionError, "got torch.LSTM"),
        (lambda: others.load(LAYERS["lstm"](), huge), ShapeError, "beyond those of float32"),
        (lambda: others.load(LAYERS["lstm"](), half), ShapeError, "got float16"),
        (lambda: others.load(unrolled.LSTM(3, 4, bias=False), one), OptionError, "bias=False"),
        (lambda: others.weights_of(LAYERS["lstm"](), "l1"), OptionError, "it has l0"),
        (lambda: others.weights_of(unrolled.LSTM(3, 4, proj_size=2)), OptionError, "proj_size=2"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
