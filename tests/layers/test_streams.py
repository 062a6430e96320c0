"""Many streams of a layer: what a stream is given does not depend on who else is there."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch

import unrolled
from unrolled.errors import OptionError, ShapeError


@unrolled.cell(gates="f g")
def leaky(x, u, h):
    f = torch.sigmoid(x.f + u.f)
    return dict(h=f * h + (1 - f) * torch.tanh(x.g + u.g), f=f)


@unrolled.cell(gates="g")
def sorting(x, u, h):
    return dict(h=torch.tanh(x.g + u.g).sort(-1).values)


KINDS = {
    "LSTM": lambda: unrolled.LSTM(5, 20),
    "LSTM of two layers": lambda: unrolled.LSTM(5, 20, 2),
    "GRU": lambda: unrolled.GRU(5, 20, 3, batch_first=True),
    "GRU, reset before": lambda: unrolled.GRU(5, 20, reset="before"),
    "RNN": lambda: unrolled.RNN(5, 20, bias=False),
    "JANET": lambda: unrolled.JANET(5, 20),
    "a cell of one's own": lambda: unrolled.Recurrent(leaky, 5, 20),
}
WITHOUT_KERNEL = {
    "a cell without a kernel": lambda: unrolled.Recurrent(sorting, 5, 20),
    "float64": lambda: unrolled.LSTM(5, 20, 2, dtype=torch.float64),
    "a projection": lambda: unrolled.LSTM(5, 20, proj_size=7, batch_first=True),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*reference loop")


def step_of(stream, x, batch_first):
    """Return what a stream of one row says to a chunk (T, I)."""
    chunk = x.clone()[None] if batch_first else x.clone()[:, None]
    return stream.push(chunk)[0] if batch_first else stream.push(chunk)[:, 0]


def pool_says(pool, chunks, rows, batch_first):
    """Return what streams say to chunks (T, I) of the same length."""
    if len(chunks[0]) == 1:
        return pool.step(torch.cat(chunks), rows)[:, None]
    output = pool.push(torch.stack(chunks, 0 if batch_first else 1), rows)
    return output if batch_first else output.transpose(0, 1)


COMINGS = [
    *(pytest.param(kind, n, 80, id=f"{name}, {n}") for name, kind in KINDS.items() for n in (1, 2)),
    *(pytest.param(kind, 1, 30, id=name) for name, kind in WITHOUT_KERNEL.items()),
]


@pytest.mark.parametrize(("kind", "threads", "num_calls"), COMINGS)
def test_streams_that_come_and_go_are_each_as_if_alone(kind, threads, num_calls):
    layer, random = kind().eval(), np.random.default_rng(threads)
    dtype = next(layer.parameters()).dtype
    pool, alone = layer.streams(7), {}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for _ in range(num_calls):
            if len(pool) < 7 and random.random() < 0.4:
                alone[pool.join()] = layer.stream(1)
            if alone and random.random() < 0.15:
                row = random.choice(pool.rows)
                pool.leave(int(row))
                del alone[row]
            rows = [row for row in pool.rows if random.random() < 0.6]
            random.shuffle(rows)
            if not rows:
                continue
            if random.random() < 0.1:
                pool.reset(rows[0])
                alone[rows[0]].reset()
            chunks = torch.randn(len(rows), random.integers(1, 4), 5, dtype=dtype)
            outputs = pool_says(pool, list(chunks), rows, layer.batch_first)
            for row, chunk, output in zip(rows, chunks, outputs, strict=True):
                assert torch.equal(output, step_of(alone[row], chunk, layer.batch_first))
            state = pool.state_of(rows[-1])
            one = alone[rows[-1]].state
            pairs = (
                [(state, one)] if isinstance(one, torch.Tensor) else zip(state, one, strict=True)
            )
            assert all(torch.equal(a, b) for a, b in pairs)
    finally:
        torch.set_num_threads(before)
    assert sorted(alone) == sorted(pool.rows)


def test_a_convolution_has_streams_too():
    layer = unrolled.TCN(5, 20).eval()
    pool = layer.streams(3)
    a, b = pool.join(), pool.join()
    alone, x = layer.stream(1), torch.randn(6, 2, 5)
    pool.step(x[0, :1], b)
    for step in x:
        assert torch.equal(pool.step(step, [b, a])[1:], alone.step(step[1:]))


@pytest.mark.parametrize("num_steps", [1, 3, 1200])
def test_more_rows_and_steps_than_are_taken_at_a_time(num_steps):
    layer = unrolled.GRU(3, 8, 2)
    pool = layer.streams(2500)
    rows = [pool.join() for _ in range(2500)]
    some = rows[5:] if num_steps < 9 else rows[7:12]
    x = torch.randn(num_steps, len(some), 3)
    for order in (some, some[::-1]):
        pool.reset()
        output = pool.push(x, order)
        with torch.no_grad():
            expected, state = layer(x)
        assert torch.equal(output, expected)
        assert torch.equal(pool.state_of(order), state)


LAYOUTS = {
    "dense": lambda t: t.clone(),
    "turned": lambda t: t.transpose(0, -1).contiguous().transpose(0, -1),
    "strided": lambda t: t.repeat_interleave(2, -1)[..., ::2],
    "with a gradient": lambda t: t.clone().requires_grad_(),
    "an array": lambda t: t.numpy(),
    "an array backwards": lambda t: np.ascontiguousarray(t.numpy()[::-1, ::-1])[::-1, ::-1],
}
TO = {
    "nothing": lambda t: None,
    "dense": torch.empty_like,
    "turned": lambda t: t.transpose(0, -1).contiguous().transpose(0, -1),
    "strided": lambda t: torch.zeros(*t.shape[:-1], 3 * t.shape[-1])[..., ::3],
    "an array": lambda t: np.zeros(t.shape, np.float32),
    "an array backwards": lambda t: np.zeros(t.shape, np.float32)[::-1, ::-1],
}
ROWS = {
    "a list": list,
    "an array": np.array,
    "short numbers": lambda rows: np.array(rows, np.uint8),
    "a tensor": torch.tensor,
    "every other": lambda rows: torch.tensor(rows).repeat_interleave(2)[::2],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
@pytest.mark.parametrize("to", TO.values(), ids=list(TO))
@pytest.mark.parametrize("many", [False, True], ids=["a stream", "many"])
def test_steps_and_chunks_are_of_any_layout(layout, to, many):
    for batch_first in (False, True):
        layer = unrolled.LSTM(5, 20, batch_first=batch_first)
        stream = layer.stream(3)
        if many:
            pool = layer.streams(9)
            rows = [pool.join() for _ in range(9)][1::3][::-1]
        x = torch.randn(4, 3, 5)
        with torch.no_grad():
            expected = layer(x.transpose(0, 1) if batch_first else x)[0]
        for steps in (slice(0, 1), slice(1, 4)):
            chunk = x[steps].transpose(0, 1) if batch_first else x[steps]
            output = expected[:, steps] if batch_first else expected[steps]
            out = to(output)
            if many:
                got = pool.push(layout(chunk), rows, out=out)
            else:
                got = stream.push(layout(chunk), out=out)
            assert out is None or got is out
            assert (type(got) is np.ndarray) == (
                isinstance(out if out is not None else layout(chunk), np.ndarray)
            )
            assert np.array_equal(got, output)


@pytest.mark.parametrize("rows_as", ROWS.values(), ids=list(ROWS))
def test_rows_are_named_by_any_integers(rows_as):
    layer = unrolled.GRU(3, 6)
    pool, x = layer.streams(5), torch.randn(2, 3)
    rows = [pool.join() for _ in range(5)]
    expected = layer.stream(2).step(x)
    for _ in range(2):
        assert torch.equal(pool.step(x, rows_as([rows[3], rows[1]])), expected)
        pool.reset(rows_as([rows[3], rows[1]]))
    assert torch.equal(pool.step(x[:1], rows[2]), expected[:1])


def filled(layer, number=4, capacity=6):
    pool = layer.streams(capacity)
    rows = [pool.join() for _ in range(number)]
    pool.step(torch.randn(number, layer.input_size))
    return pool, rows


def test_without_names_all_streams_are_meant_in_the_order_they_joined():
    layer = unrolled.GRU(3, 6)
    pool, rows = filled(layer)
    pool.leave(rows[1])
    late = pool.join()
    assert pool.rows == [rows[0], rows[2], rows[3], late]
    assert late not in rows
    assert [row in pool for row in (rows[1], late)] == [False, True]
    other, x = copy.copy(pool), torch.randn(4, 3)
    assert torch.equal(pool.step(x), other.step(x, pool.rows))
    assert torch.equal(pool.state_of(), other.state_of(pool.rows))
    assert pool.step(torch.zeros(0, 3), []).shape == (0, 6)
    assert pool.push(torch.zeros(0, 4, 3)).shape == (0, 4, 6)
    assert torch.equal(pool.state_of(), other.state_of())


BAD_ROWS = {
    "has left": lambda rows: [rows[0], rows[3]],
    "never joined": lambda rows: [rows[0], 70],
    "stream -1 never joined": lambda rows: [rows[0], -1],
    "named twice": lambda rows: [rows[1], rows[1]],
    "numbers that join": lambda rows: [0.0, 1.0],
    "numbers that join\\(": lambda rows: torch.tensor([True, False]),
    "must be numbers": lambda rows: [[rows[0], rows[1]]],
    "must be numbers that": lambda rows: "ab",
}
BAD_INPUT = {
    "must be \\(2, 3\\)": lambda x: x[:1],
    "must be \\(2, 3\\) ": lambda x: x[:, :2],
    "got \\(1, 2, 3\\)": lambda x: x[None],
    "float64": lambda x: x.double(),
    "are torch.float32": lambda x: x.numpy().astype(np.float64),
    "int64": lambda x: x.long(),
    "on meta": lambda x: x.to("meta"),
    "a tensor or a numpy array, got list": lambda x: x.tolist(),
}
BAD_OUT = {
    "got \\(2, 5\\)": torch.zeros(2, 5),
    "of torch.float64": torch.zeros(2, 6, dtype=torch.float64),
    "of float64": np.zeros((2, 6)),
    "share their memory": torch.zeros(1, 6).expand(2, 6),
    "share their": np.broadcast_to(np.zeros(6, np.float32), (2, 6)),
    "with a gradient": torch.zeros(2, 6, requires_grad=True),
    "read-only": np.frombuffer(bytes(48), np.float32).reshape(2, 6),
    "got a list": [[0.0] * 6] * 2,
}
CASES = [
    *((message, change, None, None) for message, change in BAD_ROWS.items()),
    *((message, None, change, None) for message, change in BAD_INPUT.items()),
    *((message, None, None, out) for message, out in BAD_OUT.items()),
]


@pytest.mark.parametrize(("message", "rows_of", "change", "out"), CASES)
@pytest.mark.parametrize("kind", [unrolled.GRU, unrolled.LSTM])
def test_what_does_not_fit_is_one_error_and_nothing_is_read(kind, message, rows_of, change, out):
    pool, rows = filled(kind(3, 6))
    pool.leave(rows[3])
    x, before = torch.randn(2, 3), pool.state_of()
    named = rows_of(rows) if rows_of else rows[:2]
    with pytest.raises(unrolled.UnrolledError, match=message):
        pool.step(change(x) if change else x, named, out=out)
    after = pool.state_of()
    pairs = [(before, after)] if kind is unrolled.GRU else zip(before, after, strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(pool.step(x, rows[:2]), copy.copy(pool).step(x, rows[:2])) is False


def test_pools_that_cannot_be_are_refused():
    with pytest.raises(OptionError, match="capacity must be at least 1, got 0"):
        unrolled.GRU(3, 6).streams(0)
    with pytest.raises(OptionError, match="needs the end of the sequence"):
        unrolled.GRU(3, 6, bidirectional=True).streams(2)
    with pytest.raises(OptionError, match="training mode"):
        unrolled.GRU(3, 6, 2, dropout=0.5).streams(2)


def test_a_full_pool_takes_nobody_until_somebody_leaves():
    pool, rows = filled(unrolled.GRU(3, 6), 6)
    with pytest.raises(OptionError, match="all 6 streams are in use"):
        pool.join()
    pool.leave(rows[2:4])
    new = pool.join()
    for call in (pool.leave, pool.reset, pool.state_of):
        with pytest.raises(OptionError, match=f"stream {rows[2]} has left"):
            call(rows[2])
    assert torch.equal(pool.state_of(new), torch.zeros(1, 1, 6))
    with pytest.raises(ShapeError, match="state"):
        pool.join(torch.zeros(1, 1, 5))
    assert len(pool) == 5
    assert pool.join() in pool


def test_nan_in_a_stream_harms_no_other_and_a_reset_ends_it():
    layer = unrolled.LSTM(3, 6, 2)
    pool, rows = filled(layer)
    other, x = copy.copy(pool), torch.randn(5, 4, 3)
    poisoned = x.clone()
    poisoned[0, 2] = torch.nan
    got, expected = pool.push(poisoned), other.push(x)
    assert got[:, 2].isnan().all()
    assert torch.equal(got[:, [0, 1, 3]], expected[:, [0, 1, 3]])
    pool.reset(rows[2]), other.reset(rows[2])
    assert torch.equal(pool.push(x), other.push(x))


def test_a_stream_is_saved_restored_and_moved_to_another_pool():
    layer, x = unrolled.LSTM(3, 6, 2), torch.randn(3, 1, 3)
    pool, rows = filled(layer)
    saved = pool.state_of(rows[1])
    assert type(saved) is type(layer.stream(1).state)
    expected = pool.push(x, rows[1])
    pool.set_state(rows[1], saved)
    assert torch.equal(pool.push(x, rows[1]), expected)
    other = copy.deepcopy(layer).streams(2)
    assert torch.equal(other.push(x, other.join(saved)), expected)
    stream = layer.stream(1)
    stream.state = saved
    assert torch.equal(stream.push(x), expected)
    pool.set_state(rows[3], pool.state_of(rows[0]))
    both = pool.push(x.expand(3, 2, 3), [rows[0], rows[3]])
    assert torch.equal(both[:, 0], both[:, 1])


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_a_copied_pool_goes_on_by_itself(copied):
    pool, rows = filled(unrolled.LSTM(3, 6, 2))
    pool.leave(rows[1])
    other, x = copied(pool), torch.randn(3, 3)
    assert other.rows == pool.rows
    assert torch.equal(pool.step(x), other.step(x))
    pool.step(x), pool.leave(rows[0])
    assert rows[0] in other
    assert (other.join(), pool.join()) == (rows[1] + 6, rows[0] + 6)
    other.step(x[:1], rows[2])
    assert not torch.equal(pool.state_of(rows[2])[0], other.state_of(rows[2])[0])


def test_an_open_pool_sees_weights_change():
    layer, x = unrolled.LSTM(16, 16), torch.randn(2, 16)
    pool = layer.streams(3)
    rows = [pool.join(), pool.join()]
    pool.step(x)
    for weight in layer.parameters():
        weight.grad = torch.ones_like(weight)
    for change in (
        lambda: torch.nn.init.ones_(layer.weight_hh_l0),
        lambda: layer.load_state_dict(unrolled.LSTM(16, 16).state_dict()),
        lambda: setattr(layer, "weight_ih_l0", torch.nn.Parameter(torch.ones(64, 16))),
        lambda: torch.optim.SGD(layer.parameters(), lr=1.0).step(),
        lambda: torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True).step(),
        lambda: layer.weight_hh_l0.data.mul_(0.5),
        lambda: setattr(layer.bias_ih_l0, "data", layer.bias_ih_l0.data * 2),
        lambda: layer.load_state_dict(unrolled.LSTM(16, 16).state_dict(), assign=True),
    ):
        before = copy.copy(pool).step(x)
        fresh = layer.streams(2)
        fresh.join(pool.state_of(rows[0])), fresh.join(pool.state_of(rows[1]))
        change()
        expected = fresh.step(x)
        assert not torch.equal(expected, before)
        assert torch.equal(pool.step(x), expected)
    layer.weight_hh_l0.data[7, 5] += 10.0
    pool.refresh()
    assert torch.equal(pool.step(x[:1], rows[0]), copy.copy(pool).step(x[:1], rows[0])) is False
    assert torch.equal(pool.state_of(rows[1])[0], fresh.state_of(1)[0])


@pytest.mark.parametrize("call", ["step", "push", "bound step", "steps of many", "chunk"])
def test_one_number_that_changes_behind_torchs_back_is_seen_within_32_steps(call):
    layer, x = unrolled.LSTM(24, 40, 2), torch.randn(33, 1, 24)
    many = torch.randn(32, 24)
    for number in (0, 1000, 5000, 4 * 40 * 24 - 1):
        stream, pool, out = layer.stream(), layer.streams(40), torch.zeros(1, 40)
        rows = [pool.join() for _ in range(32)]
        bound = stream.bind(x[0], out)
        for _ in range(3):
            pool.step(many), stream.step(x[0]), bound.step()
        layer.weight_hh_l1.data.view(-1)[number] += 3.0
        if call == "steps of many":
            fresh = layer.stream(32)
            fresh.state = pool.state_of()
            assert torch.equal(pool.step(many), fresh.step(many))
            continue
        if call == "chunk":
            fresh = layer.stream()
            fresh.state = pool.state_of(rows[3])
            assert torch.equal(pool.push(x, rows[3]), fresh.push(x))
            continue
        for step in x[:32]:
            if call == "bound step":
                bound.step()
            else:
                stream.step(step) if call == "step" else stream.push(step[None])
        fresh, last = layer.stream(), copy.copy(stream)
        fresh.state = last.state
        stream._state = None  # as it was: nothing is packed anew
        assert torch.equal(stream.step(x[32]), fresh.step(x[32]))


def test_a_layer_made_double_is_an_error_and_back_again_it_goes_on():
    layer, x = unrolled.GRU(3, 6), torch.randn(4, 3)
    pool, _ = filled(layer)
    other = copy.deepcopy(pool)
    layer.double()
    with pytest.raises(ShapeError):
        pool.step(x)
    with pytest.raises(ShapeError):
        pool.step(x.double())
    layer.float()
    assert torch.equal(pool.step(x), other.step(x))


def test_hooks_see_what_pools_read():
    layer = unrolled.GRU(3, 6)
    pool, _ = filled(layer)
    layer.register_forward_hook(
        lambda module, given, result: (result[0] + len(pool.rows), result[1])
    )
    layer.register_forward_hook(lambda module, given, result: (result[0] + 100, pool.state_of(0)))
    assert pool.step(torch.zeros(4, 3)).min() > 90


def test_what_others_want_to_see_is_read_by_torch_and_does_not_change_streams():
    layer, x = unrolled.GRU(3, 6), torch.randn(4, 3)
    pool, rows = filled(layer)
    other, alone = copy.copy(pool), layer.stream()
    alone.state = pool.state_of(rows[2])
    with unrolled.layers.observing_values() as records:
        seen = pool.step(x)
    assert records
    assert torch.equal(seen, other.step(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert pool.step(x).shape == (4, 6)
    with unrolled.kernels.using_path("reference"):
        loop = pool.step(x[1:], rows[1:])
        alone.state = other.state_of(rows[2])
        pool.set_state(rows[2], alone.state)
        assert torch.equal(pool.step(x[2:3], rows[2]), alone.step(x[2:3]))
    assert loop.shape == (3, 6)


def test_nobody_leaves_unnamed():
    pool, rows = filled(unrolled.GRU(3, 6))
    with pytest.raises(OptionError, match="numbers that join"):
        pool.leave(None)
    assert pool.rows == rows


def test_threads_step_pools_of_their_own_and_one_together():
    layer = unrolled.LSTM(32, 64)
    pools = [layer.streams(64) for _ in range(2)]
    shared = layer.streams(64)
    rows = [[pool.join() for _ in range(64)] for pool in (*pools, shared)][-1]
    x = torch.randn(60, 64, 32)
    with torch.no_grad():
        expected = layer(x)[0]
    same = [True, True]

    def read(n):
        half = slice(32 * n, 32 * n + 32)
        for step, output in zip(x, expected, strict=True):
            same[n] &= torch.equal(pools[n].step(step), output)
            same[n] &= torch.equal(shared.step(step[half], rows[half]), output[half])

    threads = [threading.Thread(target=read, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same)


# ---- Bound steps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS.values(), unrolled.TCN], ids=[*KINDS, "TCN"])
@pytest.mark.parametrize("of", [torch.Tensor.clone, lambda t: t.numpy().copy()])
def test_a_bound_step_is_the_step(kind, of):
    layer = (kind(5, 20) if kind is unrolled.TCN else kind()).eval()
    stream, other, xs = layer.stream(2), layer.stream(2), torch.randn(9, 2, 5)
    x, y = of(xs[0]), of(torch.zeros(2, 20))
    bound = stream.bind(x, y)
    for number, now in enumerate(xs):
        x[:] = now if isinstance(x, torch.Tensor) else now.numpy()
        if number == 3:
            layer.load_state_dict(
                type(layer).state_dict(layer) | {k: v * 0.5 for k, v in layer.state_dict().items()}
            )
        if number == 5:
            stream.state = other.state
        if number == 6:
            stream.reset([1]), other.reset([1])
        if number == 7:
            other.step(now)
            stream.step(now)
        assert bound.step() is y
        assert np.array_equal(y, other.step(now))


UNBOUND = {
    "\\(2, 5\\) on cpu.*got torch.float32 \\(1, 5\\)": (torch.zeros(1, 5), torch.zeros(2, 6)),
    "x must be float32.*float64": (np.zeros((2, 5)), torch.zeros(2, 6)),
    "on meta": (torch.zeros(2, 5, device="meta"), torch.zeros(2, 6)),
    "got list": ([[0.0] * 5] * 2, torch.zeros(2, 6)),
    "out must be.*of another layout": (torch.zeros(2, 5), torch.zeros(6, 2).t()),
    "out must be.*read-only": (
        torch.zeros(2, 5),
        np.frombuffer(bytes(48), np.float32).reshape(2, 6),
    ),
    "out must.*read-only": (torch.zeros(2, 5), torch.zeros(2, 6, requires_grad=True)),
}


@pytest.mark.parametrize("message", list(UNBOUND))
def test_what_cannot_be_bound_is_refused(message):
    with pytest.raises(ShapeError, match=message):
        unrolled.GRU(5, 6).stream(2).bind(*UNBOUND[message])


def test_the_memory_of_a_bound_step_outlives_its_names():
    stream, x, y = unrolled.GRU(5, 6).stream(1), torch.ones(1, 5), torch.zeros(1, 6)
    other, bound = copy.deepcopy(stream), stream.bind(x, y)
    bound.step(), other.step(x)
    with pytest.raises(RuntimeError, match="not resizable"):
        x.untyped_storage().resize_(0)
    x.data, kept = torch.zeros(1, 5), torch.ones(1, 5)
    bound.step()
    assert torch.equal(y, other.step(kept))
    with pytest.raises(TypeError, match="bind the copy"):
        copy.deepcopy(bound)
