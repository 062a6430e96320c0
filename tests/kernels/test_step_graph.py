"""A step as a graph for people: every node's number is what the equations say."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings

import unrolled
from support.cells import crowded, example_cell
from support.equations import equations, random_cell
from unrolled.cells import CELLS
from unrolled.inspection.terms import unit_terms
from unrolled.kernels import EquationsError, step_graph


def neighbour(path, name):
    spec = importlib.util.spec_from_file_location(f"{path.stem}_of_steps", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


PEEPHOLE, MIN_GRU = example_cell("peephole_lstm"), example_cell("min_gru")
ALL = {**CELLS, "peephole_lstm": PEEPHOLE, "min_gru": MIN_GRU}

# what torch's operations do to two numbers, by Python's own arithmetic
PLAIN = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "tanh": math.tanh,
    "relu": lambda a: max(0.0, a),
    "copy": lambda a: a,
}
LEAVES = {"input", "recurrent", "product", "before", "given", "vector"}


def random_leaves(graph, num_steps=7):
    """Numbers of one unit: (T, 1) of what differs from step to step, (1,) of a vector."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"vector": (1,)}
    return {
        node.id: torch.randn(
            shapes.get(node.operation, (num_steps, 1)), generator=generator, dtype=torch.float64
        )
        for node in graph.nodes
        if node.operation in LEAVES
    }


def of_equations(cell, leaves):
    """What a cell's equations give in float64 for such leaves, and the vectors of its products."""
    vectors = {}

    def product(gate):
        return lambda vector: vectors.update({gate: vector}) or leaves[f"u:{gate}"]

    def named(kind, names):
        return {name: leaves.get(f"{kind}:{name}", unused[kind]) for name in names}

    zero = torch.zeros(7, 1, dtype=torch.float64)
    unused = dict.fromkeys(("x", "u", "before", "given"), zero) | {"vector": zero[0]}
    u = named("u", cell.recurrent) | {gate: product(gate) for gate in cell.applied}
    values = cell(
        named("x", cell.feedforward),
        u,
        named("before", cell.states),
        named("vector", cell.parameters),
        named("given", cell.step_inputs),
    )
    return values, vectors


@pytest.mark.parametrize("cell", ALL.values(), ids=ALL)
def test_every_number_is_what_its_operation_makes_of_its_inputs(cell):
    graph = step_graph(cell)
    leaves = random_leaves(graph)
    numbers = graph.numbers(leaves)
    assert numbers.keys() == {node.id for node in graph.nodes}
    for node in graph.nodes:
        for step in range(7):
            inputs = [
                numbers[source][step].item() if isinstance(source, str) else source
                for source in node.inputs
            ]
            if node.operation in LEAVES:
                expected = leaves[node.id].expand(7, 1)[step].item()
            else:
                expected = PLAIN[node.operation](*inputs)
            assert numbers[node.id][step].item() == pytest.approx(expected, rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("cell", ALL.values(), ids=ALL)
def test_what_has_a_name_is_what_the_equations_return(cell):
    graph = step_graph(cell)
    leaves = random_leaves(graph)
    numbers = graph.numbers(leaves)
    values, vectors = of_equations(cell, leaves)
    assert {node.name for node in graph.nodes} - {None} == values.keys()
    for name, value in values.items():
        torch.testing.assert_close(numbers[name], value.expand(7, 1), rtol=1e-14, atol=1e-15)
    for gate, vector in vectors.items():
        (applied,) = (node.inputs[0] for node in graph.nodes if node.id == f"u:{gate}")
        torch.testing.assert_close(numbers[applied], vector, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("cell", ALL.values(), ids=ALL)
def test_named_numbers_are_those_of_a_trace(cell):
    layer = unrolled.Recurrent(cell, 3, 5)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.uniform_(-1, 1)
    (record,) = unrolled.trace(layer, torch.randn(6, 1, 3))
    terms, graph = unit_terms(record, unit=2), step_graph(cell)
    leaves = {f"x:{name}": part for name, part in terms.x.items()}
    leaves |= {f"u:{name}": part for name, part in terms.u.items()}
    for name in cell.states:
        leaves[f"before:{name}"] = unrolled.inspection.states_before(record, name)[:, 0, 2]
    vectors = layer.weights_of(layer.suffixes[0]).parameters
    leaves |= {
        f"vector:{name}": vector[2].detach()
        for name, vector in zip(cell.parameters, vectors, strict=True)
    }
    numbers = graph.numbers(leaves)
    for name, values in record.values.items():
        torch.testing.assert_close(numbers[name].float(), values[:, 0, 2], rtol=2e-6, atol=2e-6)


def test_an_operation_stands_after_all_that_it_is_computed_from():
    for cell in ALL.values():
        seen = set()
        for node in step_graph(cell).nodes:
            assert {source for source in node.inputs if isinstance(source, str)} <= seen
            assert node.id not in seen
            seen.add(node.id)


OPERATIONS = neighbour(Path(__file__).with_name("test_equations.py"), "OPERATIONS")
cell_of = neighbour(Path(__file__).with_name("test_equations.py"), "cell_of")


def assert_numbers_are_those_of_the_equations(cell, rtol=1e-12):
    graph = step_graph(cell)
    leaves = random_leaves(graph)
    numbers = graph.numbers(leaves)
    for name, value in of_equations(cell, leaves)[0].items():
        torch.testing.assert_close(numbers[name], value.double().expand(7, 1), rtol=rtol, atol=rtol)


def test_a_crowded_step_has_its_numbers():
    assert_numbers_are_those_of_the_equations(crowded)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_its_number(name):
    def of_floats(a, b, c, w):
        return OPERATIONS[name](a, b, c, w) + 0 * (a + b + c)

    # "to" asks for float32 itself
    rtol = 1e-6 if name == "to" else 1e-12
    assert_numbers_are_those_of_the_equations(cell_of([of_floats]), rtol)


@settings(max_examples=40, phases=[Phase.generate])
@given(equations())
def test_random_equations_have_their_numbers(texts):
    assert_numbers_are_those_of_the_equations(random_cell(texts))


def test_two_names_of_one_value_are_two_nodes():
    @unrolled.cell(gates="a", states="h m")
    def twice(x, u, h, m):
        h = torch.tanh(x.a + u.a)
        return dict(h=h, m=h, old=m, half=torch.full_like(h, 0.5))

    graph = step_graph(twice)
    nodes = {node.id: node for node in graph.nodes}
    assert (nodes["m"].operation, nodes["m"].inputs) == ("copy", ("h",))
    assert (nodes["old"].operation, nodes["old"].inputs) == ("copy", ("before:m",))
    assert (nodes["half"].operation, nodes["half"].inputs) == ("constant", (0.5,))
    assert_numbers_are_those_of_the_equations(twice)


def test_what_cannot_be_captured_is_said():
    @unrolled.cell(gates="a")
    def branching(x, u):
        return dict(h=x.a if x.a.sum() > 0 else u.a)

    with pytest.raises(EquationsError, match="equations read values"):
        step_graph(branching)
