"""Random equations: their kernel's values and gradients are those of the reference."""

import re
import shutil

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from support.equations import assert_kernel_is_reference, equations, layer_of, random_cell
from unrolled.kernels import emitting, kernel_source
from unrolled.kernels.running import proof

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)


def steered(*texts):
    """Return equations as `equations` draws them, of what is particular to them."""
    return [f"torch.tanh({text} + 0.1 * (h + x.a + u.c))" for text in texts]


# Their h is tanh of hypot(.., 1 + ..), near 1: the gradient is what is left of 1 - h^2.
SATURATED = steered(
    "torch.hypot(torch.cos((0.7 + 0 * h)), 1 + f.silu((x.a + u.a)) ** 2)",
    "torch.minimum((((1 + u.a ** 2) ** -0.7) * (x.a > h)), "
    "(torch.lerp(x.b, (x.a + u.a), x.a) * (x.b != h)))",
    "torch.where(~(h >= v) | (m < 0), f.gelu(v), torch.maximum(v, m))",
    "f.softsign(torch.erf(f.hardtanh((x.a + u.a))))",
)
MORE_SATURATED = steered(
    "torch.hypot(f.gelu(u.c), 1 + (2 * h) ** 2)",
    "((torch.hypot(x.a, 1 + one ** 2) - torch.minimum(u.c, (x.a + u.a))) * (x.b != h))",
    "(torch.maximum(torch.sin(w), f.gelu(v)) / 3)",
    "torch.erf((((1 + u.a ** 2) ** -0.7)).clamp(-0.5, 0.8))",
)


# Each compiles a kernel of four equations.
NUM_DRAWN = 40 if settings.get_current_profile_name() == "explore" else 6


@settings(max_examples=NUM_DRAWN, phases=[Phase.explicit, Phase.generate])
@given(equations(), st.integers(0, 2**31), st.sampled_from(((19, 1), (20, 2), (21, 3))))
@example(SATURATED, 2061, (19, 1))
@example(MORE_SATURATED, 2061, (19, 1))
def test_cells_of_random_equations_equal_the_reference(texts, seed, sizes):
    assert_kernel_is_reference(layer_of(random_cell(texts), seed, *sizes), texts, num_steps=4)


MIXED = steered(
    "f.gelu((x.a + u.a))",
    "torch.hypot(u.c, 1 + m ** 2)",
    "(x.b / (2 + torch.sin(h)))",
    "torch.lerp(v, m, x.b)",
)
# What is written in their kernel, and what a kernel with a small mistake would have there.
MISTAKES = {
    "tanh by 1e-5": (r"= vtanh\(", "= 1.00001f * vtanh("),
    "sin by 1e-4": (r"= vsin\(", "= 1.0001f * vsin("),
    "gelu's root of a half": (r"-0\.70710678f", "-0.7070f"),
    "1 - tanh^2": (r"const vf d_sub = \(splat\(1\.0f", "const vf d_sub = (splat(1.00001f"),
    "a term of a gradient": (r"(const vf d_add = )\((\w+) \+ \w+\);", r"\1\2;"),
    "a bias": (r"load\(bias \+ 4", r"0.9999f * \g<0>"),
    "another state": (r"m_prev = load\(before\[1\]", "m_prev = load(before[0]"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_kernel_with_a_mistake_is_seen(monkeypatch, mistake):
    def source_with_mistake(cell, surroundings=None, products="f32"):
        source, count = re.subn(*MISTAKES[mistake], kernel_source(cell), count=1)
        assert count, "the kernel is not written as it was"
        return source

    monkeypatch.setattr(emitting, "kernel_source", source_with_mistake)
    monkeypatch.setattr(proof, "prove", lambda *_, **__: None)  # which sees the larger ones
    with pytest.raises(AssertionError, match=r"of [hmpq]: off by"):
        assert_kernel_is_reference(layer_of(random_cell(MIXED)), "hmpq", num_steps=4)


def test_that_kernel_without_a_mistake_is_right():
    assert_kernel_is_reference(layer_of(random_cell(MIXED)), "hmpq", num_steps=4)
