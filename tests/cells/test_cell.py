"""Declaring a cell: what a definition may say, and what is refused at once."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch

import unrolled
from unrolled import cells


@unrolled.cell(gates="a b", states="h m", recurrent="b", keeps="b", source="Nobody (2024)")
def own(x, u, h, m, *, scale=2.0):
    """A cell with everything: two states, one recurrent gate of two, a weight vector."""
    m = m + x.a
    return dict(h=torch.tanh(scale * (x.b + u.b) + m + 0 * h), m=m)


def test_a_cell_says_what_it_is():
    assert (own.name, own.gates, own.states) == ("own", ("a", "b"), ("h", "m"))
    assert own.recurrent == ("b",)
    assert own.parameters == {"scale": 2.0}
    assert (own.keeps, own.admits, own.source) == ("b", None, "Nobody (2024)")
    assert repr(own) == "<cell own: gates a b, states h m>"


@pytest.mark.parametrize("cell", [own, cells.lstm], ids=repr)
def test_a_cell_is_a_constant(cell):
    assert copy.deepcopy(cell) is cell
    assert pickle.loads(pickle.dumps(cell)) is cell


def test_the_class_of_cells_is_a_class_like_others():
    assert pickle.loads(pickle.dumps(unrolled.Cell)) is unrolled.Cell
    assert unrolled.Cell.__module__ == "unrolled.cells.cell"
    assert (cells.lstm.__module__, own.__module__) == ("unrolled.cells.lstm", __name__)


def test_a_cell_that_cannot_be_found_by_its_name_is_not_pickled():
    def own(x, u):
        return dict(h=x.a + u.a)

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(unrolled.cell(gates="a")(own))


PROGRAM = """
import multiprocessing
import torch, unrolled

@unrolled.cell(gates="a")
def mine(x, u, h):
    return dict(h=torch.tanh(x.a + u.a))

def same(layer, x):
    assert layer.cell is mine
    with unrolled.kernels.using_path("reference"):
        return layer(x)[0].tolist()

if __name__ == "__main__":
    layer, x = unrolled.Recurrent(mine, 2, 3), torch.ones(2, 1, 2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(same, (layer, x)) == same(layer, x)
"""


def test_a_layer_of_a_programs_own_cell_goes_to_another_process(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_layer_has_the_weights_that_its_cell_names():
    layer = unrolled.Recurrent(own, 3, 4, num_layers=2, bidirectional=True)
    shapes = {name: tuple(w.shape) for name, w in layer.named_parameters()}
    assert {name: shape for name, shape in shapes.items() if name.endswith("l1_reverse")} == {
        "weight_ih_l1_reverse": (8, 8),
        "weight_hh_l1_reverse": (4, 4),
        "bias_ih_l1_reverse": (8,),
        "bias_hh_l1_reverse": (4,),
        "scale_l1_reverse": (4,),
    }
    assert torch.equal(layer.scale_l0, torch.full((4,), 2.0))
    assert "own, 3, 4" in repr(layer)


def test_every_weight_of_an_own_cell_gets_a_gradient():
    layer = unrolled.Recurrent(own, 3, 4, num_layers=2, bidirectional=True)
    output, state = layer(torch.randn(5, 2, 3), lengths=[5, 3])
    (output.sum() + state.m.sum()).backward()
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in layer.parameters())


def test_without_bias_and_without_recurrent_product_there_is_one_matrix():
    @unrolled.cell(gates="z n", recurrent="")
    def leak(x, h):
        z = torch.sigmoid(x.z)
        return dict(h=z * h + (1 - z) * x.n)

    layer = unrolled.Recurrent(leak, 3, 4, bias=False)
    assert [name for name, _ in layer.named_parameters()] == ["weight_ih_l0"]


def declare(equations=None, **names):
    def default(x, u, h):
        return dict(h=x.a + u.a + h)

    return unrolled.cell(**{"gates": "a"} | names)(equations or default)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"gates": "a a"}, "gate 'a'"),
        ({"gates": "a 1b"}, "gate '1b'"),
        ({"gates": "a class"}, "gate 'class'"),
        ({"gates": "_owner"}, "gate '_owner'"),
        ({"states": "_h"}, "state '_h'"),
        ({"gates": ""}, "at least one gate"),
        ({"states": "h x"}, "state 'x'"),
        ({"recurrent": "b"}, "recurrent gate b is not a gate"),
        ({"recurrent": ""}, "takes u, but has 0"),
        ({"gates": "a b", "applied": "a"}, "last of recurrent"),
        ({"keeps": "b"}, "gate b is not declared"),
        ({"keeps": "a", "admits": "h"}, "gate h is not declared"),
        ({"ties": {"b": torch.clone}}, "is of gate 'b', which has no recurrent weights"),
        ({"ties": {"a": 1.0}}, "the tie of gate a is no function, but float"),
        ({"ties": {"a": torch.clone}, "heads": 2}, "has ties= and 2 heads"),
    ],
)
def test_impossible_names_are_refused_where_the_cell_is_declared(names, message):
    with pytest.raises(unrolled.UnrolledError, match=message):
        declare(**names)


def test_a_vector_with_two_numbers_is_drawn_between_them():
    def drawn(x, u, h, *, p=(2.0, 3.0), q=0.5):
        return dict(h=p * x.a + q * u.a + h)

    cell = unrolled.cell(gates="a")(drawn)
    assert (cell.parameters, cell.spreads) == ({"p": 2.5, "q": 0.5}, {"p": (2.0, 3.0)})
    layer = unrolled.Recurrent(cell, 3, 200, num_layers=2)
    assert (layer.q_l1 == 0.5).all()
    for vector in (layer.p_l0, layer.p_l1):
        assert 2.0 <= vector.min() < 2.1
        assert 2.9 < vector.max() <= 3.0
    assert not torch.equal(layer.p_l0, layer.p_l1)


@pytest.mark.parametrize("start", [(1.0, 0.0), (1.0,), (0.0, 1.0, 2.0), (False, True), ("a", "b")])
def test_a_vector_that_starts_at_no_number_is_refused(start):
    def wrong(x, u, h, *, p=start):
        return dict(h=p * x.a + u.a + h)

    with pytest.raises(unrolled.UnrolledError, match="'p'"):
        unrolled.cell(gates="a")(wrong)


def test_impossible_arguments_are_refused_where_the_cell_is_declared():
    with pytest.raises(unrolled.UnrolledError, match="argument 'c' is neither x, u nor a state"):
        declare(lambda x, u, c: {})
    with pytest.raises(unrolled.UnrolledError, match="takes no u, but has 1"):
        declare(lambda x, h: {})


@pytest.mark.parametrize(
    "name",
    ["weight_ih", "weight_hh", "weight_hr", "bias_ih", "bias_hh", "p_l0", "p_l1_reverse", "_p"],
)
def test_a_vector_cannot_have_the_name_of_a_layers_weights(name):
    names = {}
    exec(f"def equations(x, u, h, *, {name}=0.5): pass", names)
    with pytest.raises(unrolled.UnrolledError, match=f"vector '{name}' has a name that a layer's"):
        declare(names["equations"])


def test_mistakes_in_the_equations_are_told_by_name():
    with pytest.raises(unrolled.UnrolledError, match="returns a Tensor, and no dict"):
        unrolled.Recurrent(declare(lambda x, u: x.a), 2, 3)(torch.zeros(1, 1, 2))
    with pytest.raises(unrolled.UnrolledError, match="new state h is missing"):
        unrolled.Recurrent(declare(lambda x, u: {"c": x.a}), 2, 3)(torch.zeros(1, 1, 2))
    with pytest.raises(AttributeError, match="no gate 'q'; declared: a"):
        unrolled.Recurrent(declare(lambda x, u: {"h": x.q}), 2, 3)(torch.zeros(1, 1, 2))
    with pytest.raises(unrolled.UnrolledError, match="mark the function"):
        unrolled.Recurrent(lambda x, u: {}, 2, 3)
