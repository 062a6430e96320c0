"""Layers go through torch's exporters: what comes out computes what the layer does."""

import logging
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import unrolled
from support.cells import of_bessel, two_states
from unrolled.errors import OptionError
from unrolled.export import plain
from unrolled.kernels import using_path
from unrolled.layers import map_state, state_tensors
from unrolled.networks.memoryless import Conv


@unrolled.cell(gates="z n", recurrent="")
def without_product(x, h):
    z = torch.sigmoid(x.z)
    return dict(h=(1 - z) * h + z * x.n)


@unrolled.cell(gates="f g", inputs="dt mask")
def with_inputs(x, u, h, dt, mask):
    f = torch.sigmoid(x.f + u.f - dt)
    return dict(h=f * h + (1 - f) * torch.tanh(x.g + u.g) * mask)


@unrolled.cell(gates="f g", inputs="dt x_t")
def with_x_itself(x, u, h, dt, x_t):
    f = torch.sigmoid(x.f + u.f - dt)
    return dict(h=f * torch.tanh(x.g + u.g) + (1 - f) * x_t)


@unrolled.cell(gates="a")
def that_counts_rows(x, u):
    return dict(h=torch.tanh(x.a + u.a) / len(x.a))


LAYERS = {
    "rnn": (unrolled.RNN, {}, "RNN"),
    "rnn relu": (unrolled.RNN, {"nonlinearity": "relu"}, "RNN"),
    "lstm": (unrolled.LSTM, {}, "LSTM"),
    "gru": (unrolled.GRU, {}, "GRU"),
    "gru reset before": (unrolled.GRU, {"reset": "before"}, "GRU"),
    "janet": (unrolled.JANET, {}, "Loop"),
    "projected": (unrolled.LSTM, {"proj_size": 2}, "Loop"),
    "float64": (unrolled.LSTM, {"dtype": torch.float64}, "Loop"),
    "own": (lambda *sizes, **how: unrolled.Recurrent(two_states, *sizes, **how), {}, "Loop"),
    "own, no product": (
        lambda *sizes, **how: unrolled.Recurrent(without_product, *sizes, **how),
        {},
        "Loop",
    ),
    "inputs": (
        lambda *sizes, **how: unrolled.Recurrent(with_inputs, *sizes, **how),
        {},
        "Loop",
    ),
    "x itself": (
        lambda size, _, **how: unrolled.Recurrent(
            with_x_itself, size, size, bidirectional=how["bidirectional"]
        ),
        {},
        "Loop",
    ),
    "heads": (
        lambda *sizes, **how: unrolled.Recurrent("group_gru", *sizes, heads=2, **how),
        {},
        "Loop",
    ),
    "heads of torch's cell": (
        lambda *sizes, **how: unrolled.Recurrent("lstm", *sizes, heads=2, **how),
        {},
        "Loop",
    ),
    "tcn": (unrolled.TCN, {}, "Conv"),
    "conv": (Conv, {}, "Conv"),
}


@pytest.fixture(autouse=True)
def _no_kernels():
    """What is compared is what comes out: there is no need to compile anything."""
    with using_path("reference"):
        yield


@pytest.fixture
def _as_others_export():
    """The first export of a process loads code of torch that warns of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


BOTH_WAYS = {"num_layers": 2, "bidirectional": True}


class Exported(nn.Module):
    """A layer with a state and lengths as plain tensors; inputs of a step are numbers of x."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, lengths, *states):
        given = iter(states)
        state = map_state(lambda _: next(given), self.layer.initial_state(1))
        names = self.layer.cell.inputs if isinstance(self.layer, unrolled.Recurrent) else ()
        inputs = {name: x[..., number] for number, name in enumerate(names)}
        output, after = self.layer(x, state, lengths=lengths, **inputs)
        return (output, *state_tensors(after))


def inputs_of(layer, num_steps: int, lengths: list[int]) -> list[Tensor]:
    """Input with NaN past every row's end, lengths, and a state."""
    batch_size, ends = len(lengths), torch.tensor(lengths)
    x = torch.randn(num_steps, batch_size, 3, dtype=next(layer.parameters()).dtype)
    x[torch.arange(num_steps)[:, None] >= ends] = torch.nan
    states = state_tensors(layer.initial_state(batch_size))
    return [x, ends, *map(torch.randn_like, states)]


def written(layer, file, *, dynamo: bool):
    """A file of the layer, with free numbers of steps and rows, and what it has as nodes."""
    inputs = inputs_of(layer, 7, [7, 0, 2])
    names = [f"in{number}" for number in range(len(inputs))]
    states = [{1: "batch"}] * (len(inputs) - 2)
    axes = [{0: "time", 1: "batch"}, {0: "batch"}, *states]
    how = {"dynamic_shapes": (axes[0], axes[1], tuple(states)), "verbose": False}
    if not dynamo:
        how = {"dynamic_axes": dict(zip(names, axes, strict=True))}
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of its own code
            torch.onnx.export(
                Exported(layer), tuple(inputs), str(file), input_names=names, dynamo=dynamo, **how
            )
    finally:
        logging.disable(logging.NOTSET)
    return {node.op_type for node in onnx.load(file).graph.node}


def assert_same_numbers(layer, file):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for num_steps, lengths in ((7, [7, 0, 2]), (12, [3, 12, 11, 0, 1]), (2, [2]), (1, [1, 0])):
        inputs = inputs_of(layer, num_steps, lengths)
        with torch.no_grad():
            expected = Exported(layer)(*inputs)
        arrays = {f"in{number}": each.numpy() for number, each in enumerate(inputs)}
        for got, right in zip(session.run(None, arrays), expected, strict=True):
            np.testing.assert_allclose(got, right.numpy(), atol=2e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_the_older_exporter_of_onnx_writes_a_layer(name, tmp_path):
    make, options, node = LAYERS[name]
    more = {"num_layers": 2} if node == "Conv" else BOTH_WAYS
    layer = make(3, 4, **more, **options).eval()
    assert node in written(layer, tmp_path / "layer.onnx", dynamo=False)
    assert_same_numbers(layer, tmp_path / "layer.onnx")


class Outputs(nn.Module):
    """A layer without a state, of which it makes one itself, for as many rows as there are."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("name", ["GRU", "LSTM", "RNN"])
def test_a_layer_without_a_state_is_written_for_any_number_of_rows(name, dynamo, tmp_path):
    model, file = Outputs(getattr(unrolled, name)(3, 4)).eval(), tmp_path / "layer.onnx"
    axes = {0: "time", 1: "batch"}
    how = {"dynamic_shapes": (axes,), "verbose": False} if dynamo else {"dynamic_axes": {"x": axes}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of its own code
        example = (torch.randn(7, 2, 3),)
        torch.onnx.export(model, example, str(file), input_names=["x"], dynamo=dynamo, **how)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    x = torch.randn(5, 4, 3)
    with torch.no_grad():
        np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], model(x), atol=2e-6)


class SeveralLayers(nn.Module):
    """One that ONNX has, and one that it has not."""

    batch_first = False

    def __init__(self):
        super().__init__()
        self.first = unrolled.GRU(3, 4, reset="before", bidirectional=True)
        self.second = unrolled.Recurrent(two_states, 8, 4, bidirectional=True, heads=2)

    def initial_state(self, batch_size):
        return (self.first.initial_state(batch_size), *self.second.initial_state(batch_size))

    def forward(self, x, state, lengths):
        output, first = self.first(x, state[0], lengths=lengths)
        output, second = self.second(output, state[1:], lengths=lengths)
        return output, (first, *second)


def test_the_exporter_of_onnx_writes_layers(tmp_path):
    layers = SeveralLayers()
    assert {"GRU", "Scan"} <= written(layers, tmp_path / "layers.onnx", dynamo=True)
    assert_same_numbers(layers, tmp_path / "layers.onnx")


def test_a_bare_layer_is_written_without_states_and_lengths(tmp_path):
    layer, file = unrolled.GRU(3, 4), str(tmp_path / "layer.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = torch.randn(5, 2, 3)
        torch.onnx.export(layer, (x,), file, dynamo=False, input_names=["x"])
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    output, _ = session.run(None, {"x": x.numpy()})
    np.testing.assert_allclose(output, layer(x)[0].detach().numpy(), atol=2e-6)


@pytest.mark.parametrize(
    ("cell", "error", "message"),
    [
        (of_bessel, torch.onnx.errors.UnsupportedOperatorError, "special_bessel_j0"),
        (that_counts_rows, OptionError, "depend on the number of rows"),
    ],
)
def test_a_cell_that_onnx_cannot_have_is_refused_by_name(cell, error, message, tmp_path, capsys):
    layer = unrolled.Recurrent(cell, 3, 4)
    with pytest.raises(error, match=message):
        written(layer, tmp_path / "layer.onnx", dynamo=False)
    assert not (tmp_path / "layer.onnx").exists()


@pytest.mark.usefixtures("_as_others_export")
@pytest.mark.parametrize("name", ["lstm", "own", "projected", "inputs", "x itself", "heads"])
def test_a_plain_program_has_no_operator_of_ours_and_the_same_numbers(name):
    make, options, _ = LAYERS[name]
    layer = make(3, 4, **BOTH_WAYS, **options)
    model, inputs = Exported(layer), inputs_of(layer, 7, [7, 0, 2])
    steps, rows = torch.export.Dim("T", min=2), torch.export.Dim("B", min=2)
    free = ({0: steps, 1: rows}, {0: rows}, tuple({1: rows} for _ in inputs[2:]))
    program = torch.export.export(model, tuple(inputs), dynamic_shapes=free)
    assert "unrolled" in str(program.graph)
    program = plain(program)
    assert "unrolled" not in str(program.graph)
    inputs = inputs_of(layer, 12, [3, 12, 11, 0])
    torch.testing.assert_close(program.module()(*inputs), model(*inputs))


@pytest.mark.usefixtures("_as_others_export")
def test_a_plain_program_of_padded_rows_has_gradients_without_their_padding():
    layer = unrolled.JANET(3, 4)
    model, inputs = Exported(layer), inputs_of(layer, 5, [5, 0, 2])
    module = plain(torch.export.export(model, tuple(inputs))).module()
    weights = [*layer.parameters()]
    expected = torch.autograd.grad(model(*inputs)[0].square().sum(), weights)
    module(*inputs)[0].square().sum().backward()
    got = [weight.grad for weight in module.parameters()]
    torch.testing.assert_close(got, list(expected))


def test_the_name_of_a_state_can_stand_in_the_code_of_aotinductor():
    """It writes the tree of outputs as a raw string of C++, which ends at `)"`."""
    _, state = unrolled.LSTM(3, 4)(torch.zeros(5, 2, 3))
    _, tree = torch.utils._pytree.tree_flatten(state)
    assert ')"' not in torch.utils._pytree.treespec_dumps(tree)
