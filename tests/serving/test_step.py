"""The numbers on the page of one unit: what the equations make of them, by arithmetic in float64.

The formulas stand here once more, by hand; the library's own are not asked.
"""

import math

import pytest
import torch

from support.asking import ask
from unrolled import trace
from unrolled.serving.runs import Runs
from unrolled.tasks import load

UNIT = 3
OWN = """
import torch, unrolled

@unrolled.cell(gates="k g", states="h m", keeps="k")
def leaky(x, u, h, m, *, slope=1.5):
    k = torch.sigmoid(x.k + u.k)
    m = k * m + (1 - k) * torch.tanh(slope * (x.g + u.g))
    return dict(h=torch.relu(m) - 0.25 * h, m=m, k=k)
"""
TEXT = "01101 0011"


@pytest.fixture(scope="module")
def cell_runs(make_run, tmp_path_factory):
    """Runs of language models, by the names of their cells."""
    folder = tmp_path_factory.mktemp("cells")
    (folder / "mine.py").write_text(OWN)
    (folder / "text.txt").write_text("0110 1001 1100 0011 " * 60)
    data = {"files": (str(folder / "text.txt"),)}
    named = {"own": f"{folder / 'mine.py'}:leaky"}
    cells = ("lstm", "gru", "gru_reset_before", "janet", "rnn", "rnn_relu")
    named |= {name: name for name in cells}
    return {name: make_run("lm", folder / name, data, cell=cell) for name, cell in named.items()}


@pytest.fixture(scope="module")
def cells_served(cell_runs):
    return Runs(list(cell_runs.values()), trust_code=True)


@pytest.fixture
def client(visit, cells_served):
    return visit(cells_served)


def sigmoid(a):
    return 1 / (1 + math.exp(-a))


def lstm(x, u, before):
    a = {gate: x[gate] + u[gate] for gate in "ifgo"}
    i, f, o = (sigmoid(a[gate]) for gate in "ifo")
    g = math.tanh(a["g"])
    c = f * before["c"] + i * g
    named = {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * math.tanh(c)}
    inner = {
        "i.0": a["i"],
        "f.0": a["f"],
        "g.0": a["g"],
        "o.0": a["o"],
        "c.0": f * before["c"],
        "c.1": i * g,
        "h.1": math.tanh(c),
    }
    return named, inner


def gru(x, u, before):
    a = {gate: x[gate] + u[gate] for gate in "rz"}
    r, z = sigmoid(a["r"]), sigmoid(a["z"])
    n = math.tanh(x["n"] + r * u["n"])
    named = {"r": r, "z": z, "n": n, "h": (1 - z) * n + z * before["h"]}
    inner = {
        "r.0": a["r"],
        "z.0": a["z"],
        "n.0": x["n"] + r * u["n"],
        "n.0.1": r * u["n"],
        "h.0": (1 - z) * n,
        "h.0.0": 1 - z,
        "h.1": z * before["h"],
    }
    return named, inner


def gru_reset_before(x, u, before):
    a = {gate: x[gate] + u[gate] for gate in "rz"}
    r, z = sigmoid(a["r"]), sigmoid(a["z"])
    n = math.tanh(x["n"] + u["n"])
    named = {"r": r, "z": z, "n": n, "h": (1 - z) * n + z * before["h"]}
    inner = {
        "r.0": a["r"],
        "z.0": a["z"],
        "u:n.0": r * before["h"],  # what the product is applied to
        "n.0": x["n"] + u["n"],
        "h.0": (1 - z) * n,
        "h.0.0": 1 - z,
        "h.1": z * before["h"],
    }
    return named, inner


def janet(x, u, before):
    a = x["f"] + u["f"]
    f, g = sigmoid(a), math.tanh(x["g"] + u["g"])
    admitted = 1 - sigmoid(a - 1)
    named = {"f": f, "g": g, "h": f * before["h"] + admitted * g}
    inner = {
        "f.0": a,
        "g.0": x["g"] + u["g"],
        "h.0": f * before["h"],
        "h.1": admitted * g,
        "h.1.0": admitted,
        "h.1.0.1": sigmoid(a - 1),
        "h.1.0.1.0": a - 1,
    }
    return named, inner


def rnn(x, u, before):
    a = x["a"] + u["a"]
    return {"h": math.tanh(a)}, {"h.0": a}


def rnn_relu(x, u, before):
    a = x["a"] + u["a"]
    return {"h": max(0.0, a)}, {"h.0": a}


def own(x, u, before):
    k, a = sigmoid(x["k"] + u["k"]), x["g"] + u["g"]
    slope = 1.5 * (1.5 + UNIT / 5)  # what `make_run` makes of it, of 6 units
    g = math.tanh(slope * a)
    m = k * before["m"] + (1 - k) * g
    named = {"k": k, "m": m, "h": max(0.0, m) - 0.25 * before["h"]}
    inner = {
        "k.0": x["k"] + u["k"],
        "m.0": k * before["m"],
        "m.1": (1 - k) * g,
        "m.1.0": 1 - k,
        "m.1.1": g,
        "m.1.1.0": slope * a,
        "m.1.1.0.1": a,
        "vector:slope": slope,
        "h.0": max(0.0, m),
        "h.1": 0.25 * before["h"],
    }
    return named, inner


CELLS = {
    "lstm": lstm,
    "gru": gru,
    "gru_reset_before": gru_reset_before,
    "janet": janet,
    "rnn": rnn,
    "rnn_relu": rnn_relu,
    "own": own,
}
every_cell = pytest.mark.parametrize("name", CELLS)


def at_step(numbers, step):
    return {name: values[step] for name, values in numbers.items()}


@every_cell
def test_every_number_of_a_step_is_what_arithmetic_by_hand_gives(client, name):
    got = ask(client, "unit", run=name, text=TEXT, unit=UNIT)
    for step in range(len(TEXT)):
        parts = (at_step(got[kind], step) for kind in ("x", "u", "before"))
        named, inner = CELLS[name](*parts)
        assert at_step(got["values"], step) == pytest.approx(named, abs=2e-6)
        assert at_step(got["inner"], step) == pytest.approx(inner, abs=2e-6)


@every_cell
def test_every_number_of_a_step_is_that_of_the_librarys_own_trace(client, cell_runs, name):
    loaded = load(cell_runs[name], trust_code=True)
    (record,) = trace(loaded.model, loaded.task.vocabulary.encode(TEXT)[None])
    got = ask(client, "unit", run=name, text=TEXT, unit=UNIT)
    assert got["values"].keys() == record.values.keys()
    for value, numbers in record.values.items():
        expected = numbers[:, 0, UNIT].tolist()
        assert got["values"][value] == pytest.approx(expected, abs=1e-7)
    for state, numbers in got["before"].items():
        assert numbers == pytest.approx([0, *got["values"][state][:-1]], abs=1e-7)


@every_cell
def test_the_parts_of_a_gate_are_products_with_the_weights(client, cell_runs, name):
    loaded = load(cell_runs[name], trust_code=True)
    layer = loaded.model.layer
    (record,) = trace(loaded.model, loaded.task.vocabulary.encode(TEXT)[None])
    got = ask(client, "unit", run=name, text=TEXT, unit=UNIT)
    weights = {key: value.double() for key, value in layer.state_dict().items()}
    before = torch.cat([torch.zeros(1, 6), record.values["h"][:-1, 0]]).double()
    assert [*got["x"]] == [*got["u"]] == [*layer.cell.gates]
    for number, gate in enumerate(layer.cell.gates):
        row = 6 * number + UNIT
        x = record.input[:, 0].double() @ weights["weight_ih_l0"][row]
        vector = before
        if (name, gate) == ("gru_reset_before", "n"):
            vector = record.values["r"][:, 0].double() * before
        u = vector @ weights["weight_hh_l0"][row]
        expected = (x + weights["bias_ih_l0"][row]).tolist()
        assert got["x"][gate] == pytest.approx(expected, abs=1e-6)
        expected = (u + weights["bias_hh_l0"][row]).tolist()
        assert got["u"][gate] == pytest.approx(expected, abs=1e-6)


@every_cell
def test_the_steps_graph_has_an_id_for_every_number_and_its_equations_name_no_other(client, name):
    (run,) = (run for run in client.get("/api/runs").json()["runs"] if run["name"] == name)
    got = ask(client, "unit", run=name, text=TEXT, unit=UNIT)
    numbers = {*got["values"], *got["inner"]}
    for kind in ("x", "u", "before"):
        numbers |= {f"{kind}:{part}" for part in got[kind]}
    nodes = run["step"]["nodes"]
    unused = numbers - {node["id"] for node in nodes}
    assert {node["id"] for node in nodes} == numbers - unused
    assert all(id.startswith("before:") for id in unused)  # of a state that only products read
    seen = set()
    for node in nodes:  # in an order in which they can be computed
        assert {source for source in node["inputs"] if isinstance(source, str)} <= seen
        seen.add(node["id"])
    for equation in run["step"]["equations"]:
        named = {
            part.partition("}")[0] for term in equation["terms"] for part in term.split("{")[1:]
        }
        assert named <= numbers
        assert equation["terms"][-1] == f"{{{equation['id']}}}"


OPERATORS = {"·": "*", "−": "-", "σ": "sigmoid"}


@every_cell
def test_every_line_of_an_equation_is_worth_the_same(client, name):
    """What is written with numbers in the places equals the value at its end."""
    (run,) = (run for run in client.get("/api/runs").json()["runs"] if run["name"] == name)
    got = ask(client, "unit", run=name, text=TEXT, unit=UNIT)
    functions = {"sigmoid": sigmoid, "tanh": math.tanh, "relu": lambda a: max(0.0, a), "max": max}
    for step in (0, len(TEXT) - 1):
        numbers = at_step(got["values"] | got["inner"], step)
        for kind in ("x", "u", "before"):
            numbers |= {f"{kind}:{part}": each for part, each in at_step(got[kind], step).items()}
        assert len(run["step"]["equations"]) >= len(run["states"])
        for equation in run["step"]["equations"]:
            for term in equation["terms"]:
                for id, number in numbers.items():
                    term = term.replace(f"{{{id}}}", f"({number!r})")
                for symbol, operator in OPERATORS.items():
                    term = term.replace(symbol, operator)
                value = eval(term, {"__builtins__": {}} | functions)
                assert value == pytest.approx(numbers[equation["id"]], abs=5e-6), term


def test_a_cell_whose_step_is_no_graph_is_stepped_without_one(serve, make_run, tmp_path):
    text = """
import torch, unrolled

@unrolled.cell(gates="a")
def choosing(x, u):
    sign = 1.0 if x.a.sum() > 1e9 else -1.0
    return dict(h=torch.tanh(sign * (x.a + u.a)))
"""
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "text.txt").write_text("0110 1001 1100 0011 " * 60)
    data = {"files": (str(tmp_path / "text.txt"),)}
    path = make_run("lm", tmp_path / "run", data, cell=f"{tmp_path / 'mine.py'}:choosing")
    with pytest.warns(UserWarning, match="choosing"):  # it has no kernel either
        served = Runs([path], trust_code=True)
    client = serve(served=served)
    (run,) = client.get("/api/runs").json()["runs"]
    assert "equations read values" in run["step"]["refused"]
    got = ask(client, "unit", run="run", text=TEXT, unit=UNIT)
    assert got["inner"] == {}
    for x, u, h in zip(got["x"]["a"], got["u"]["a"], got["values"]["h"], strict=True):
        assert h == pytest.approx(math.tanh(-(x + u)), abs=1e-6)
