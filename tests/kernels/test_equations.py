"""What equations a kernel can be made of: operation by operation, and those that are refused."""

import math
import shutil
import subprocess
import sys
import warnings
from functools import partial

import pytest
import torch
from torch import where
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as f
from torch.utils.checkpoint import checkpoint

import unrolled
from support.equations import assert_kernel_is_reference, layer_of, values_and_gradients
from unrolled.kernels import kernel_source, using_path
from unrolled.kernels.building.warning import warn_once
from unrolled.kernels.capturing import capture
from unrolled.kernels.running.paths import kernel_of

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)

# Of a and c, which are gates, b, the input's part of one, and w, a vector (H,).
OPERATIONS = {
    "+": lambda a, b, c, w: a + 2 * b - c + w + True,
    "alpha": lambda a, b, c, w: torch.add(a, b, alpha=0.3) - torch.sub(c, a, alpha=2),
    "rsub": lambda a, b, c, w: torch.rsub(a, b, alpha=3) * (1 - c),
    "/": lambda a, b, c, w: a / (1 + b * b) + 1 / (2 + c.cos()) + b / 3,
    "addcmul": lambda a, b, c, w: torch.addcmul(a, b, c, value=0.3),
    "addcdiv": lambda a, b, c, w: torch.addcdiv(a, b, 1 + c * c, value=0.3),
    "lerp": lambda a, b, c, w: torch.lerp(a, b, torch.sigmoid(c)) + torch.lerp(a, c, 0.3),
    "in place": lambda a, b, c, w: (a * b).add_(c).tanh_(),
    "square": lambda a, b, c, w: torch.square(a) * torch.sign(b) + torch.sgn(c),
    "powers": lambda a, b, c, w: a**2 + b**3 + a**4 * (1 + c * c) ** -2 + (2 + a * a) ** -0.5,
    "fractions": lambda a, b, c, w: (1 + a * a) ** b + 2**c + (1 + b * b) ** 1.7 + c**0 + a**1,
    "sqrt": lambda a, b, c, w: (1 + a * a).sqrt() + (1 + b * b).rsqrt() + (2 + c * c).reciprocal(),
    "exp": lambda a, b, c, w: torch.exp(a) + torch.exp2(b) + torch.expm1(c),
    "log": lambda a, b, c, w: (1 + a * a).log() + (2 + b * b).log2() + (3 + c * c).log10(),
    "log1p": lambda a, b, c, w: torch.log1p(a * a) + torch.logit(torch.sigmoid(b)) * c,
    "logaddexp": lambda a, b, c, w: torch.logaddexp(a, b) + torch.logaddexp(c, w),
    "xlogy": lambda a, b, c, w: torch.xlogy(a, 1 + b * b) + torch.sinc(c),
    "sin": lambda a, b, c, w: torch.sin(a) + torch.cos(b) + torch.tan(c / 4),
    "asin": lambda a, b, c, w: (torch.tanh(a) / 2).asin() + (b.tanh() / 2).acos() + c.atan(),
    "atan2": lambda a, b, c, w: torch.atan2(a, 1 + b * b) + torch.hypot(b, 1 + c * c),
    "sinh": lambda a, b, c, w: torch.sinh(a) + torch.cosh(b) + torch.tanh(c),
    "asinh": lambda a, b, c, w: a.asinh() + (2 + b * b).acosh() + (c.tanh() / 2).atanh(),
    "erf": lambda a, b, c, w: torch.erf(a) + torch.erfc(b) + torch.deg2rad(c),
    "abs": lambda a, b, c, w: a.abs() * -b + torch.positive(c),
    "floor": lambda a, b, c, w: a.floor() * b + b.ceil() * c + c.round() * a,
    "trunc": lambda a, b, c, w: (3 * a).trunc() * b + (3 * c).frac(),
    "maximum": lambda a, b, c, w: torch.maximum(a, b) - torch.minimum(b, c) + torch.max(a, w),
    "ties": lambda a, b, c, w: torch.maximum(a, a.detach()) * b + torch.minimum(c.detach(), c) * a,
    "clamp": lambda a, b, c, w: a.clamp(-0.2, 0.3) + b.clamp(min=0.1) + c.clamp(max=0.2),
    "bounds": lambda a, b, c, w: torch.clamp(a, b, c) + a.clamp(min=b) + torch.clamp(b, max=w),
    "clamp_min": lambda a, b, c, w: torch.clamp_min(a, b) + c.clamp_max(0.2) + a.clamp_min(0.1),
    "hardtanh": lambda a, b, c, w: f.hardtanh(a) * f.hardtanh(b, -0.5, 0.25) + f.relu6(c),
    "where": lambda a, b, c, w: where(a > 0, b, 0) + where(b > c, 1.5, a) + where(c > 0, 0.5, 2),
    "whole": lambda a, b, c, w: where(a > 0, 1, 0) * b + where(b > 0, a, w),
    "masked": lambda a, b, c, w: a.masked_fill(b > 0, 0.1) * c + a.nan_to_num(),
    "mask *": lambda a, b, c, w: a * (a > 0) + (b > c) * c - (b < 0) * b,
    "mask &": lambda a, b, c, w: where((a > 0) & ~(b > 0) | (c > 0) ^ (a < b), a, b),
    "mask +": lambda a, b, c, w: a * ((a > 0) + (b > 0)) + b * ((a > 0) * (b > c)),
    "mask ?": lambda a, b, c, w: where(where(a > 0, b > 0, c > 0), a, b) * ((a > 0) == (b > 0)),
    "mask max": lambda a, b, c, w: a * torch.maximum(a > 0, b > 0) + ((a > 0) != (c > 0)) * b,
    "logical": lambda a, b, c, w: torch.logical_not(a) * b + torch.logical_and(a, b > 0) * c,
    "xor": lambda a, b, c, w: where(torch.logical_xor(a, b > 0), a, b) + torch.logical_or(a, b) * c,
    "compare": lambda a, b, c, w: (a >= 0) * b + (b <= c) * a + (a != 0) * c + (a == b) * b,
    "isnan": lambda a, b, c, w: where(a.isnan() | ~b.isfinite() | c.isinf(), b, a),
    "to": lambda a, b, c, w: a * (b > 0).to(a.dtype) + (a > 0).float() + c.to(torch.float32),
    "int": lambda a, b, c, w: a * ((a > 0).int() + (b > 0).long() - 1).abs() + (c > 0).int() / 3,
    "ones": lambda a, b, c, w: torch.ones_like(a) * b + torch.zeros_like(c) + a.new_ones(a.shape),
    "full": lambda a, b, c, w: torch.full_like(a, 0.2) * b + a.new_full(a.size(), 0.3) + c,
    "tensor": lambda a, b, c, w: a * torch.tensor(0.5) + b * torch.ones(a.shape[-1]) * c,
    "filled": lambda a, b, c, w: torch.empty_like(a).fill_(0.5) * b * math.pi,
    "vector": lambda a, b, c, w: w.expand_as(a) * b + w[None] * c + torch.exp(w) * w.view(1, -1),
    "broadcast": lambda a, b, c, w: a * w.unsqueeze(0) + torch.broadcast_to(w.tanh(), a.shape),
    "detach": lambda a, b, c, w: a.detach() * b + (a * c).detach(),
    "sigmoid": lambda a, b, c, w: torch.sigmoid(a) * torch.relu(b) + f.softsign(c),
    "elu": lambda a, b, c, w: f.elu(a, 0.7) + f.celu(b, 1.3) + f.selu(c),
    "gelu": lambda a, b, c, w: f.gelu(a) + f.gelu(b, approximate="tanh") + f.silu(c),
    "leaky": lambda a, b, c, w: f.leaky_relu(a) + f.leaky_relu(b, 0.3) + f.prelu(c, w),
    "hard": lambda a, b, c, w: f.hardswish(a) + f.hardsigmoid(b) + f.hardshrink(c),
    "shrink": lambda a, b, c, w: f.tanhshrink(a) + f.softshrink(b, 0.2) + f.threshold(c, 0.1, 9.0),
    "softplus": lambda a, b, c, w: f.softplus(a) + f.softplus(b, beta=2) + f.logsigmoid(c),
    "mish": lambda a, b, c, w: f.mish(a) * f.mish(b) + c,
    "input": lambda a, b, c, w: b,
    "constant": lambda a, b, c, w: torch.zeros_like(a) + 0 * a,
    "vector alone": lambda a, b, c, w: w.expand_as(a),
}
NUM_CELLS = 10  # few, for each is compiled
BATCHES = [list(OPERATIONS)[first::NUM_CELLS] for first in range(NUM_CELLS)]


def cell_of(functions, name="several"):
    """Return a cell with a state for each of `functions`, of (a, b, c, w), besides its output."""
    states = [f"s{index}" for index in range(len(functions))]

    def equations(x, u, h, *, w=0.4):
        a, b, c = x.a + u.a, x.b, u.b + x.c
        values = {state: f(a, b, c, w) for state, f in zip(states, functions, strict=True)}
        return {"h": torch.tanh(a + c - h)} | values

    equations.__name__ = name
    declare = unrolled.cell(gates="a b c", recurrent="a b", states=f"h {' '.join(states)}")
    return declare(equations)


@pytest.mark.parametrize("batch", BATCHES, ids=["; ".join(batch) for batch in BATCHES])
def test_every_operation_of_a_kernel_equals_torchs(batch):
    layer = layer_of(cell_of([OPERATIONS[name] for name in batch]))
    assert_kernel_is_reference(layer, ["h", *batch])


OUTSIDE = {"0-d": torch.tensor(0.5), "1": torch.ones(1), "H": torch.ones(7)}
LINEAR = torch.nn.Linear(7, 7)


def set_where_positive(a):
    a = a.clone()
    a[a > 0] = 0.5
    return a


def with_assertion(a):
    assert a.shape[-1] == 7
    return a


# Each with a part of what the one warning says.
REFUSED = {
    "remainder": lambda a, b, c, w: torch.remainder(a, 0.3),
    "fmod": lambda a, b, c, w: torch.fmod(a, 0.3),
    "fmax": lambda a, b, c, w: torch.fmax(a, b),
    "copysign": lambda a, b, c, w: torch.copysign(a, b),
    "lgamma": lambda a, b, c, w: torch.lgamma(1 + a * a),
    "round.decimals": lambda a, b, c, w: a.round(decimals=1),
    "flip.*it has 1 - cumsum": lambda a, b, c, w: a.flip(-1),
    r"sum.dim_IntList over the rows of the batch \(it has the same over units": (
        lambda a, b, c, w: a - a.sum(0)
    ),
    "sum.dim_IntList over the rows": lambda a, b, c, w: a - a.mean(0, keepdim=True),
    "sum.[a-zA-Z_]+ over the rows": lambda a, b, c, w: a * b.sum(),
    "amax.default over the rows": lambda a, b, c, w: torch.softmax(a, 0),
    "cumsum.default over the rows": lambda a, b, c, w: a.cumsum(0),
    r"max.dim \(it has amax": lambda a, b, c, w: a - a.max(-1, keepdim=True).values,
    r"prod.dim_int \(it has exp": lambda a, b, c, w: a * b.prod(-1, keepdim=True),
    "sort.default": lambda a, b, c, w: a.sort(-1).values,
    r"normalized_shape=\[16\]": lambda a, b, c, w: f.layer_norm(a, (16,)),
    "permute": lambda a, b, c, w: a @ a.T @ b,
    "view": lambda a, b, c, w: a.view(-1).exp().view(a.shape),
    "native_dropout": lambda a, b, c, w: f.dropout(a, 0.1),
    "randn_like": lambda a, b, c, w: a + torch.randn_like(a),
    "index_put": lambda a, b, c, w: set_where_positive(a) + b,
    "_to_copy.default in torch.float64": lambda a, b, c, w: (a.double() * 2).float(),
    "_to_copy.default in torch.int32": lambda a, b, c, w: a.int() * b,
    r"derivative for aten::heaviside": lambda a, b, c, w: torch.heaviside(a, b),
    r"mul.Tensor reads a tensor from outside the cell, \(\)": lambda a, b, c, w: a * OUTSIDE["0-d"],
    r"a tensor from outside the cell, \(1,\)": lambda a, b, c, w: a * OUTSIDE["1"],
    r"a tensor from outside the cell, \(7,\)": lambda a, b, c, w: a * OUTSIDE["H"],
    r"a tensor from outside the cell, \(7, 7\)": lambda a, b, c, w: LINEAR(a),
    "read values": lambda a, b, c, w: a if a.sum() > 0 else b,
    "their values": lambda a, b, c, w: a * a.max().item(),
    "equations read values": lambda a, b, c, w: a * max(a.detach().tolist()[0]),
    "its equations read values": lambda a, b, c, w: a * float(a.detach().numpy().max()),
    "cell refused: .* what was changed": lambda a, b, c, w: changed_in_part(a) + b,
    "cannot be compiled: assert": lambda a, b, c, w: with_assertion(a),
    "the new s0 must be": lambda a, b, c, w: w,
    "new s0 must be": lambda a, b, c, w: a > 0,
    r"new s0 must be \(B, H\)": lambda a, b, c, w: a * torch.ones(3),
    "s0 must be": lambda a, b, c, w: 0.5,
}
REFUSED["read values "] = REFUSED.pop("their values")


@pytest.mark.parametrize("reason", REFUSED)
def test_what_no_kernel_can_do_is_named_in_the_one_warning(reason):
    cell = cell_of([REFUSED[reason]], "refused")
    warn_once.cache_clear()  # it does not say the same twice
    with pytest.warns(UserWarning, match=reason.strip()) as caught:
        assert kernel_of(cell) is None
    assert kernel_of(cell) is None
    assert len(caught) == 1
    assert "cell refused runs on the reference loop, which is slower" in str(caught[0].message)


READS_SIZES = {
    "branch": lambda a, b, c, w: a if a.shape[-1] > 32 else b,
    "branch on one": lambda a, b, c, w: a if a.shape[-1] == 1 else b,
    "branch on rows": lambda a, b, c, w: a if len(a) > 1 else b,
    "factor": lambda a, b, c, w: a / a.shape[-1] ** 0.5,
    "root": lambda a, b, c, w: a / math.sqrt(a.shape[-1]),
    "numel": lambda a, b, c, w: a * a.numel(),
    "filling": lambda a, b, c, w: a * torch.full_like(a, a.size(1)),
    "loop": lambda a, b, c, w: sum(a for _ in range(a.shape[1])),
    "slice": lambda a, b, c, w: torch.cat([a[:, :1], b[:, 1:]], -1),
    "arange": lambda a, b, c, w: a * torch.arange(a.shape[-1]),
    "squeeze": lambda a, b, c, w: a.squeeze() + b,
    "table": lambda a, b, c, w: a * {19: 0.5}.get(a.shape[-1], 1.0),
    "caught": lambda a, b, c, w: a if min(a.shape[-1], 64) > 0 else b,
}


@pytest.mark.parametrize("equations", READS_SIZES.values(), ids=list(READS_SIZES))
def test_equations_that_read_sizes_have_no_kernel(equations):
    warn_once.cache_clear()
    with pytest.warns(UserWarning, match="depend on the number of units or rows"):
        assert kernel_of(cell_of([equations], "sized")) is None


def small(name="small", gates="a", states="h", **options):
    """Return a decorator for a cell of which only the names matter."""

    def declare(equations):
        equations.__name__ = name
        return unrolled.cell(gates=gates, states=states, **options)(equations)

    return declare


def test_what_is_recorded_may_be_anything():
    @small()
    def cell(x, u, h):
        a = torch.tanh(x.a + u.a)
        records = {"f": 0.5, "n": 3, "pair": (a, a), "mask": a > 0, "count": (a > 0).int()}
        return {"h": a + h, "forget gate": a, "mean": a.mean(-1), "none": None, 1: a} | records

    assert_kernel_is_reference(layer_of(cell), ["h"])


def test_a_state_may_be_an_input_or_a_constant():
    @small(gates="a b", states="h m p q r")
    def cell(x, u, h, m, p):
        return dict(h=x.a, m=h, p=torch.zeros_like(h), q=p, r=m + u.b)

    layer = layer_of(cell)
    assert kernel_of(cell) is not None
    got, loop = (values_and_gradients(layer, path) for path in ("kernel", "reference"))
    for state in "hmpqr":
        first = len(loop[state])  # 1 for a constant, which has gradients of zero in a kernel
        for a, b in zip(got[state][:first], loop[state], strict=True):
            torch.testing.assert_close(a, b)
        assert not any(gradient.any() for gradient in got[state][first:])


@small()
def kept(x, u, h):
    return dict(h=h)


@small()
def empty(x, u, h):
    return dict(h=torch.zeros_like(h))


@pytest.mark.parametrize("cell", [kept, empty], ids=["kept", "empty"])
def test_a_cell_may_compute_nothing(cell):
    assert kernel_of(cell) is not None
    layer, x, start = unrolled.Recurrent(cell, 3, 5), torch.ones(4, 2, 3), torch.rand(1, 2, 5)
    output, end = layer(x, start)
    assert torch.equal(end, start if cell is kept else torch.zeros_like(start))
    assert torch.equal(output, end.expand(4, 2, 5))


COMMENT = """Ends a comment */ and begins one /* and // one more, σ(x) ≤ 1.\\
    */ int main(void) { \\
    \ud800 \x00 ??/
    \\"""


def test_names_and_texts_mean_nothing_to_the_compiler():
    @small("int", "prev a x x_a double H call n unit W", "a h if_ int32 size W")
    def cell(x, u, a, h, size, *, d=0.5, x_a=0.1):
        gates = [getattr(x, gate) + getattr(u, gate) for gate in cell.gates[1:]]
        gate = torch.sigmoid(x.prev * u.prev) * d
        values = {"a": torch.tanh(gates[0] + a * h), "h": gate * size, "int32": gate + x_a}
        values |= {"if_": sum(gates), "size": torch.sin(gates[1]), "W": gates[2]}
        return values | {"forget gate": gate * 2, "forget_gate": gate * 3, "σ": gate, "v mul": gate}

    cell.equations.__doc__ = COMMENT
    assert_kernel_is_reference(layer_of(cell), cell.states)


def fresh():
    """Return a cell that has no kernel yet."""

    @small()
    def cell(x, u, h):
        one = torch.ones_like(h)
        return dict(h=torch.tanh(x.a + u.a) + f.softplus(h) * 0.3 - f.hardsigmoid(one))

    return cell


def in_default_dtype(use, _):
    torch.set_default_dtype(torch.float64)
    try:
        use()
    finally:
        torch.set_default_dtype(torch.float32)


def inside(context):
    def call(use, _):
        with context():
            use()

    return call


def in_backward(use, x):
    class Used(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            return x.clone()

        @staticmethod
        def backward(_, gradient):
            use()
            return gradient

    Used.apply(x.clone().requires_grad_()).sum().backward()


def counted(use, x):
    """Call `use`, and return what a function under a transform must."""
    use()
    return x * 2


AMBIENT = {
    "checkpoint": lambda use, x: (
        checkpoint(partial(counted, use), x.clone().requires_grad_(), use_reentrant=False)
        .sum()
        .backward()
    ),
    "backward": in_backward,
    "vmap": lambda use, x: torch.func.vmap(partial(counted, use))(x),
    "grad": lambda use, x: torch.func.grad(lambda x: counted(use, x).sum())(x),
    "make_fx": lambda use, x: make_fx(partial(counted, use))(x),
    "make_fx with sizes": lambda use, x: make_fx(partial(counted, use), tracing_mode="symbolic")(x),
    "inference": inside(torch.inference_mode),
    "no_grad": inside(torch.no_grad),
    "fake tensors": inside(FakeTensorMode),
    "meta": inside(lambda: torch.device("meta")),
    "autocast": inside(lambda: torch.autocast("cpu", dtype=torch.bfloat16)),
    "default dtype": in_default_dtype,
}


@pytest.mark.parametrize("ambient", AMBIENT.values(), ids=list(AMBIENT))
def test_a_kernel_does_not_depend_on_the_modes_of_its_first_use(ambient):
    cell, plain = fresh(), fresh()
    sources = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ambient(lambda: (kernel_of(cell), sources.append(kernel_source(cell))), torch.ones(2, 3))
    assert kernel_of(cell) is not None
    assert set(sources) == {kernel_source(plain)}


def test_tracing_imports_none_of_torchs_tracers():
    code = """
import sys, unrolled
from unrolled.kernels.capturing import capture
for layer in (unrolled.RNN, unrolled.LSTM, unrolled.GRU, unrolled.JANET):
    capture(layer(2, 3).cell)
print(sorted({"torch._dynamo", "torch._inductor", "functorch", "sympy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def straight_through(a):
    class Sign(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            ctx.save_for_backward(torch.tanh(a))
            return torch.sign(a)

        @staticmethod
        def backward(ctx, gradient):
            (y,) = ctx.saved_tensors
            return gradient * (1 - y * y)

    return Sign.apply(a)


def changed_in_part(a):
    a = a * 2
    a[:, 0] = 0.5
    return a


def test_a_gradient_of_the_equations_own_is_the_kernels():
    cell = cell_of([lambda a, b, c, w: straight_through(a) * b + c])
    assert_kernel_is_reference(layer_of(cell), cell.states)


def test_zero_times_what_is_not_finite_is_nan_as_in_torch():
    @small(gates="a b")
    def cell(x, u, h):
        return dict(h=torch.tanh(x.b) + 0.0 * x.a)

    layer = layer_of(cell, hidden_size=7)
    x = torch.tensor([math.inf, -math.inf, math.nan, 1.0]).reshape(1, 4, 1).expand(1, 4, 3)
    with torch.no_grad():
        layer.weight_ih_l0.fill_(1.0)
        assert kernel_of(cell) is not None
        values = []
        for path in ("kernel", "reference"):
            with using_path(path):
                values.append(layer(x)[0])
    torch.testing.assert_close(*values, equal_nan=True)
    assert values[0][0, :3].isnan().all()


def test_printing_is_no_use_of_values(capsys):
    def shown(a):
        print(a, a.dtype, f"{a}")  # noqa: T201
        return a

    assert capture(cell_of([lambda a, b, c, w: shown(a) * b]))
    assert "tensor([[1." in capsys.readouterr().out


def test_a_mistake_in_the_equations_is_told_as_it_is():
    @small()
    def cell(x, u, h):
        return dict(h=unknown)  # noqa: F821

    with pytest.raises(NameError, match="unknown"):
        kernel_of(cell)
