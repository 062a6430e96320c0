"""Every function of a kernel, and its gradient, over a dense range: against float64.

A function of a number that is wrong by one rounding is wrong by |x f'(x)| roundings, whoever
computes it. What is measured here is what a kernel adds to that.
"""

import math
import shutil

import pytest
import torch
from torch.nn import functional as f

import unrolled
from unrolled.kernels import using_path
from unrolled.kernels.running.paths import kernel_of

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)

ROUNDING = 2**-24  # of a float32, relative
SLOPE = 2 * math.sqrt(2 / math.pi)  # of the sigmoid that gelu's approximation is
FUNCTIONS = {
    "erf": torch.erf,
    "erfc": torch.erfc,
    "sin": torch.sin,
    "cos": torch.cos,
    "atan": torch.atan,
    "asinh": torch.asinh,
    "exp": torch.exp,
    "log1p": lambda x: torch.log1p(x * x),
    "hypot": lambda x: torch.hypot(x, 1 + x * x),
    "power": lambda x: (1 + x * x) ** -0.7,
    "rsqrt": lambda x: torch.rsqrt(1 + x * x),
    "logaddexp": lambda x: torch.logaddexp(x, torch.ones_like(x)),
    "softplus": f.softplus,
    "logsigmoid": f.logsigmoid,
    "elu": f.elu,
    "selu": f.selu,
    "gelu": f.gelu,
    "gelu tanh": lambda x: f.gelu(x, approximate="tanh"),
    "silu": f.silu,
    "mish": f.mish,
    "softsign": f.softsign,
}
# In float64 too, torch's own 1 + erf has nothing left of what is far below zero.
EXACT = FUNCTIONS | {
    "gelu": lambda x: 0.5 * x * torch.erfc(-x / math.sqrt(2)),
    "gelu tanh": lambda x: x * torch.sigmoid(SLOPE * (x + 0.044715 * x**3)),
}


def kernel_results(functions, x):
    """Return the value and the gradient of each function of `x`, which must be few."""
    states = [f"s{index}" for index in range(len(functions))]

    @unrolled.cell(gates="a", recurrent="", states=" ".join(states))
    def several(x, s0):
        return {s: function(x.a) for s, function in zip(states, functions, strict=True)}

    assert kernel_of(several) is not None
    layer = unrolled.Recurrent(several, 1, 1, bias=False)
    with torch.no_grad():
        layer.weight_ih_l0.fill_(1)
    x = x[None, :, None].clone().requires_grad_()
    with using_path("kernel"):
        _, end = layer(x)
    end = (end,) if isinstance(end, torch.Tensor) else end
    for value in end:
        (gradient,) = torch.autograd.grad(value.sum(), x, retain_graph=True)
        yield value.detach().flatten().double(), gradient.flatten().double()


def added(got, exact, slope, x):
    """Return the greatest error in roundings of the result and, by the slope, of x; and where."""
    errors = (got - exact).abs() / (ROUNDING * (exact.abs() + (x * slope).abs()))
    errors[exact.abs() < 2**-100] = 0  # what is flushed to zero, itself or on the way
    return errors.max().item(), x[errors.argmax()].item()


RANGE = torch.cat([torch.linspace(-12, 12, 48_001), torch.logspace(-6, 1, 2001)])
NAMES = list(FUNCTIONS)


@pytest.mark.parametrize(
    "names",
    [NAMES[first::3] for first in range(3)],
    ids=lambda names: ", ".join(names),
)
def test_a_function_and_its_gradient_are_good_to_a_few_roundings_everywhere(names):
    results = kernel_results([FUNCTIONS[name] for name in names], RANGE)
    for name, (value, gradient) in zip(names, results, strict=True):
        x = RANGE.double().requires_grad_()
        exact = EXACT[name](x)
        (slope,) = torch.autograd.grad(exact.sum(), x, create_graph=True)
        (curve,) = torch.autograd.grad(slope.sum(), x)
        x, exact, slope = x.detach(), exact.detach(), slope.detach()
        error, where = added(value, exact, slope, x)
        assert error <= 8, (name, where)  # a few operations, none worse than 3.3 ULP
        error, where = added(gradient, slope, curve, x)
        assert error <= 32, (name, where)  # a formula of several of them
