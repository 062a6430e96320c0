"""The drop-in layers against torch.nn: outputs, states, gradients, weights, errors, defaults."""

import copy
import inspect
import pickle
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled
from unrolled.kernels import using_path

KINDS = {
    "RNN tanh": ("RNN", {}),
    "RNN relu": ("RNN", {"nonlinearity": "relu"}),
    "LSTM": ("LSTM", {}),
    "LSTM projected": ("LSTM", {"proj_size": 2}),
    "GRU": ("GRU", {}),
}
STEPS, ROWS, INPUT, HIDDEN = 5, 3, 4, 3
LENGTHS = torch.tensor([2, 5, 3])
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def pair(kind, dtype=torch.float64, **options):
    """Return torch's layer and ours with the same weights, and the options."""
    name, extra = KINDS[kind]
    theirs = getattr(torch.nn, name)(INPUT, HIDDEN, dtype=dtype, **extra, **options)
    ours = getattr(unrolled, name)(INPUT, HIDDEN, dtype=dtype, **extra, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def tensors_of(result):
    """Return all tensors of a layer's result, flat."""
    if isinstance(result, PackedSequence):
        return [result.data]
    if isinstance(result, torch.Tensor):
        return [result]
    return [tensor for part in result for tensor in tensors_of(part)]


def values_and_gradients(layer, x, hx):
    """Return output and states, then the gradients by the input, the states and all weights."""
    x = x.clone().requires_grad_()
    hx = None if hx is None else tuple(part.clone().requires_grad_() for part in hx)
    state = hx if hx is None or len(hx) > 1 else hx[0]
    given = layer.prepare(x) if hasattr(layer, "prepare") else x
    results = tensors_of(layer(given, state))
    weights = torch.linspace(-1.0, 1.0, sum(r.numel() for r in results), dtype=x.dtype)
    loss = torch.cat([r.reshape(-1) for r in results]) @ weights
    sources = [x, *(hx or ()), *layer.parameters()]
    return results + list(torch.autograd.grad(loss, sources))


def relative_error(got, expected):
    scale = expected.norm().item()
    return (got - expected).norm().item() / (scale if scale else 1.0)


@pytest.mark.parametrize("path", ["reference", "torch"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_equal_torch(kind, dtype, path):
    if path == "torch" and kind == "LSTM projected":
        pytest.skip("projections always take the reference")
    torch.manual_seed(0)
    options = product((1, 2), (True, False), (False, True), (False, True))
    forms = list(product(("batched", "unbatched", "packed"), (False, True)))
    for num_layers, bias, batch_first, bidirectional in options:
        theirs, ours = pair(
            kind,
            dtype,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            bidirectional=bidirectional,
        )
        for form, with_state in forms:
            if form == "packed" and path == "torch":
                continue  # ragged batches never take that path
            rows = () if form == "unbatched" else (ROWS,)
            shape = (STEPS, *rows, INPUT)
            if batch_first and rows:
                shape = (ROWS, STEPS, INPUT)
            x = torch.randn(shape, dtype=dtype)
            states = [HIDDEN, HIDDEN] if kind.startswith("LSTM") else [HIDDEN]
            if kind == "LSTM projected":
                states[0] = 2
            stacked = num_layers * (1 + bidirectional)
            hx = [torch.randn(stacked, *rows, width, dtype=dtype) for width in states]

            def prepare(x, form=form, batch_first=batch_first):
                if form != "packed":
                    return x
                return pack_padded_sequence(x, LENGTHS, batch_first, enforce_sorted=False)

            results = []
            for layer in (theirs, ours):
                layer.prepare = prepare
                with using_path(path):
                    results.append(values_and_gradients(layer, x, hx if with_state else None))
            for expected, got in zip(*results, strict=True):
                assert got.shape == expected.shape
                assert relative_error(got, expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_lengths_give_what_torch_gives_for_a_packed_sequence(kind, bidirectional):
    theirs, ours = pair(kind, num_layers=2, bidirectional=bidirectional)
    x = torch.randn(STEPS, ROWS, INPUT, dtype=torch.float64)
    packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    expected, *expected_state = tensors_of(theirs(packed))
    expected = torch.nn.utils.rnn.pad_packed_sequence(
        PackedSequence(expected, *packed[1:]), total_length=STEPS
    )[0]
    got, *got_state = tensors_of(ours(x, lengths=LENGTHS))
    for a, b in zip([got, *got_state], [expected, *expected_state], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_sequence_comes_back_with_the_order_it_had(kind):
    _, ours = pair(kind)
    x = torch.randn(STEPS, ROWS, INPUT, dtype=torch.float64)
    packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    output, _ = ours(packed)
    assert isinstance(output, PackedSequence)
    assert torch.equal(output.batch_sizes, packed.batch_sizes)
    assert torch.equal(output.unsorted_indices, packed.unsorted_indices)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_load_both_ways_and_start_alike(kind):
    name, extra = KINDS[kind]
    torch.manual_seed(3)
    theirs = getattr(torch.nn, name)(INPUT, HIDDEN, 2, bidirectional=True, **extra)
    torch.manual_seed(3)
    ours = getattr(unrolled, name)(INPUT, HIDDEN, 2, bidirectional=True, **extra)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    torch.nn.init.ones_(ours.weight_hh_l1_reverse)
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(theirs.weight_hh_l1_reverse, ours.weight_hh_l1_reverse)
    shapes = [[w.shape for w in row] for row in theirs.all_weights]
    assert [[w.shape for w in row] for row in ours.all_weights] == shapes


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_arguments_stand_in_the_places_that_torch_gives_them(name):
    values = [INPUT, HIDDEN, 2, False, True, 0.5, True]
    if name == "RNN":
        values.insert(3, "relu")
    if name == "LSTM":
        values.append(2)
    theirs = getattr(torch.nn, name)(*values, dtype=torch.float64)
    ours = getattr(unrolled, name)(*values, dtype=torch.float64)
    names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"]
    for attribute in [*names, "bidirectional", "proj_size"]:
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    assert ours.weight_ih_l0.dtype == torch.float64
    assert ours.mode == theirs.mode
    ours.flatten_parameters()
    call = inspect.signature(getattr(unrolled, name).forward).parameters
    assert list(call)[:3] == ["self", "input", "hx"]


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_dropout_between_layers_draws_the_numbers_that_torch_draws(name):
    theirs, ours = pair("RNN tanh" if name == "RNN" else name, num_layers=3, dropout=0.4)
    x = torch.randn(STEPS, ROWS, INPUT, dtype=torch.float64)
    torch.manual_seed(1)
    expected, _ = theirs(x)
    torch.manual_seed(1)
    got, _ = ours(x)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    assert not torch.allclose(got, ours.eval()(x)[0])


def test_dropout_with_one_layer_warns_where_the_layer_is_made():
    with pytest.warns(UserWarning, match="no effect with num_layers=1") as caught:
        unrolled.GRU(2, 3, dropout=0.5)
    assert caught[0].filename == __file__


WRONG_CONSTRUCTIONS = [
    {"input_size": 0},
    {"hidden_size": 0},
    {"hidden_size": 2.0},
    {"num_layers": 0},
    {"dropout": 1.5},
    {"dropout": True},
    {"dropout": np.bool_(True)},
    {"hidden_size": np.int64(3)},
    {"dropout": "half"},
    {"bias": "yes"},
    {"batch_first": 1},
]


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("wrong", WRONG_CONSTRUCTIONS, ids=str)
def test_wrong_constructor_arguments_raise_what_torch_raises(name, wrong):
    arguments = {"input_size": 2, "hidden_size": 3} | wrong
    with pytest.raises((TypeError, ValueError)) as theirs:
        getattr(torch.nn, name)(**arguments)
    with pytest.raises(theirs.type):
        getattr(unrolled, name)(**arguments)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_numbers_of_numpy_are_taken_where_torch_takes_them(name):
    options = {"num_layers": np.int64(2), "dropout": np.float32(0.25)}
    theirs = getattr(torch.nn, name)(INPUT, HIDDEN, **options)
    ours = getattr(unrolled, name)(INPUT, HIDDEN, **options)
    assert ours.dropout == theirs.dropout
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_of_the_weights_are_found_where_torch_keeps_them(kind):
    theirs, ours = pair(kind, num_layers=2, bidirectional=True)
    assert ours.mode == theirs.mode
    assert ours._flat_weights_names == theirs._flat_weights_names
    for name, weight in zip(ours._flat_weights_names, ours._flat_weights, strict=True):
        assert weight is getattr(ours, name)
    ours.weight_hh_l1 = torch.nn.Parameter(torch.ones_like(ours.weight_hh_l1))
    assert any(weight is ours.weight_hh_l1 for weight in ours._flat_weights)


def test_weights_cannot_be_replaced_where_the_layer_would_not_see_it():
    layer = unrolled.LSTM(2, 3)
    with pytest.raises(TypeError):
        layer._flat_weights[0] = torch.zeros(12, 2)
    with pytest.raises(AttributeError):
        layer._flat_weights = [torch.zeros(12, 2)]


def test_the_mode_of_the_other_gru_is_none_of_torch():
    assert unrolled.GRU(2, 3, reset="before").mode == "GRU_RESET_BEFORE"


@pytest.mark.parametrize("wrong", [{"proj_size": 3}, {"proj_size": -1}])
def test_wrong_projections_raise(wrong):
    with pytest.raises(ValueError, match="proj_size"):
        unrolled.LSTM(2, 3, **wrong)
    with pytest.raises(ValueError, match="nonlinearity"):
        unrolled.RNN(2, 3, nonlinearity="sigmoid")
    with pytest.raises(ValueError, match="reset"):
        unrolled.GRU(2, 3, reset="never")


f64 = torch.float64
WRONG_CALLS = {
    "1-D input": lambda s: (torch.zeros(INPUT, dtype=f64),),
    "4-D input": lambda s: (torch.zeros(1, STEPS, ROWS, INPUT, dtype=f64),),
    "features": lambda s: (torch.zeros(STEPS, ROWS, INPUT + 1, dtype=f64),),
    "dtype": lambda s: (torch.zeros(STEPS, ROWS, INPUT),),
    "no steps": lambda s: (torch.zeros(0, ROWS, INPUT, dtype=f64),),
    "state rows": lambda s: (torch.zeros(STEPS, ROWS, INPUT, dtype=f64), s(1, ROWS + 1, HIDDEN)),
    "state width": lambda s: (torch.zeros(STEPS, ROWS, INPUT, dtype=f64), s(1, ROWS, 1)),
    "state layers": lambda s: (torch.zeros(STEPS, ROWS, INPUT, dtype=f64), s(2, ROWS, HIDDEN)),
    "2-D state": lambda s: (torch.zeros(STEPS, ROWS, INPUT, dtype=f64), s(ROWS, HIDDEN)),
    "3-D state": lambda s: (torch.zeros(STEPS, INPUT, dtype=f64), s(1, 1, HIDDEN)),
}


@pytest.mark.parametrize("kind", ["RNN tanh", "LSTM", "GRU"])
@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_wrong_calls_raise_what_torch_raises(kind, wrong):
    theirs, ours = pair(kind)

    def state(*shape):
        parts = tuple(torch.zeros(shape, dtype=f64) for _ in range(2))
        return parts if kind == "LSTM" else parts[0]

    arguments = WRONG_CALLS[wrong](state)
    with pytest.raises((RuntimeError, ValueError)) as expected:
        theirs(*arguments)
    with pytest.raises(expected.type) as got:
        ours(*arguments)
    assert str(got.value).startswith(type(ours).__name__)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles_compute_the_same(kind):
    _, ours = pair(kind, num_layers=2)
    x = torch.randn(STEPS, ROWS, INPUT, dtype=torch.float64)
    expected, state = ours(x)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert torch.equal(twin(x)[0], expected)
    again = pickle.loads(pickle.dumps(state))
    assert type(again) is type(state)


def test_state_is_named_and_unpacks_as_a_pair():
    output, state = unrolled.LSTM(INPUT, HIDDEN)(torch.zeros(STEPS, ROWS, INPUT))
    h, c = state
    assert h is state.h
    assert c is state.c
    assert torch.equal(output[-1:], h)
    assert "h=" in repr(state)


def test_weights_replaced_by_a_functional_call_or_a_parametrisation_are_used():
    _, ours = pair("GRU")
    x = torch.randn(STEPS, ROWS, INPUT, dtype=torch.float64)
    zeros = {name: torch.zeros_like(w) for name, w in ours.named_parameters()}
    output, _ = torch.func.functional_call(ours, zeros, (x,))
    assert not output.any()
    torch.nn.utils.parametrizations.weight_norm(ours, "weight_hh_l0")
    before, _ = ours(x)
    with torch.no_grad():
        ours.parametrizations.weight_hh_l0.original0.mul_(2.0)
    assert not torch.equal(ours(x)[0], before)


class Counted(torch.nn.Module):
    """A parametrisation that counts how often it is computed."""

    calls = 0

    def forward(self, weight):
        self.calls += 1
        return weight


@pytest.mark.parametrize("with_state", [False, True])
def test_a_parametrised_weight_is_computed_once_a_call(with_state):
    """Spectral normalisation takes a step of its power iteration each time."""
    layer, x = unrolled.LSTM(INPUT, HIDDEN, 2), torch.randn(STEPS, ROWS, INPUT)
    hx = layer.initial_state(ROWS) if with_state else None
    counts = [Counted() for _ in layer.state_dict()]
    for name, count in zip(list(layer.state_dict()), counts, strict=True):
        torch.nn.utils.parametrize.register_parametrization(layer, name, count)
        count.calls = 0
    layer(x, hx)
    assert [count.calls for count in counts] == [1] * len(counts)


def test_a_layer_without_one_of_its_weights_does_not_run():
    layer = unrolled.GRU(INPUT, HIDDEN)
    del layer.bias_ih_l0
    with pytest.raises(AttributeError, match="bias_ih_l0"):
        layer(torch.randn(STEPS, ROWS, INPUT))
