"""The published cells: what they compute is what their papers say, and they are found by name."""

import ast
import inspect
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import unrolled
from support.published_cells import PUBLISHED, LayerWeights
from unrolled.cells import CELLS, Publication
from unrolled.cells.catalogue import CATALOGUE, FAMILIES, named_cell
from unrolled.errors import OptionError
from unrolled.kernels import using_path
from unrolled.layers import state_tensors

STEPS, ROWS, INPUT, HIDDEN = 5, 3, 4, 8
SPIKING = {"lif": 3.0, "alif": 30.0}  # what inputs are multiplied by, so that units fire
FAMILY_CELLS = {name: cell for name, cell in CATALOGUE.items() if name not in CELLS}
every_cell = pytest.mark.parametrize("name", FAMILY_CELLS)

# One of each kind of equations: a kernel takes a second to compile.
WITH_A_KERNEL = ("slstm", "rwkv4", "lru", "alif", "lstm_fgr", "tau_gru", "phased_lstm", "clockwork")


def layer_over(name, dtype=torch.float64):
    """Return a layer with weights, vectors included, in -1 ... 1; those that divide, in 1 ... 2."""
    torch.manual_seed(0)
    layer = unrolled.Recurrent(name, INPUT, HIDDEN, dtype=dtype)
    with torch.no_grad():
        for weight_name, weight in layer.named_parameters():
            torch.nn.init.uniform_(weight, -1.0, 1.0)
            if weight_name == "tau_l0":
                weight.abs_().add_(1.0)
    return layer


def inputs_of(name):
    """Return inputs (T, B, I), of more steps than the cell reaches back."""
    steps = STEPS + len(CATALOGUE[name].delayed)
    return SPIKING.get(name, 1.0) * np.random.default_rng(1).normal(size=(steps, ROWS, INPUT))


def beside(name, x):
    """Return what the cell reads at every step beside x, (T, B, H) each: times of 0.2 to 2."""
    random, shape = np.random.default_rng(3), (len(x), ROWS, HIDDEN)
    return {each: random.uniform(0.2, 2.0, shape) for each in CATALOGUE[name].inputs}


def run(name, layer, x):
    """Return what the layer gives for arrays."""
    inputs = {each: torch.from_numpy(values) for each, values in beside(name, x).items()}
    return layer(torch.from_numpy(x), **inputs)


def published(name, layer, x):
    """Return outputs (T, B, H) and the last states, by the formula of the paper."""
    weights = LayerWeights(layer)
    state = {each: np.zeros((ROWS, HIDDEN)) for each in layer.cell.states}
    given, outputs = beside(name, x), []
    for t, x_t in enumerate(x):
        of_step = {each: values[t] for each, values in given.items()}
        state = PUBLISHED[name](weights, x_t, {**state, **of_step})
        outputs.append(state["h"])
    return np.stack(outputs), state


def test_every_cell_has_a_formula_of_its_own():
    assert set(PUBLISHED) == set(FAMILY_CELLS)
    assert len(CATALOGUE) == len(PUBLISHED) + len(CELLS) >= 50


@every_cell
def test_a_cell_computes_what_its_paper_says(name):
    layer, x = layer_over(name), inputs_of(name)
    output, end = run(name, layer, x)
    expected, last = published(name, layer, x)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(output.detach(), expected, rtol=0, atol=1e-12)
    for part, state in zip(state_tensors(end), layer.cell.states, strict=True):
        np.testing.assert_allclose(part[0].detach(), last[state], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in FAMILY_CELLS if name not in SPIKING])
def test_a_cells_gradient_is_that_of_its_papers_formula(name):
    """Along a direction of all weights at once, by differences of the numpy formula."""
    layer, x = layer_over(name), inputs_of(name)
    random = np.random.default_rng(2)
    out_weight = random.normal(size=(len(x), ROWS, HIDDEN))
    parameters = list(layer.parameters())
    direction = [torch.from_numpy(random.normal(size=tuple(p.shape))) for p in parameters]
    output, _ = run(name, layer, x)
    (output * torch.from_numpy(out_weight)).sum().backward()
    slope = sum(float((p.grad * d).sum()) for p, d in zip(parameters, direction, strict=True))
    step, losses = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, d in zip(parameters, direction, strict=True):
                parameter.add_(sign * step * d)
            losses.append((published(name, layer, x)[0] * out_weight).sum())
            for parameter, d in zip(parameters, direction, strict=True):
                parameter.sub_(sign * step * d)
    assert slope == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-6, abs=1e-7)


@every_cell
@pytest.mark.parametrize("sign", [1, -1])
def test_inputs_at_which_every_gate_is_shut_or_open_give_finite_values_and_gradients(name, sign):
    """In float32, where an exponential of -104 is 0, and a sigmoid too: 0 / 0 is not far."""
    layer = unrolled.Recurrent(name, INPUT, HIDDEN)
    with torch.no_grad():
        for weight_name, weight in layer.named_parameters():
            if weight_name.startswith("weight_ih"):
                weight.copy_(torch.linspace(-1, 1, weight.numel()).view_as(weight))
    x = sign * 1000.0 * torch.tensor([1.0, 0.5, 1.0, 2.0]).expand(STEPS, ROWS, INPUT)
    with using_path("reference"):
        output, _ = layer(x)
        output.sum().backward()
    assert output.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("name", SPIKING)
def test_a_spike_has_the_surrogates_gradient(name):
    layer = layer_over(name)
    x = torch.from_numpy(inputs_of(name))[:1].requires_grad_()
    output, state = layer(x)
    assert {0.0, 1.0} == set(output.unique().tolist())
    (gradient,) = torch.autograd.grad(output.sum(), x)
    potential = state.v[0].detach()
    slope = 1 / (1 + 10 * (potential - 1).abs()) ** 2
    reach = {"lif": 1.0, "alif": 0.1}[name]
    expected = reach * slope @ layer.weight_ih_l0.detach()
    torch.testing.assert_close(gradient[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", WITH_A_KERNEL)
def test_a_kernel_computes_the_equations(name):
    layer = layer_over(name, torch.float32)
    x = torch.from_numpy(inputs_of(name)).float().requires_grad_()
    y = torch.randn(len(x), ROWS, HIDDEN)
    results = []
    for path in ("kernel", "reference"):
        with using_path(path):
            output, _ = layer(x, lengths=[len(x), 2, 4])
        leaves = [x, *layer.parameters()]
        gradients = torch.autograd.grad((output * y).sum(), leaves, allow_unused=True)
        results.append([output, *(g for g in gradients if g is not None)])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)


@every_cell
def test_a_cell_says_who_published_it_and_what_is_new(name):
    cell = CATALOGUE[name]
    assert isinstance(cell.source, Publication)
    assert 1990 <= cell.source.year <= 2026
    assert cell.source.authors
    new = inspect.cleandoc(cell.equations.__doc__).partition("\n\n")[0]
    assert new.endswith(".")
    assert len(new) <= 200


@pytest.mark.parametrize("name", CATALOGUE)
def test_equations_are_at_most_twelve_lines_and_all_that_is_returned_has_its_name(name):
    """So that what is shown of them without the last line is all of them."""
    text = textwrap.dedent(inspect.getsource(CATALOGUE[name].equations))
    (function,) = ast.parse(text).body
    *statements, last = function.body[1:]
    assert isinstance(last, ast.Return)
    assert sum(each.end_lineno - each.lineno + 1 for each in statements) <= 12
    for keyword in last.value.keywords:
        assert ast.unparse(keyword.value) == keyword.arg


@every_cell
def test_all_that_a_cell_declares_is_used(name):
    """Each block of each weight has an effect, by its gradient."""
    layer = layer_over(name)
    output, state = layer(torch.from_numpy(inputs_of(name)))
    (output.sum() + sum(part.sum() for part in state_tensors(state))).backward()
    cell = layer.cell
    blocks = {"ih_l0": len(cell.feedforward), "hh_l0": len(cell.recurrent)}
    for weight_name, weight in layer.named_parameters():
        of_parameter = weight_name.removeprefix("parametrizations.").removesuffix(".original")
        parts = weight.grad.chunk(blocks.get(of_parameter.partition("_")[2], 1))
        assert all(part.any() for part in parts), weight_name


@pytest.mark.parametrize("name", [name for name, cell in CATALOGUE.items() if cell.keeps])
def test_the_gate_that_keeps_is_open_where_its_bias_is_large(name):
    """And what is recorded by its name is the gate, between 0 and 1."""
    layer = unrolled.Recurrent(name, INPUT, HIDDEN, dtype=torch.float64)  # no kernel to compile
    x = torch.randn(STEPS, ROWS, INPUT, dtype=torch.float64)
    unrolled.initialize.forget_bias(layer, 15.0)
    (record,) = unrolled.trace(layer, x)
    gate = record.values[layer.cell.keeps]
    assert gate.min() > 0.999
    assert gate.max() <= 1
    unrolled.initialize.forget_bias(layer, -15.0)
    (record,) = unrolled.trace(layer, x)
    assert 0 <= record.values[layer.cell.keeps].max() < 0.001


def test_names_are_unique_and_none_is_that_of_another_layer():
    names = [name for cells in FAMILIES.values() for name in cells]
    assert len(names) == len(set(names))
    assert not {"tcn", "conv", "dense"} & set(names)
    for name, cell in FAMILY_CELLS.items():
        assert cell.name == name
        assert getattr(sys.modules[cell.equations.__module__], name) is cell


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MGU", "did you mean mgu?"),
        ("min-gru", "did you mean min_gru?"),
        ("lstm_peephol", "did you mean lstm_peephole"),
        ("transformer", "`unrolled cells` lists them"),
    ],
)
def test_a_name_that_no_cell_has_is_refused_with_the_nearest(name, hint):
    for find in (named_cell, lambda name: unrolled.Recurrent(name, 2, 3)):
        with pytest.raises(OptionError, match=f"no cell is called '{name}'") as caught:
            find(name)
        assert hint in caught.value.hint


def test_a_layer_is_made_by_name():
    layer = unrolled.Recurrent("mgu", 2, 3)
    assert layer.cell is CATALOGUE["mgu"]
    assert unrolled.Recurrent("gru", 2, 3).cell is CELLS["gru"]


IMPORT = """
import sys
import unrolled.networks
unrolled.networks.find_layer("lstm")
assert "unrolled.cells.catalogue" not in sys.modules
assert unrolled.networks.find_layer("mgu").cell.name == "mgu"
assert "unrolled.cells.catalogue" in sys.modules
"""


def test_the_catalogue_is_loaded_when_it_is_asked_for():
    subprocess.run([sys.executable, "-c", IMPORT], check=True)


def test_a_cell_of_the_catalogue_is_one_of_ours():
    """Its kernel is found in the cache without capturing, and its key tells no digest."""
    for cell in FAMILY_CELLS.values():
        assert cell.surroundings is None
        assert "@" not in cell.key
