"""Random steps of several phases, and with sums over units: kernels equal the reference."""

import random
import shutil

import pytest
import torch
from torch import sigmoid, tanh
from torch.nn import functional as f

import unrolled
from support.equations import assert_kernel_is_reference, layer_of
from unrolled.kernels import kernel_source

pytestmark = [
    pytest.mark.skipif(
        not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
    ),
    pytest.mark.usefixtures("quick_kernels"),
]

# ---- Chains of products --------------------------------------------------------------------------

FORMS = [
    *("({} + {})", "({} - {})", "({} * {})", "tanh({} + {})", "sigmoid({} * {})", "tanh({} - {})"),
    *("torch.maximum({}, {})", "({} / (1.5 + {} ** 2))", "torch.where({} > 0, {}, {})"),
]


def random_chain(seed, levels):
    """Return a cell whose products read what products gave, through so many levels; its texts."""
    draw = random.Random(seed)
    order = draw.sample("pqrst", levels + draw.randint(1, 5 - levels))
    known = ["h", "c", "(x.a + u.a)", "x.b", "u.b", "w", "d"]
    last, lines = "u.a", []
    for place, gate in enumerate(order):
        form = draw.choice(FORMS)
        leaves = [draw.choice(known) for _ in range(form.count("{}"))]
        if place < levels:  # the chain; what comes behind it may begin anywhere
            leaves[draw.randrange(len(leaves))] = last
        vector = form.format(*leaves)
        both = draw.choice(["{} + x.{}", "{} * x.{}", "{}"]).format(f"u.{gate}({vector})", gate)
        lines.append((f"v{place}", both))
        last = f"v{place}"
        known.append(last)
    texts = [
        f"tanh({draw.choice(FORMS[:2]).format(last, draw.choice(known))} + 0.1 * h)",
        f"tanh({draw.choice(FORMS[:6]).format(draw.choice(known), draw.choice(known))} + 0.2 * c)",
    ]
    codes = [(name, compile(text, "equations", "eval")) for name, text in lines]
    states = [compile(text, "equations", "eval") for text in texts]

    @unrolled.cell(
        gates="a b p q r s t",
        recurrent="a b " + " ".join(sorted(order)),
        applied=" ".join(sorted(order)),
        states="h c",
        inputs="d",
    )
    def chain(x, u, h, c, d, *, w=0.4):
        names = {"x": x, "u": u, "h": h, "c": c, "d": d, "w": w + 0 * h}
        names |= {"torch": torch, "tanh": tanh, "sigmoid": sigmoid}
        for name, code in codes:
            names[name] = eval(code, names)
        return dict(zip("hc", (eval(code, names) for code in states), strict=True))

    return chain, [*(f"{name} = {text}" for name, text in lines), *texts]


@pytest.mark.parametrize(("seed", "levels", "heads"), [(0, 2, 1), (1, 3, 2), (2, 2, 4), (3, 3, 1)])
def test_random_chains_equal_the_reference(seed, levels, heads):
    cell, texts = random_chain(seed, levels)
    assert f"LAST_PHASE {levels}" in kernel_source(cell) or levels < len(texts) - 2
    layer = layer_of(cell, seed, 20 if heads > 1 else 19, heads)
    assert_kernel_is_reference(layer, texts[-2:], num_steps=4)


# ---- Sums over units -----------------------------------------------------------------------------

LEAVES = [
    "(x.a + u.a)",
    "u.c",
    "x.b",
    "h",
    "m",
    "w",
    "d",
    "(e * x.b)",
    "(x.a - h)",
    "torch.sigmoid(u.c + m)",
]
OVER_UNITS = [
    "f.layer_norm({}, h.shape[-1:], v)",
    "f.layer_norm({} * w, h.shape[-1:])",
    "f.rms_norm({} + 0.2 * h, h.shape[-1:], eps=0.1)",
    "torch.softmax({}, -1)",
    "torch.softmax({} + m, -1).cumsum(-1)",
    "torch.cumsum(0.2 * {}, -1)",
    "({} * torch.sigmoid(h)).mean(-1, keepdim=True)",
    "({} - h).sum(1)[:, None].tanh()",
    "({} * h).logsumexp(-1, keepdim=True)",
    "(1.5 + ({} * m).var(-1, keepdim=True)).rsqrt()",
    "({} + 0.1 * m).amax(-1, keepdim=True)",
    "f.normalize({} + h, dim=-1, eps=0.1)",
    "({} > h).sum(-1, keepdim=True) * 0.1",
    "(0.3 * {}).flip(-1).cumsum(-1).flip(-1)",
]
POINTWISE = ["torch.tanh({})", "({} * {})", "({} - {})", "torch.sigmoid({})", "({} / (2 + h ** 2))"]


def equations_over_units(seed):
    """Return the equations of two states, of which one is over units of what is over units."""
    chance = random.Random(seed)

    def expression(depth):
        if depth == 0:
            return chance.choice(LEAVES)
        form = chance.choice(OVER_UNITS if depth % 2 else POINTWISE)
        return form.format(*(expression(depth - 1) for _ in range(form.count("{}"))))

    texts = [expression(3), expression(2)]
    return [f"torch.tanh({text} + 0.1 * (h + x.a + u.c))" for text in texts]


@pytest.mark.parametrize("seed", range(6))
def test_random_equations_over_units_equal_the_reference(seed):
    texts = equations_over_units(seed)
    codes = [compile(text, "equations", "eval") for text in texts]

    @unrolled.cell(gates="a b c", recurrent="a c", states="h m", inputs="d e")
    def over_units(x, u, h, m, d, e, *, w=0.4, v=1.0):
        names = {"x": x, "u": u, "h": h, "m": m, "d": d, "e": e, "w": w, "v": v}
        names |= {"torch": torch, "f": f}
        return dict(zip("hm", (eval(code, names) for code in codes), strict=True))

    assert_kernel_is_reference(layer_of(over_units, seed, (19, 3, 33)[seed % 3]), texts, 3)


@pytest.mark.parametrize("seed", range(2))
def test_random_chains_over_units_equal_the_reference(seed):
    chance = random.Random(seed)

    def some(*leaves):
        inner, form = chance.choice(leaves), chance.choice(OVER_UNITS)
        leaf = chance.choice(LEAVES)
        return f"torch.tanh({form.format(inner)} + 0.3 * {leaf})"

    steps = [some("h"), some("p", "(p * m)"), some("q", "(p - q)"), some("r", "q", "p")]
    codes = [compile(text, "equations", "eval") for text in steps]

    @unrolled.cell(
        gates="a b c p q r", recurrent="a c p q r", applied="p q r", states="h m", inputs="d e"
    )
    def chain(x, u, h, m, d, e, *, w=0.4, v=1.0):
        names = {"x": x, "u": u, "h": h, "m": m, "d": d, "e": e, "w": w, "v": v}
        names |= {"torch": torch, "f": f}
        for name, code in zip("pqr", codes, strict=False):
            names[name] = getattr(u, name)(eval(code, names))
        return dict(h=eval(codes[3], names), m=0.5 * m + 0.5 * torch.tanh(names["q"] + x.b))

    assert_kernel_is_reference(
        layer_of(chain, seed, (19, 3, 33)[seed % 3]), ["h", f"m of {steps}"], 3
    )
