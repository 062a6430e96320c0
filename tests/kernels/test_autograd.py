"""Kernels inside torch: what keeps, replays, switches off or watches gradients; odd numbers."""

import functools
import math
import shutil
import signal
import weakref

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import unrolled
from unrolled.errors import ShapeError
from unrolled.kernels import using_path

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)
KINDS = {
    "lstm": unrolled.LSTM,
    "gru": unrolled.GRU,
    "gru, reset before": functools.partial(unrolled.GRU, reset="before"),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=list(KINDS))


@pytest.fixture(autouse=True)
def on_kernels():
    with using_path("kernel"):
        yield


def gradients(layer, x, run=lambda layer, x: layer(x)[0], **options):
    output = run(layer, x)
    return torch.autograd.grad(output.square().sum(), [x, *layer.parameters()], **options)


def problem(make, **options):
    return make(3, 19, **options), torch.randn(6, 5, 3, requires_grad=True)


@every_kind
def test_weights_that_change_between_the_passes_are_an_error(make):
    layer, x = problem(make)
    for weight in (layer.weight_hh_l0, layer.weight_ih_l0, x):
        output, _ = layer(x)
        with torch.no_grad():
            weight.mul_(0.5)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            output.sum().backward()


@every_kind
@pytest.mark.parametrize("turns", [1, 2])
def test_an_output_may_change_between_the_passes(make, turns):
    layer, x = problem(make)
    expected = gradients(layer, x, run=lambda layer, x: layer(x)[0] * 1)
    output, _ = layer(x)
    total = (output * 1).square().sum()
    with torch.no_grad():
        output.mul_(0.5)
    for turn in range(turns):
        sources = [x, *layer.parameters()]
        got = torch.autograd.grad(total, sources, retain_graph=turn + 1 < turns)
        assert all(map(torch.equal, got, expected))


@every_kind
def test_a_graph_ends_with_its_output(make):
    layer, x = problem(make)
    layer(x)  # which makes the kernel: the next call is a short one
    output, _ = layer(x)
    tape = weakref.ref(output.grad_fn.saved_tensors[-1])
    assert tape() is not None
    del output, _
    assert tape() is None


@every_kind
def test_a_graph_of_a_long_call_ends_with_its_output(make):
    layer, _ = problem(make)
    output, _ = layer(torch.randn(600, 1, layer.input_size))
    view = output.grad_fn
    passes = weakref.ref(view.next_functions[0][0].passes)
    del output, _, view
    assert passes() is None


@every_kind
def test_every_backward_pass_over_a_graph_gives_the_same(make):
    layer, x = problem(make)
    total = layer(x)[0].square().sum()
    sources = [x, *layer.parameters()]
    first, second, third = (
        torch.autograd.grad(total, sources, retain_graph=again) for again in (True, True, False)
    )
    assert all(map(torch.equal, first, second))
    assert all(map(torch.equal, first, third))


@every_kind
@pytest.mark.parametrize("times", [1, 2])
def test_tensors_that_hooks_keep_elsewhere_give_the_same_gradients(make, times):
    layer, x = problem(make)
    expected = gradients(layer, x)
    same = torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept)
    for keeping in (torch.autograd.graph.save_on_cpu(), same):
        with keeping:
            total = layer(x)[0].square().sum()
        for turn in range(times):
            sources = [x, *layer.parameters()]
            got = torch.autograd.grad(total, sources, retain_graph=turn + 1 < times)
            assert all(map(torch.equal, got, expected))


@every_kind
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_gives_the_same_gradients(make, reentrant):
    layer, x = problem(make, num_layers=2)
    layer(x)[0].square().sum().backward()
    expected = [weight.grad.clone() for weight in (x, *layer.parameters())]
    x.grad = None
    layer.zero_grad()
    output = checkpoint(lambda x: layer(x)[0], x, use_reentrant=reentrant)
    output.square().sum().backward()
    got = [weight.grad for weight in (x, *layer.parameters())]
    assert all(map(torch.equal, got, expected))


@every_kind
def test_inference_tensors_are_read_as_any_others(make):
    layer, x = problem(make)
    expected = layer(x)[0]
    with torch.inference_mode():
        output, state = layer(x + 0)
        assert torch.equal(output, expected)
        again, _ = layer(x + 0, state)
        assert again.is_inference()
    with torch.no_grad():
        assert torch.equal(layer(x, state)[0], again)
    with torch.inference_mode():
        frozen = make(3, 19)
        stream = frozen.stream(5)
        pieces = [stream.push(x[:2] + 0), stream.push(x[2:] + 0)]
        assert torch.equal(torch.cat(pieces), frozen(x + 0)[0])


@every_kind
@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_number_that_is_none_stays_in_its_row(make, number, num_threads):
    layer, x = problem(make, bidirectional=True)
    clean = layer(x)[0]
    (clean_gradient,) = torch.autograd.grad(clean.square().sum(), x)
    spoilt = x.detach().clone()
    spoilt[2, 1, 0] = number
    spoilt.requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        output = layer(spoilt)[0]
        (gradient,) = torch.autograd.grad(output.square().sum(), spoilt)
    finally:
        torch.set_num_threads(before)
    others = [0, 2, 3, 4]
    assert torch.equal(output[:, others], clean[:, others])
    assert torch.equal(gradient[:, others], clean_gradient[:, others])
    if math.isnan(number):
        assert output[2:, 1, :19].isnan().all()
        assert output[:3, 1, 19:].isnan().all()
        assert torch.equal(output[:2, 1, :19], clean[:2, 1, :19])  # it has not come yet


@every_kind
def test_nothing_to_read_is_read(make):
    layer = make(3, 19, bidirectional=True)
    state = layer(torch.randn(2, 4, 3))[1]
    output, after = layer(torch.zeros(6, 4, 3, requires_grad=True), state, lengths=[0] * 4)
    assert torch.equal(output, torch.zeros(6, 4, 38))
    assert all(map(torch.equal, unrolled_states(after), unrolled_states(state)))
    output, after = layer(torch.zeros(6, 0, 3, requires_grad=True))
    assert output.shape == (6, 0, 38)
    output.sum().backward()
    with pytest.raises(ShapeError, match="T at least 1"):
        layer(torch.zeros(0, 4, 3))


def unrolled_states(state):
    return [state] if isinstance(state, torch.Tensor) else list(state)


@every_kind
@pytest.mark.parametrize("flushed", [False, True])
def test_denormal_numbers_are_to_others_what_they_were(make, flushed):
    """On the calling thread, and on those of the pool."""
    tiny = torch.full((2_000_000,), 1e-40)
    layer, x = make(8, 256), torch.randn(9, 4, 8)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        tiny * 0.5  # starts the pool's thread, which takes the caller's mode when it starts
        torch.set_flush_denormal(flushed)
        layer(x)[0].sum().backward()
        with torch.no_grad():
            layer(x[:, :1])
        if not flushed:
            assert (tiny * 0.5 > 0).all()
        assert bool(tiny[:1] * 0.5 > 0) != flushed
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a system without timers")
def test_a_signal_handler_may_run_a_layer_in_the_middle_of_another():
    layer, x = unrolled.GRU(3, 64), torch.randn(40, 8, 3, requires_grad=True)
    other, y = unrolled.LSTM(5, 70), torch.randn(30, 9, 5)
    wanted = gradients(layer, x)
    calls = []

    def handler(*_):
        with torch.enable_grad():  # it may come where autograd has switched this off
            calls.append(gradients(other, y.requires_grad_()))

    before, wrong = signal.signal(signal.SIGALRM, handler), 0
    try:
        for turn in range(300):
            signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + turn % 150))
            wrong += not all(map(torch.equal, gradients(layer, x), wanted))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert calls
    assert wrong == 0
    assert all(all(map(torch.equal, call, calls[0])) for call in calls)
