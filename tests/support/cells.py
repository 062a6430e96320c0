"""Cells that tests of kernels and of layers share: those of examples/, and one with much in it."""

import importlib.util
from pathlib import Path

import torch

import unrolled

__all__ = ["crowded", "example_cell", "of_bessel", "that_decides", "two_states"]

_EXAMPLES = Path(__file__).parents[2] / "examples"


def example_cell(name):
    """Return the cell of examples/NAME.py, which has its name."""
    spec = importlib.util.spec_from_file_location(name, _EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


@unrolled.cell(gates="a b c", states="h m", recurrent="c b")
def crowded(x, u, h, m, *, scale=0.5, shift=-0.2):
    """Two states, gates of every kind, weight vectors, and many operations."""
    f = torch.nn.functional
    a = torch.where(x.a > 0, x.a, f.elu(x.a)) + f.softplus(u.b * scale)
    b = torch.minimum(x.b, h + shift).abs() + f.hardsigmoid(x.c) * f.gelu(u.c)
    m = torch.tanh(a) * 0.5 + m.clamp(-1, 1) / (1.5 + b * b)
    h = f.silu(m) * torch.sin(x.b) + torch.sqrt(1 + m**2) - f.hardtanh(h) * torch.exp(-b)
    return dict(h=torch.tanh(h), m=m, a=a)


@unrolled.cell(gates="f g", states="h m")
def two_states(x, u, h, m, *, slope=0.5):
    """What goes on is not what is said."""
    f = torch.sigmoid(x.f + u.f + slope * m)
    m = f * m + (1 - f) * torch.tanh(x.g + u.g)
    return dict(h=torch.tanh(m), m=m)


@unrolled.cell(gates="a")
def of_bessel(x, u):
    """An operation that neither C nor ONNX has."""
    return dict(h=torch.special.bessel_j0(x.a + u.a))


@unrolled.cell(gates="a")
def that_decides(x, u):
    """Equations that depend on the numbers."""
    return dict(h=x.a if x.a.sum() > 0 else torch.tanh(u.a))
