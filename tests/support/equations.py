"""What tests of equations share: random ones, a layer, its kernel held against the reference."""

import torch
from hypothesis import strategies as st
from torch.nn import functional as f

import unrolled
from support.rounding import assert_right_to_rounding
from unrolled.kernels import using_path
from unrolled.kernels.running.paths import kernel_of

__all__ = [
    "assert_kernel_is_reference",
    "equations",
    "layer_of",
    "random_cell",
    "steered",
    "values_and_gradients",
]


@st.composite
def equations(draw):
    """Return the texts of four states' equations over gates, vectors and inputs of a step."""
    leaves = ["x.a", "u.a", "(x.a + u.a)", "x.b", "u.c", "h", "m", "w", "v", "0.7", "one", "-1"]
    leaves += ["d", "e"]
    leaves = [f"({leaf} + 0 * h)" if leaf[-1].isdigit() else leaf for leaf in leaves]
    pairs = ["x.a > h", "m <= x.b", "(u.c > 0) & (x.a < w)", "~(h >= v) | (m < 0)", "x.b != h"]
    forms = [
        *("({} + {})", "({} - {})", "({} * {})", "(1 - {})", "(2 * {})", "({} / 3)", "(-{})"),
        *("({} / (2 + torch.sin({})))", "torch.hypot({}, 1 + {} ** 2)", "torch.lerp({}, {}, {})"),
        *("torch.sigmoid({})", "torch.tanh({})", "torch.relu({} + 0.3)", "torch.erf({})"),
        *("torch.sin({})", "torch.cos({})", "torch.atan({})", "torch.asinh({})", "({}).abs()"),
        *("torch.log1p({} ** 2)", "torch.sqrt(1 + {} ** 2)", "torch.exp(-({}).abs())"),
        *("torch.log(1.5 + {} ** 2)", "torch.rsqrt(1 + {} ** 2)", "((1 + {} ** 2) ** -0.7)"),
        *("torch.maximum({}, {})", "torch.minimum({}, {})", "({}).clamp(-0.5, 0.8)", "(({}) ** 3)"),
        *("torch.where(PAIR, {}, {})", "({} * (PAIR))", "({}).masked_fill(PAIR, 0.2)"),
        *("f.softplus({})", "f.elu({})", "f.gelu({})", "f.silu({})", "f.selu({})", "f.mish({})"),
        *("f.leaky_relu({}, 0.2)", "f.hardswish({})", "f.hardtanh({})", "f.logsigmoid({})"),
        *("f.softsign({})", "f.tanhshrink({})", "torch.logaddexp({}, {})", "({}).detach()"),
    ]

    def expression(depth):
        if depth == 0:
            return draw(st.sampled_from(leaves))
        form = draw(st.sampled_from(forms)).replace("PAIR", draw(st.sampled_from(pairs)))
        return form.format(*(expression(depth - 1) for _ in range(form.count("{}"))))

    texts = [expression(draw(st.integers(1, 3))) for _ in range(4)]
    return steered(*texts)


def steered(*texts):
    """Return equations as `equations` draws them, of texts that are given."""
    return [f"torch.tanh({text} + 0.1 * (h + x.a + u.c))" for text in texts]


def random_cell(texts):
    codes = [compile(text, "equations", "eval") for text in texts]

    @unrolled.cell(gates="a b c", recurrent="a c", states="h m p q", inputs="d e")
    def random_cell(x, u, h, m, d, e, *, w=0.4, v=-0.3):
        names = {"x": x, "u": u, "h": h, "m": m, "d": d, "e": e, "w": w, "v": v}
        names |= {"torch": torch, "f": f, "one": torch.ones_like(h)}
        return dict(zip("hmpq", (eval(code, names) for code in codes), strict=True))

    return random_cell


def layer_of(cell, seed=0, hidden_size=19, heads=1):
    torch.manual_seed(seed)
    layer = unrolled.Recurrent(cell, 3, hidden_size, heads=heads)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            weight.uniform_(-1, 1) if name.startswith("weight") else weight.uniform_(-0.5, 0.5)
    return layer


def values_and_gradients(layer, path, dtype=torch.float32, num_steps=2):
    """Return, for each state, itself and its gradients by the input, states before and weights."""
    generator = torch.Generator().manual_seed(1)
    layer = layer.to(dtype)
    x = torch.randn(num_steps, 5, 3, generator=generator).to(dtype).requires_grad_()
    start = layer.initial_state(5)
    start = (start,) if isinstance(start, torch.Tensor) else start
    start = [torch.randn(s.shape, generator=generator).to(dtype).requires_grad_() for s in start]
    inputs = inputs_of(layer, num_steps, dtype)
    with using_path(path):
        _, end = layer(x, start[0] if len(start) == 1 else tuple(start), **inputs)
    sources = [x, *start, *inputs.values(), *layer.parameters()]
    results = {}
    for name, state in zip(layer.cell.states, end, strict=True):
        factors = torch.randn(state.shape, generator=generator).to(dtype)
        if not state.requires_grad:  # a constant
            results[name] = (state.detach(),)
            continue
        total = (state * factors).sum()
        gradients = torch.autograd.grad(
            total, sources, retain_graph=True, materialize_grads=True, allow_unused=True
        )
        results[name] = (state.detach(), *gradients)
    return results


def inputs_of(layer, num_steps, dtype):
    """Return what a layer reads beside x, of five rows: numbers, and a number for each unit."""
    generator = torch.Generator().manual_seed(2)
    shapes = [(num_steps, 5), (num_steps, 5, layer.hidden_size)]
    return {
        name: torch.randn(shapes[n % 2], generator=generator).to(dtype).requires_grad_()
        for n, name in enumerate(layer.cell.inputs)
    }


def assert_kernel_is_reference(layer, what, num_steps=2):
    """Hold a kernel's results to the errors that float32 allows them; `what` names the states."""
    assert kernel_of(layer.cell) is not None
    sources = ["value", "x", *layer.cell.states, *layer.cell.inputs]
    sources += [name for name, _ in layer.named_parameters()]

    def results(path, dtype):
        by_state = values_and_gradients(layer, path, dtype, num_steps).values()
        return {
            f"{source} of {state}": tensor
            for state, tensors in zip(what, by_state, strict=True)
            for source, tensor in zip(sources, tensors, strict=False)  # of constants, the value
        }

    got = results("kernel", torch.float32)
    assert_right_to_rounding(
        list(got.values()), lambda: list(results("reference", torch.float64).values()), list(got)
    )
