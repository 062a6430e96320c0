"""Figures show the numbers that they were given."""

import re
import sys
from importlib.resources import files

import pytest
import torch

import unrolled
from unrolled.inspection import FixedPoints, Lyapunov, figures
from unrolled.inspection.figures.style import AROUND_ZERO, COLOURS, FROM_ZERO, _figure_class
from unrolled.inspection.gradients import Reach


def test_reach_is_drawn_relative_to_lag_0_down_to_where_it_is_nothing():
    reach = Reach(torch.arange(4), {"h": torch.tensor([[2.0, 1.0, 0.5, 1e-9]])})
    (line,) = figures.reach_by_lag({"": reach}, wanted=2).data
    assert line.x == (0, 1, 2, 3)
    assert line.y == (1.0, 0.5, 0.25, None)


def test_several_cells_differ_by_more_than_colour():
    reach = Reach(torch.arange(3), {"h": torch.ones(1, 3), "x": torch.ones(1, 3)})
    lines = figures.reach_by_lag(dict.fromkeys(["rnn", "lstm", "gru"], reach), state="x").data
    assert [line.name for line in lines] == ["rnn", "lstm", "gru"]
    assert len({line.line.dash for line in lines}) == len({line.line.color for line in lines}) == 3


def test_without_a_state_every_state_of_every_layer_is_drawn():
    layer = unrolled.LSTM(3, 4, num_layers=2)
    reach = unrolled.inspection.gradient_reach(layer, torch.randn(6, 2, 3))
    names = [line.name for line in figures.reach_by_lag({"": reach}).data]
    assert names == [
        f"{state}, layer {layer}"
        for state in ("hidden state h", "cell state c")
        for layer in (1, 2)
    ]


def test_gates_are_drawn_unit_by_unit_in_the_order_given():
    values = {"f": torch.rand(5, 3), "c": torch.randn(5, 3)}
    gate, cell = figures.gate_maps(values, list("ab\nde"), [2, 0], names=["f", "c"]).data
    assert torch.equal(torch.tensor(gate.z), values["f"][:, [2, 0]].T)
    assert torch.equal(torch.tensor(cell.z), values["c"][:, [2, 0]].T)
    assert (gate.zmin, gate.zmax, cell.zmin) == (0, 1, -cell.zmax)
    (alone,) = figures.gate_maps(values, list("ab\nde"), [1], names=["c"]).data
    assert torch.equal(torch.tensor(alone.z), values["c"][:, [1]].T)


def test_a_text_is_drawn_line_by_line_with_every_character_once():
    text = "To be,\nor not to be: <b>&amp;"
    figure = figures.unit_over_text(torch.arange(len(text)).float(), list(text), columns=8)
    (cells,) = figure.data
    shown = ["".join(line) for line in cells.text]
    assert shown == ["To be,↵", "or not t", "o be: &lt;b", "&gt;&amp;amp;"]
    values = [value for line in cells.z for value in line if value is not None]
    assert values == list(range(len(text)))


def test_candidates_are_the_likeliest_with_what_came_in_bold():
    probabilities = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]])
    (cells,) = figures.candidates("ac", probabilities, "abc", top=2, columns=2).data
    assert [list(line) for line in cells.text] == [
        ["<b>a</b>", "<b>c</b>"],
        ["b", "a"],
        ["<b>c</b>", "c"],
    ]
    assert [line[0] for line in cells.z[1:]] == pytest.approx([0.7, 0.2])


def test_attention_is_drawn_with_the_target_downwards():
    weights = torch.softmax(torch.randn(2, 3), 1)
    figure = figures.attention_map(weights, ["a", "b", "c"], ["x", "y"])
    assert torch.equal(torch.tensor(figure.data[0].z), weights)
    assert figure.layout.yaxis.autorange == "reversed"
    with pytest.raises(unrolled.UnrolledError, match=r"weights must be \(2, 3\)"):
        figures.attention_map(weights.T, ["a", "b", "c"], ["x", "y"])


def test_memory_saturation_and_time_constants_are_drawn_by_unit():
    moved = torch.rand(4, 3)
    assert figures.memory_map(moved, [2, 1]).data[0].z.shape == (2, 4)
    low, high = torch.rand(3), torch.rand(3)
    points = figures.saturation_map({"f": (low, high)}).data[0]
    assert points.x == pytest.approx(low.tolist())
    assert points.y == pytest.approx(high.tolist())
    line = figures.time_constant_curve({"layer 1": torch.tensor([2.0, 9.0, 4.0])}).data[0]
    assert (line.y, line.customdata) == ((9.0, 4.0, 2.0), (1, 2, 0))
    with pytest.raises(unrolled.UnrolledError, match="nothing in this cell"):
        figures.saturation_map({})


def test_curves_are_drawn_as_measured():
    curves = {"held out": [(0, 4.0), (10, 2.0)], "training": [(i, 3.0) for i in range(50)]}
    few, many = figures.learning_curves(curves, x_title="update", y_title="nats").data
    assert (few.x, few.y, few.mode, many.mode) == ((0, 10), (4.0, 2.0), "lines+markers", "lines")
    (line,) = figures.step_stretch(torch.tensor([[1.0, 2.0]]), ["a", "\n"]).data
    assert (line.y, line.customdata) == ((1.0, 2.0), ("a", "↵"))


def test_steps_and_tokens_must_fit():
    with pytest.raises(unrolled.UnrolledError, match="3 steps, but 2 tokens"):
        figures.unit_over_text(torch.zeros(3), list("ab"))


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("paper", ["#fdfcfa", "#12161b"], ids=["light", "dark"])
def test_lines_stand_out_from_the_page_in_the_light_and_in_the_dark(paper):
    for colour in COLOURS:
        lighter, darker = sorted((luminance(colour), luminance(paper)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 3, colour  # WCAG 2.1, 1.4.11


def test_a_missing_library_names_its_extra(monkeypatch):
    _figure_class.cache_clear()
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(unrolled.UnrolledError, match=r"unrolled\[figures\]"):
        figures.unit_over_text(torch.zeros(1), ["a"])


def test_a_notebook_shows_a_figure_without_a_network():
    values = {"f": torch.rand(2, 3), "c": torch.randn(2, 3)}
    for figure in (
        figures.unit_over_text(torch.zeros(2), ["a", "b"]),
        figures.gate_maps(values, ["a", "b"], [0], names=["f", "c"]),
    ):
        shown = figure._repr_html_()
        assert not re.search(r'<script[^>]* src="', shown)
        assert len(shown) > 1e6


def test_colours_mean_what_they_mean_on_the_page():
    for stops in (AROUND_ZERO, FROM_ZERO):
        red, _, blue = map(int, re.findall(r"\d+", stops[-1][1])[:3])
        assert blue > red  # above zero
    red, _, blue = map(int, re.findall(r"\d+", AROUND_ZERO[0][1])[:3])
    assert red > blue
    css = (files("unrolled.serving") / "static/report.css").read_text(encoding="utf-8")
    assert f".high {{ background: {AROUND_ZERO[-1][1]}; }}" in css
    assert f".low {{ background: {AROUND_ZERO[0][1]}; }}" in css


def test_fixed_points_and_exponents_are_drawn_by_kind():
    states = {"h": torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]).double()}
    values = torch.tensor([[0.5 + 0j, -0.5], [2.0, 0.5]], dtype=torch.complex128)
    visited = {"h": torch.randn(1, 9, 2).double()}
    points = FixedPoints(states, torch.tensor([0.0, 0.1]), values, torch.tensor([5, 4]), visited)
    dots, stable, saddle = figures.fixed_point_map(points).data
    assert len(dots.x) == 9
    assert [each.marker.symbol for each in (stable, saddle)] == [("circle",), ("x-open",)]
    apart = torch.tensor([stable.x[0] - saddle.x[0], stable.y[0] - saddle.y[0]])
    assert float(apart.norm()) == pytest.approx(1)  # a plane of two numbers keeps distances
    circle, *drawn = figures.eigenvalue_map(points).data
    assert all(x * x + y * y == pytest.approx(1) for x, y in zip(circle.x, circle.y, strict=True))
    assert [each.x for each in drawn] == [(0.5, -0.5), (2.0, 0.5)]
    found = Lyapunov(torch.tensor([0.5, -torch.inf]), torch.tensor([[0.5, -torch.inf]]), None, 2)
    row, mean = figures.lyapunov_spectrum(found).data
    assert row.y == mean.y == (0.5, None)
