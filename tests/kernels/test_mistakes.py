"""What a kernel with a small mistake in its C looks like to the test of random equations."""

import re
import shutil

import pytest

from support.equations import assert_kernel_is_reference, layer_of, random_cell, steered
from unrolled.kernels import emitting, kernel_source
from unrolled.kernels.running import proof

pytestmark = [
    pytest.mark.skipif(
        not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
    ),
    pytest.mark.usefixtures("quick_kernels"),
]

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
