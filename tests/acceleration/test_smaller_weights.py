"""`accelerate(model, weights=...)`: the numbers of rounded weights in inference, and only there."""

import copy
import math
import pickle
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils._pytree import tree_leaves, tree_map

import unrolled
from unrolled.acceleration import sequences, smaller, steps
from unrolled.acceleration.classes import is_accelerated, stored_weights
from unrolled.errors import OptionError

FORMS = {
    "plain": {},
    "no bias": {"bias": False},
    "both ways, batch first": {"num_layers": 2, "bidirectional": True, "batch_first": True},
}


def rounded(layer, weights):
    """A layer in float64 whose matrices were rounded: the reference."""
    reference = copy.deepcopy(layer).double().eval()
    with torch.no_grad():
        for matrix in reference.parameters():
            if matrix.dim() == 2 and weights == "bf16":
                matrix.copy_(matrix.to(torch.bfloat16))
            elif matrix.dim() == 2:
                scale = matrix.abs().max(1, keepdim=True).values.clamp(min=1e-30) / 127
                matrix.copy_((matrix / scale).round() * scale)
    return reference


def pair(kind, *sizes, weights="bf16", **options):
    """A layer of torch in inference, and an accelerated one with its weights."""
    torch.manual_seed(0)
    layer = kind(*sizes, **options).eval()
    fast, report = unrolled.accelerate(copy.deepcopy(layer), weights=weights)
    assert list(report.on_kernels) == [""]
    return layer, fast


def distance(ours, theirs):
    """The greatest relative norm of a difference among the tensors of two results."""
    pairs = zip(tree_leaves(ours), tree_leaves(theirs), strict=True)
    return max(float((a - b).detach().norm() / b.detach().norm()) for a, b in pairs)


def double(tree):
    """What the reference reads."""
    return tree_map(lambda leaf: leaf.double() if torch.is_tensor(leaf) else leaf, tree)


@torch.no_grad()
def assert_rounded(fast, layer, weights, x, hx=None):
    """Outputs are those of rounded weights, at the first call, which packs them, and the next."""
    expected = rounded(layer, weights)(double(x), double(hx))
    first = fast(x, hx)
    assert distance(first, expected) < 1e-5
    again = fast(x, hx)
    assert all(map(torch.equal, tree_leaves(first), tree_leaves(again)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kind", "weights"), [(nn.RNN, "bf16"), (nn.LSTM, "bf16"), (nn.GRU, "bf16"), (nn.LSTM, "int8")]
)
def test_layers_equal_torchs_with_rounded_weights(kind, form, weights):
    layer, fast = pair(kind, 5, 20, weights=weights, **FORMS[form])
    for num_steps, rows in ((1, 1), (9, 3), (600, 1)):  # the last is too long to be short
        shape = (rows, num_steps, 5) if layer.batch_first else (num_steps, rows, 5)
        x = torch.randn(shape)
        state = torch.randn(layer.num_layers * (1 + layer.bidirectional), rows, 20)
        assert_rounded(fast, layer, weights, x)
        assert_rounded(fast, layer, weights, x, (state, -state) if kind is nn.LSTM else state)
    assert_rounded(fast, layer, weights, torch.randn(7, 5))  # one sequence, without a batch


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        (nn.RNNCell, "bf16"),
        (nn.LSTMCell, "bf16"),
        (nn.GRUCell, "bf16"),
        (nn.LSTMCell, "int8"),
    ],
)
def test_cells_equal_torchs_with_rounded_weights(kind, bias, weights):
    layer, fast = pair(kind, 5, 20, bias=bias, weights=weights)
    for shape in ((), (1,), (3,), (1100,)):
        x, h = torch.randn(*shape, 5), torch.randn(*shape, 20)
        assert_rounded(fast, layer, weights, x)
        assert_rounded(fast, layer, weights, x, (h, -h) if kind is nn.LSTMCell else h)


def test_packed_sequences_are_read_with_rounded_weights():
    layer, fast = pair(nn.LSTM, 5, 20, bidirectional=True)
    x, lengths = torch.randn(6, 3, 5), [2, 6, 4]
    packed = [pack_padded_sequence(t, lengths, enforce_sorted=False) for t in (x, x.double())]
    with torch.no_grad():
        for _ in range(2):
            output, ends = fast(packed[0])
            expected, ends_expected = rounded(layer, "bf16")(packed[1])
            assert distance((output.data, ends), (expected.data, ends_expected)) < 1e-5


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRUCell])
def test_training_and_gradients_go_on_in_float32(kind):
    layer, fast = pair(kind, 5, 20)
    x = torch.randn(4, 3, 5) if kind is nn.LSTM else torch.randn(3, 5)
    wanted = x.clone().requires_grad_()
    gradients = []
    for module in (fast, layer):
        assert distance(fast(x), layer(x)) < 1e-6  # its weights have gradients
        tree_leaves(module(wanted))[0].square().sum().backward()
        gradients.append([wanted.grad, *(p.grad for p in module.parameters())])
        wanted.grad = None
    assert distance(*gradients) < 1e-5
    with torch.no_grad():
        assert distance(fast(x), layer(x)) > 1e-4
        assert distance(fast.train()(x), layer(x)) < 1e-6  # a step may be computed again
    frozen = fast.eval().requires_grad_(False)
    assert distance(frozen(x), layer(x)) > 1e-4
    assert distance(frozen(wanted), layer(x)) < 1e-6


def optimised(layer):
    torch.optim.SGD(layer.parameters(), lr=0.5).step()


def replaced(layer):
    layer.weight_hh_l0 = nn.Parameter(layer.weight_hh_l0 * 0.5)


def loaded(layer):
    layer.load_state_dict({name: 0.5 * w for name, w in layer.state_dict().items()})


def assigned(layer):
    layer.weight_ih_l0.data = 0.5 * layer.weight_ih_l0.data


@pytest.mark.parametrize("change", [optimised, replaced, loaded, assigned])
def test_weights_that_change_are_packed_again(change):
    layer, fast = pair(nn.LSTM, 5, 20)
    x = torch.randn(4, 2, 5)
    assert_rounded(fast, layer, "bf16", x)
    for module in (layer, fast):
        torch.manual_seed(3)
        for parameter in module.parameters():
            parameter.grad = torch.randn_like(parameter)
        change(module)
    assert_rounded(fast, layer, "bf16", x)


def test_weights_that_change_behind_torchs_back_are_packed_when_accelerate_is_called_again():
    layer, fast = pair(nn.GRU, 5, 20)
    x = torch.randn(4, 2, 5)
    assert_rounded(fast, layer, "bf16", x)
    for module in (layer, fast):
        module.weight_hh_l0.data.numpy()[7, 3] += 4
    unrolled.accelerate(fast, weights="bf16")
    assert_rounded(fast, layer, "bf16", x)


def test_a_short_call_is_one_crossing_once_weights_are_packed(monkeypatch):
    _, fast = pair(nn.LSTM, 5, 20, num_layers=2)
    _, cell = pair(nn.GRUCell, 5, 20)
    with torch.no_grad():
        expected = fast(torch.ones(3, 1, 5))[0], cell(torch.ones(1, 5))
        monkeypatch.delattr(sequences, "_long_call")
        monkeypatch.delattr(steps, "_long_step")
        got = fast(torch.ones(3, 1, 5))[0], cell(torch.ones(1, 5))
    assert all(map(torch.equal, got, expected))


def test_what_a_kernel_does_not_take_is_torchs_in_float32():
    layer, fast = pair(nn.LSTM, 5, 20)
    x = torch.randn(4, 2, 5)
    with torch.no_grad():
        with torch.autocast("cpu"):
            assert distance(fast(x), layer(x)) == 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(fast, (x,))
            program = torch.export.export(fast, (x,), strict=False)
        assert distance(traced(x), layer(x)) == 0
        assert distance(program.module()(x), layer(x)) < 1e-6


@pytest.mark.parametrize("way", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_and_pickles_keep_the_format_and_pack_their_own(way):
    layer, fast = pair(nn.LSTM, 5, 20, weights="int8")
    x = torch.randn(4, 2, 5)
    assert_rounded(fast, layer, "int8", x)
    again = way(fast)
    assert stored_weights(again) == "int8"
    with torch.no_grad():
        again.weight_hh_l0.zero_()
        layer_of_copy = copy.deepcopy(layer)
        layer_of_copy.weight_hh_l0.zero_()
    assert_rounded(again, layer_of_copy, "int8", x)
    assert_rounded(fast, layer, "int8", x)


def test_parameters_state_dict_and_attributes_stay_and_restore_undoes():
    layer, fast = pair(nn.GRU, 5, 20)
    x = torch.randn(4, 2, 5)
    attributes = set(vars(fast))
    assert_rounded(fast, layer, "bf16", x)
    assert set(vars(fast)) == attributes
    assert type(fast) == nn.GRU  # noqa: E721  # as code that sets up weights has it
    assert all(torch.equal(w, layer.state_dict()[name]) for name, w in fast.state_dict().items())
    unrolled.restore(fast)
    assert type(fast) is nn.GRU
    with torch.no_grad():
        assert distance(fast(x), layer(x)) == 0


def test_the_last_call_of_accelerate_says_the_format_of_all_layers():
    layer, fast = pair(nn.LSTM, 5, 20)
    x = torch.randn(4, 2, 5)
    for weights in ("int8", "bf16"):
        unrolled.accelerate(fast, weights=weights)
        assert_rounded(fast, layer, weights, x)
    packed = smaller._of_layers[fast]
    unrolled.accelerate(fast, weights="int8")
    smaller._of_layers[fast] = packed  # by a call in another thread that began before
    assert_rounded(fast, layer, "int8", x)
    unrolled.accelerate(fast)
    with torch.no_grad():
        assert distance(fast(x), layer(x)) < 1e-6


def test_a_layer_that_is_left_alone_has_no_format_of_an_earlier_call():
    layer, fast = pair(nn.LSTM, 5, 20)
    _, report = unrolled.accelerate(fast.double())
    assert list(report.left_alone) == [""]
    x = torch.randn(4, 2, 5)
    with torch.no_grad():
        assert distance(fast.float()(x), layer(x)) < 1e-6


def test_parametrised_layers_are_read_with_rounded_weights():
    layer, _ = pair(nn.LSTM, 5, 20)
    parametrizations.weight_norm(layer, "weight_hh_l0")
    fast, _ = unrolled.accelerate(copy.deepcopy(layer), weights="bf16")
    x = torch.randn(4, 2, 5)
    plain = copy.deepcopy(layer)
    nn.utils.parametrize.remove_parametrizations(plain, "weight_hh_l0")
    assert_rounded(fast, plain, "bf16", x)
    nn.utils.parametrize.remove_parametrizations(fast, "weight_hh_l0")
    assert is_accelerated(fast)
    assert_rounded(fast, plain, "bf16", x)


def test_a_layer_dies_with_its_last_reference_and_its_packed_weights_with_it():
    _, fast = pair(nn.LSTM, 5, 20)
    with torch.no_grad():
        for _ in range(5):
            fast.weight_ih_l0 = nn.Parameter(torch.randn(80, 5))
            fast(torch.zeros(2, 1, 5))
    kept = smaller._of_layers[fast]
    before = weakref.ref(fast.weight_ih_l0)
    with torch.no_grad():
        fast.weight_ih_l0 = nn.Parameter(torch.randn(80, 5))
        for _ in range(3):  # packs the new ones, packs them alone, reads them
            fast(torch.zeros(2, 1, 5))
    assert before() is None
    assert len(kept._cache) == 1
    references = [weakref.ref(fast), weakref.ref(kept)]
    del fast, kept
    assert [reference() for reference in references] == [None, None]


def test_reports_say_how_weights_are_stored_and_how_far_that_is_from_them():
    torch.manual_seed(0)
    model = nn.ModuleList([nn.LSTM(30, 40), nn.GRUCell(3, 4).double(), unrolled.GRU(3, 4)])
    _, report = unrolled.accelerate(model, weights="bf16")
    words, number = report.on_kernels["0"].removesuffix(" from these").split(", ")[-2:]
    assert words == "40); bf16 weights in inference"
    matrices = [w.detach() for w in model[0].parameters() if w.dim() == 2]
    exact = torch.cat([w.flatten() for w in matrices]).double()
    error = float((exact.bfloat16() - exact).norm() / exact.norm())
    assert number == f"{error:.1e}"
    assert "float32: a layer of unrolled has smaller weights in its streams" in str(report)
    assert "torch.float64" in report.left_alone["1"]
    with unrolled.accelerated(weights="int8") as report:
        layer = nn.LSTM(3, 4)
    assert report.on_kernels == {"0": "LSTM(3, 4); int8 weights in inference"}
    assert stored_weights(layer) == "int8"
    zeros, report = unrolled.accelerate(nn.LSTM(3, 4), weights="int8")
    nn.init.zeros_(zeros.weight_hh_l0)
    assert "nan" not in str(unrolled.accelerate(zeros, weights="int8")[1])


@pytest.mark.parametrize("wrong", ["fp16", "BF16", None, 8])
def test_another_word_is_refused_and_nothing_is_changed(wrong):
    layer = nn.LSTM(3, 4)
    with pytest.raises(OptionError, match="accelerate: weights must be f32, bf16 or int8, got"):
        unrolled.accelerate(layer, weights=wrong)
    assert not is_accelerated(layer)
    with pytest.raises(OptionError, match="accelerated: weights must be"):
        with unrolled.accelerated(weights=wrong):
            pass
    assert not is_accelerated(nn.LSTM(3, 4))


def test_int8_leaves_alone_what_its_sums_do_not_hold(monkeypatch):
    _, report = unrolled.accelerate(nn.GRU(65_537, 1), weights="int8")
    assert 'weights="int8" add up to 65536 products, got 65537' in report.left_alone[""]
    monkeypatch.setattr("unrolled.kernels.running.weight_format._MOST_SUMMED", 60)
    deep = {"num_layers": 2, "bidirectional": True}  # the second layer reads both directions
    _, report = unrolled.accelerate(nn.LSTM(3, 31, **deep), weights="int8")
    assert 'weights="int8" add up to 60 products, got 62' in report.left_alone[""]
    for layer in (nn.LSTM(3, 30, **deep), nn.LSTM(3, 31, bidirectional=True)):
        assert not unrolled.accelerate(layer, weights="int8")[1].left_alone


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTMCell])
def test_int8_leaves_alone_weights_that_are_not_finite(kind, bad):
    layer = kind(3, 4)
    name = "weight_hh_l0" if kind is nn.GRU else "weight_hh"
    with torch.no_grad():
        getattr(layer, name)[1, 2] = bad
    _, report = unrolled.accelerate(layer, weights="int8")
    assert f"are finite, {name} has numbers that are infinite or NaN" in report.left_alone[""]
    assert list(unrolled.accelerate(layer, weights="bf16")[1].on_kernels) == [""]


def test_without_a_kernel_of_smaller_weights_a_copy_warns_and_computes_in_float32(monkeypatch):
    layer, fast = pair(nn.LSTM, 5, 20)
    monkeypatch.setattr(smaller, "kernel_or_reason", lambda _: "there is no compiler")
    x = torch.randn(4, 2, 5)
    with torch.no_grad():
        with pytest.warns(UserWarning, match='LSTM: weights="bf16" needs a kernel.*no compiler'):
            output = fast(x)
        assert distance(output, layer(x)) < 1e-6
        assert distance(fast(x), layer(x)) < 1e-6  # and says it once
    _, report = unrolled.accelerate(nn.LSTM(5, 20), weights="bf16")
    assert list(report.on_kernels) == [""]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRUCell])
def test_int8_weights_that_become_infinite_or_nan_are_read_as_float32(kind, told):
    layer, fast = pair(kind, 5, 20, weights="int8")
    x = torch.randn(1, 5)
    assert_rounded(fast, layer, "int8", x)
    names = ("weight_hh_l0", "weight_ih_l0") if kind is nn.LSTM else ("weight_hh", "weight_ih")
    with torch.no_grad():
        for name, bad in zip(names, (math.nan, math.inf), strict=True):
            for module in (layer, fast):
                weight = getattr(module, name)
                (weight if told else weight.data)[0, 0] = bad
            for _ in range(2):
                with pytest.warns(UserWarning, match=rf"{name} has .* so it computes with float32"):
                    got = tree_leaves(fast(x))
                assert all(
                    g.equal(w) or g.isnan().equal(w.isnan())
                    for g, w in zip(got, tree_leaves(layer(x)), strict=True)
                )
            for module in (layer, fast):
                weight = getattr(module, name)
                (weight if told else weight.data)[0, 0] = 0.25
    assert_rounded(fast, layer, "int8", x)


def test_int8_weights_that_are_made_later_are_looked_at_too():
    with unrolled.accelerated(weights="int8"):
        layer = nn.LSTM(3, 4).eval()
    with torch.no_grad():
        layer.weight_ih_l0[0, 0] = math.nan
        with pytest.warns(UserWarning, match="weight_ih_l0 has numbers that are infinite or NaN"):
            layer(torch.zeros(2, 1, 3))
    parametrizations.weight_norm(layer, "weight_hh_l0")
    layer.weight_ih_l0.detach()[0, 0] = 0.0
    layer.parametrizations.weight_hh_l0.original0.detach()[0] = math.inf
    with torch.no_grad(), pytest.warns(UserWarning, match="weight_hh_l0 has numbers"):
        layer(torch.zeros(2, 1, 3))
