"""Random equations: their kernel's values and gradients are those of the reference."""

import shutil

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from support.equations import assert_kernel_is_reference, equations, layer_of, random_cell, steered

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)


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
NUM_DRAWN = 40 if settings.get_current_profile_name() == "explore" else 3


@settings(max_examples=NUM_DRAWN, phases=[Phase.explicit, Phase.generate])
@given(equations(), st.integers(0, 2**31), st.sampled_from(((19, 1), (20, 2), (21, 3))))
@example(SATURATED, 2061, (19, 1))
@example(MORE_SATURATED, 2061, (19, 1))
def test_cells_of_random_equations_equal_the_reference(texts, seed, sizes):
    assert_kernel_is_reference(layer_of(random_cell(texts), seed, *sizes), texts, num_steps=4)
