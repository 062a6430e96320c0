"""torch.compile and torch.export trace every layer whole, for any number of steps and rows."""

import io

import pytest
import torch
from torch import Tensor

import unrolled
from unrolled.layers import map_state, state_tensors
from unrolled.networks.memoryless import Conv, Dense

CONVOLUTIONS = {
    "tcn": lambda: unrolled.TCN(3, 4, 2),
    "tcn batch first": lambda: unrolled.TCN(3, 4, 2, batch_first=True),
    "conv": lambda: Conv(3, 4),
    "dense": lambda: Dense(3, 4),
}
RECURRENT = {
    "rnn": lambda: unrolled.RNN(3, 4, 2),
    "lstm": lambda: unrolled.LSTM(3, 4, 2),
    "gru batch first": lambda: unrolled.GRU(3, 4, batch_first=True),
    "janet": lambda: unrolled.JANET(3, 4, 2, dropout=0.5).eval(),
    "bidirectional": lambda: unrolled.LSTM(3, 4, bidirectional=True),
}
LAYERS = CONVOLUTIONS | RECURRENT
every_layer = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture(autouse=True)
def compile_anew():
    torch._dynamo.reset()


def assert_same(got, expected):
    assert type(got[1]) is type(expected[1])
    for a, b in zip(
        [got[0], *state_tensors(got[1])], [expected[0], *state_tensors(expected[1])], strict=True
    ):
        torch.testing.assert_close(a, b)


def batches(*sizes: tuple[int, int]) -> list[Tensor]:
    return [torch.randn(*size, 3) for size in sizes]


def loss(result) -> Tensor:
    return sum(part.square().sum() for part in [result[0], *state_tensors(result[1])])


@every_layer
def test_a_layer_compiles_without_a_break_and_takes_its_state_back(name):
    layer, (x,) = LAYERS[name](), batches((5, 4))
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    with torch.no_grad():
        first = compiled(x)
        assert_same(first, layer(x))
        assert_same(compiled(x, first[1]), layer(x, first[1]))


@every_layer
def test_a_compiled_layer_trains(name):
    layer, (x,) = LAYERS[name](), batches((5, 4))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    weights = list(layer.parameters())
    got = torch.autograd.grad(loss(compiled(x)), weights)
    torch.testing.assert_close(got, torch.autograd.grad(loss(layer(x)), weights))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_compiles_with_lengths_that_are_known_later(name):
    layer, (x,) = LAYERS[name](), batches((4, 4))
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    for lengths in ([3, 0, 1, 4], [4, 4, 4, 4]):
        lengths = torch.tensor(lengths)
        assert_same(compiled(x, lengths=lengths), layer(x, lengths=lengths))
    with pytest.raises(RuntimeError, match=r"lengths must lie in 0\.\.T"):
        compiled(x, lengths=torch.tensor([3, 0, 1, 5]))


@every_layer
def test_one_graph_serves_any_number_of_steps_and_rows(name):
    layer = LAYERS[name]()
    compiled = torch.compile(layer, fullgraph=True, backend="eager", dynamic=True)
    counters = torch._dynamo.utils.counters
    counters.clear()
    for x in batches((7, 4), (9, 5), (4, 3), (11, 6)):
        assert_same(compiled(x), layer(x))
    assert counters["stats"]["unique_graphs"] == 1


@every_layer
def test_a_layer_is_exported_for_any_number_of_steps_and_rows(name):
    layer = LAYERS[name]()
    any_steps, any_rows = torch.export.Dim("T", min=2, max=99), torch.export.Dim("B", min=2, max=99)
    steps_dim = 1 if layer.batch_first else 0
    free = {steps_dim: any_steps, 1 - steps_dim: any_rows}
    x, other = batches((5, 4), (9, 3))
    program = torch.export.export(layer, (x,), dynamic_shapes=(free,))
    assert_same(program.module()(x), layer(x))
    assert_same(program.module()(other), layer(other))


@every_layer
def test_an_exported_layer_takes_a_state_and_is_saved(name):
    layer, (x,) = LAYERS[name](), batches((5, 4))
    file = io.BytesIO()
    with torch.no_grad():
        _, state = layer(x)
        state = state if isinstance(state, Tensor) else tuple(state)
        torch.export.save(torch.export.export(layer, (x, state)), file)
        file.seek(0)
        got, expected = torch.export.load(file).module()(x, state), layer(x, state)
    torch.testing.assert_close(got[0], expected[0])
    torch.testing.assert_close(state_tensors(got[1]), state_tensors(expected[1]))


@every_layer
def test_a_layer_on_the_meta_device_gives_the_shapes(name):
    layer, (x,) = LAYERS[name](), batches((5, 4))
    expected, after = layer(x)
    before = map_state(lambda part: part.to("meta"), after)
    output, state = layer.to("meta")(x.to("meta"), before)
    shapes = [part.shape for part in (expected, *state_tensors(after))]
    assert [part.shape for part in (output, *state_tensors(state))] == shapes
    assert output.device.type == "meta"
