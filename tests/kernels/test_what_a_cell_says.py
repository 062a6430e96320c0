"""What equations may say: whatever may differ between their capture and their use.

Each kind in many spellings. A cell is either right on its kernel, refused by one warning and right
on the loop, or an error; the same one in float32 and float64.
"""

import functools
import gc
import itertools
import math
import os
import random
import shutil
import subprocess
import sys
import time
import types
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, tanh
from torch.nn import functional as f

import unrolled
from unrolled.cells.registry import find_cell
from unrolled.errors import OptionError
from unrolled.kernels import kernel_source, using_path
from unrolled.kernels.building import compiler as building
from unrolled.kernels.running.paths import _outcomes, kernel_or_reason

pytestmark = [
    pytest.mark.skipif(
        not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
    ),
    pytest.mark.usefixtures("quick_kernels"),
]


def cell_of(equation, **declared):
    """Return a cell whose new state is tanh of `equation` of (a, h, w), where a = x.a + u.a."""

    @unrolled.cell(gates="a", **declared)
    def cell(x, u, h, *, w=0.4):
        return dict(h=torch.tanh(equation(x.a + u.a, h, w)))

    return cell


def reason_of(cell):
    """Return why a cell has no kernel, None if it has one."""
    reason = kernel_or_reason(cell)
    return reason if isinstance(reason, str) else None


def results_of(cell, path, hidden_size, num_steps=5):
    torch.manual_seed(0)
    layer = unrolled.Recurrent(cell, 3, hidden_size)
    x = torch.randn(num_steps, 4, 3, requires_grad=True)
    start = torch.randn(1, 4, hidden_size, requires_grad=True)
    with using_path(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output, _ = layer(x, start)
        total = (output * torch.linspace(-1, 1, output.numel()).view(output.shape)).sum()
        sources = [x, start, *layer.parameters()]
        gradients = torch.autograd.grad(total, sources, allow_unused=True, materialize_grads=True)
    return [output.detach(), *gradients]


def assert_right(cell, sizes=(1, 3, 7, 20)):
    """Hold whatever path the cell takes to the reference, at several sizes."""
    path = "reference" if reason_of(cell) else "kernel"
    for hidden_size in sizes:
        for got, expected in zip(
            results_of(cell, path, hidden_size),
            results_of(cell, "reference", hidden_size),
            strict=True,
        ):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


# ---- Sizes ---------------------------------------------------------------------------------------

TABLE = {"20": 2.0, 20: 2.0}
READS_SIZES = {
    "tensor": lambda a, h, w: a / torch.tensor(h.shape[-1]),
    "tensor of a float": lambda a, h, w: a / torch.tensor(float(h.shape[-1])),
    "as_tensor": lambda a, h, w: a / torch.as_tensor(h.size(1)),
    "asarray": lambda a, h, w: a / torch.asarray(h.size()[1]),
    "scalar_tensor": lambda a, h, w: a / torch.scalar_tensor(h.shape[1]),
    "tensor of rows": lambda a, h, w: a / torch.tensor(h.shape[0] + 1.0),
    "new_tensor": lambda a, h, w: a / h.new_tensor(h.shape[-1]),
    "new_full": lambda a, h, w: a / h.new_full((), h.shape[-1]),
    "full": lambda a, h, w: a / torch.full((), h.shape[-1]),
    "full_like": lambda a, h, w: a / torch.full_like(h, h.shape[-1]),
    "arange": lambda a, h, w: a * torch.arange(h.shape[-1]).max(),
    "numpy": lambda a, h, w: a / float(np.sqrt(h.shape[-1])),
    "numpy's int, above 16": lambda a, h, w: a * 2 if np.int64(h.shape[-1]) > 16 else a,
    "from_numpy": lambda a, h, w: a / torch.from_numpy(np.float32([h.shape[-1] * 1.0])),
    "math": lambda a, h, w: a / math.sqrt(h.shape[-1]),
    "range from 16": lambda a, h, w: sum((a for _ in range(16, h.shape[-1])), a),
    "slice from 16": lambda a, h, w: a * (1 + len(list(range(64))[16 : h.shape[-1]])),
    "bytes": lambda a, h, w: a * (2 if len(bytes(h.shape[-1])) > 16 else 1),
    "str": lambda a, h, w: a * TABLE.get(str(h.shape[-1]), 1.0),
    "format": lambda a, h, w: a * TABLE.get(f"{h.shape[-1]}", 1.0),
    "percent": lambda a, h, w: a * TABLE.get("%d" % h.shape[-1], 1.0),  # noqa: UP031
    "key": lambda a, h, w: a * TABLE.get(h.shape[-1], 1.0),
    "bit_length": lambda a, h, w: a * max(h.shape[-1].bit_length(), 3),
    "to_bytes": lambda a, h, w: a * (h.shape[-1].to_bytes(2, "big")[1] // 20 + 1),
    "index": lambda a, h, w: a * (h.shape[-1].__index__() // 20 + 1),
    "numel": lambda a, h, w: a * (2 if h.numel() > 40 else 1),
    "numel of the shape": lambda a, h, w: a * (2 if h.shape.numel() > 40 else 1),
    "nbytes": lambda a, h, w: a * (2 if h.nbytes > 200 else 1),
    "storage": lambda a, h, w: a * (2 if h.untyped_storage().nbytes() > 200 else 1),
    "stride": lambda a, h, w: a * (2 if w.expand_as(a).stride(-1) == 1 and a.stride(0) > 9 else 1),
    "contiguous": lambda a, h, w: a * (2 if a.T.is_contiguous() else 1),
    "len": lambda a, h, w: a * (2 if len(w) > 9 else 1),
    "iteration": lambda a, h, w: a * (2 if len(list(w)) > 9 else 1),
    "unbind": lambda a, h, w: a * (2 if len(w.unbind()) > 9 else 1),
    "chunk": lambda a, h, w: a * (2 if len(h.chunk(16, -1)) > 9 else 1),
    "sum of three ones": lambda a, h, w: a / torch.ones(3).sum(),
    "sum of a one for each row": lambda a, h, w: a / torch.ones(h.shape[0]).sum(),
}


@pytest.mark.parametrize("equation", READS_SIZES.values(), ids=list(READS_SIZES))
def test_equations_that_read_sizes_are_refused_and_right(equation):
    cell = cell_of(equation)
    assert reason_of(cell)
    assert_right(cell, sizes=(20,))


READS_NO_SIZES = {
    "ones": lambda a, h, w: a * torch.ones(h.shape[-1]) + torch.zeros(h.shape),
    "sum of ones": lambda a, h, w: a / torch.ones(h.shape[-1]).sum(),
    "mean": lambda a, h, w: a - h.mean(-1, keepdim=True),
    "expand": lambda a, h, w: a + w.expand(h.shape) + w.expand(h.shape[0], h.shape[1]),
    "view": lambda a, h, w: a.view(h.shape) + w.view(1, h.shape[-1]),
    "new_full": lambda a, h, w: a + h.new_full(h.size(), 0.5) + h.new_zeros(*h.shape),
    "kind": lambda a, h, w: a.to(h.dtype) if h.dim() == 2 and h.device.type == "cpu" else w,
    "is_tensor": lambda a, h, w: a if torch.is_tensor(h) and h.is_floating_point() else w,
}


@pytest.mark.parametrize("equation", READS_NO_SIZES.values(), ids=list(READS_NO_SIZES))
def test_equations_may_hand_sizes_on(equation):
    cell = cell_of(equation)
    assert reason_of(cell) is None
    assert_right(cell)


# ---- Gradients -----------------------------------------------------------------------------------


def own_gradient(backward, forward=lambda y: y * 1.0):
    """Return a function whose gradient is `backward` of the gradient and the argument."""

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y):
            ctx.save_for_backward(y)
            return forward(y)

        @staticmethod
        def backward(ctx, gradient):
            return backward(gradient, *ctx.saved_tensors)

    return Own.apply


GRADIENTS = {  # of a (B, H) value or of a vector; whether a kernel can do it
    "scaled": (lambda g, y: g * 0.5, True, True),
    "by the value": (lambda g, y: g * (1 - y * y), True, True),
    "clamped": (lambda g, y: g.clamp(-0.01, 0.01), True, False),
    "plus one": (lambda g, y: g + 1, True, False),
    "its sign": (lambda g, y: g.sign(), True, False),
    "squared": (lambda g, y: g * g, True, False),
    "ones": (lambda g, y: torch.ones_like(g), True, False),
    "zeros": (lambda g, y: torch.zeros_like(g), True, True),
    "where": (lambda g, y: torch.where(y > 0, g, 0.0), True, True),
    "where it is small": (lambda g, y: torch.where(g > 0, g, 0.0), True, False),
    "by the size": (lambda g, y: g / g.shape[-1] ** 0.5, False, False),
    "by a tensor of the size": (lambda g, y: g / torch.tensor(g.shape[-1]), False, False),
    "above a size": (lambda g, y: g * 2 if g.shape[-1] > 16 else g, False, False),
    "sum over units": (lambda g, y: g.sum(-1, keepdim=True) + 0 * g, True, True),
    "sum of all": (lambda g, y: g.sum() + 0 * g, False, True),
    "norm": (lambda g, y: g / (1 + g.norm()), False, False),
    "mean": (lambda g, y: g - g.mean(-1, keepdim=True), True, True),
    "random": (lambda g, y: g * random.random(), False, False),
}
OF_ROWS = {
    "sum over rows": lambda g, y: g.sum(0, keepdim=True) * y,
    "mean over rows": lambda g, y: g - g.mean(0, keepdim=True),
}


@pytest.mark.parametrize("name", sorted(GRADIENTS.keys() - {"random"} | OF_ROWS.keys()))
@pytest.mark.parametrize("of_vector", [False, True], ids=["of a value", "of a vector"])
def test_gradients_of_the_equations_own_are_right_or_refused(name, of_vector):
    backward, of_value, vector = GRADIENTS.get(name) or (OF_ROWS[name], False, False)
    if of_vector and name in OF_ROWS:
        pytest.skip("a vector has no rows")
    own = own_gradient(backward)
    cell = cell_of((lambda a, h, w: a * own(w)) if of_vector else (lambda a, h, w: own(a) * w))
    assert (reason_of(cell) is None) == (vector if of_vector else of_value)
    assert_right(cell, sizes=(1, 20))


HOOKS = {
    "on the state": lambda a, h, w: h.register_hook(lambda g: g.clamp(-0.01, 0.01)),
    "on a value": lambda a, h, w: a.register_hook(lambda g: g * 2),
    "on a vector": lambda a, h, w: w.register_hook(lambda g: g.clamp(-0.01, 0.01)),
    "on a node": lambda a, h, w: a.grad_fn.register_hook(lambda g, _: (g[0] * 2, *g[1:])),
    "before a node": lambda a, h, w: a.grad_fn.register_prehook(lambda g: (g[0] * 2,)),
    "of several": lambda a, h, w: torch.autograd.graph.register_multi_grad_hook((a, h), print),
    "kept": lambda a, h, w: a.retain_grad(),
}


@pytest.mark.parametrize("hook", HOOKS.values(), ids=list(HOOKS))
@pytest.mark.parametrize("asked", [False, True], ids=["always", "if asked"])
def test_gradient_hooks_have_no_kernel(hook, asked, capsys):
    def equation(a, h, w):
        if not asked or h.requires_grad:
            hook(a, h, w)
        return a + 0.5 * h * w

    cell = cell_of(equation)
    assert "gradient hook" in reason_of(cell) or "requires_grad" in reason_of(cell)
    assert_right(cell, sizes=(5,))
    capsys.readouterr()


# ---- What may say something else at the next step ------------------------------------------------

GENERATOR = np.random.default_rng(0)
OWN_RANDOM = random.Random(0)
COUNTER = itertools.count()
NUMBERS = iter([0.1] * 10_000)
SEEN = []
OPEN = open(os.devnull)  # noqa: PTH123

DIFFERS = {
    "time": lambda a, h, w: a * (time.time() % 1),
    "below a time": lambda a, h, w: a * 2 if time.time() > 2e9 else a,
    "perf_counter": lambda a, h, w: a * (time.perf_counter() > 0),
    "random": lambda a, h, w: a * random.random(),
    "choice": lambda a, h, w: a if random.random() < 1e-9 else a * 2,
    "gauss": lambda a, h, w: a if random.gauss(0, 1) > 9 else a * 2,
    "own random": lambda a, h, w: a if OWN_RANDOM.random() < 1e-9 else a * 2,
    "numpy": lambda a, h, w: a if np.random.rand() < 1e-9 else a * 2,
    "generator": lambda a, h, w: a if GENERATOR.random() < 1e-9 else a * 2,
    "rand": lambda a, h, w: a * torch.rand(()),
    "item of rand": lambda a, h, w: a * torch.rand(()).item(),
    "rand_like": lambda a, h, w: a * torch.rand_like(a),
    "dropout": lambda a, h, w: f.dropout(a, 0.5),
    "counter": lambda a, h, w: a * next(COUNTER),
    "iterator": lambda a, h, w: a * next(NUMBERS),
    "for over an iterator": lambda a, h, w: a * sum(n for n, _ in zip(NUMBERS, "a", strict=False)),
    "file": lambda a, h, w: a if OPEN.read(1) else a * 2,
    "process": lambda a, h, w: a if os.getpid() % 2 else a * 2,
    "id": lambda a, h, w: a if id(h) % 2 else a * 2,
    "hash": lambda a, h, w: a if hash(h) % 2 == 3 else a * 2,
    "append": lambda a, h, w: (SEEN.append(1), a)[1],
    "grad mode": lambda a, h, w: a if torch.is_grad_enabled() else a * 2,
    "inference mode": lambda a, h, w: a * 2 if torch.is_inference_mode_enabled() else a,
    "requires_grad": lambda a, h, w: a if h.requires_grad else a * 2,
    "is_leaf": lambda a, h, w: a if h.is_leaf else a * 2,
    "is_inference": lambda a, h, w: a * 2 if h.is_inference() else a,
    "version": lambda a, h, w: a * (1 + h._version),
    "threads": lambda a, h, w: a * torch.get_num_threads(),
    "seed": lambda a, h, w: a * (torch.initial_seed() % 2),
    "default dtype": lambda a, h, w: a if torch.get_default_dtype() == torch.float32 else a * 2,
    "autocast": lambda a, h, w: a * 2 if torch.is_autocast_enabled("cpu") else a,
    "compiling": lambda a, h, w: a * 2 if torch.compiler.is_compiling() else a,
    "tracing": lambda a, h, w: a * 2 if torch.jit.is_tracing() else a,
    "globals": lambda a, h, w: a * globals()["FACTOR"],
}
FACTOR = 0.7


@pytest.mark.parametrize("equation", DIFFERS.values(), ids=list(DIFFERS))
def test_what_may_say_something_else_has_no_kernel(equation):
    assert reason_of(cell_of(equation))


# ---- What changes outside ------------------------------------------------------------------------

NUMBER, FLAG, WORD, CHOICE = 0.5, True, "tanh", "sinh"
TABLES = {"factor": 0.5, "inner": {"factor": [0.5]}}
FACTORS = [0.5, 2.0]
SPACE = types.SimpleNamespace(factor=0.5, unused=COUNTER)
PLAIN_SPACE = types.SimpleNamespace(factor=0.5)
ARRAY = np.array([0.5])
DROPOUT = nn.Dropout(0.5).eval()
ELU = functools.partial(f.elu, alpha=0.5)


def helper(y, scale=0.5):
    return y * scale * NUMBER


def defaulted(y, scale=0.5):
    return y * scale


def nested(y):
    return sum(helper(part) for part in [y])


class Options:
    factor = 0.5

    def __init__(self):
        self.scale = 0.5
        self.lock = COUNTER  # not read

    def apply(self, y):
        return y * self.scale * self.factor

    @property
    def half(self):
        return self.scale

    def __call__(self, y):
        return y * self.scale


class Slots:
    __slots__ = ("factor",)

    def __init__(self):
        self.factor = 0.5


class Gate(nn.Module):
    def forward(self, y):
        return y * 2 if self.training else y


OPTIONS, SLOTS, GATE = Options(), Slots(), Gate()
THIS = sys.modules[__name__]


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(_, y):
        return y * 1.0

    @staticmethod
    def backward(_, gradient):
        return gradient * NUMBER


SCALED = Scaled.apply


class Table(dict):
    def __setitem__(self, key, value):
        dict.__setitem__(self, key, value * NUMBER)


MADE = Table.fromkeys


def activation(y):
    return tanh(y)


def set_global(**values):
    vars(THIS).update(values)


# equation, and what changes what it reads; some have changed before
CHANGES = {
    "number": (lambda a, h, w: a * NUMBER, lambda: set_global(NUMBER=2.0)),
    "sign of zero": (
        lambda a, h, w: a + 1 / (h + 3) * (NUMBER * 0),
        lambda: set_global(NUMBER=-1.0),
    ),
    "flag": (lambda a, h, w: a if FLAG else a * 2, lambda: set_global(FLAG=False)),
    "word": (lambda a, h, w: getattr(torch, WORD)(a), lambda: set_global(WORD="sin")),
    "dict": (lambda a, h, w: a * TABLES["factor"], lambda: TABLES.update(factor=2.0)),
    "inner": (
        lambda a, h, w: a * TABLES["inner"]["factor"][0],
        lambda: TABLES["inner"]["factor"].__setitem__(0, 2.0),
    ),
    "get": (lambda a, h, w: a * TABLES.get("new", 1.0), lambda: TABLES.update(new=2.0)),
    "list": (lambda a, h, w: a * sum(FACTORS), lambda: FACTORS.append(2.0)),
    "space": (lambda a, h, w: a * SPACE.factor, lambda: setattr(SPACE, "factor", 2.0)),
    "attribute": (
        lambda a, h, w: a * getattr(PLAIN_SPACE, "".join(["fac", "tor"])),
        lambda: setattr(PLAIN_SPACE, "factor", 3.0),
    ),
    "array": (lambda a, h, w: a * float(ARRAY[0]), lambda: ARRAY.__setitem__(0, 2.0)),
    "helper": (lambda a, h, w: helper(a), lambda: set_global(NUMBER=3.0)),
    "nested": (lambda a, h, w: nested(a), lambda: set_global(NUMBER=4.0)),
    "helper itself": (lambda a, h, w: helper(a), lambda: set_global(helper=lambda y: y * 3)),
    "function": (lambda a, h, w: activation(a), lambda: set_global(tanh=torch.sin)),
    "code": (
        lambda a, h, w: activation(a),
        lambda: setattr(activation, "__code__", (lambda y: y * 0.3).__code__),
    ),
    "default": (
        lambda a, h, w: defaulted(a),
        lambda: setattr(defaulted, "__defaults__", (2.0,)),
    ),
    "method": (lambda a, h, w: OPTIONS.apply(a), lambda: setattr(OPTIONS, "scale", 2.0)),
    "class": (lambda a, h, w: OPTIONS.apply(a), lambda: setattr(Options, "factor", 2.0)),
    "shadowed": (lambda a, h, w: OPTIONS.apply(a), lambda: setattr(OPTIONS, "factor", 3.0)),
    "property": (lambda a, h, w: a * OPTIONS.half, lambda: setattr(OPTIONS, "scale", 3.0)),
    "called": (lambda a, h, w: OPTIONS(a), lambda: setattr(OPTIONS, "scale", 4.0)),
    "slots": (lambda a, h, w: a * SLOTS.factor, lambda: setattr(SLOTS, "factor", 2.0)),
    "module": (lambda a, h, w: a * THIS.NUMBER, lambda: set_global(NUMBER=5.0)),
    "training": (lambda a, h, w: GATE(a), lambda: GATE.eval()),
    "dropout": (lambda a, h, w: DROPOUT(a), lambda: DROPOUT.train()),
    "partial": (lambda a, h, w: ELU(a), lambda: set_global(ELU=functools.partial(f.elu, alpha=2))),
    "environment": (
        lambda a, h, w: a * float(os.environ.get("UNROLLED_TEST_FACTOR", "1")),
        lambda: os.environ.update(UNROLLED_TEST_FACTOR="2"),
    ),
    "gradient": (lambda a, h, w: Scaled.apply(a), lambda: set_global(NUMBER=6.0)),
    "gradient by its function": (lambda a, h, w: SCALED(a), lambda: set_global(NUMBER=7.0)),
    "class of a method in C": (
        lambda a, h, w: a * MADE("k", 2.0)["k"],
        lambda: set_global(NUMBER=-0.25),
    ),
    "new attribute": (
        lambda a, h, w: a * (2 if hasattr(PLAIN_SPACE, "added") else 1),
        lambda: setattr(PLAIN_SPACE, "added", 1),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_kernel_follows_what_changes_outside(name, monkeypatch):
    monkeypatch.setenv("UNROLLED_TEST_FACTOR", "1")
    monkeypatch.setitem(globals(), "NUMBER", 0.5)  # whatever another test has made of it
    equation, change = CHANGES[name]
    cell = cell_of(equation)
    assert reason_of(cell) is None
    assert_right(cell, sizes=(5,))
    stream = unrolled.Recurrent(cell, 3, 4).stream(2)
    torch.manual_seed(1)
    x = torch.randn(2, 3)
    first = stream.step(x)
    change()
    stream.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        second = stream.step(x)
    if name == "dropout":  # now it draws
        assert reason_of(cell)
        return
    assert_right(cell, sizes=(5,))
    if name not in ("gradient", "gradient by its function", "sign of zero"):
        assert not torch.equal(first, second)


def test_a_closure_is_followed():
    def make(factor):
        def change(value):
            nonlocal factor
            factor = value

        return cell_of(lambda a, h, w: a * factor), change

    (cell, change), (other, _) = make(0.5), make(2.0)
    assert cell.key != other.key
    assert reason_of(cell) is None
    change(3.0)
    assert_right(cell, sizes=(5,))
    assert_right(other, sizes=(5,))


def test_what_changes_again_and_again_has_no_kernel_any_more():
    table = [0.0]
    cell = cell_of(lambda a, h, w: a * table[0])
    _outcomes.pop(cell, None)
    reasons = []
    for number in range(12):
        table[0] = float(number % 2)
        reasons.append(reason_of(cell))
    assert reasons[0] is None
    assert "has changed" in reasons[-1]
    assert_right(cell, sizes=(5,))


def test_second_derivatives_after_a_change_are_an_error():
    table = [0.5]
    cell = cell_of(lambda a, h, w: a * table[0])
    layer, x = unrolled.Recurrent(cell, 3, 4), torch.randn(5, 2, 3, requires_grad=True)
    output, _ = layer(x)
    table[0] = 2.0
    with pytest.raises(OptionError, match="changed since the forward pass"):
        torch.autograd.grad(output.sum(), x, create_graph=True)


def test_a_gradient_is_of_the_equations_of_its_forward_pass():
    table = [0.5]
    cell = cell_of(lambda a, h, w: a * table[0])
    layer, x = unrolled.Recurrent(cell, 3, 4), torch.randn(5, 2, 3, requires_grad=True)
    expected = torch.autograd.grad(layer(x)[0].sum(), x)[0]
    output = layer(x)[0]
    table[0] = 2.0
    layer(x)
    assert torch.equal(torch.autograd.grad(output.sum(), x)[0], expected)


# ---- In place ------------------------------------------------------------------------------------


def without_gradients(change):
    with torch.no_grad():
        change()


CHANGES_GIVEN = {
    "mul_": lambda x, u, h, w: h.mul_(0.5),
    "detached": lambda x, u, h, w: h.detach().mul_(0.5),
    "data": lambda x, u, h, w: h.data.mul_(0.5),
    "no_grad": lambda x, u, h, w: without_gradients(lambda: h.mul_(0.5)),
    "view": lambda x, u, h, w: h.view(-1).zero_(),
    "part": lambda x, u, h, w: h.__setitem__((slice(None), 0), 1.0),
    "out": lambda x, u, h, w: torch.mul(h.detach(), 0.5, out=h.data),
    "foreach": lambda x, u, h, w: torch._foreach_mul_([h], 0.5),
    "init": lambda x, u, h, w: nn.init.zeros_(h),
    "inplace=True": lambda x, u, h, w: f.relu(h, inplace=True),
    "input": lambda x, u, h, w: x.a.add_(1),
    "recurrent": lambda x, u, h, w: u.a.add_(1),
    "vector": lambda x, u, h, w: w.mul_(0.5),
    "expanded": lambda x, u, h, w: w.data.expand_as(h)[0].zero_(),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("change", CHANGES_GIVEN.values(), ids=list(CHANGES_GIVEN))
def test_equations_that_change_what_they_are_given_are_one_error(change, mode, dtype):
    @unrolled.cell(gates="a")
    def cell(x, u, h, *, w=0.4):
        change(x, u, h, w)
        return dict(h=torch.tanh(x.a + u.a + w * h))

    layer = unrolled.Recurrent(cell, 3, 4, dtype=dtype)
    weights = [weight.detach().clone() for weight in layer.parameters()]
    x, start = torch.ones(2, 5, 3, dtype=dtype), torch.ones(1, 5, 4, dtype=dtype)
    for _ in range(2):
        with mode(), pytest.raises(OptionError, match="changes what the equations are given"):
            layer(x, start)
    assert (start == 1).all()
    assert (x == 1).all()
    assert all(map(torch.equal, weights, layer.parameters()))


CHANGES_OWN = {
    "product": lambda x, u, v: u.n(v).add_(x.n),
    "product +=": lambda x, u, v: u.n(v).__iadd__(x.n),
    "product's part": lambda x, u, v: u.n(v).mul_(x.a).tanh_(),
    "what was multiplied": lambda x, u, v: (u.n(v * 1.0), v)[0],
    "copy of a product": lambda x, u, v: u.n(v).clone().sub_(1),
    "filled": lambda x, u, v: torch.empty_like(v).fill_(0.5).mul_(u.n(v)),
    "copied": lambda x, u, v: torch.empty_like(v).copy_(u.n(v)),
}


@pytest.mark.parametrize("equation", CHANGES_OWN.values(), ids=list(CHANGES_OWN))
def test_equations_may_change_what_they_have_made(equation):
    @unrolled.cell(gates="a n", applied="n")
    def cell(x, u, h):
        return dict(h=torch.tanh(equation(x, u, h * x.a) + u.a))

    assert reason_of(cell) is None
    assert_right(cell)


def test_a_vector_that_is_changed_after_its_product_was_multiplied_before():
    @unrolled.cell(gates="a n", applied="n")
    def cell(x, u, h):
        v = h.detach() * x.a.detach()
        n = u.n(v)
        v += 1
        return dict(h=torch.tanh(n + v + u.a))

    layer, x = unrolled.Recurrent(cell, 3, 4), torch.randn(5, 2, 3)
    results = []
    for path in ("kernel", "reference"):
        with using_path(path), torch.no_grad():
            results.append(layer(x)[0])
    torch.testing.assert_close(*results)


# ---- Absent gradients ----------------------------------------------------------------------------

INFINITE = {
    "sqrt": lambda y: torch.sqrt(y * y),
    "rsqrt of it": lambda y: (y * y + 0.0).pow(0.5),
    "log": lambda y: torch.log(y.abs()).clamp(min=-5),
    "reciprocal": lambda y: (1 / y).clamp(-3, 3),
    "norm": lambda y: torch.hypot(y, y),
}
FEEDS = {  # the new second and third state, from the infinite one
    "looked at": lambda s, m, p: (s, 0.5 * s),
    "kept": lambda s, m, p: (s + 0.5 * m, p + m),
    "swapped": lambda s, m, p: (p, s),
}


@settings(max_examples=30, deadline=None)
@given(
    infinite=st.sampled_from(sorted(INFINITE)),
    feed=st.sampled_from(sorted(FEEDS)),
    used=st.sets(st.sampled_from(["output", "h", "m", "p"]), min_size=1),
    lengths=st.sampled_from([None, [5, 3, 1], [5, 5, 2]]),
    applied=st.booleans(),
)
def test_absent_gradients_are_no_zeros(infinite, feed, used, lengths, applied):
    cell = infinite_cell(infinite, feed, applied)
    layer = infinite_layer(cell)
    x = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0))
    x[0] = x[3] = 0  # there h is 0, and a derivative infinite
    results = []
    for path in ("kernel", "reference"):
        with using_path(path):
            output, state = layer(x.requires_grad_(), lengths=lengths)
        values = dict(output=output, h=state.h, m=state.m, p=state.p)
        total = sum(values[name].sum() for name in sorted(used))
        sources = [x, *layer.parameters()]
        results.append(
            torch.autograd.grad(total, sources, allow_unused=True, materialize_grads=True)
        )
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4, equal_nan=True)


@functools.cache
def infinite_cell(infinite, feed, applied):
    def step(a, m, p):
        h = torch.tanh(a)
        new_m, new_p = FEEDS[feed](INFINITE[infinite](h), m, p)
        return dict(h=h, m=new_m, p=new_p)

    if applied:

        @unrolled.cell(gates="b a", states="h m p", applied="a")
        def cell(x, u, h, m, p):
            return step(x.a + u.a(h * torch.sigmoid(x.b + u.b)), m, p)

    else:

        @unrolled.cell(gates="a", states="h m p")
        def cell(x, u, h, m, p):
            return step(x.a + 0 * u.a, m, p)

    assert reason_of(cell) is None
    return cell


def infinite_layer(cell):
    torch.manual_seed(0)
    return unrolled.Recurrent(cell, 3, 4, bias=False)


# ---- Names and keys ------------------------------------------------------------------------------


def test_an_exported_program_computes_with_its_own_equations_or_not_at_all():
    def declare(factor):
        space = {"unrolled": unrolled, "torch": torch, "__name__": "notebook"}
        text = f"""
@unrolled.cell(gates="f")
def leaky(x, u, h):
    return dict(h={factor} * h + torch.tanh(x.f + u.f))
"""
        exec(text, space)
        return space["leaky"]

    x = torch.randn(5, 2, 3)
    x = x.double()
    layer = unrolled.Recurrent(declare(0.1), 3, 4, dtype=torch.float64)
    program = torch.export.export(layer, (x,))
    before = program.module()(x)[0]
    layer = unrolled.Recurrent(declare(0.5), 3, 4)
    layer = unrolled.Recurrent(declare(0.9), 3, 4)
    gc.collect()
    with pytest.raises(OptionError, match="not the one that the program was made with"):
        program.module()(x)
    again = declare(0.1)
    assert torch.equal(program.module()(x)[0], before)
    del again, layer


def test_a_cell_may_come_from_a_place_without_a_name():
    space = {"torch": torch}
    exec("def made(x, u, h): return dict(h=torch.tanh(x.a + u.a))", space)
    cell = unrolled.cell(gates="a")(space["made"])
    assert reason_of(cell) is None
    assert_right(cell, sizes=(4,))


def test_an_exported_program_does_not_compute_with_what_has_changed():
    def declare(table):
        @unrolled.cell(gates="f")
        def scaled(x, u, h):
            return dict(h=torch.tanh(x.f + u.f) * table.factor)

        return scaled

    table = types.SimpleNamespace(factor=0.5)
    x, cell = torch.randn(5, 2, 3), declare(table)
    layer = unrolled.Recurrent(cell, 3, 4)
    program = torch.export.export(layer, (x,)).module()
    before = program(x)[0]
    table.factor = 2.0
    with pytest.raises(OptionError, match="what they read from outside, or Python have changed"):
        program(x)
    table.factor = 0.5
    assert torch.equal(program(x)[0], before)


def test_an_equal_cell_that_has_changed_is_not_equal_any_more():
    def declare():
        space = {
            "unrolled": unrolled,
            "torch": torch,
            "__name__": "notebook_of_equals",
            "FACTOR": 1,
        }
        text = "@unrolled.cell(gates='f')\ndef equal(x, u, h): return dict(h=x.f + FACTOR * u.f)"
        exec(text, space)
        return space

    first, second = declare(), declare()
    key = first["equal"].key
    first["equal"] = None
    gc.collect()
    assert find_cell(key) is second["equal"]
    second["FACTOR"] = 2
    with pytest.raises(OptionError, match="not the one that the program was made with"):
        find_cell(key)


def test_a_search_for_anomalies_at_the_first_use_costs_no_kernel():
    cell = cell_of(lambda a, h, w: a * w)
    with torch.autograd.set_detect_anomaly(True, check_nan=True):
        assert reason_of(cell) is None
        assert torch.is_anomaly_enabled()
        assert torch.is_anomaly_check_nan_enabled()
    assert not torch.is_anomaly_enabled()
    assert gc.isenabled()


@pytest.mark.parametrize("flag", [True, False])
def test_a_flag_is_no_weight(flag):
    with pytest.raises(OptionError, match="argument 'flag' is a choice"):

        @unrolled.cell(gates="a")
        def flagged(x, u, h, *, flag=flag):
            return dict(h=torch.tanh(x.a + u.a) + h * flag)


POISON = """
import importlib, sys, torch, unrolled
from unrolled.kernels import using_path
from unrolled.kernels.building import cache, compiler
compiler.FLAGS = cache.FLAGS = tuple(sys.argv.pop(1).split())
for name, change, layer in zip(*[iter(sys.argv[1:])] * 3):
    module = importlib.import_module(name)
    exec(change)
    layer = getattr(unrolled, layer)(3, 5)
    x = torch.randn(6, 2, 3)
    with using_path("reference"):
        want = layer(x)[0]
    torch.testing.assert_close(layer(x)[0], want)
"""
OWN_EQUATIONS = """
import functools
@functools.wraps(module.janet.equations)
def janet(x, u, h):
    return dict(h=torch.tanh(x.g + u.g) * x.f)
unrolled.JANET = lambda i, h: unrolled.Recurrent(unrolled.cell(gates="f g")(janet), i, h)
"""
POISONS = {
    "constant": ("unrolled.cells.janet", "module.BETA = 0.0", "JANET"),
    "function": ("unrolled.cells.lstm", "module.tanh = torch.sin", "LSTM"),
    "code": (
        "unrolled.cells.elman",
        "module.rnn_tanh.equations.__code__ = module.rnn_relu.equations.__code__",
        "RNN",
    ),
    "same name": ("unrolled.cells.janet", OWN_EQUATIONS, "JANET"),
}


def test_what_one_process_changes_does_not_reach_the_next_by_the_cache(tmp_path):
    env = os.environ | {"UNROLLED_CACHE": str(tmp_path / "kernels")}
    for changes in (True, False):
        poisons = ([m, change if changes else "pass", of] for m, change, of in POISONS.values())
        flags = " ".join(building.FLAGS)  # of quick kernels
        command = [sys.executable, "-c", POISON, flags, *itertools.chain(*poisons)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


# ---- Messages and C ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sum of three ones", "tensor", "unbind", "str"])
def test_a_reason_names_the_line_of_the_equations(name):
    line = READS_SIZES[name].__code__.co_firstlineno
    assert f"(test_what_a_cell_says.py, line {line})" in reason_of(cell_of(READS_SIZES[name]))


def test_no_kernel_declares_what_it_does_not_use(tmp_path):
    @unrolled.cell(gates="f g", states="h c", applied="g")
    def unused(x, u, h, c, *, beta=1.0, other=2.0):
        gate = torch.sigmoid(x.f + u.f * beta)
        v = gate * beta + c
        return dict(h=torch.tanh(x.g + u.g(v)) + beta.detach(), c=v, gate=gate)

    text = tmp_path / "unused.c"
    for cell in (unused, cell_of(lambda a, h, w: a + h.detach() * w.detach())):
        text.write_text(kernel_source(cell))
        flags = ["-std=gnu11", "-march=native", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
        compiler = next(filter(shutil.which, ("gcc", "clang", "cc")))
        subprocess.run([compiler, *flags, "-Wno-unused-parameter", str(text)], check=True)


def test_a_cell_may_read_an_object_whose_attributes_raise_what_they_like():
    class Settings:
        def __init__(self, values):
            self.__dict__["values"] = values

        def __getattr__(self, name):
            return self.values[name]

    settings = Settings({"alpha": 0.5})

    @unrolled.cell(gates="a")
    def scaled(x, u, h):
        return dict(h=torch.tanh(x.a + u.a) * settings.alpha)

    x = torch.randn(4, 2, 3)
    layer = unrolled.Recurrent(scaled, 3, 5)
    with using_path("reference"):
        expected = layer(x)[0]
    torch.testing.assert_close(layer(x)[0], expected)
