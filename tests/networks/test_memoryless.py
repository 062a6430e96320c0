"""The memoryless controls against their definition, and what a sequence layer promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from unrolled.errors import OptionError, ShapeError
from unrolled.networks.memoryless import Conv, Dense

DOUBLE = torch.float64
Layer = Dense | Conv


def with_lively_weights(layer: Layer) -> Layer:
    """Redraw all weights large enough that nothing drowns in rounding."""
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.7)
    return layer


@st.composite
def cases(draw) -> tuple[Layer, Tensor]:
    """A small Dense or Conv in float64 and an input for it, (T, B, I)."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    input_size, hidden_size, num_layers, batch_size = (draw(st.integers(1, 3)) for _ in range(4))
    if draw(st.booleans()):
        layer = Dense(input_size, hidden_size, num_layers, dtype=DOUBLE)
    else:
        layer = Conv(input_size, hidden_size, num_layers, draw(st.integers(1, 4)), dtype=DOUBLE)
    x = torch.randn(draw(st.integers(1, 8)), batch_size, input_size, dtype=DOUBLE)
    return with_lively_weights(layer), x


def draw_lengths(data, x: Tensor) -> Tensor:
    one = st.integers(0, len(x))
    return torch.tensor(data.draw(st.lists(one, min_size=x.shape[1], max_size=x.shape[1])))


def assert_same(actual, expected) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


def first_layer_by_definition(layer: Layer, x: Tensor) -> Tensor:
    """b + sum over j of W_j x_{t - (k - 1 - j)}, x before the start being zero."""
    if isinstance(layer, Dense):
        return x @ layer.network[0].weight.T + layer.network[0].bias
    y = torch.empty(*x.shape[:2], layer.output_size, dtype=x.dtype)
    kernel_size = layer.conv.weight.shape[2]
    for t in range(len(x)):
        y[t] = layer.conv.bias
        for j in range(kernel_size):
            if (past := t - (kernel_size - 1 - j)) >= 0:
                y[t] += x[past] @ layer.conv.weight[:, :, j].T
    return y


@given(cases())
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_output_is_that_of_the_definition(case):
    layer, x = case
    y = first_layer_by_definition(layer, x).clamp(min=0)
    further = [module for module in layer.network if isinstance(module, nn.Linear)]
    for linear in further[isinstance(layer, Dense) :]:
        y = (y @ linear.weight.T + linear.bias).clamp(min=0)
    assert_same(layer(x)[0], y)


@pytest.mark.parametrize("layer", [Dense(2, 3, 2), Conv(2, 3, 2, kernel_size=3)])
def test_gradients_are_those_of_finite_differences(layer):
    layer = with_lively_weights(layer.double())
    x = torch.randn(4, 2, 2, dtype=DOUBLE, requires_grad=True)
    state = tuple(torch.randn_like(part).requires_grad_() for part in layer.initial_state(2))

    def run(x, *state):
        output, end = layer(x, state, lengths=[4, 1])
        return output, *end

    assert torch.autograd.gradcheck(run, (x, *state))


@given(cases(), st.data())
@settings(max_examples=25, deadline=None)
def test_a_ragged_batch_cut_in_two_gives_each_row_run_alone(case, data):
    layer, x = case
    lengths = draw_lengths(data, x)
    cut = data.draw(st.integers(1, len(x)))
    output, state = layer(x[:cut], lengths=lengths.clamp(max=cut))
    if cut < len(x):
        second, state = layer(x[cut:], state, lengths=(lengths - cut).clamp(min=0))
        output = torch.cat([output, second])
    for row, length in enumerate(lengths.tolist()):
        alone = slice(row, row + 1)
        assert not output[length:, row].any()
        if length:
            own_output, own_state = layer(x[:length, alone])
            assert_same(output[:length, alone], own_output)
            assert_same(tuple(part[:, alone] for part in state), own_state)


@given(cases(), st.data())
@settings(max_examples=25, deadline=None)
def test_padding_is_never_read(case, data):
    layer, x = case
    lengths = draw_lengths(data, x)
    padding = (torch.arange(len(x))[:, None] >= lengths)[:, :, None]
    results = []
    for value in (0.0, float("nan")):
        output, state = layer(x.masked_fill(padding, value), lengths=lengths)
        grads = torch.autograd.grad(output.square().sum(), list(layer.parameters()))
        results.append((output, state, grads))
    torch.testing.assert_close(*results, rtol=0, atol=0)


@given(cases())
@settings(max_examples=25, deadline=None)
def test_a_stream_gives_the_whole(case):
    layer, x = case
    stream = layer.stream(x.shape[1])
    assert_same(torch.stack([stream.step(step) for step in x]), layer(x)[0].detach())


def test_dense_sees_the_current_input_alone():
    dense = with_lively_weights(Dense(2, 8, num_layers=2))
    x = torch.randn(6, 1, 2)
    assert dense.receptive_field == 1
    assert dense.initial_state(1) == ()
    torch.testing.assert_close(dense(x)[0][3:], dense(x[3:])[0])


@pytest.mark.parametrize("kernel_size", [1, 2, 5])
def test_conv_sees_exactly_its_window(kernel_size):
    conv = Conv(1, 2, num_layers=2, kernel_size=kernel_size)
    for parameter in conv.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)  # positive, so that no ReLU hides a change
    assert conv.receptive_field == kernel_size
    assert [tuple(part.shape) for part in conv.initial_state(4)] == [(kernel_size - 1, 4, 1)]
    x = torch.rand(kernel_size + 1, 1, 1)
    for steps_back, seen in ((kernel_size - 1, True), (kernel_size, False)):
        changed = x.clone()
        changed[-1 - steps_back] += 1.0
        assert torch.equal(conv(changed)[0][-1], conv(x)[0][-1]) != seen


@pytest.mark.parametrize("kind", [Dense, Conv])
def test_batch_first_swaps_the_first_two_dims(kind):
    layer, swapped = kind(2, 3, num_layers=2), kind(2, 3, num_layers=2, batch_first=True)
    swapped.load_state_dict(layer.state_dict())
    x = torch.randn(7, 4, 2)
    output, state = layer(x)
    swapped_output, swapped_state = swapped(x.transpose(0, 1))
    torch.testing.assert_close(swapped_output, output.transpose(0, 1))
    torch.testing.assert_close(swapped_state, state)


@pytest.mark.parametrize("kind", [Dense, Conv])
def test_dropout_acts_between_layers_in_training_only(kind):
    x = torch.randn(20, 4, 2)
    layer = with_lively_weights(kind(2, 8, num_layers=2, dropout=1.0))
    last_bias = layer.network[-2].bias  # all that is left where the layer before is dropped
    assert torch.equal(layer(x)[0], last_bias.relu().expand(20, 4, 8))
    without = kind(2, 8, num_layers=2)
    without.load_state_dict(layer.state_dict())
    assert torch.equal(layer.eval()(x)[0], without(x)[0])
    one = kind(2, 8, num_layers=1, dropout=1.0)
    assert torch.equal(one(x)[0], one.eval()(x)[0])


@pytest.mark.parametrize("kind", [Dense, Conv])
def test_device_and_dtype_are_those_of_all_parameters(kind):
    layer = kind(2, 3, num_layers=2, device="meta", dtype=torch.bfloat16)
    assert {(p.is_meta, p.dtype) for p in layer.parameters()} == {(True, torch.bfloat16)}


@pytest.mark.parametrize("kind", [Dense, Conv])
@pytest.mark.parametrize(
    ("option", "value"),
    [("input_size", 0), ("hidden_size", 0), ("num_layers", 0), ("dropout", 2.0)],
)
def test_an_option_out_of_its_range_is_refused_by_name(kind, option, value):
    options = {"input_size": 2, "hidden_size": 3} | {option: value}
    with pytest.raises(OptionError, match=f"{kind.__name__}: {option} must be .*, got {value}"):
        kind(**options)


def test_a_kernel_of_no_step_is_refused():
    with pytest.raises(OptionError, match="Conv: kernel_size must be at least 1, got 0"):
        Conv(2, 3, kernel_size=0)


@pytest.mark.parametrize("kind", [Dense, Conv])
def test_an_input_that_does_not_fit_is_refused(kind):
    with pytest.raises(ShapeError, match=f"{kind.__name__}: input must be"):
        kind(2, 3)(torch.zeros(5, 4, 3))
