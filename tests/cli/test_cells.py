"""`unrolled cells`: what the user sees of the published cells."""

import re
from contextlib import redirect_stdout
from io import StringIO

import pytest

from unrolled.cells.catalogue import CATALOGUE
from unrolled.cli import cells
from unrolled.cli.cells import num_parameters
from unrolled.inspection.description import describe


@pytest.fixture
def few(monkeypatch):
    """Only some of the cells: to look at each takes a moment."""
    few = {name: CATALOGUE[name] for name in ("mgu", "ind_rnn")}
    monkeypatch.setattr("unrolled.cells.catalogue.FAMILIES", {"Some": few})


def test_the_list_has_a_line_for_each_cell(unrolled, few):
    done = unrolled("cells", "--hidden-size", 10)
    assert done.code == 0
    assert re.search(r"^mgu +2016  h +440  yes +f n$", done.out, re.MULTILINE)
    assert re.search(r"^ind_rnn +2018  h +120  yes +a$", done.out, re.MULTILINE)


def test_measuring_adds_two_figures(unrolled, few):
    done = unrolled("cells", "--hidden-size", 4, "--measure")
    assert re.search(r"^mgu .* yes +[\d,]+k/s +[\d.]+ us  f n$", done.out, re.MULTILINE)


def test_a_cell_without_a_kernel_is_listed_as_such(unrolled, monkeypatch, few):
    monkeypatch.setattr(cells, "reason_without_kernel", lambda _: "it sums over units")
    assert re.search(r"^mgu .* no +f n$", unrolled("cells").out, re.MULTILINE)
    assert "kernel      no: it sums over units" in unrolled("cells", "show", "mgu").out


def test_parameters_are_those_of_a_layer_with_as_many_inputs_as_units():
    assert num_parameters(CATALOGUE["lstm"], 8) == 2 * 4 * (8 * 8 + 8)
    assert num_parameters(CATALOGUE["lstm_peephole"], 8) == 2 * 4 * (8 * 8 + 8) + 3 * 8


def test_what_is_shown_of_a_cell_are_its_equations_its_source_and_what_they_read(unrolled):
    done = unrolled("cells", "show", "mgu", "--hidden-size", 4)
    assert done.code == 0
    for line in (
        "  n = tanh(x.n + u.n(f * h))",
        "gates       f n",
        "admits      f",
        "kernel      yes",
        "parameters  80 at 4 units and inputs",
        "  v        <- f, h[t-1]",
        "  n        <- x_n, u_n(v)",
    ):
        assert f"\n{line}\n" in done.out
    assert 'Zhou (2016), "Minimal gated unit for recurrent neural networks"' in done.out


def test_numbers_that_equations_read_are_shown(unrolled):
    assert "numbers     LIF_DECAY = 0.9, THRESHOLD = 1\n" in unrolled("cells", "show", "lif").out


OWN = """
import torch, unrolled

@unrolled.cell(gates="f", states="h")
def own(x, u, h):
    # a comment
    return dict(h=torch.tanh(x.f + u.f) + 0 * h)
"""


def test_a_cell_of_ones_own_is_shown_as_far_as_it_says(unrolled, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    done = unrolled("cells", "show", f"{tmp_path / 'own.py'}:own")
    assert done.code == 0, done.err
    assert "torch.tanh(x.f + u.f) + 0 * h" in done.out
    assert "source      none\n" in done.out


@pytest.mark.parametrize("command", ["cells", "kernels"])
def test_an_unknown_cell_is_refused_with_the_nearest(unrolled, command):
    done = unrolled(command, "show", "li-gru")
    assert (done.code, done.out) == (1, "")
    assert "no cell is called 'li-gru'" in done.err
    assert "hint: did you mean li_gru?" in done.err


def test_columns_stay_apart_where_a_cell_has_most_states_and_numbers(unrolled, monkeypatch):
    one = {"Some": {"t_lstm": CATALOGUE["t_lstm"]}}
    monkeypatch.setattr("unrolled.cells.catalogue.FAMILIES", one)
    out = unrolled("cells", "--hidden-size", 65536).out
    assert re.search(r"^t_lstm .* v_o +25,770,196,992  yes +z f o", out, re.MULTILINE)


def test_a_line_of_the_list_fits_eighty_columns(unrolled, monkeypatch):
    longest = {name: CATALOGUE[name] for name in ("t_lstm", "gru_reset_before", "nas", "cfn")}
    monkeypatch.setattr("unrolled.cells.catalogue.FAMILIES", {"Some": longest})
    assert max(map(len, unrolled("cells").out.splitlines())) <= 80


@pytest.mark.parametrize("columns", [60, 120])
def test_prose_is_wrapped_for_a_terminal_and_equations_are_not(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = StringIO()
    shown.isatty = lambda: True
    with redirect_stdout(shown):
        cells.show("rwkv4", 128)
    lines = shown.getvalue().splitlines()
    equations = describe(CATALOGUE["rwkv4"]).equations
    assert {f"  {line}" for line in equations} < set(lines)
    prose = [line for line in lines if line[2:] not in equations]
    assert columns - 25 < max(map(len, prose)) <= columns
    source = lines.index(next(line for line in lines if line.startswith("source")))
    assert columns > 100 or lines[source + 1].startswith(" " * 12)
