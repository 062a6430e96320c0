"""Short calls: one crossing from Python to C, which takes what it knows and gives the same bits."""

import copy
import functools
import gc
import pickle
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

import unrolled
from unrolled import kernels
from unrolled.errors import ShapeError
from unrolled.kernels import KernelError, using_path
from unrolled.kernels.emitting import call_text
from unrolled.kernels.running import crossing, short_calls
from unrolled.layers import map_state, state_tensors
from unrolled.layers.recurrent_layer import RecurrentLayer

pytestmark = [
    pytest.mark.skipif(
        not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
    ),
    pytest.mark.skipif(not crossing.is_possible(), reason="this Python or torch has no crossing"),
]


@unrolled.cell(gates="f g", keeps="f")
def leaky_with_vectors(x, u, h, *, slope=1.0, shift=0.1):
    f = torch.sigmoid(x.f + u.f + shift)
    g = torch.tanh(slope * (x.g + u.g))
    return dict(h=f * h + (1 - f) * g, f=f, g=g)


KINDS = {
    "rnn": unrolled.RNN,
    "lstm": unrolled.LSTM,
    "gru": unrolled.GRU,
    "gru, reset before": functools.partial(unrolled.GRU, reset="before"),
    "janet": unrolled.JANET,
    "own": functools.partial(unrolled.Recurrent, leaky_with_vectors),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=list(KINDS))


@pytest.fixture
def taken(monkeypatch):
    """A list that gets, for each call of a layer, whether it was a short one."""
    calls, run = [], short_calls.ShortCalls.run

    def watched(self, *arguments, **options):
        results = run(self, *arguments, **options)
        calls.append(results is not None)
        return results

    monkeypatch.setattr(short_calls.ShortCalls, "run", watched)
    return calls


def ordinarily(monkeypatch, run):
    """Return what `run` returns where no call is a short one."""
    with monkeypatch.context() as patch:
        patch.setattr(RecurrentLayer, "_short_call", lambda *_: None)
        return run()


def ready(make, *sizes, **options):
    layer = make(*sizes, **options)
    assert not isinstance(kernels.kernel_or_reason(layer.cell), str)  # which makes it
    with torch.no_grad():
        for weight in layer.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return layer


def flat(results):
    output, state = results
    return [output, *state_tensors(state)]


def equal(ours, others):
    assert [t.shape for t in ours] == [t.shape for t in others]
    return all(map(torch.equal, ours, others))


# ---- The same bits -------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(
    ("num_layers", "bidirectional", "batch_first", "bias"),
    [
        (1, False, False, True),
        (1, True, True, True),
        (3, True, False, False),
        (2, False, True, True),
    ],
)
def test_results_are_those_of_the_ordinary_way(
    make, num_threads, num_layers, bidirectional, batch_first, bias, monkeypatch, taken
):
    options = {"bidirectional": bidirectional, "batch_first": batch_first, "bias": bias}
    layer = ready(make, 5, 37, num_layers=num_layers, **options)
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        for shape in [(1, 1, 5), (7, 1, 5), (1, 4, 5), (3, 30, 5), (120, 2, 5), (9, 5)]:
            x = torch.randn(shape)
            rows = shape[0 if batch_first else 1] if len(shape) == 3 else None
            state = map_state(torch.randn_like, layer.initial_state(rows or 1))
            state = state if rows else map_state(lambda part: part.squeeze(1), state)
            for hx in (None, state):
                taken.clear()
                with torch.no_grad():
                    got = flat(layer(x, hx))
                    assert taken == [True]
                    assert equal(
                        got, ordinarily(monkeypatch, lambda x=x, hx=hx: flat(layer(x, hx)))
                    )
                assert len({part.untyped_storage().data_ptr() for part in got}) == len(got)
                got[0].resize_(1000)  # it is torch's own memory
    finally:
        torch.set_num_threads(before)


def derivatives(layer, x, hx, sources, used):
    """Return results, and gradients of the results numbered `used` with respect to `sources`."""
    results = flat(layer(x, hx))
    generator = torch.Generator().manual_seed(5)
    upstream = [torch.randn(r.shape, generator=generator) for r in results]
    total = sum((results[n] * upstream[n]).sum() for n in used)
    return [*results, *torch.autograd.grad(total, sources, materialize_grads=True)]


@every_kind
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 5), (1, 9, 5), (2, 3, 5), (40, 2, 5)])
def test_gradients_are_those_of_the_ordinary_way(make, shape, batch_first, monkeypatch, taken):
    layer = ready(make, 5, 37, batch_first=batch_first)
    x = torch.randn(shape, requires_grad=True)
    state = layer.initial_state(shape[0 if batch_first else 1])
    state = map_state(lambda part: torch.randn_like(part).requires_grad_(), state)
    weights = [*layer.parameters()]
    everything = [x, *state_tensors(state), *weights]
    num_results = 1 + len(state_tensors(state))
    for hx, sources in [
        (None, [x, *weights]),
        (state, everything),
        (state, weights[:2]),
        (None, [x]),
    ]:
        for used in (range(num_results), [0], [num_results - 1]):
            taken.clear()
            arguments = (layer, x, hx, sources, used)
            got = derivatives(*arguments)
            assert taken == [True]
            assert equal(got, ordinarily(monkeypatch, lambda a=arguments: derivatives(*a)))


@every_kind
@pytest.mark.parametrize(
    ("num_layers", "bidirectional", "batch_first"),
    [(2, False, False), (1, True, False), (2, True, True)],
)
def test_gradients_of_stacks_are_those_of_the_ordinary_way(
    make, num_layers, bidirectional, batch_first, monkeypatch, taken
):
    layer = ready(
        make, 5, 20, num_layers=num_layers, bidirectional=bidirectional, batch_first=batch_first
    )
    x = torch.randn(3, 4, 5, requires_grad=True)
    state = layer.initial_state(3 if batch_first else 4)
    state = map_state(lambda part: torch.randn_like(part).requires_grad_(), state)
    weights, num_results = [*layer.parameters()], 1 + len(state_tensors(state))
    for hx, sources in [(None, weights), (state, [x, *state_tensors(state), *weights])]:
        for used in (range(num_results), [0]):
            taken.clear()
            arguments = (layer, x, hx, sources, used)
            got = derivatives(*arguments)
            assert taken == [True]
            assert equal(got, ordinarily(monkeypatch, lambda a=arguments: derivatives(*a)))


@pytest.mark.parametrize("frozen", [["weight_ih_l0"], ["weight_hh_l0", "bias_ih_l0"]])
def test_weights_that_do_not_learn_have_no_gradient(frozen, monkeypatch, taken):
    layer = ready(unrolled.LSTM, 4, 20)
    for name in frozen:
        layer.get_parameter(name).requires_grad_(False)
    x = torch.randn(3, 2, 4)
    learning = [w for w in layer.parameters() if w.requires_grad]
    got = derivatives(layer, x, None, learning, [0])
    assert taken == [True]
    assert equal(got, ordinarily(monkeypatch, lambda: derivatives(layer, x, None, learning, [0])))
    layer(x)[0].sum().backward()
    assert [name for name, w in layer.named_parameters() if w.grad is None] == frozen


@pytest.mark.parametrize("kind", ["ones", "transposed", "sparse", "zeros without memory"])
def test_gradients_of_any_kind_are_read(kind, monkeypatch, taken):
    layer = ready(unrolled.GRU, 4, 6)
    x = torch.randn(5, 5, 4)
    upstream = {
        "ones": torch.ones(1).expand(5, 5, 6),
        "transposed": torch.randn(5, 5, 6).transpose(0, 1),
        "sparse": torch.eye(5)[:, :, None].expand(5, 5, 6).contiguous().to_sparse(),
        "zeros without memory": torch._efficientzerotensor((5, 5, 6)),
    }[kind]

    def run(upstream):
        output, _ = layer(x)
        return torch.autograd.grad(output, [*layer.parameters()], upstream)

    got = run(upstream)
    assert taken == [True]
    dense = upstream.to_dense() if upstream.is_sparse else upstream
    assert equal(got, ordinarily(monkeypatch, lambda: run(dense)))


def test_a_second_backward_pass_and_second_derivatives_are_right(monkeypatch, taken):
    layer = ready(unrolled.LSTM, 3, 18)
    x = torch.randn(4, 2, 3, requires_grad=True)

    def run():
        total = layer(x)[0].square().sum()
        twice = [torch.autograd.grad(total, x, retain_graph=True)[0] for _ in range(2)]
        (first,) = torch.autograd.grad(total, x, create_graph=True)
        return [*twice, first, *torch.autograd.grad(first.square().sum(), [*layer.parameters()])]

    first, second, *more = run()
    assert taken == [True]
    assert torch.equal(first, second)
    for ours, other in zip(more, ordinarily(monkeypatch, run)[2:], strict=True):
        torch.testing.assert_close(ours, other)


# ---- Weights that change -------------------------------------------------------------------------

CHANGES = {
    "by an optimiser": lambda w: torch.optim.SGD([w], 0.1).step(),
    "in place": lambda w: w.mul_(0.9),
    "through a view": lambda w: w.view(-1)[3:4].copy_(torch.tensor([7.0])),
    "behind torch's back": lambda w: w.data.view(-1)[-1:].fill_(3.0),
    "by numpy": lambda w: w.detach().numpy().fill(0.1),
    "by another storage": lambda w: setattr(w, "data", torch.randn_like(w)),
    "in shared memory": lambda w: w.share_memory_().data.view(-1)[5:6].fill_(2.0),
    "by set_": lambda w: w.set_(torch.randn_like(w)),
}


@pytest.mark.parametrize("shape", [(1, 1, 4), (1, 6, 4), (5, 2, 4)])
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_every_change_of_a_weight_is_seen_by_the_next_call(change, shape, monkeypatch, taken):
    layer, x = ready(unrolled.LSTM, 4, 40), torch.randn(shape)
    state = map_state(torch.randn_like, layer.initial_state(shape[1]))
    with torch.no_grad():
        for weight in layer.parameters():
            before = layer(x, state)[0]
            weight.grad = torch.ones_like(weight)
            change(weight)
            got = layer(x, state)[0]
            assert taken[-2:] == [True, True]
            assert not torch.equal(got, before)
            assert torch.equal(got, ordinarily(monkeypatch, lambda: layer(x, state)[0]))


def test_copies_and_pickles_of_a_layer_are_layers_of_their_own(taken):
    layer, x = ready(unrolled.GRU, 4, 16), torch.randn(2, 1, 4)
    with torch.no_grad():
        expected = layer(x)[0]
        for other in (copy.deepcopy(layer), copy.copy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(other(x)[0], expected)
        other = copy.deepcopy(layer)
        other.weight_hh_l0.zero_()
        assert not torch.equal(other(x)[0], expected)
        assert torch.equal(layer(x)[0], expected)
    assert all(taken)


def test_a_slice_without_memory_is_not_copied(taken):
    layer = ready(unrolled.GRU, 4, 8)
    x = torch.randn(3, 2, 8)[..., :4]
    x.untyped_storage().resize_(16)
    with pytest.raises(ShapeError, match="no memory for its numbers"):
        layer(x)
    assert not any(taken)


def test_a_step_cut_out_of_a_batch_is_short(monkeypatch, taken):
    layer = ready(unrolled.LSTM, 3, 4)
    x = torch.randn(5, 7, 3, requires_grad=True)
    step = x[:, 2:3].transpose(0, 1)  # (1, 5, 3), not dense
    assert not step.is_contiguous()
    taken.clear()
    arguments = (layer, step, None, [x, *layer.parameters()], range(3))
    got = derivatives(*arguments)
    assert taken == [True]
    assert equal(got, ordinarily(monkeypatch, lambda: derivatives(*arguments)))


# ---- What is not taken ---------------------------------------------------------------------------


class Other(torch.Tensor):
    """A subclass."""


def without_storage(tensor):
    tensor = tensor.clone()
    tensor.untyped_storage().resize_(0)
    return tensor


def with_less_storage(tensor):
    tensor = tensor.clone()
    tensor.untyped_storage().resize_(tensor.nbytes - 4)
    return tensor


def negated(tensor):
    return torch.complex(torch.zeros_like(tensor), -tensor).conj().imag


STRANGE = {
    "a subclass": lambda t: t.as_subclass(Other),
    "without storage": without_storage,
    "with less storage": with_less_storage,
    "with a sign to turn": negated,
    "zeros without memory": lambda t: torch._efficientzerotensor(t.shape),
    "strided": lambda t: torch.cat([t, t], -1)[..., : t.shape[-1]],
    "expanded": lambda t: t[..., :1].expand(t.shape),
    "float64": lambda t: t.double(),
    "half": lambda t: t.half(),
    "meta": lambda t: t.to("meta"),
    "sparse": lambda t: t.to_sparse(),
    "of another shape": lambda t: t[..., 1:],
    "of more dims": lambda t: t[None, None],
    "no tensor": lambda t: t.tolist(),
    "empty": lambda t: t[..., :0],
}


@pytest.mark.parametrize("place", ["input", "state", "weight"])
@pytest.mark.parametrize("strange", STRANGE.values(), ids=list(STRANGE))
def test_what_is_not_plain_goes_the_ordinary_way_with_its_results_and_errors(
    strange, place, monkeypatch, taken
):
    layer = ready(unrolled.GRU, 4, 8)
    x, state, weight = torch.randn(3, 2, 4), torch.randn(1, 2, 8), layer.weight_hh_l0.detach()
    if place == "input":
        x = strange(x)
    elif place == "state":
        state = strange(state)
    else:
        weight = strange(weight)
        del layer.weight_hh_l0
        layer.weight_hh_l0 = weight
        if isinstance(weight, torch.Tensor):
            layer._parameters["weight_hh_l0"] = weight

    def run():
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return [part.clone() for part in flat(layer(x, state))]
        except Exception as error:
            return type(error), str(error)[:200]

    taken.clear()
    got = run()
    copied = place == "input" and strange in (STRANGE["strided"], STRANGE["expanded"])
    assert taken == [copied]
    expected = ordinarily(monkeypatch, run)
    if isinstance(expected, tuple):
        assert got == expected
    else:
        assert [t.device for t in got] == [t.device for t in expected]
        assert all(a.is_meta or torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_those_who_look_on_see_torchs_operations(taken):
    layer, x = ready(unrolled.GRU, 4, 8), torch.randn(3, 2, 4)
    with torch.no_grad():
        layer(x)
        with FlopCounterMode(display=False) as counter:
            layer(x)
        assert counter.get_total_flops() > 0
        with torch.autocast("cpu", torch.bfloat16):
            layer(x)
        with using_path("reference"):
            layer(x)
        with forward_ad.dual_level():
            layer(x)
        unrolled.trace(layer, x)
        torch.func.vmap(lambda x: layer(x)[0], in_dims=1)(x)
        layer(x, lengths=[3, 1])
        layer(torch.nn.utils.rnn.pack_sequence([x[:, 0]]))
        with using_path("kernel"):
            layer(x)
    assert taken.count(True) == 2
    assert (taken[0], taken[-1]) == (True, True)


def test_a_parametrised_weight_is_computed_at_every_call(taken):
    layer, x = ready(unrolled.GRU, 4, 8), torch.randn(1, 1, 4)
    torch.nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    with torch.no_grad():
        before = layer(x)[0]
        layer.parametrizations.weight_hh_l0.original0.mul_(2)
        assert not torch.equal(layer(x, torch.ones(1, 1, 8))[0], before)
    assert not any(taken)


def test_long_calls_go_the_ordinary_way(taken):
    layer = ready(unrolled.RNN, 4, 8)
    with torch.no_grad():
        layer(torch.randn(513, 1, 4))
        layer(torch.randn(1, 1025, 4))
        layer(torch.randn(512, 300, 4))
    assert taken == [False, False, False]


# ---- The interpreter -----------------------------------------------------------------------------


def test_no_reference_is_kept_or_lost():
    layer = ready(unrolled.LSTM, 4, 8)
    x, state = torch.randn(2, 3, 4), layer.initial_state(3)

    def run():
        with torch.no_grad():
            layer(x, state)
        layer(x, state)[0].sum().backward()
        with pytest.raises(ShapeError):
            layer(x[..., 1:], state)

    objects = [None, True, False, x, *state, *layer.parameters(), torch.Tensor, torch.nn.Parameter]
    for _ in range(3):
        run()
    while gc.collect():  # what other tests left, and what finalizers of that free
        pass
    before = [sys.getrefcount(each) for each in objects]
    for _ in range(200):
        run()
    gc.collect()
    after = [sys.getrefcount(each) for each in objects]
    assert all(abs(b - a) < 100 for a, b in zip(before, after, strict=True))


def test_threads_of_python_get_what_each_gets_alone():
    layers = [ready(unrolled.LSTM, 8, 128) for _ in range(2)]
    inputs = [torch.randn(20, 8, 8) for _ in layers]
    expected = [
        derivatives(layer, x, None, [*layer.parameters()], [0])
        for layer, x in zip(layers, inputs, strict=True)
    ]
    wrong = []

    def work(number):
        layer, x = layers[number % 2], inputs[number % 2]
        for _ in range(60):
            got = derivatives(layer, x, None, [*layer.parameters()], [0])
            if not equal(got, expected[number % 2]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_weights_may_be_replaced_while_another_thread_reads_them():
    layer, x = ready(unrolled.LSTM, 64, 256), torch.randn(4, 8, 64)
    done = threading.Event()

    def replace():
        while not done.is_set():
            layer.weight_hh_l0 = torch.nn.Parameter(layer.weight_hh_l0.detach().clone())

    with torch.no_grad():
        expected = layer(x)[0]
        thread = threading.Thread(target=replace)
        thread.start()
        try:
            assert all(torch.equal(layer(x)[0], expected) for _ in range(200))
        finally:
            done.set()
            thread.join()


# ---- How it is built -----------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_c_has_no_warnings(compiler, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    folder, text = Path(kernels.__file__).parent / "running", tmp_path / "crossing.c"
    own = [(folder / name).read_text() for name in ("crossing.c", "streams.c")]
    text.write_text("\n".join([call_text(), *own]))
    flags = ["-Wall", "-Wextra", "-Werror", "-std=gnu11", "-O2", "-fsyntax-only"]
    for machine in ([], ["-march=native"]):
        subprocess.run([compiler, *flags, *machine, str(text)], check=True)


def test_what_fails_its_proof_is_not_used_and_one_warning_says_so(monkeypatch, taken):
    layer, x = ready(unrolled.RNN, 4, 8), torch.randn(2, 1, 4)
    load = short_calls.load_crossing

    def load_wrong(prove):
        functions = load(prove)._replace(infer=lambda *_: ())
        prove(functions)
        return functions

    expected = layer(x)[0]
    monkeypatch.setattr(short_calls, "load_crossing", load_wrong)
    monkeypatch.setattr(short_calls, "_loaded", [])
    other = copy.deepcopy(layer)
    with pytest.warns(UserWarning, match="failed its proof"):
        assert torch.equal(other(x)[0], expected)
    assert torch.equal(other(x)[0], expected)
    assert taken == [True, False, False]


def test_without_what_it_needs_layers_give_the_same(monkeypatch):
    layer, x = ready(unrolled.RNN, 4, 8), torch.randn(2, 1, 4)
    monkeypatch.setattr(short_calls, "_loaded", [])
    monkeypatch.setattr(short_calls, "is_possible", lambda: False)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        assert torch.equal(other(x)[0], layer(x)[0])


def test_a_tensor_that_changes_under_a_call_is_an_error():
    plan = type("Plan", (), {"train": lambda *_: None, "address": 0})()
    with pytest.raises(KernelError, match="changed by another thread"):
        short_calls._ShortFunction.apply(plan, torch.zeros(1, requires_grad=True))
