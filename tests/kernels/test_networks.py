"""The kernel of the TCN against torch's convolutions in float64, and what it promises."""

import copy
import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import remove_parametrizations

import unrolled
from unrolled.errors import ShapeError
from unrolled.kernels import (
    BlockShape,
    BlockWeights,
    NetworkProblem,
    Pieces,
    convolve_blocks,
    using_path,
)
from unrolled.kernels.convolving import choice, passes
from unrolled.kernels.convolving.library import NetworkLibrary, network_source
from unrolled.kernels.convolving.passes import NetworkPasses
from unrolled.kernels.convolving.reference import reference_blocks
from unrolled.kernels.convolving.stepper import NetworkStepper
from unrolled.kernels.running.autograd import RecurrenceFunction

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)

# I, H, blocks, k, T, B: rows and columns of all kinds of tiles; fields past the beginning and not.
SIZES = [
    (1, 1, 1, 1, 1, 1),
    (2, 25, 4, 7, 30, 3),
    (16, 16, 2, 3, 13, 2),
    (70, 33, 2, 2, 9, 5),
    (3, 67, 3, 4, 40, 2),
    (130, 130, 1, 3, 5, 17),
    (5, 48, 2, 1, 25, 2),
    (2, 8, 6, 2, 600, 1),
    (4, 20, 3, 5, 2, 3),
]


def problem_of(sizes, *, past=True, lengths=None, dropout=0.0, biased=True):
    torch.manual_seed(0)
    input_size, hidden_size, number, kernel_size, num_steps, batch_size = sizes
    shapes, given, weights, keep = [], [], [], []
    for level in range(number):
        size = hidden_size if level else input_size
        shape = BlockShape(size, hidden_size, kernel_size, 2**level, dropout)
        shapes.append(shape)
        for channels in (size, hidden_size):
            given.append(torch.randn(shape.span, batch_size, channels))
            kept = torch.rand(batch_size, num_steps, hidden_size) > dropout
            keep.append(kept if dropout else None)

        def weight(*size):
            return torch.randn(size) / (size[1] * size[2]) ** 0.5

        bias = [torch.randn(hidden_size) if biased else None for _ in range(3)]
        shortcut = weight(hidden_size, size, 1) if size != hidden_size else None
        weights.append(
            BlockWeights(
                weight(hidden_size, size, kernel_size),
                bias[0],
                weight(hidden_size, hidden_size, kernel_size),
                bias[1],
                shortcut,
                bias[2] if shortcut is not None else None,
            )
        )
    x = torch.randn(num_steps, batch_size, input_size)
    return NetworkProblem(
        tuple(shapes), x, lengths, tuple(given) if past else (), tuple(weights), tuple(keep)
    )


def values_and_gradients(path, problem, dtype=torch.float32):
    def leaf(tensor):
        if tensor is None or tensor.dtype is torch.bool:
            return tensor
        return tensor.detach().to(dtype).clone().requires_grad_()

    leaves = [leaf(tensor) for tensor in problem.tensors()]
    results = path(problem.signature().problem(leaves, problem.lengths, problem.pieces))
    torch.manual_seed(1)
    upstream = [torch.randn(result.shape).to(dtype) for result in results]
    sources = [t for t in leaves if t is not None and t.requires_grad]
    gradients = torch.autograd.grad(results, sources, upstream, materialize_grads=True)
    return [*(result.detach() for result in results), *gradients]


def assert_right(problem, path=convolve_blocks):
    got = values_and_gradients(path, problem)
    for ours, right in zip(
        got, values_and_gradients(reference_blocks, problem, torch.float64), strict=True
    ):
        assert (ours - right).norm() <= 1e-5 * right.norm()


def test_the_kernel_is_there():
    assert isinstance(choice.network_or_reason(), NetworkLibrary)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("past", [True, False], ids=["going on", "beginning"])
def test_values_and_gradients_are_those_of_torch_in_double_precision(sizes, past):
    assert_right(problem_of(sizes, past=past))


@pytest.mark.parametrize("past", [True, False], ids=["going on", "beginning"])
def test_rows_of_all_lengths_are_right(past):
    lengths = torch.tensor([30, 0, 1, 17, 30])
    assert_right(problem_of((2, 25, 3, 5, 30, 5), past=past, lengths=lengths))


def test_dropout_and_absent_biases_are_right():
    lengths = torch.tensor([30, 0, 17])
    assert_right(problem_of((2, 25, 3, 5, 30, 3), lengths=lengths, dropout=0.3))
    assert_right(problem_of((2, 25, 2, 5, 30, 3), biased=False))


def test_more_rows_than_groups_of_gradients_are_right():
    lengths = torch.arange(41) % 8
    assert_right(problem_of((3, 20, 2, 3, 7, 41), lengths=lengths))


def test_rows_that_lie_before_the_steps_are_read_where_they_lie():
    problem = problem_of((3, 20, 2, 3, 7, 4))
    x = problem.x.transpose(0, 1).contiguous().transpose(0, 1)
    expected, turned = convolve_blocks(problem), convolve_blocks(problem._replace(x=x))
    assert turned[0].transpose(0, 1).is_contiguous()
    for a, b in zip(turned, expected, strict=True):
        assert torch.equal(a, b)
    assert_right(problem._replace(x=x))


def test_only_what_is_wanted_has_a_gradient():
    torch.manual_seed(0)
    tcn, x = unrolled.TCN(3, 4, 2, 3), torch.randn(6, 2, 3)
    tcn.blocks[0].requires_grad_(False)
    output, state = tcn(x)
    (output.sum() + state[3].sum()).backward()
    assert all(parameter.grad is None for parameter in tcn.blocks[0].parameters())
    expected = copy.deepcopy(tcn)
    expected.zero_grad()
    with using_path("reference"):
        output, state = expected(x)
        (output.sum() + state[3].sum()).backward()
    for ours, right in zip(
        tcn.blocks[1].parameters(), expected.blocks[1].parameters(), strict=True
    ):
        torch.testing.assert_close(ours.grad, right.grad)


# ---- The same bits ----------------------------------------------------------------------------


@pytest.fixture(params=["normalised", "plain", "batch first"])
def tcn(request):
    torch.manual_seed(0)
    layer = unrolled.TCN(3, 25, 4, 5, batch_first=request.param == "batch first").eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.4)
    if request.param == "plain":
        for block in layer.blocks:
            for conv in (block.conv1, block.conv2):
                remove_parametrizations(conv, "weight")
    return layer


def run(layer, x, *rest, **options):
    """Run on (T, B, I), whatever the layout of the layer."""
    turned = x.transpose(0, 1) if layer.batch_first else x
    output, state = layer(turned, *rest, **options)
    return (output.transpose(0, 1) if layer.batch_first else output).detach(), state


def test_a_sequence_has_the_same_bits_however_it_is_cut(tcn):
    x = torch.randn(150, 2, 3)
    whole, end = run(tcn, x)
    for size in (1, 2, 7, 60, 149):
        pieces, state = [], None
        for piece in x.split(size):
            output, state = run(tcn, piece, state)
            pieces.append(output)
        assert torch.equal(torch.cat(pieces), whole)
        for ours, right in zip(state, end, strict=True):
            assert torch.equal(ours, right)
    stream = tcn.stream(2)
    assert torch.equal(torch.stack([stream.step(step) for step in x]), whole)
    for ours, right in zip(stream.state, end, strict=True):
        assert torch.equal(ours, right)


def test_a_row_has_the_same_bits_in_any_company(tcn):
    x, lengths = torch.randn(40, 31, 3), torch.randint(1, 41, (31,))
    together, _ = run(tcn, x)
    ragged, _ = run(tcn, x, lengths=lengths)
    steps = tcn.stream(31)
    stepped = torch.stack([steps.step(step) for step in x])
    for row in range(31):
        alone, _ = run(tcn, x[:, row : row + 1])
        assert torch.equal(together[:, row], alone[:, 0])
        assert torch.equal(stepped[:, row], alone[:, 0])
        length = int(lengths[row])
        assert torch.equal(ragged[:length, row], alone[:length, 0])
        assert not ragged[length:, row].any()


def test_threads_and_gradients_change_no_bits(tcn):
    x = torch.randn(100, 9, 3)
    results = []
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            tcn.zero_grad()
            output, _ = tcn(x.transpose(0, 1) if tcn.batch_first else x)
            output.square().sum().backward()
            with torch.no_grad():
                again, _ = tcn(x.transpose(0, 1) if tcn.batch_first else x)
            assert torch.equal(output, again)
            results.append([output, *(p.grad.clone() for p in tcn.parameters())])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(map(torch.equal, other, results[0]))


def test_nan_in_one_row_is_where_torch_has_it_and_harms_no_other(tcn):
    x = torch.randn(60, 3, 3)
    expected, _ = run(tcn, x)
    x[20, 1, 2] = torch.nan
    got, _ = run(tcn, x)
    with using_path("reference"):
        right, _ = run(tcn, x)
    assert torch.equal(got.isnan(), right.isnan())
    assert got[20:, 1].isnan().any()
    assert torch.equal(got[:, ::2], expected[:, ::2])
    assert torch.equal(got[:20], expected[:20])


# ---- Streams ------------------------------------------------------------------------------------


def test_a_stream_is_stepped_by_the_kernel_from_any_state_to_any_other(tcn, monkeypatch):
    x = torch.randn(70, 2, 3)
    whole, end = run(tcn, x)
    stream = tcn.stream(2)
    stream.push(x[:20].transpose(0, 1) if tcn.batch_first else x[:20])
    monkeypatch.setattr(type(tcn), "forward", None)  # nothing but steps from here on
    outputs = [stream.step(step) for step in x[20:50]]
    state, twin = stream.state, copy.copy(stream)
    outputs += [stream.step(step) for step in x[50:]]
    assert torch.equal(torch.stack(outputs), whole[20:])
    stream.state = state
    again = [stream.step(step) for step in x[50:]]
    assert torch.equal(torch.stack(again), whole[50:])
    assert torch.equal(torch.stack([twin.step(step) for step in x[50:]]), whole[50:])
    for ours, right in zip(stream.state, end, strict=True):
        assert torch.equal(ours, right)
    stream.reset([1])
    anew = torch.stack([stream.step(step) for step in x])
    assert torch.equal(anew[:, 1], whole[:, 1])


def test_a_step_reads_and_writes_any_layout(tcn):
    x = torch.randn(8, 2, 3)
    whole, _ = run(tcn, x)
    stream, arrays, outs = tcn.stream(2), tcn.stream(2), tcn.stream(2)
    wide = torch.zeros(25, 2).t()
    for t, step in enumerate(x):
        assert torch.equal(stream.step(step.t().contiguous().t()), whole[t])
        assert (arrays.step(step.numpy()) == whole[t].numpy()).all()
        assert outs.step(step, out=wide) is wide
        assert torch.equal(wide, whole[t])
    for wrong in (x[0].double(), x[0, :1], x):
        with pytest.raises(ShapeError):
            stream.step(wrong)


def change_in_place(tcn):
    with torch.no_grad():
        tcn.blocks[1].conv2.bias.add_(0.25)


def change_by_optimiser(tcn):
    for parameter in tcn.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    torch.optim.SGD(tcn.parameters(), lr=0.1).step()


def change_data(tcn):
    for parameter in tcn.parameters():
        parameter.data = parameter.data * 0.5


def change_numbers_of_data(tcn):
    for parameter in tcn.parameters():
        parameter.data.mul_(0.5)


def change_by_numpy(tcn):
    for parameter in tcn.parameters():
        parameter.detach().numpy()[...] *= 0.5


def load(tcn):
    tcn.load_state_dict({name: w * 0.5 for name, w in tcn.state_dict().items()})


def load_other_tensors(tcn):
    tcn.load_state_dict({n: w * 0.5 for n, w in tcn.state_dict().items()}, assign=True)


def replace_a_bias(tcn):
    tcn.blocks[0].conv1.bias = nn.Parameter(torch.randn(25))


def replace_a_block(tcn):
    torch.manual_seed(3)
    tcn.blocks[1] = unrolled.TCN(3, 25, 4, 5).blocks[1].eval()


def replace_a_convolution(tcn):
    block = tcn.blocks[2]
    block.conv1 = nn.Conv1d(25, 25, 5, dilation=4)


def take_the_norm_off(tcn):
    conv = tcn.blocks[0].conv1
    if hasattr(conv, "parametrizations"):
        remove_parametrizations(conv, "weight")
    change_in_place(tcn)


def hook_a_block(tcn):
    tcn.blocks[1].register_forward_hook(lambda _, __, result: (result[0] * 2, result[1]))


def put_something_else_in(tcn):
    tcn.blocks[1].dropout = nn.Tanh()


CHANGES = [
    change_in_place,
    change_by_optimiser,
    change_data,
    change_numbers_of_data,
    change_by_numpy,
    load,
    load_other_tensors,
    replace_a_bias,
    replace_a_block,
    replace_a_convolution,
    take_the_norm_off,
    hook_a_block,
    put_something_else_in,
]


@pytest.mark.parametrize("change", CHANGES)
def test_an_open_stream_sees_every_change(tcn, change):
    x = torch.randn(20, 1, 3)
    stream = tcn.stream()
    for step in x[:10]:
        stream.step(step)
    before = copy.deepcopy(stream.state)
    change(tcn)
    expected, _ = run(tcn, x[10:], before)
    got = torch.stack([stream.step(step) for step in x[10:]])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    stale = tcn.stream()
    stale.state = before
    assert torch.equal(stale.step(x[10]), got[0])


# ---- Where torch runs ---------------------------------------------------------------------------


def calls_of(monkeypatch):
    """Count the calls of the kernel."""
    counts, forward = [], NetworkPasses.forward

    def counting(self, *arguments, **options):
        counts.append(1)
        return forward(self, *arguments, **options)

    monkeypatch.setattr(NetworkPasses, "forward", counting)
    return counts


@pytest.mark.parametrize("change", [hook_a_block, put_something_else_in, replace_a_convolution])
def test_a_changed_module_does_what_it_says(tcn, change, monkeypatch):
    counts, x = calls_of(monkeypatch), torch.randn(9, 2, 3)
    before, _ = run(tcn, x)
    assert counts == [1]
    change(tcn)
    with using_path("reference"):
        expected, _ = run(tcn, x)
    got, _ = run(tcn, x)
    assert not torch.allclose(before, got)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_hooks_of_all_modules_see_all_modules(tcn):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda m, _, __: seen.append(m))
    try:
        run(tcn, torch.randn(5, 1, 3))
    finally:
        handle.remove()
    assert {*tcn.blocks, *(block.conv1 for block in tcn.blocks)} <= {*seen}


def test_second_derivatives_and_many_gradients_at_once_are_right(tcn):
    def loss(layer, x):
        output, _ = layer(x.transpose(0, 1) if layer.batch_first else x)
        return output.square().sum()

    x = torch.randn(6, 2, 3, requires_grad=True)
    exact = copy.deepcopy(tcn).double()
    results = []
    for layer, given in ((tcn, x), (exact, x.detach().double().requires_grad_())):
        (first,) = torch.autograd.grad(loss(layer, given), given, create_graph=True)
        weights = list(layer.parameters())
        results.append(torch.autograd.grad(first.square().sum(), [given, *weights]))
    for ours, right in zip(*results, strict=True):
        assert (ours - right).norm() <= 1e-4 * right.norm()
    rows = torch.eye(6)
    output, _ = run(tcn, x[:, :1])
    assert output.shape == (6, 1, 25)
    given = x.detach()[:, :1].requires_grad_()
    total = tcn(given.transpose(0, 1) if tcn.batch_first else given)[0].sum(-1).reshape(-1)
    (many,) = torch.autograd.grad(total, given, rows, is_grads_batched=True, retain_graph=True)
    for row, direction in zip(many, rows, strict=True):
        (one,) = torch.autograd.grad(total, given, direction, retain_graph=True)
        torch.testing.assert_close(row, one, rtol=1e-4, atol=1e-5)


def test_an_output_may_be_changed_before_the_backward_pass_and_a_graph_used_twice(tcn):
    x = torch.randn(7, 2, 3)
    weights = list(tcn.parameters())
    output, _ = tcn(x.transpose(0, 1) if tcn.batch_first else x)
    expected = torch.autograd.grad(output.sum(), weights, retain_graph=True)
    again = torch.autograd.grad(output.sum(), weights, retain_graph=True)
    assert all(map(torch.equal, again, expected))
    output.mul_(2)
    doubled = torch.autograd.grad(output.sum(), weights)
    for ours, one in zip(doubled, expected, strict=True):
        torch.testing.assert_close(ours, 2 * one, rtol=1e-4, atol=1e-5)


def test_vmap_and_func_go_through_torch(tcn):
    x = torch.randn(3, 7, 2, 3)
    options = {"in_dims": 0}
    given = x.transpose(1, 2) if tcn.batch_first else x
    got = torch.vmap(lambda one: tcn(one)[0], **options)(given)
    for one, ours in zip(given, got, strict=True):
        torch.testing.assert_close(ours, tcn(one)[0], rtol=1e-4, atol=1e-5)


def test_modes_that_look_on_see_torchs_operations(tcn):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run(tcn, torch.randn(5, 1, 3))
    assert counter.get_total_flops() > 0


def test_a_trace_holds_the_bits_of_the_layer(tcn):
    x = torch.randn(9, 2, 3)
    output, _ = run(tcn, x)
    records = unrolled.trace(tcn, x.transpose(0, 1) if tcn.batch_first else x)
    assert torch.equal(records[-1].values["y"], output)


def test_a_profiler_is_told_the_sizes_of_a_call(tcn):
    x = torch.randn(9, 2, 3)
    expected, _ = run(tcn, x)
    with torch.profiler.profile() as profile:
        got, _ = run(tcn, x)
    assert torch.equal(got, expected)
    assert "unrolled::tcn (9, 2, 3) -> 25" in {event.key for event in profile.key_averages()}


def test_dropout_repeats_with_the_seed_and_trains():
    layer, x = unrolled.TCN(3, 25, 2, 3, dropout=0.4), torch.randn(50, 8, 3)
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        output, _ = layer(x)
        results.append([output, *torch.autograd.grad(output.sum(), list(layer.parameters()))])
    assert all(map(torch.equal, *results))
    assert not torch.equal(layer(x)[0], results[0][0])


# ---- Without a compiler -------------------------------------------------------------------------


@pytest.mark.usefixtures("without_compiler")
def test_without_a_compiler_torch_runs_and_one_warning_says_so():
    script = """
import sys, warnings, torch, unrolled
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    tcn, x = unrolled.TCN(3, 8, 2), torch.randn(9, 2, 3)
    outputs = [tcn(x)[0] for _ in range(3)]
    stream = tcn.eval().stream(2)
    steps = torch.stack([stream.step(step) for step in x])
outputs[0].sum().backward()
torch.testing.assert_close(steps, outputs[0].detach())
print(*(str(w.message) for w in told), sep="\\n")
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert "TCNs run on torch's conv1d, which is slower: " in line


# ---- Between guard pages ------------------------------------------------------------------------

PAGE = mmap.PAGESIZE


class Guarded:
    """Memory that begins or ends at a page that nobody may touch."""

    def __init__(self, place):
        self._place, self._libc, self._maps = place, ctypes.CDLL(None, use_errno=True), []

    def buffer(self, *shape):
        floats = torch.Size(shape).numel()
        size = 4 * floats
        pages = -(-size // PAGE) * PAGE
        memory = mmap.mmap(-1, pages + 2 * PAGE)
        self._maps.append(memory)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for guard in (begin, begin + PAGE + pages):
            assert self._libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), 0) == 0
        if not floats:
            return torch.empty(shape)
        first = begin + PAGE + (pages - size if self._place == "end" else 0)
        array = (ctypes.c_float * floats).from_address(first)
        tensor = torch.frombuffer(array, dtype=torch.float32).view(shape)
        return tensor.fill_(torch.nan)

    def copy(self, tensor):
        return self.buffer(*tensor.shape).copy_(tensor)


def run_between_guards(path, place, all_sizes):
    """Run problems forwards, backwards and step by step; a fault ends the process."""
    library, guarded = NetworkLibrary(ctypes.CDLL(path)), Guarded(place)
    passes.buffer = passes.lasting = guarded.buffer
    passes.buffer_like = lambda tensor: guarded.buffer(*tensor.shape)
    passes.take_scratch = lambda _, floats: guarded.buffer(floats)
    passes.keep_scratch = lambda *_: None

    def compiled(problem):
        return RecurrenceFunction.apply(NetworkPasses(library, problem), *problem.tensors())

    def guard(tensor):
        whole = tensor is None or tensor.dtype is torch.bool
        return tensor if whole else guarded.copy(tensor)

    for sizes in all_sizes:
        num_steps, batch_size = sizes[-2:]
        lengths = torch.arange(batch_size) * 7 % (num_steps + 1)
        resets = torch.arange(num_steps * batch_size).view(num_steps, batch_size) % 5 == 3
        for past, dropout, ends, cut in (
            (True, 0.0, None, False),
            (False, 0.3, lengths, False),
            (True, 0.0, lengths, False),
            (True, 0.3, lengths, True),
            (False, 0.0, None, True),
        ):
            problem = problem_of(sizes, past=past, lengths=ends, dropout=dropout)
            tensors = [guard(tensor) for tensor in problem.tensors()]
            pieces = Pieces.of(ends, resets) if cut else None
            problem = problem.signature().problem(tensors, ends, pieces)
            expected = values_and_gradients(reference_blocks, problem, torch.float64)
            leaves = [
                t if t is None or t.dtype is torch.bool else t.requires_grad_() for t in tensors
            ]
            results = compiled(problem.signature().problem(leaves, ends, pieces))
            torch.manual_seed(1)
            upstream = [guarded.copy(torch.randn(result.shape)) for result in results]
            sources = [t for t in leaves if t is not None and t.requires_grad]
            gradients = torch.autograd.grad(results, sources, upstream, materialize_grads=True)
            for ours, right in zip([*results, *gradients], expected, strict=True):
                assert (ours.detach() - right).norm() <= 1e-5 * right.norm(), sizes
        problem = problem_of(sizes, past=False)
        weights = [BlockWeights(*map(guard, block)) for block in problem.weights]
        flat = [w for block in weights for w in block if w is not None]
        stepper = NetworkStepper(
            library, problem.shapes, lambda weights=weights: weights, flat, [], batch_size
        )
        rings = [guarded.copy(torch.zeros(r.shape)) for r in stepper.states]
        stepper._rings = tuple(rings)
        for index, ring in enumerate(rings):
            stepper._blocks[index // 2].past[index % 2] = ring.data_ptr() or None
        steps = torch.stack([stepper.step(guarded.copy(step)) for step in problem.x])
        right = reference_blocks(problem)[0]
        assert (steps - right).norm() <= 1e-5 * right.norm()


def processors():
    """What this machine can run, each with vectors of another length."""
    if os.uname().machine != "x86_64":
        return ["native"]
    has_avx2 = torch.backends.cpu.get_cpu_capability() != "DEFAULT"
    return ["native", "x86-64", "x86-64-v3"] if has_avx2 else ["native", "x86-64"]


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("gcc"), reason="needs gcc on Linux")
def test_nothing_is_read_or_written_past_the_ends(tmp_path):
    source = tmp_path / "network.c"
    source.write_text(network_source())
    flags = ["-O2", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
    flags += ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-shared", "-fPIC"]
    libraries = []
    for march in processors():
        libraries.append(str(tmp_path / f"{march}.so"))
        command = ["gcc", *flags, f"-march={march}", str(source), "-o", libraries[-1], "-lm"]
        subprocess.run(command, check=True)
    paths = os.pathsep.join([str(Path(unrolled.__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, __file__, *libraries],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"status {done.returncode}\n{done.stderr[-4000:]}"


if __name__ == "__main__":
    for number, path in enumerate(sys.argv[1:]):
        for place in ("begin", "end"):
            sys.stderr.write(f"{path} {place}\n")
            run_between_guards(path, place, SIZES if number == 0 else SIZES[1:5])
