"""An accelerated layer gives torch's numbers: results, gradients, and errors in torch's words."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence
from torch.utils._pytree import tree_leaves, tree_map

import unrolled
from unrolled.acceleration import sequences, steps
from unrolled.acceleration.sequences import read_sequences
from unrolled.acceleration.steps import read_step

LAYERS = [nn.RNN, nn.LSTM, nn.GRU]
CELLS = [nn.RNNCell, nn.LSTMCell, nn.GRUCell]
FORMS = {
    "plain": {},
    "no bias": {"bias": False},
    "stack, batch first": {"num_layers": 3, "batch_first": True},
    "both ways": {"bidirectional": True, "num_layers": 2},
}


@pytest.fixture(autouse=True)
def kernels_wherever_they_can(monkeypatch):
    """What is faster by torch is as right by a kernel."""
    monkeypatch.setattr(steps, "prefers_torch_for_step", lambda *_: False)


def pair(kind, *sizes, seed=0, **options):
    """A layer of torch, and an accelerated one with its weights."""
    torch.manual_seed(seed)
    layer = kind(*sizes, **options)
    fast, report = unrolled.accelerate(copy.deepcopy(layer))
    assert list(report.on_kernels) == [""]
    return layer, fast


def input_of(kind, *shape, state=None, seed=1):
    """An input and, where `state` is its shape, a state; both want gradients."""
    torch.manual_seed(seed)
    x = torch.randn(shape, requires_grad=True)
    if state is None:
        return x, None
    h = torch.randn(state, requires_grad=True)
    is_lstm = issubclass(kind, (nn.LSTM, nn.LSTMCell))
    return x, (h, torch.randn(state, requires_grad=True)) if is_lstm else h


def distance(a, b):
    """The relative norm of a difference."""
    a, b = a.detach(), b.detach()
    return float((a - b).norm() / b.norm().clamp(min=1e-30))


def assert_same(fast, layer, x, hx):
    """Results, their shapes and types, and all gradients are equal to 1e-5."""
    gradients, results = [], []
    for module in (fast, layer):
        inputs = [tensor for tensor in tree_leaves((x, hx)) if tensor is not None]
        inputs = [t for t in inputs if torch.is_tensor(t) and t.requires_grad]
        result = module(x, hx)
        leaves = [leaf for leaf in tree_leaves(result) if torch.is_tensor(leaf)]
        floats = [leaf for leaf in leaves if leaf.is_floating_point()]
        loss = sum(
            (leaf * torch.linspace(0.5, 1.5, leaf.numel()).view_as(leaf)).sum() for leaf in floats
        )
        gradients.append(torch.autograd.grad(loss, [*inputs, *module.parameters()]))
        results.append(result)
    assert torch.utils._pytree.tree_structure(results[0]) == torch.utils._pytree.tree_structure(
        results[1]
    )
    for ours, torchs in zip(tree_leaves(results[0]), tree_leaves(results[1]), strict=True):
        if torch.is_tensor(ours):
            assert ours.shape == torchs.shape
            assert distance(ours.float(), torchs.float()) < 1e-5
    for ours, torchs in zip(*gradients, strict=True):
        assert distance(ours, torchs) < 1e-5


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (600, 2)])  # the last is too long to be short
def test_layers_equal_torchs(kind, form, shape):
    options = FORMS[form]
    layer, fast = pair(kind, 3, 4, **options)
    stacked = layer.num_layers * (1 + layer.bidirectional)
    x, hx = input_of(kind, *shape, 3, state=(stacked, shape[not layer.batch_first], 4))
    for state in (None, hx):
        assert read_sequences(fast, x, state) is not None
        assert_same(fast, layer, x, state)
        with torch.no_grad():
            same = zip(tree_leaves(fast(x, state)), tree_leaves(layer(x, state)), strict=True)
            assert all(distance(ours, torchs) < 1e-5 for ours, torchs in same)


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_take_one_sequence_without_a_batch(kind):
    layer, fast = pair(kind, 3, 4, bidirectional=True)
    for num_steps in (6, 600):
        x, hx = input_of(kind, num_steps, 3, state=(2, 4))
        assert read_sequences(fast, x, hx) is not None
        for state in (None, hx):
            assert_same(fast, layer, x, state)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize("is_even", [True, False])
def test_layers_take_packed_sequences(kind, is_sorted, is_even):
    layer, fast = pair(kind, 3, 4, num_layers=2, bidirectional=True)
    x, hx = input_of(kind, 6, 4, 3, state=(4, 4, 4))
    lengths = [6, 6, 6, 6] if is_even else [6, 4, 4, 1] if is_sorted else [4, 1, 6, 4]
    for state in (None, hx):
        packed = pack_padded_sequence(x, lengths, enforce_sorted=is_sorted)
        assert read_sequences(fast, packed, state) is not None
        results = [
            module(pack_padded_sequence(x, lengths, enforce_sorted=is_sorted), state)
            for module in (fast, layer)
        ]
        for ours, torchs in zip(results[0][0], results[1][0], strict=True):
            assert (ours is None) == (torchs is None)
            if ours is not None:
                torch.testing.assert_close(ours, torchs)
        losses = [
            output.data.square().sum() + tree_leaves(end)[-1].sum() for output, end in results
        ]
        inputs = [x, *tree_leaves(state)] if state is not None else [x]
        ours, torchs = (
            torch.autograd.grad(loss, [*inputs, *module.parameters()])
            for loss, module in zip(losses, (fast, layer), strict=True)
        )
        assert all(distance(a, b) < 1e-5 for a, b in zip(ours, torchs, strict=True))


@pytest.mark.parametrize("kind", LAYERS)
def test_packed_rows_of_one_length_are_a_batch(kind, monkeypatch):
    layer, fast = pair(kind, 3, 4)
    x, hx = input_of(kind, 6, 4, 3, state=(1, 4, 4))
    packed = pack_padded_sequence(x, [6] * 4)
    order = torch.tensor([2, 0, 3, 1])  # which packing by torch may give
    packed = PackedSequence(packed.data, packed.batch_sizes, order, order.argsort())
    expected = layer(packed, hx)
    with monkeypatch.context() as patch:
        patch.setattr(sequences, "_long_call", None)
        output, ends = fast(packed, hx)
    torch.testing.assert_close(output.data, expected[0].data)
    torch.testing.assert_close(ends, expected[1])
    for wrong in (tree_map(lambda state: state[:, :3], hx), 3):
        ours, torchs = (outcome(one, packed, wrong) for one in (fast, layer))
        assert ours == torchs
        assert isinstance(ours[1], str)


@pytest.mark.parametrize("kind", LAYERS)
def test_packed_rows_are_traced_as_before(kind):
    class Packing(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(pack_padded_sequence(x, torch.tensor([6] * 4)))[0].data

    layer, fast = pair(kind, 3, 4)
    told = []
    for one in (layer, fast):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            traced = torch.jit.trace(Packing(one), torch.randn(6, 4, 3))
        told.append([str(warning.message) for warning in said])
        assert f"aten::{kind.__name__.lower()}" in str(traced.inlined_graph)
    assert told[0] == told[1]


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (1,), (), (1100,)])  # more rows than a short call takes
def test_cells_equal_torchs(kind, bias, shape):
    layer, fast = pair(kind, 3, 4, bias=bias)
    x, hx = input_of(kind, *shape, 3, state=(*shape, 4))
    for state in (None, hx):
        assert read_step(fast, x, state) is not None
        assert_same(fast, layer, x, state)
        with torch.no_grad():
            same = zip(tree_leaves(fast(x, state)), tree_leaves(layer(x, state)), strict=True)
            assert all(distance(ours, torchs) < 1e-5 for ours, torchs in same)


@pytest.mark.parametrize("kind", [*LAYERS, *CELLS])
@pytest.mark.parametrize("of_steps", [5, 600])
def test_inputs_and_states_of_any_layout_are_taken(kind, of_steps):
    layer, fast = pair(kind, 3, 4)
    x, hx = input_of(kind, 3, 2, of_steps, state=(4, 2, *[1][: kind in LAYERS]))
    run = read_sequences if kind in LAYERS else read_step
    turned = x.permute(2, 1, 0) if kind in LAYERS else x[..., 0].t()
    hx = tree_map(lambda state: state.permute(*range(state.dim())[::-1]), hx)
    assert run(fast, turned, hx) is not None
    ours, torchs = fast(turned, hx), layer(turned, hx)
    for a, b in zip(tree_leaves(ours), tree_leaves(torchs), strict=True):
        assert distance(a, b) < 1e-5
    gradients = [torch.autograd.grad(tree_leaves(r)[0].square().sum(), x) for r in (ours, torchs)]
    assert distance(gradients[0][0], gradients[1][0]) < 1e-5


@pytest.mark.parametrize("kind", [nn.RNN, nn.RNNCell])
def test_relu_is_taken_too(kind):
    layer, fast = pair(kind, 3, 4, nonlinearity="relu")
    x, hx = input_of(kind, 5, *[2][: kind is nn.RNN], 3)
    run = read_sequences if kind is nn.RNN else read_step
    assert run(fast, x, hx) is not None
    assert_same(fast, layer, x, hx)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("packed", [False, True])
def test_dropout_drops_what_torch_drops(kind, packed):
    layer, fast = pair(kind, 3, 4, num_layers=3, dropout=0.5, bidirectional=True)
    x = torch.randn(6, 2, 3)
    given = pack_padded_sequence(x, [6, 4]) if packed else x
    outputs = []
    for module in (fast, layer):
        torch.manual_seed(3)
        outputs.append(module(given)[0])
    assert read_sequences(fast, given, None) is not None
    ours, torchs = (o.data if packed else o for o in outputs)
    assert distance(ours, torchs) < 1e-5
    outputs = [module.eval()(given)[0] for module in (fast, layer)]
    ours, torchs = (o.data if packed else o for o in outputs)
    assert distance(ours, torchs) < 1e-5


def test_states_are_plain_tuples_as_torchs():
    _, fast = pair(nn.LSTM, 3, 4)
    assert type(fast(torch.zeros(2, 2, 3))[1]) is tuple
    assert type(fast(torch.zeros(600, 2, 3))[1]) is tuple
    _, fast = pair(nn.LSTMCell, 3, 4)
    assert type(fast(torch.zeros(2, 3))) is tuple


def test_second_gradients_and_functional_calls_are_torchs():
    layer, fast = pair(nn.GRU, 3, 4)
    x, _ = input_of(nn.GRU, 5, 2, 3)
    seconds = []
    for module in (fast, layer):
        (first,) = torch.autograd.grad(module(x)[0].square().sum(), x, create_graph=True)
        seconds.append(torch.autograd.grad(first.square().sum(), [x, *module.parameters()]))
    assert all(distance(a, b) < 1e-5 for a, b in zip(*seconds, strict=True))
    results = [
        torch.func.functional_call(
            module, {n: p * 0.5 for n, p in module.named_parameters()}, (x,)
        )[0]
        for module in (fast, layer)
    ]
    assert distance(*results) < 1e-5
    assert_same(fast, layer, x, None)  # its own weights again


WRONG = {
    "features": lambda: (torch.zeros(5, 2, 7), None),
    "dims": lambda: (torch.zeros(5, 2, 3, 1), None),
    "no steps": lambda: (torch.zeros(0, 2, 3), None),
    "type": lambda: (torch.zeros(5, 2, 3, dtype=torch.float64), None),
    "state of another batch": lambda: (torch.zeros(5, 2, 3), torch.zeros(1, 3, 4)),
    "state without a batch": lambda: (torch.zeros(5, 2, 3), torch.zeros(1, 4)),
    "state of another type": lambda: (torch.zeros(5, 2, 3), torch.zeros(1, 2, 4).double()),
    "packed features": lambda: (pack_sequence([torch.zeros(5, 7)]), None),
    "packed state": lambda: (pack_sequence([torch.zeros(5, 3)]), torch.zeros(1, 3, 4)),
    "text": lambda: ("hello", None),
}


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("case", WRONG)
def test_errors_are_torchs(kind, case):
    layer, fast = pair(kind, 3, 4)
    x, h = WRONG[case]()
    hx = h if kind is nn.GRU or h is None else (h, h)
    assert outcome(fast, x, hx) == outcome(layer, x, hx)


def outcome(module, x, hx):
    """What a call ends in: the error, or shapes where torch has none."""
    try:
        leaves = tree_leaves(module(x, hx))
        return tuple(tuple(leaf.shape) for leaf in leaves if torch.is_tensor(leaf))
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("case", ["features", "dims", "type", "state"])
def test_errors_of_cells_are_torchs(case):
    layer, fast = pair(nn.LSTMCell, 3, 4)
    x = {
        "features": torch.zeros(2, 7),
        "dims": torch.zeros(1, 2, 3),
        "type": torch.ones(2, 3).double(),
    }
    hx = (torch.zeros(3, 4),) * 2 if case == "state" else None
    ours, torchs = (outcome(one, x.get(case, torch.zeros(2, 3)), hx) for one in (fast, layer))
    assert ours == torchs
    assert isinstance(ours[1], str)


@pytest.mark.parametrize(
    "hx",
    [
        torch.zeros(2, 2, 4),
        dict.fromkeys((torch.zeros(2, 4), torch.ones(2, 4))),
        (),
        (torch.zeros(2, 4),),
        (torch.zeros(2, 4), None),
        5,
    ],
    ids=["one tensor", "dict", "none", "one", "half", "number"],
)
def test_states_of_a_cell_are_two_in_a_tuple_or_torchs_error(hx):
    layer, fast = pair(nn.LSTMCell, 3, 4)
    ours, torchs = (outcome(one, torch.zeros(2, 3), hx) for one in (fast, layer))
    assert ours == torchs
    assert isinstance(ours[1], str)


@pytest.mark.parametrize("kind", [*LAYERS, *CELLS])
def test_other_types_and_autocast_are_torchs(kind):
    layer, fast = pair(kind, 3, 4)
    x = torch.randn(5, 2, 3) if kind in LAYERS else torch.randn(2, 3)
    for module in (fast, layer):
        module.double()
    assert all(
        torch.equal(a, b)
        for a, b in zip(tree_leaves(fast(x.double())), tree_leaves(layer(x.double())), strict=True)
    )
    fast.float()
    layer.float()
    with torch.autocast("cpu"):
        results = zip(tree_leaves(fast(x)), tree_leaves(layer(x)), strict=True)
        assert all(torch.equal(a, b) for a, b in results)


@pytest.mark.parametrize("kind", [*LAYERS, *CELLS])
def test_ten_steps_of_training_are_torchs(kind):
    layer, fast = pair(kind, 3, 4)
    torch.manual_seed(5)
    x = torch.randn(5, 2, 3) if kind in LAYERS else torch.randn(2, 3)
    for module in (fast, layer):
        optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
        for _ in range(10):
            optimiser.zero_grad()
            tree_leaves(module(x))[0].square().sum().backward()
            optimiser.step()
    for ours, torchs in zip(fast.parameters(), layer.parameters(), strict=True):
        assert distance(ours, torchs) < 1e-5
