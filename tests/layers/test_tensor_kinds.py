"""Every kind of tensor that torch has, by every way into a layer: torch.nn's numbers, or an error.

A kernel is given addresses, so a tensor that is not what it seems could end the process.
"""

import shutil

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils.rnn import PackedSequence

import unrolled
from unrolled.errors import ShapeError

pytestmark = [
    pytest.mark.skipif(
        not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
    ),
    pytest.mark.filterwarnings("ignore"),  # torch's own, of kinds that are prototypes
]


class Renamed(torch.Tensor):
    """A subclass with nothing of its own."""


class Wrapped(torch.Tensor):
    """A subclass that holds another tensor and no numbers itself."""

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        def unwrap(value):
            return value.inner if isinstance(value, Wrapped) else value

        mapped = torch.utils._pytree.tree_map(unwrap, (args, kwargs or {}))
        return function(*mapped[0], **mapped[1])


def strided(t):
    wide = torch.full((*t.shape[:-1], 2 * t.shape[-1]), float("nan"))
    wide[..., ::2] = t
    return wide[..., ::2]


def offset(t):
    flat = torch.cat([torch.full((3,), float("nan")), t.flatten()])
    return flat[3:].view(t.shape)


def misaligned(t):
    raw = bytearray(b"\xff" + t.numpy().tobytes())
    return torch.frombuffer(raw, dtype=torch.float32, offset=1).view(t.shape)


def read_only(t):
    array = t.numpy().copy()
    array.flags.writeable = False
    return torch.from_numpy(array)


def with_storage(t, floats):
    t = t.clone()
    t.untyped_storage().resize_(4 * floats)
    return t


def nested(t):
    return torch.nested.nested_tensor(list(t.unbind(0)))


def inference(t):
    with torch.inference_mode():
        return t.clone()


def fake(t):
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        return mode.from_tensor(t)


KINDS = {
    "plain": torch.clone,
    "transposed": lambda t: t.transpose(0, -1).contiguous().transpose(0, -1),
    "every second number": strided,
    "with an offset": offset,
    "misaligned": misaligned,
    "expanded": lambda t: t[:1].expand(t.shape),
    "overlapping": lambda t: torch.as_strided(t.clone(), t.shape, (1,) * t.dim()),
    "read-only memory": read_only,
    "bytes": lambda t: torch.frombuffer(t.numpy().tobytes(), dtype=torch.float32).view(t.shape),
    "shared memory": lambda t: t.clone().share_memory_(),
    "DLPack": lambda t: torch.from_dlpack(t.numpy()),
    "longer storage": lambda t: with_storage(t, t.numel() + 100),
    "freed storage": lambda t: with_storage(t, 0),
    "cut storage": lambda t: with_storage(t, t.numel() - 1),
    "zero tensor": lambda t: torch._efficientzerotensor(t.shape),
    "negative bit": lambda t: torch.complex(torch.zeros_like(t), -t).conj().imag,
    "negative bit, transposed": lambda t: (
        (torch.complex(torch.zeros_like(t), -t).transpose(0, -1).contiguous().transpose(0, -1))
        .conj()
        .imag
    ),
    "inference": inference,
    "parameter": nn.Parameter,
    "buffer": nn.Buffer,
    "subclass": lambda t: t.as_subclass(Renamed),
    "wrapper": Wrapped,
    "fake": fake,
    "meta": lambda t: t.to("meta"),
    "sparse": torch.Tensor.to_sparse,
    "compressed sparse": lambda t: t.to_sparse_csr() if t.dim() == 2 else t.to_sparse(),
    "mkldnn": torch.Tensor.to_mkldnn,
    "nested": nested,
    "quantised": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
    "double": torch.Tensor.double,
    "half": torch.Tensor.half,
    "bfloat16": torch.Tensor.bfloat16,
    "complex": lambda t: torch.complex(t, t),
    "integers": torch.Tensor.long,
    "booleans": torch.Tensor.bool,
    "array": torch.Tensor.numpy,
    "none": lambda t: None,
}
T, B, H = 5, 3, 6
X, H0 = torch.linspace(-1, 1, T * B * 4).view(T, B, 4), torch.linspace(-1, 1, B * H).view(1, B, H)


def forward(layer, kind):
    return layer(kind(X))[0]


def packed(layer, kind):
    return layer(PackedSequence(kind(X.flatten(0, 1)), torch.full((T,), B)))[0].data


def state(layer, kind):
    state = kind(H0)
    return layer(X, (state, state) if isinstance(layer, nn.LSTM | unrolled.LSTM) else state)[0]


def weight(layer, kind):
    del layer.weight_hh_l0
    layer.weight_hh_l0 = kind(
        torch.linspace(-1, 1, 24 * H)[: H * layer.bias_hh_l0.numel()].view(-1, H)
    )
    return layer(X)[0]


def weight_data(layer, kind):
    layer.weight_ih_l0.data = kind(layer.weight_ih_l0.data.clone())
    return layer(X)[0]


def gradient(layer, kind):
    x = X.clone().requires_grad_()
    output, _ = layer(x)
    return torch.autograd.grad(output, [x, *layer.parameters()], kind(X[..., :1].expand(T, B, H)))


def kept(layer, kind):
    """What hooks give back in the place of what was kept for the backward pass."""
    x = X.clone().requires_grad_()

    def give(tensor):
        return kind(tensor) if tensor.dim() > 1 and tensor.dtype is torch.float32 else tensor

    with torch.autograd.graph.saved_tensors_hooks(torch.Tensor.clone, give):
        output, _ = layer(x)
    return torch.autograd.grad(output.sum(), x)


WAYS = [forward, packed, state, weight, weight_data, gradient, kept]
OTHER_NUMBERS = {"expanded", "overlapping", "zero tensor"}
MAY_FAIL = {"inference", "wrapper", "fake", "freed storage", "cut storage", *list(KINDS)[-15:]}


def outcome(layer, way, kind):
    """What comes of it: tensors, or the exception."""
    try:
        result = way(layer, kind)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        return error
    return [result] if isinstance(result, torch.Tensor) else list(result)


def layer_of(module, name):
    torch.manual_seed(0)
    layer = getattr(module, name)(4, H)
    with torch.no_grad():
        layer(X)  # has its kernel made, so that only the call itself meets the kind
    return layer


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_gives_the_numbers_of_that_of_torch_or_says_why_not(kind, way, name):
    got = outcome(layer_of(unrolled, name), way, KINDS[kind])
    if isinstance(got, Exception):
        assert str(got)
        assert kind in MAY_FAIL, got
        return
    assert not kind.endswith(("freed storage", "cut storage"))
    if kind in ("fake", "meta") or (way is kept and kind in OTHER_NUMBERS):
        return  # no numbers, or the user's own

    def plain(tensor):
        made = KINDS[kind](tensor)
        if made is None:
            return None
        made = made.inner if isinstance(made, Wrapped) else made.detach().to_dense()
        made = torch.zeros_like(tensor) if kind == "zero tensor" else made
        return made.to(torch.float32).clone(memory_format=torch.contiguous_format)

    expected = outcome(layer_of(nn, name), way, plain)
    for ours, theirs in zip(got, expected, strict=True):
        ours = ours.inner if isinstance(ours, Wrapped) else ours.to_dense()
        torch.testing.assert_close(ours.as_subclass(torch.Tensor), theirs, rtol=1e-5, atol=1e-6)


def cut(*shape, dtype=torch.float32):
    t = torch.zeros(shape, dtype=dtype)
    t.untyped_storage().resize_(t.itemsize)
    return t


BESIDE = {
    "step(out=)": lambda stream, pool, _: stream.step(X[0], out=cut(B, H)),
    "push(out=)": lambda stream, pool, _: stream.push(X, out=cut(T, B, H)),
    "out= of a pool": lambda stream, pool, _: pool.step(X[0], out=cut(B, H)),
    "bind, input": lambda stream, pool, _: stream.bind(cut(B, 4), torch.zeros(B, H)),
    "bind, output": lambda stream, pool, _: stream.bind(X[0].clone(), cut(B, H)),
    "state": lambda stream, pool, _: setattr(stream, "state", with_cut_state(stream)),
    "state of a pool": lambda stream, pool, _: pool.set_state(None, with_cut_state(stream)),
    "hx": lambda stream, pool, layer: layer(X, with_cut_state(stream), lengths=[T] * B),
    "resets": lambda stream, pool, layer: layer(X, resets=cut(T, B, dtype=torch.bool)),
    "lengths": lambda stream, pool, layer: layer(X, lengths=cut(B, dtype=torch.int64)),
}


def with_cut_state(stream):
    return torch.utils._pytree.tree_map(lambda part: cut(*part.shape), stream.state)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "TCN"])
@pytest.mark.parametrize("place", BESIDE)
def test_a_storage_that_was_cut_is_neither_read_nor_written_beyond_its_end(place, name):
    layer = layer_of(unrolled, name)
    stream, pool = layer.stream(B), layer.streams(B)
    for _ in range(B):
        pool.join()
    stream.step(X[0])
    with pytest.raises(ShapeError, match="has no memory for its numbers"):
        BESIDE[place](stream, pool, layer)


@pytest.mark.parametrize("name", ["JANET", "LSTM", "TCN"])
def test_weights_on_another_device_are_an_error(name):
    layer = layer_of(unrolled, name)
    owner, weight = (layer.blocks[0].shortcut, "weight") if name == "TCN" else (layer, "bias_hh_l0")
    setattr(owner, weight, nn.Parameter(getattr(owner, weight).detach().to("meta")))
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"same device|on cpu"):
        layer(X)
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"same device|on cpu"):
        layer.stream(B).step(X[0])


def test_the_operator_takes_a_state_that_functionalisation_has_wrapped():
    layer = layer_of(unrolled, "GRU")
    weights, state = layer.weights_of("l0").tensors(), torch._to_functional_tensor(H0[0].clone())
    arguments = (layer.cell.key, True, False, False)
    output, _ = torch.ops.unrolled.recurrence(X, None, [state], weights, *arguments)
    plain = torch._from_functional_tensor(output) if torch._is_functional_tensor(output) else output
    torch.testing.assert_close(plain, layer(X, H0)[0])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("array", "none")])
def test_a_stream_gives_the_numbers_of_its_layer_or_says_why_not(kind):
    layer = layer_of(unrolled, "LSTM")
    stream, x = layer.stream(B), KINDS[kind](X[0])
    for _ in range(2):  # the second step meets what the first one prepared
        got = outcome(layer, lambda *_: stream.step(x), None)
    if isinstance(got, Exception):
        assert kind in MAY_FAIL, got
    elif kind not in ("fake", "meta"):
        values = torch.zeros_like(X[0]) if kind == "zero tensor" else x
        values = values.inner if kind == "wrapper" else values.detach().to_dense().clone()
        with torch.no_grad():
            expected, _ = layer(torch.stack([values, values]))
        torch.testing.assert_close(
            got[0].as_subclass(torch.Tensor), expected[1], rtol=1e-5, atol=1e-6
        )
