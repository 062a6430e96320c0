"""The temporal convolutional network against its definition, and what a sequence layer promises."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from unrolled.errors import OptionError, ShapeError
from unrolled.layers import TCN

DOUBLE = torch.float64


def with_lively_weights(layer: nn.Module) -> nn.Module:
    """Redraw all weights large enough that nothing drowns in rounding."""
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.7)
    return layer


@st.composite
def cases(draw) -> tuple[TCN, Tensor]:
    """A small TCN in float64 and an input for it, (T, B, I)."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    input_size, hidden_size, batch_size = (draw(st.integers(1, 3)) for _ in range(3))
    num_layers, kernel_size = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    tcn = TCN(input_size, hidden_size, num_layers, kernel_size, dtype=DOUBLE)
    x = torch.randn(draw(st.integers(1, 9)), batch_size, input_size, dtype=DOUBLE)
    return with_lively_weights(tcn), x


def draw_lengths(data, x: Tensor) -> Tensor:
    num_steps, batch_size = x.shape[:2]
    one = st.integers(0, num_steps)
    return torch.tensor(data.draw(st.lists(one, min_size=batch_size, max_size=batch_size)))


def assert_same(actual, expected) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


def gradients(tcn: TCN, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(tcn.parameters())))


# ---- the definition -------------------------------------------------------------------------


def convolve_by_definition(conv: nn.Conv1d, x: np.ndarray) -> np.ndarray:
    """y[t] = b + sum over j of W[j] x[t - (k - 1 - j) d], x before the start being zero."""
    if hasattr(conv, "parametrizations"):
        g = conv.parametrizations.weight.original0.detach().numpy()
        v = conv.parametrizations.weight.original1.detach().numpy()
        weight = g * v / np.sqrt((v**2).sum(axis=(1, 2), keepdims=True))
    else:
        weight = conv.weight.detach().numpy()
    (k,), (d,) = conv.kernel_size, conv.dilation
    y = np.empty((*x.shape[:2], weight.shape[0]))
    for t in range(len(x)):
        y[t] = conv.bias.detach().numpy()
        for j in range(k):
            if (past := t - (k - 1 - j) * d) >= 0:
                y[t] += x[past] @ weight[:, :, j].T
    return y


def run_by_definition(tcn: TCN, x: np.ndarray) -> np.ndarray:
    for block in tcn.blocks:
        a = np.maximum(convolve_by_definition(block.conv1, x), 0)
        b = np.maximum(convolve_by_definition(block.conv2, a), 0)
        same = isinstance(block.shortcut, nn.Identity)
        x = np.maximum(b + (x if same else convolve_by_definition(block.shortcut, x)), 0)
    return x


@given(cases())
@settings(max_examples=25, deadline=None)
def test_output_is_that_of_the_definition(case):
    tcn, x = case
    assert_same(tcn(x)[0].detach(), torch.from_numpy(run_by_definition(tcn, x.numpy())))


def test_float32_output_is_that_of_the_definition_in_float64():
    tcn = with_lively_weights(TCN(3, 8, num_layers=3, kernel_size=3))
    x = torch.randn(40, 4, 3)
    expected = run_by_definition(copy.deepcopy(tcn).double(), x.double().numpy())
    error = tcn(x)[0].detach().double().numpy() - expected
    assert np.linalg.norm(error) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("sizes", "output_size", "expected"),
    # The models of the official code for the adding problem, and for digits pixel by pixel.
    [((2, 30, 8, 7), 1, 96_001), ((2, 24, 8, 8), 1, 70_369), ((1, 25, 8, 7), 10, 66_910)],
)
def test_number_of_parameters_is_that_of_the_official_code(sizes, output_size, expected):
    tcn = TCN(*sizes)
    model = nn.Sequential(tcn, nn.Linear(tcn.output_size, output_size))
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_initial_weights_are_those_that_the_official_code_starts_from():
    torch.manual_seed(0)
    tcn = TCN(40, 60, num_layers=2, kernel_size=5)
    assert tcn.blocks[0].shortcut.weight.std().item() == pytest.approx(0.01, rel=0.05)
    for block in tcn.blocks:
        for convolution in (block.conv1, block.conv2):
            bound = 1 / math.sqrt(convolution.in_channels * 5)  # torch's U(-bound, bound)
            weight = convolution.weight.detach()
            assert weight.abs().max() <= bound
            assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    tcn = with_lively_weights(TCN(2, 3, num_layers=2, kernel_size=2, dtype=DOUBLE))
    x = torch.randn(4, 2, 2, dtype=DOUBLE, requires_grad=True)
    state = tuple(torch.randn_like(part).requires_grad_() for part in tcn.initial_state(2))
    names = [name for name, _ in tcn.named_parameters()]

    def run(x, *rest):
        named = dict(zip(names, rest[len(state) :], strict=True))
        arguments = (x, rest[: len(state)])
        options = {"lengths": torch.tensor([4, 1])}
        output, end = torch.func.functional_call(tcn, named, arguments, options)
        return output, *end

    assert torch.autograd.gradcheck(run, (x, *state, *tcn.parameters()))


# ---- what every sequence layer promises -----------------------------------------------------


@given(cases(), st.data())
@settings(max_examples=25, deadline=None)
def test_later_inputs_change_no_earlier_output(case, data):
    tcn, x = case
    cut = data.draw(st.integers(0, len(x)))
    changed = torch.cat([x[:cut], torch.randn_like(x[cut:])])
    assert_same(tcn(changed)[0][:cut], tcn(x)[0][:cut])


@given(cases(), st.data())
@settings(max_examples=25, deadline=None)
def test_any_cut_gives_the_whole(case, data):
    tcn, x = case
    cuts = sorted(data.draw(st.lists(st.integers(1, len(x)), max_size=3, unique=True)))
    whole, end = tcn(x)
    pieces, state = [], None
    for piece in x.tensor_split(cuts):
        if len(piece):
            output, state = tcn(piece, state)
            pieces.append(output)
    assert_same(torch.cat(pieces), whole)
    assert_same(state, end)


@given(cases(), st.data())
@settings(max_examples=25, deadline=None)
def test_a_ragged_batch_cut_in_two_gives_the_whole(case, data):
    tcn, x = case
    lengths = draw_lengths(data, x)
    cut = data.draw(st.integers(1, len(x)))
    whole, end = tcn(x, lengths=lengths)
    first, state = tcn(x[:cut], lengths=lengths.clamp(max=cut))
    if cut < len(x):
        second, state = tcn(x[cut:], state, lengths=(lengths - cut).clamp(min=0))
        first = torch.cat([first, second])
    assert_same(first, whole)
    assert_same(state, end)


@given(cases(), st.data())
@settings(max_examples=25, deadline=None)
def test_a_row_of_a_ragged_batch_is_the_row_run_alone(case, data):
    tcn, x = case
    lengths = draw_lengths(data, x)
    start = tuple(torch.randn_like(part) for part in tcn.initial_state(x.shape[1]))
    output, end = tcn(x, start, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = slice(row, row + 1)
        own_output, own_end = x[:0, alone], tuple(part[:, alone] for part in start)
        if length:
            own_output, own_end = tcn(x[:length, alone], own_end)
            assert_same(output[:length, alone], own_output)
        assert not output[length:, row].any()
        assert_same(tuple(part[:, alone] for part in end), own_end)


@given(cases(), st.data())
@settings(max_examples=25, deadline=None)
def test_padding_is_never_read(case, data):
    tcn, x = case
    lengths = draw_lengths(data, x)
    padding = (torch.arange(len(x))[:, None] >= lengths)[:, :, None]
    results = []
    for value in (0.0, float("nan")):
        filled = x.masked_fill(padding, value).requires_grad_()
        output, state = tcn(filled, lengths=lengths)
        loss = output.square().sum() + sum(part.square().sum() for part in state)
        inputs = [filled, *tcn.parameters()]
        grads = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
        assert not grads[0].masked_select(padding).any()
        results.append((output, state, grads))
    with_zeros, with_nans = results
    torch.testing.assert_close(with_nans, with_zeros, rtol=0, atol=0)


@given(cases(), st.data())
@settings(max_examples=25, deadline=None)
def test_a_stream_gives_the_whole_and_a_reset_row_starts_anew(case, data):
    tcn, x = case
    stream = tcn.stream(x.shape[1])
    cut = data.draw(st.integers(0, len(x) - 1))
    outputs = [stream.step(step) for step in x[:cut]] + list(stream.push(x[cut:]))
    whole = tcn(x)[0].detach()
    assert_same(torch.stack(outputs), whole)
    row = data.draw(st.integers(0, x.shape[1] - 1))
    stream.reset([row])
    assert_same(stream.push(x)[:, row], whole[:, row])


def test_a_state_in_use_carries_the_gradient_to_the_earlier_inputs():
    tcn = with_lively_weights(TCN(2, 3, num_layers=2, kernel_size=3, dtype=DOUBLE))
    x = torch.randn(8, 2, 2, dtype=DOUBLE)
    whole = gradients(tcn, tcn(x)[0].square().sum())
    first, state = tcn(x[:3])
    second, _ = tcn(x[3:], state)
    assert_same(gradients(tcn, first.square().sum() + second.square().sum()), whole)


# ---- the memory -----------------------------------------------------------------------------


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_receptive_field_is_exact(kernel_size, num_layers):
    tcn = TCN(1, 2, num_layers, kernel_size, dtype=DOUBLE)
    for parameter in tcn.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)  # positive, so that no ReLU hides a change
    field = tcn.receptive_field
    assert field == 1 + 2 * (kernel_size - 1) * (2**num_layers - 1)
    x = torch.rand(field + 1, 1, 1, dtype=DOUBLE)
    last = tcn(x)[0][-1]
    for steps_back, seen in ((field - 1, True), (field, False)):
        changed = x.clone()
        changed[-1 - steps_back] += 1.0
        assert torch.equal(tcn(changed)[0][-1], last) != seen


def test_state_is_the_inputs_still_needed_and_nothing_more():
    tcn = TCN(2, 5, num_layers=3, kernel_size=3)
    _, state = tcn(torch.randn(50, 4, 2))
    spans = [2, 2, 4, 4, 8, 8]
    channels = [2, 5, 5, 5, 5, 5]
    assert [tuple(s.shape) for s in state] == [
        (n, 4, c) for n, c in zip(spans, channels, strict=True)
    ]
    for part in state:
        assert part.untyped_storage().nbytes() == part.numel() * part.element_size()


def test_kernel_size_one_remembers_nothing():
    tcn = with_lively_weights(TCN(2, 3, num_layers=2, kernel_size=1, dtype=DOUBLE))
    x = torch.randn(6, 2, 2, dtype=DOUBLE)
    output, state = tcn(x, lengths=[6, 4])
    assert tcn.receptive_field == 1
    assert [part.numel() for part in state] == [0, 0, 0, 0]
    assert_same(output[5:, :1], tcn(x[5:, :1])[0])


# ---- layouts and options --------------------------------------------------------------------


def test_batch_first_swaps_the_first_two_dims_of_input_and_output_only():
    tcn = with_lively_weights(TCN(2, 3, num_layers=2, kernel_size=3, dtype=DOUBLE))
    swapped = TCN(2, 3, num_layers=2, kernel_size=3, batch_first=True, dtype=DOUBLE)
    swapped.load_state_dict(tcn.state_dict())
    x = torch.randn(7, 4, 2, dtype=DOUBLE)
    output, state = tcn(x, lengths=[7, 0, 3, 5])
    swapped_output, swapped_state = swapped(x.transpose(0, 1), lengths=[7, 0, 3, 5])
    assert_same(swapped_output, output.transpose(0, 1))
    assert_same(swapped_state, state)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_sequence_without_a_batch_is_a_batch_of_one_without_its_dim(batch_first):
    tcn = TCN(2, 3, num_layers=2, kernel_size=3, batch_first=batch_first, dtype=DOUBLE)
    batch_dim = 0 if batch_first else 1
    x = torch.randn(7, 2, dtype=DOUBLE)
    first, state = tcn(x[:4])
    second, state = tcn(x[4:], state)
    whole, end = tcn(x.unsqueeze(batch_dim))
    assert_same(torch.cat([first, second]), whole.squeeze(batch_dim))
    assert_same(state, tuple(part.squeeze(1) for part in end))
    assert_same(tcn(x, lengths=torch.tensor(4))[1], tcn(x[:4])[1])


def test_dropout_follows_each_convolution_in_training_only():
    torch.manual_seed(0)
    tcn = TCN(1, 1, kernel_size=1, dropout=0.5)
    for name, parameter in tcn.named_parameters():
        nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
    x = torch.ones(2000, 1, 1)
    # A convolution doubles what it keeps: 1 + 1 * 2 * 2 where neither of the two dropped it.
    kept = tcn(x)[0] == 5
    assert torch.equal(tcn.eval()(x)[0], torch.full_like(x, 2.0))
    assert kept.double().mean().item() == pytest.approx(0.25, abs=0.05)
    assert kept.any()


def test_all_dropped_leaves_the_shortcut():
    tcn = TCN(3, 3, dropout=1.0)
    x = torch.randn(5, 2, 3)
    assert torch.equal(tcn(x)[0], x.relu())


def test_device_and_dtype_are_those_of_parameters_and_state():
    tcn = TCN(2, 3, device="meta", dtype=torch.bfloat16)
    for tensor in (*tcn.parameters(), *tcn.initial_state(2)):
        assert tensor.is_meta
        assert tensor.dtype == torch.bfloat16


def test_repr_shows_the_arguments():
    shown = "2, 3, num_layers=4, kernel_size=5, dropout=0.1, batch_first=True"
    assert shown in repr(TCN(2, 3, 4, 5, 0.1, True))


# ---- wrong input ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers", "kernel_size"])
def test_a_size_below_one_is_refused_by_name(name):
    sizes = {"input_size": 2, "hidden_size": 3} | {name: 0}
    with pytest.raises(OptionError, match=f"TCN: {name} must be at least 1, got 0"):
        TCN(**sizes)


@pytest.mark.parametrize("dropout", [-0.1, 1.1, float("nan")])
def test_a_dropout_that_is_no_probability_is_refused(dropout):
    with pytest.raises(OptionError, match=f"TCN: dropout .* got {dropout}"):
        TCN(2, 3, dropout=dropout)


@pytest.mark.parametrize(
    "shape", [(), (2,), (5, 3), (5, 4, 3), (0, 4, 2), (0, 2), (1, 5, 4, 2)], ids=str
)
def test_an_input_of_a_wrong_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"TCN: input must be \(T, B, 2\) or \(T, 2\), got \("):
        TCN(2, 3)(torch.zeros(shape))


def test_an_input_of_another_dtype_is_refused():
    with pytest.raises(ShapeError, match=r"input is torch.float64, the weights are torch.float32"):
        TCN(2, 3)(torch.zeros(5, 4, 2, dtype=DOUBLE))


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ((), r"hx must hold 2 states \(0, 1\), got 0"),
        (torch.zeros(1, 4, 2), r"hx must hold 2 states \(0, 1\), got 1"),
        ((torch.zeros(1, 4, 2), torch.zeros(1, 5, 3)), r"state 1 must be \(1, 4, 3\), got"),
        ((torch.zeros(1, 2), torch.zeros(1, 3)), r"state 0 must be \(1, 4, 2\), got \(1, 2\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(state, complaint):
    with pytest.raises(ShapeError, match=f"TCN: {complaint}"):
        TCN(2, 3)(torch.zeros(5, 4, 2), state)


@pytest.mark.parametrize(
    "lengths", [[5, 5], [5, 5, 5, 6], [-1, 5, 5, 5], [1.0, 2.0, 3.0, 4.0]], ids=str
)
def test_lengths_that_do_not_fit_are_refused(lengths):
    with pytest.raises(ShapeError, match="TCN: lengths must"):
        TCN(2, 3)(torch.zeros(5, 4, 2), lengths=torch.tensor(lengths))
