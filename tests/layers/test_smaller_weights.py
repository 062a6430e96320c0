"""Streams whose weights are stored in fewer bits: `layer.stream(..., weights="bf16" | "int8")`."""

import copy
import math
import pickle

import pytest
import torch
from torch import sigmoid, tanh

import unrolled
from unrolled.errors import OptionError
from unrolled.kernels import using_path
from unrolled.layers import state_tensors


@unrolled.cell(gates="f g", states="h m", recurrent="g")
def half_recurrent(x, u, h, m, *, peep=0.3):
    """A gate of the input alone, and a weight vector."""
    f = sigmoid(x.f + peep * m)
    m = f * m + (1 - f) * tanh(x.g + u.g)
    return dict(h=tanh(m), m=m)


@unrolled.cell(gates="z g", recurrent="")
def feedforward(x, h):
    """No recurrent product at all."""
    z = sigmoid(x.z)
    return dict(h=z * h + (1 - z) * x.g)


@unrolled.cell(gates="g")
def sorting(x, u, h):
    """What no kernel has."""
    return dict(h=torch.sort(x.g + u.g, dim=-1).values)


LAYERS = {
    "lstm": lambda: unrolled.LSTM(33, 37),
    "lstm, 3 layers": lambda: unrolled.LSTM(3, 64, 3),
    "gru": lambda: unrolled.GRU(5, 70),
    "gru reset before": lambda: unrolled.GRU(20, 70, reset="before"),
    "rnn without bias": lambda: unrolled.RNN(16, 16, bias=False),
    "janet": lambda: unrolled.JANET(3, 130),
    "large": lambda: unrolled.LSTM(64, 256),
    "own": lambda: unrolled.Recurrent(half_recurrent, 7, 20),
    "own, without a product": lambda: unrolled.Recurrent(feedforward, 7, 20),
}
every_layer = pytest.mark.parametrize("name", LAYERS)
every_format = pytest.mark.parametrize("weights", ["bf16", "int8"])


@torch.no_grad()
def rounded(layer, weights):
    """Return a copy whose matrices need no rounding."""
    layer = copy.deepcopy(layer)
    for weight in layer.parameters():
        if weight.dim() == 2 and weights == "bf16":
            weight.copy_(weight.bfloat16())
        elif weight.dim() == 2:
            scale = weight.abs().amax(1, keepdim=True) / 127
            weight.copy_((weight / scale).round() * scale)
    return layer


def read(stream, x):
    return torch.stack([stream.step(step) for step in x])


@every_layer
@pytest.mark.parametrize("batch_size", [1, 7])
def test_bf16_gives_the_bits_of_rounded_weights(name, batch_size):
    layer = LAYERS[name]()
    x = torch.randn(9, batch_size, layer.input_size)
    expected, _ = rounded(layer, "bf16")(x)
    assert torch.equal(read(layer.stream(batch_size, weights="bf16"), x), expected)
    assert not torch.equal(expected, layer(x)[0])


@every_layer
@pytest.mark.parametrize("batch_size", [1, 7])
def test_int8_is_exact_for_weights_that_need_no_rounding(name, batch_size):
    layer = rounded(LAYERS[name](), "int8")
    x = torch.randn(9, batch_size, layer.input_size)
    got = read(layer.stream(batch_size, weights="int8"), x)
    expected, _ = copy.deepcopy(layer).double()(x.double())
    assert (got - expected).norm() <= 2e-6 * expected.norm()


@pytest.mark.parametrize("size", [3, 16, 67, 300])
def test_every_weight_becomes_the_nearest_that_there_is(size):
    layer = unrolled.RNN(size, 20, nonlinearity="relu", bias=False)
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
        layer.weight_ih_l0.abs_().mul_(torch.logspace(-20, 20, 20)[:, None])
        layer.weight_ih_l0[3] = 0.0
    weight = layer.weight_ih_l0.detach()
    x = torch.eye(size).unsqueeze(1)  # (T, 1, I): each step shows the weights of one input
    got = torch.stack([layer.stream(weights="bf16").step(step)[0] for step in x], 1)
    assert torch.equal(got, weight.bfloat16().float())
    got = torch.stack([layer.stream(weights="int8").step(step)[0] for step in x], 1)
    scale = weight.amax(1, keepdim=True) / 127
    assert ((got - weight).abs() <= 0.5001 * scale).all()
    assert torch.equal(got[3], torch.zeros(size))
    multiples = got[weight[:, 0] > 0] / scale[weight[:, 0] > 0]
    assert (multiples - multiples.round()).abs().max() < 1e-4


@every_layer
@every_format
def test_any_cut_and_any_company_give_the_same_bits(name, weights):
    layer = LAYERS[name]()
    x = torch.randn(12, 5, layer.input_size)
    x[:, 2] *= 1e4  # a row beside which others are small
    expected = read(layer.stream(5, weights=weights), x)
    stream = layer.stream(5, weights=weights)
    pieces = [stream.push(x[:1]), read(stream, x[1:4]), stream.push(x[4:11]), stream.push(x[11:])]
    assert torch.equal(torch.cat(pieces), expected)
    for row in (0, 2):
        alone = layer.stream(weights=weights)
        assert torch.equal(alone.push(x[:, row : row + 1]), expected[:, row : row + 1])


@every_format
def test_threads_give_the_same_bits(weights):
    layer = unrolled.LSTM(64, 300)
    x, before = torch.randn(5, 1, 64), torch.get_num_threads()
    got = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        try:
            got.append(read(layer.stream(weights=weights), x))
        finally:
            torch.set_num_threads(before)
    assert torch.equal(got[0], got[1])
    assert torch.equal(got[0], got[2])


@every_format
def test_weights_that_change_under_an_open_stream_are_seen(weights):
    layer, other = unrolled.GRU(8, 24), unrolled.GRU(8, 24)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    stream, x = layer.stream(2, weights=weights), torch.randn(2, 8)

    def by_optimizer():
        layer(x.unsqueeze(0))[0].sum().backward()
        optimizer.step()

    def in_place():
        layer.weight_hh_l0.mul_(1.5)

    def by_data():
        layer.weight_ih_l0.data.copy_(other.weight_ih_l0 * 0.5)

    def by_new_data():
        layer.weight_ih_l0.data = other.weight_ih_l0.detach() * 0.7

    def one_number():
        layer.weight_ih_l0.data[1, 2] = 3.0
        stream.refresh()

    for change in (
        in_place,
        by_data,
        by_new_data,
        lambda: layer.load_state_dict(other.state_dict()),
        lambda: layer.bias_hh_l0.add_(1.0),
        one_number,
    ):
        for push in (False, True):
            stream.step(x)
            with torch.no_grad():
                change()
            fresh = layer.stream(2, weights=weights)
            fresh.state = copy.deepcopy(stream.state)
            first, second = ((s.push(x[None])[0] if push else s.step(x)) for s in (stream, fresh))
            assert torch.equal(first, second)
    stream.step(x)
    by_optimizer()
    fresh = layer.stream(2, weights=weights)
    fresh.state = copy.deepcopy(stream.state)
    assert torch.equal(stream.step(x), fresh.step(x))


@every_format
def test_a_copy_and_a_pickle_keep_the_format(weights):
    layer, x = unrolled.LSTM(8, 24), torch.randn(6, 1, 8)
    expected = layer.stream(weights=weights).push(x)
    stream = layer.stream(weights=weights)
    stream.push(x[:3])
    copies = [copy.copy(stream), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream)), stream]
    for copied in copies:
        assert torch.equal(read(copied, x[3:]), expected[3:])
    assert not torch.equal(expected, layer(x)[0])


@every_format
def test_a_layer_may_be_used_beside_its_stream(weights):
    layer, x = unrolled.JANET(8, 24), torch.randn(6, 2, 8)
    stream = layer.stream(2, weights=weights)
    expected = layer(x)[0]
    small = stream.push(x)
    assert torch.equal(layer(x)[0], expected)
    assert torch.equal(layer.stream(2).push(x), expected)
    stream.reset()
    assert torch.equal(read(stream, x), small)
    with torch.autocast("cpu", torch.bfloat16):
        stream.reset()
        assert torch.equal(stream.push(x), small)


# ---- Numbers that are none, and no float32 ---------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_weight_of_bf16_that_is_no_number_spoils_its_unit_alone(bad):
    layer = unrolled.RNN(4, 8)
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
        stream = layer.stream(weights="bf16")
        layer.weight_ih_l0[3, 1] = bad
    got = stream.step(torch.ones(1, 4))[0]
    assert got[[0, 1, 2, 4, 5, 6, 7]].isfinite().all()
    expected = layer(torch.ones(1, 1, 4))[0][0, 0, 3]
    assert got[3].isnan() if math.isnan(bad) else got[3] == expected  # tanh(inf)


class Reading:
    """A way to read steps by a stream of two layers: x is (1, 5)."""

    def __init__(self, layer, way):
        self.way = way
        if way == "pool":
            self.stream = layer.streams(3, weights="int8")
            self.stream.join()
        else:
            self.stream = layer.stream(weights="int8")
        if way == "bound":
            self.x, self.out = torch.zeros(1, 5), torch.zeros(1, 33)
            self.bound = self.stream.bind(self.x, self.out)

    def read(self, x):
        if self.way == "bound":
            self.x.copy_(x)
            return self.bound.step().clone()
        if self.way == "chunks":
            return self.stream.push(x.expand(3, 1, 5))[-1]
        if self.way == "by the layer":  # marks go by its forward
            return self.stream.push(x[None], resets=torch.zeros(1, 1, dtype=torch.bool))[-1]
        return self.stream.step(x.numpy() if self.way == "arrays" else x)

    @property
    def state(self):
        return self.stream.state_of() if self.way == "pool" else self.stream.state


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("way", ["steps", "arrays", "chunks", "bound", "pool", "by the layer"])
def test_int8_weights_that_become_infinite_or_nan_are_refused_while_reading(way, told):
    layer, x = unrolled.LSTM(5, 33, 2), torch.randn(1, 5)
    reading = Reading(layer, way)
    for _ in range(3):
        reading.read(x)
    good, before = layer.weight_hh_l1[0, 0].item(), [part.clone() for part in reading.state]
    for bad in (math.nan, math.inf):
        changed = layer.weight_hh_l1.detach() if told else layer.weight_hh_l1.data
        changed[0, 0] = bad  # in the sample that is looked at each time
        for _ in range(2):
            with pytest.raises(OptionError, match=r"LSTM\.streams?: .*weight_hh_l1 has numbers"):
                reading.read(x)
            assert all(map(torch.equal, reading.state, before))
    changed[0, 0] = good
    expected = layer.stream(weights="int8")
    expected.state = tuple(before)
    for _ in range(2):
        got = torch.as_tensor(reading.read(x))
        for _ in range(3 if way == "chunks" else 1):
            wanted = expected.step(x)
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("pool", [False, True])
def test_int8_weights_that_a_layer_packed_before_they_became_nan_are_not_read_instead(pool):
    layer, chunk = unrolled.LSTM(5, 33), torch.randn(3, 1, 5)
    stream = layer.streams(1, weights="int8") if pool else layer.stream(weights="int8")
    if pool:
        stream.join()
    stream.push(chunk, resets=torch.zeros(3, 1, dtype=torch.bool))  # by the layer's forward
    stream.push(chunk)
    layer.weight_hh_l0.data[17, 21] = math.nan  # where no sample is, and torch counts nothing
    with pytest.raises(OptionError, match="weight_hh_l0 has numbers that are infinite or NaN"):
        stream.push(torch.randn(33, 1, 5))  # so many steps look at all weights


def test_int8_weights_that_are_computed_are_refused_too():
    layer = unrolled.LSTM(5, 33)
    torch.nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    stream = layer.stream(weights="int8")
    stream.step(torch.zeros(1, 5))
    layer.parametrizations.weight_hh_l0.original0.detach()[7] = math.inf
    with pytest.raises(OptionError, match="weight_hh_l0 has numbers that are infinite or NaN"):
        stream.step(torch.zeros(1, 5))


@every_format
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_row_that_is_no_number_leaves_others_alone(weights, bad):
    layer, x = unrolled.LSTM(4, 40), torch.randn(3, 3, 4)
    expected = layer.stream(3, weights=weights).push(x)
    x[1, 1, 2] = bad
    got = layer.stream(3, weights=weights).push(x)
    assert torch.equal(got[:, [0, 2]], expected[:, [0, 2]])
    assert torch.equal(got[0], expected[0])
    assert got[2, 1].isnan().any() or weights == "bf16"


@every_format
@pytest.mark.parametrize("size", [1e-30, 1e-10, 1.0, 1e10, 1e30])
def test_inputs_of_any_size_keep_their_digits(weights, size):
    layer = rounded(unrolled.RNN(40, 8, nonlinearity="relu", bias=False), weights)
    x = torch.rand(1, 40) * size
    got = layer.stream(weights=weights).step(x)
    expected = (x.double() @ layer.weight_ih_l0.double().T).relu()
    assert (got - expected).norm() <= 3e-6 * expected.norm() + 1e-34


def refused(layer, *, match, **options):
    with pytest.raises(OptionError, match=match):
        layer.stream(**options)


@every_format
@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_pool_of_streams_has_them_too(weights, num_threads):
    layer, x = unrolled.LSTM(5, 33, 2), torch.randn(9, 40, 5)
    pool = layer.streams(50, weights=weights)
    rows = [pool.join() for _ in range(40)]
    expected, before = layer.stream(40, weights=weights).push(x), torch.get_num_threads()
    assert not torch.equal(expected, layer.stream(40).push(x))
    torch.set_num_threads(num_threads)
    try:
        assert torch.equal(pool.push(x[:4]), expected[:4])
        order = rows[::-3]
        assert torch.equal(pool.step(x[4, order], order), expected[4, order])
        copied = pickle.loads(pickle.dumps(pool))
        assert torch.equal(copied.step(x[5, order], order), expected[5, order])
        with using_path("reference"), pytest.raises(OptionError, match="needs a kernel"):
            pool.step(x[5, order], order)
        layer.weight_hh_l1.detach().mul_(0.5)
        other = layer.streams(1, weights=weights)
        other.join(pool.state_of(rows[7]))
        assert torch.equal(pool.step(x[5, 7:8], rows[7]), other.step(x[5, 7:8]))
    finally:
        torch.set_num_threads(before)
    with pytest.raises(OptionError, match=r"LSTM\.streams: weights must be"):
        layer.streams(3, weights="int4")


def test_what_cannot_be_had_is_refused_when_the_stream_is_opened():
    refused(unrolled.LSTM(3, 4), weights="int4", match="weights must be f32, bf16 or int8")
    refused(unrolled.LSTM(3, 4), weights=8, match="weights must be f32, bf16 or int8")
    refused(unrolled.LSTM(3, 4).double(), weights="bf16", match=r"float64 on cpu")
    refused(unrolled.LSTM(3, 4).bfloat16(), weights="int8", match=r"bfloat16 on cpu")
    refused(unrolled.LSTM(3, 4, device="meta"), weights="int8", match=r"on meta")
    refused(unrolled.LSTM(3, 4, proj_size=2), weights="int8", match="proj_size has none")
    refused(unrolled.GRU(3, 4, bidirectional=True), weights="bf16", match="bidirectional")
    refused(unrolled.GRU(70_000, 1), weights="int8", match="add up to 65536 products, got 70000")
    sorted_layer = unrolled.Recurrent(sorting, 3, 4)
    refused(sorted_layer, weights="int8", match=r'weights="int8" needs a kernel: .*sort')
    unrolled.GRU(70_000, 1).stream(weights="bf16")
    for bad in (math.nan, math.inf):
        layer = unrolled.LSTM(3, 4, 2)
        layer.weight_hh_l1.detach()[5, 1] = bad
        refused(layer, weights="int8", match="weight_hh_l1 has numbers that are infinite or NaN")
        with pytest.raises(OptionError, match="are finite"):
            layer.streams(3, weights="int8")
        layer.stream(weights="bf16")


@every_format
def test_no_other_path_takes_over_in_silence(weights):
    layer, x = unrolled.LSTM(3, 4), torch.randn(5, 1, 3)
    stream = layer.stream(weights=weights)
    needs_a_kernel = pytest.raises(OptionError, match=f'weights="{weights}" needs a kernel')
    for path in ("reference", "torch"):
        with using_path(path), needs_a_kernel:
            stream.push(x)
        with using_path(path), needs_a_kernel:
            stream.step(x[0])
    with needs_a_kernel:
        torch.func.vmap(lambda x: stream.push(x), in_dims=0)(x[None])
    assert torch.equal(read(stream, x), layer.stream(weights=weights).push(x))
    layer.double()
    with pytest.raises(unrolled.errors.UnrolledError):
        stream.step(x[0])
    with needs_a_kernel:
        stream = unrolled.LSTM(3, 4).stream(weights=weights)
        stream._layer.double()
        stream.state = stream._layer.initial_state(1)
        stream.push(x.double())


@every_format
def test_a_state_goes_from_one_format_to_another(weights):
    layer, x = unrolled.LSTM(3, 20), torch.randn(8, 1, 3)
    stream, other = layer.stream(), layer.stream(weights=weights)
    stream.push(x)
    other.state = stream.state
    assert other.push(x).isfinite().all()
    assert all(part.dtype is torch.float32 for part in state_tensors(other.state))
