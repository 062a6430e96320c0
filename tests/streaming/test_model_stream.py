"""A model in pieces says what it says of the whole; what cannot is refused by its name."""

import copy
import pickle
import warnings
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import unrolled
from unrolled.errors import OptionError, ShapeError, UnrolledError
from unrolled.networks import Conv, Dense, LayerOptions, make_layer

T = 23


class Model(nn.Module):
    """A module of parts, and of what is to be done with them."""

    def __init__(self, run, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = run

    def forward(self, x):
        return self.run(self, x)


def recurrent(kind=unrolled.GRU, *args):
    return kind(*(args or (6, 5)), batch_first=True)


class CausalConv(nn.Conv1d):
    """As many write it: with a `forward` of its own."""

    def forward(self, x):
        return super().forward(F.pad(x, ((self.kernel_size[0] - 1) * self.dilation[0], 0)))


class Chomped(nn.Module):
    """A block of a TCN as the paper's code has it: padded on both sides, and cut."""

    def __init__(self, size, dilation):
        super().__init__()
        self.cut = 2 * dilation
        self.conv = nn.Conv1d(size, size, 3, padding=self.cut, dilation=dilation)
        self.net = nn.Sequential(self.conv, nn.ReLU(inplace=True), nn.Dropout(0.3))

    def forward(self, x):
        return F.relu(self.net(x)[:, :, : -self.cut].contiguous() + x)


def gated(self, x):
    a, b = self.conv(F.pad(x, (3, 0))).chunk(2, dim=1)
    return torch.tanh(a) * b.sigmoid()


def mixed(self, x):
    """Features, batch and time in every order, and both branches of unlike delay."""
    y = self.norm(self.conv(x.transpose(1, 2))).transpose(1, 2)  # 2 steps late
    z = self.layer(x)[0][:, 2:]
    both = torch.cat([y, z], dim=-1)
    flat = both.reshape(both.shape[0], both.shape[1], 2, -1).flatten(2)
    return self.out(self.ln(flat * torch.tensor(0.5) + 1)).log_softmax(-1)


class Skips(nn.Module):
    """Dilated convolutions without padding, whose outputs are cut to the shortest and summed."""

    def __init__(self):
        super().__init__()
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            norm = [nn.utils.weight_norm(nn.Conv1d(6, 12, 2, dilation=2**n)) for n in range(3)]
        self.convs = nn.ModuleList(norm)

    def forward(self, x):
        skips = []
        for number, conv in enumerate(self.convs):
            a, b = conv(x).chunk(2, 1)
            gated = torch.tanh(a) * b.sigmoid()
            skips.append(gated)
            x = x[:, :, 2**number :] + gated
        return sum(skip[:, :, -x.shape[2] :] for skip in skips)


MODELS = {  # what makes it, what it reads, delay, rate
    "linear": (lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3)), "B T 6", 0, 1),
    "one layer": (lambda: unrolled.LSTM(6, 5), "T B 6", 0, 1),
    "TCN": (lambda: unrolled.TCN(6, 5, num_layers=3), "T B 6", 0, 1),
    "controls": (
        lambda: Model(lambda m, x: m.b(m.a(x)[0])[0], a=Conv(6, 5), b=Dense(5, 4)),
        "T B 6",
        0,
        1,
    ),
    "torch's LSTM": (lambda: nn.LSTM(6, 5, 2), "T B 6", 0, 1),
    "torch's LSTM, accelerated": (
        lambda: unrolled.accelerate(nn.Sequential(nn.Linear(6, 4), recurrent(nn.LSTM, 4, 5)))[0],
        "B T 6",
        0,
        1,
    ),
    "torch's GRU, accelerated": (lambda: unrolled.accelerate(nn.GRU(6, 5))[0], "T B 6", 0, 1),
    "valid convolution": (lambda: nn.Sequential(nn.Conv1d(6, 4, 5, dilation=2)), "B 6 T", 8, 1),
    "strides": (
        lambda: nn.Sequential(
            nn.Conv1d(6, 8, 5, stride=2), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 3, 1, stride=3)
        ),
        "B 6 T",
        4,
        6,
    ),
    "stride beyond the kernel": (lambda: nn.Conv1d(6, 4, 2, stride=5), "B 6 T", 1, 5),
    "pooling": (
        lambda: nn.Sequential(nn.Conv1d(6, 4, 3), nn.MaxPool1d(2), nn.AvgPool1d(3, 1)),
        "B 6 T",
        7,
        2,
    ),
    "own causal convolution": (
        lambda: nn.Sequential(CausalConv(6, 6, 3, dilation=2), nn.SiLU()),
        "B 6 T",
        0,
        1,
    ),
    "chomped blocks": (lambda: nn.Sequential(*(Chomped(6, 2**n) for n in range(3))), "B 6 T", 0, 1),
    "skips of computed weights": (Skips, "B 6 T", 7, 1),
    "largest features": (lambda: Model(lambda m, x: x.max(-1).values), "B T 6", 0, 1),
    "sums so far": (lambda: Model(lambda m, x: x.cumsum(1) + x.cummax(1)[0]), "B T 6", 0, 1),
    "gates": (lambda: Model(gated, conv=nn.Conv1d(6, 10, 4)), "B 6 T", 0, 1),
    "branches of unlike delay": (
        lambda: Model(
            mixed,
            conv=nn.Conv1d(6, 5, 3),
            norm=nn.BatchNorm1d(5),
            layer=recurrent(),
            ln=nn.LayerNorm(10),
            out=nn.Linear(10, 3),
        ),
        "B T 6",
        2,
        1,
    ),
    "the present against the past": (
        lambda: Model(lambda m, x: x[:, 3:] - x[:, :-3]),
        "B T 6",
        3,
        1,
    ),
    "zeros for a state": (
        lambda: Model(lambda m, x: m.a(x, x.new_zeros(1, len(x), 5))[0], a=recurrent()),
        "B T 6",
        0,
        1,
    ),
    "a weight of its own": (
        lambda: Model(lambda m, x: x @ m.w.t().exp(), w=nn.Parameter(torch.randn(4, 6))),
        "B T 6",
        0,
        1,
    ),
    "tokens": (
        lambda: nn.Sequential(nn.Embedding(9, 6), nn.RMSNorm(6), nn.Linear(6, 2)),
        "B T",
        0,
        1,
    ),
    "asks for shapes": (
        lambda: Model(
            lambda m, x: m.a(x) if x.dim() == 3 and x.shape[1] > 2 else x, a=nn.Linear(6, 2)
        ),
        "B T 6",
        0,
        1,
    ),
}


@lru_cache
def made(name):
    torch.manual_seed(0)
    make, reads, delay, rate = MODELS[name]
    model = make().eval()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    sizes = {"B": 3, "T": T}
    shape = [sizes[axis] if axis in sizes else int(axis) for axis in reads.split()]
    x = torch.randn(shape) if len(shape) == 3 else torch.randint(9, shape)
    with torch.no_grad():
        whole = model(x)
    whole = whole[0] if isinstance(whole, tuple) else whole
    time = reads.split().index("T")
    return model, reads, x, whole, time, delay, rate


@lru_cache
def stream_of(name):
    return unrolled.stream(made(name)[0], 3, reads=made(name)[1])


@pytest.mark.parametrize("name", MODELS)
@given(cuts=st.lists(st.integers(0, T), max_size=5))
@settings(max_examples=10)
def test_any_cut_says_what_the_whole_does(name, cuts):
    _, _, x, whole, time, _, _ = made(name)
    stream = stream_of(name)
    stream.reset()
    marks = [0, *sorted(cuts), T]
    for _ in range(2):  # again after a reset
        pieces = [x.narrow(time, a, b - a) for a, b in pairwise(marks)]
        torch.testing.assert_close(torch.cat([stream.push(p) for p in pieces], time), whole)
        stream.reset()


@pytest.mark.parametrize("name", MODELS)
def test_an_output_comes_with_the_input_that_the_delay_says(name):
    _, _, x, whole, time, delay, rate = made(name)
    stream = stream_of(name)
    stream.reset()
    assert (stream.delay, stream.rate) == (delay, rate)
    outputs = iter(whole.unbind(time))
    for number, step in enumerate(x.unbind(time)):
        output = stream.step(step)
        comes = number >= delay and (number - delay) % rate == 0
        assert (output is not None) == comes
        if comes:
            torch.testing.assert_close(output, next(outputs))
    assert next(outputs, None) is None


def test_a_model_of_our_layers_has_the_same_bits_however_cut():
    model = Model(
        lambda m, x: torch.tanh(m.b(m.a(x)[0] + x)[0]),
        a=recurrent(unrolled.LSTM, 6, 6),
        b=recurrent(unrolled.JANET, 6, 4),
    )
    x = torch.randn(2, T, 6)
    stream = unrolled.stream(model, 2)
    whole = stream.push(x)
    for length in (1, 4, 22):
        stream.reset()
        assert torch.equal(torch.cat([stream.push(p) for p in x.split(length, 1)], 1), whole)


def test_what_a_model_reads_is_known_from_its_first_part():
    for name, (make, *_) in MODELS.items():
        if name not in (
            "the present against the past",
            "largest features",
            "sums so far",
            "branches of unlike delay",
            "a weight of its own",
        ):
            x = made(name)[2]
            assert unrolled.stream(make().eval(), 3).push(x).shape, name


WITHOUT_CAUSE = {
    "padding of both sides": (lambda: nn.Conv1d(6, 4, 3, padding=1), r"Conv1d.*1 steps ahead"),
    "padding same": (lambda: nn.Conv1d(6, 4, 5, padding="same"), "2 steps ahead"),
    "too little cut": (
        lambda: Model(lambda m, x: m.a(x)[..., :-1], a=nn.Conv1d(6, 4, 3, padding=2)),
        r"Conv1d 'a'.*1 steps ahead",
    ),
    "padding of the end": (
        lambda: Model(lambda m, x: F.pad(x, (0, 0, 0, 2))),
        "pad.*2 steps ahead",
    ),
    "circular": (lambda: nn.Conv1d(6, 4, 3, padding=2, padding_mode="circular"), "'circular'"),
    "both directions": (
        lambda: recurrent(lambda *a, **k: unrolled.LSTM(*a, bidirectional=True, **k)),
        "LSTM.*its end",
    ),
    "both directions of torch": (lambda: nn.GRU(6, 5, bidirectional=True), "GRU.*its end"),
    "both directions of a TCN": (
        lambda: make_layer(LayerOptions(cell="tcn", hidden_size=4), 6, bidirectional=True),
        "BothDirections.*its end",
    ),
    "norm over time": (
        lambda: nn.Sequential(nn.Conv1d(6, 4, 1), nn.GroupNorm(2, 4)),
        "GroupNorm '1'.*over time",
    ),
    "instance norm": (
        lambda: nn.Sequential(nn.Conv1d(6, 4, 1), nn.InstanceNorm1d(4)),
        "InstanceNorm1d '1'",
    ),
    "attention": (
        lambda: Model(
            lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(6, 2, batch_first=True)
        ),
        "MultiheadAttention 'a'.*attention",
    ),
    "a transformer": (
        lambda: Model(lambda m, x: m.a(x), a=nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)),
        "attention",
    ),
    "attention by hand": (
        lambda: Model(lambda m, x: (x @ x.transpose(1, 2)).softmax(-1) @ x),
        "matmul.*attention",
    ),
    "pooling of all": (
        lambda: nn.Sequential(nn.Conv1d(6, 4, 1), nn.AdaptiveMaxPool1d(1)),
        "AdaptiveMaxPool1d '1'.*all time",
    ),
    "a mean over time": (lambda: Model(lambda m, x: x.mean(1)), "mean.*along time"),
    "a mean of all": (lambda: Model(lambda m, x: x - x.mean()), "mean.*along time"),
    "softmax over time": (lambda: Model(lambda m, x: F.softmax(x, 1) * x), "softmax.*along time"),
    "the last step": (
        lambda: Model(lambda m, x: m.a(x)[0][:, -1], a=recurrent()),
        "takes some steps",
    ),
    "the first steps": (lambda: Model(lambda m, x: x[:, :4]), "does not grow"),
    "backwards": (lambda: Model(lambda m, x: x.flip(1)), "flip.*time"),
    "the state at the end": (
        lambda: Model(lambda m, x: x + m.a(x)[1][0][:, None], a=recurrent()),
        "state at the end of GRU 'a'",
    ),
    "a state at the begin": (
        lambda: Model(lambda m, x: m.a(x, torch.ones(1, len(x), 5))[0], a=recurrent()),
        "not zero",
    ),
    "lengths": (
        lambda: Model(lambda m, x: m.a(x, lengths=torch.tensor([4]))[0], a=recurrent()),
        "GRU 'a'.*lengths",
    ),
    "positions": (
        lambda: Model(lambda m, x: x + torch.arange(x.shape[1])[:, None]),
        "arange.*as long as",
    ),
    "the length": (lambda: Model(lambda m, x: x / x.shape[1]), "length of the sequence"),
    "steps made features": (
        lambda: Model(lambda m, x: x.reshape(len(x), 6, -1).transpose(1, 2)),
        "reshape.*mixes steps",
    ),
    "a product over time": (
        lambda: Model(lambda m, x: m.a(x.transpose(1, 2)), a=nn.Linear(23, 2)),
        "Linear 'a'.*along time",
    ),
    "a norm of time": (
        lambda: Model(lambda m, x: m.a(x.transpose(1, 2)), a=nn.LayerNorm(23)),
        "LayerNorm 'a'.*along time",
    ),
    "a transposed convolution": (
        lambda: nn.Sequential(nn.Conv1d(6, 4, 1), nn.ConvTranspose1d(4, 4, 2)),
        "ConvTranspose1d '1'",
    ),
    "values": (lambda: Model(lambda m, x: x if x.sum(-1).max() > 0 else -x), "max"),
    "a loop": (
        lambda: Model(lambda m, x: torch.stack([s * 2 for s in x.unbind(1)], 1)),
        "unbind.*along time",
    ),
    "steps written over": (
        lambda: Model(lambda m, x: x.index_fill(1, torch.tensor([0]), 0.0)),
        "index_fill",
    ),
    "across the batch": (
        lambda: Model(lambda m, x: x - x.mean(0, keepdim=True)),
        "mean.*the batch",
    ),
    "no sequence": (lambda: Model(lambda m, x: torch.ones(3)), "gives nothing"),
}


@pytest.mark.parametrize("name", WITHOUT_CAUSE)
def test_what_cannot_be_streamed_is_refused_by_its_name(name):
    make, words = WITHOUT_CAUSE[name]
    model = make().eval()
    is_conv = any(isinstance(part, nn.Conv1d) for part in model.modules())
    reads = "B 6 T" if is_conv else "B T 6"
    if isinstance(model, nn.GRU):
        reads = "T B 6"
    with pytest.raises(OptionError, match=words) as caught:
        unrolled.stream(model, reads=reads)
    assert "\n" not in str(caught.value)


def test_what_is_drawn_or_learned_from_the_batch_is_refused():
    for part in (nn.Dropout(0.5), nn.BatchNorm1d(4), unrolled.LSTM(4, 4, 2, dropout=0.5)):
        model = nn.Sequential(nn.Conv1d(6, 4, 1), part)
        if isinstance(part, unrolled.LSTM):
            model = part
        with pytest.raises(OptionError, match=r"model.eval\(\)"):
            unrolled.stream(model)
        unrolled.stream(model.eval())


def test_a_model_that_counts_calls_is_refused():
    def run(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return x * (1 if self.calls % 2 else 2)

    with pytest.raises(OptionError, match="in pieces"):
        unrolled.stream(Model(run), reads="B T 6")


BAD_CALLS = {
    "no module": (lambda: unrolled.stream("model"), "needs a module, got str"),
    "no rows": (
        lambda: unrolled.stream(nn.Linear(2, 2), 0),
        "batch_size must be at least 1, got 0",
    ),
    "half a row": (lambda: unrolled.stream(nn.Linear(2, 2), 1.5), "batch_size"),
    "no time": (lambda: unrolled.stream(nn.Linear(2, 2), reads="B 2"), "got 'B 2'"),
    "time twice": (lambda: unrolled.stream(nn.Linear(2, 2), reads="B T T"), "got 'B T T'"),
    "no text": (lambda: unrolled.stream(nn.Linear(2, 2), reads=3), "got 3"),
    "other features": (
        lambda: unrolled.stream(nn.Linear(2, 2), reads="B T 3"),
        r"Linear.*\(B, T, 3\)",
    ),
    "other features of a layer": (
        lambda: unrolled.stream(unrolled.GRU(2, 2), reads="T B 3"),
        "reads 2 features",
    ),
    "batch for time": (lambda: unrolled.stream(unrolled.GRU(2, 2), reads="B T 2"), "batch_first"),
    "other channels": (lambda: unrolled.stream(nn.Conv1d(2, 2, 1), reads="B 3 T"), "channels"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_wrong_call_is_one_clear_error(name):
    call, words = BAD_CALLS[name]
    with pytest.raises(UnrolledError, match=words):
        call()


WRONG_INPUTS = {
    "rows": torch.zeros(2, 4, 6),
    "features": torch.zeros(3, 4, 5),
    "dims": torch.zeros(4, 6),
    "dtype": torch.zeros(3, 4, 6, dtype=torch.float64),
    "array": np.zeros((3, 4, 6)),
}


@pytest.mark.parametrize("x", WRONG_INPUTS.values(), ids=list(WRONG_INPUTS))
def test_an_input_that_does_not_fit_is_an_error_and_is_not_read(x):
    model = Model(lambda m, x: m.a(x)[0], a=recurrent())
    stream, read = unrolled.stream(model, 3), torch.randn(3, 4, 6)
    stream.push(read[:, :1])
    for read_wrong in (stream.push, lambda wrong: stream.step(wrong[..., 0, :])):
        with pytest.raises(ShapeError, match=r"stream: a (chunk|step).*\(3, T, 6\)"):
            read_wrong(x)
    assert torch.equal(stream.push(read[:, 1:]), model(read)[:, 1:])


def test_arrays_are_answered_by_arrays():
    model = nn.Sequential(nn.Linear(6, 2))
    stream, x = unrolled.stream(model, 3), np.ones((3, 4, 6), np.float32)
    assert type(stream.push(x)) is type(stream.step(x[:, 0])) is np.ndarray


def test_single_rows_begin_again_and_others_go_on():
    model, _, x, whole, *_ = made("chomped blocks")
    stream = unrolled.stream(model, 3)
    stream.push(x[:, :, :9])
    stream.reset([1])
    later = stream.push(x[:, :, 9:])
    torch.testing.assert_close(later[[0, 2]], whole[[0, 2], :, 9:])
    torch.testing.assert_close(later[1:2], model(x[1:2, :, 9:]))
    with pytest.raises(ShapeError, match="cannot reset rows"):
        stream.reset([7])


def test_rows_of_a_model_with_a_delay_begin_together():
    stream = unrolled.stream(nn.Conv1d(6, 4, 3), 3)
    with pytest.raises(OptionError, match="begin together"):
        stream.reset([1])


def test_a_number_that_is_none_harms_its_own_row_alone():
    model, _, x, whole, *_ = made("chomped blocks")
    stream, broken = unrolled.stream(model, 3), x.clone()
    broken[1, 2, 4] = torch.nan
    torch.testing.assert_close(stream.push(broken)[[0, 2]], whole[[0, 2]])


def test_weights_that_change_are_used():
    model = Model(
        lambda m, x: F.linear(m.a(x)[0], m.w * 2), a=recurrent(), w=nn.Parameter(torch.ones(2, 5))
    )
    stream, x = unrolled.stream(model, 3), torch.randn(3, 4, 6)
    stream.push(x)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.3)
        stream.reset()
        torch.testing.assert_close(stream.push(x), model(x))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_goes_on_by_itself(copied):
    model, _, x, whole, *_ = made("strides")
    stream = unrolled.stream(model, 3)
    first = stream.push(x[:, :, :11])
    second = copied(stream)
    for each in (stream, second):
        torch.testing.assert_close(torch.cat([first, each.push(x[:, :, 11:])], 2), whole)


def test_modules_are_called_as_before_after_a_refusal():
    ordinary = nn.Module.__call__
    with pytest.raises(OptionError):
        unrolled.stream(nn.GRU(2, 2, bidirectional=True))
    assert nn.Module.__call__ is ordinary


# ---- Smaller weights -----------------------------------------------------------------------------


def between_dense(layer):
    """A model with a layer from 6 to 5 numbers in its middle."""
    run = lambda m, x: m.after(m.layer(m.before(x))[0])  # noqa: E731
    return Model(run, before=nn.Linear(4, 6), layer=layer, after=nn.Linear(5, 3)).eval()


def test_bf16_weights_of_a_model_are_rounded_matrices_of_its_layers_alone():
    torch.manual_seed(0)
    model, x = between_dense(recurrent(unrolled.LSTM)), torch.randn(2, 9, 4)
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for weight in rounded.layer.parameters():
            if weight.dim() == 2:
                weight.copy_(weight.bfloat16())
    expected = read(unrolled.stream(rounded, 2), x)
    stream = unrolled.stream(model, 2, weights="bf16")
    for _ in range(2):
        assert torch.equal(read(stream, x), expected)
        stream.reset()
    assert not torch.equal(read(unrolled.stream(model, 2), x), expected)


def read(stream, x):
    return torch.cat([stream.push(piece) for piece in x.split([4, 1, 4], 1)], 1)


def test_int8_weights_of_a_model_are_near_those_of_float32():
    torch.manual_seed(0)
    model, x = between_dense(recurrent()), torch.randn(1, 9, 4)
    expected = model(x)
    got = read(unrolled.stream(model, weights="int8"), x)
    assert 1e-6 < (got - expected).abs().max() < 0.01


def test_a_piece_that_a_layer_refused_and_one_before_remembers_is_not_read_past():
    torch.manual_seed(0)
    model = Model(
        lambda m, x: m.second(m.first(m.dense(x))[0])[0],
        dense=nn.Linear(4, 6),
        first=recurrent(),
        second=recurrent(unrolled.GRU, 5, 3),
    )
    x, stream = torch.randn(1, 9, 4), unrolled.stream(model, weights="int8")
    expected = read(stream, x)

    def refused_by(layer):
        """Read a part, and a second one, which a layer refuses."""
        stream.reset()
        begun = stream.push(x[:, :4])
        good = layer.weight_hh_l0[0, 0].item()
        layer.weight_hh_l0.detach()[0, 0] = torch.inf
        with pytest.raises(OptionError, match=r"GRU\.stream: .* weight_hh_l0 has numbers"):
            stream.push(x[:, 4:])
        layer.weight_hh_l0.detach()[0, 0] = good
        return begun

    begun = refused_by(model.first)
    rest = [stream.push(piece) for piece in x[:, 4:].split([1, 4], 1)]
    assert torch.equal(torch.cat([begun, *rest], 1), expected)
    refused_by(model.second)
    stream.reset([0])
    with pytest.raises(OptionError, match="some parts of the model remember"):
        stream.step(x[:, 4])
    stream.reset()
    assert torch.equal(read(stream, x), expected)


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.GRU(6, 5, batch_first=True), "GRU cannot have them: it is a layer of torch"),
        (unrolled.TCN(6, 5, batch_first=True), "TCN cannot have them: only recurrent layers"),
    ],
    ids=["torch", "tcn"],
)
def test_layers_whose_weights_cannot_be_smaller_are_named(layer, why):
    with pytest.raises(OptionError, match=why):
        unrolled.stream(between_dense(layer), weights="bf16")


def test_a_layer_of_torch_has_smaller_weights_in_a_stream_once_it_is_accelerated_with_them():
    torch.manual_seed(0)
    model = between_dense(nn.GRU(6, 5, batch_first=True)).eval()
    x = torch.randn(1, 9, 4)
    exact = model(x)
    with pytest.raises(OptionError, match=r'accelerate\(model, weights="bf16"\) first'):
        unrolled.stream(model, weights="bf16")
    unrolled.accelerate(model, weights="bf16")
    with torch.no_grad():
        got, expected = read(unrolled.stream(model), x), model(x)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    assert (expected - exact).abs().max() > 1e-5


def test_a_model_without_recurrent_layers_has_no_smaller_weights():
    with pytest.raises(OptionError, match="Sequential cannot have them: it has no recurrent layer"):
        unrolled.stream(nn.Sequential(nn.Linear(3, 4)), weights="int8")
    with pytest.raises(OptionError, match="weights must be f32, bf16 or int8, got 'int4'"):
        unrolled.stream(between_dense(recurrent()), weights="int4")
