"""How long units remember, where arithmetic knows."""

import math

import pytest
import torch

import unrolled
from unrolled.inspection import memory_by_perturbation, saturation, time_constants
from unrolled.inspection.memory import bounds


def constant_gates(make, **biases: float):
    """A layer without weights, whose gates are what their biases say."""
    layer = make(3, 4)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
        for gate, bias in biases.items():
            start = 4 * layer.cell.gates.index(gate)
            layer.bias_ih_l0[start : start + 4] = bias
    return layer


@pytest.mark.parametrize(
    ("make", "gate"), [(unrolled.LSTM, "f"), (unrolled.GRU, "z"), (unrolled.JANET, "f")]
)
def test_time_constants_are_those_of_the_gate_that_keeps(make, gate):
    layer = constant_gates(make, **{gate: math.log(19)})  # sigmoid(ln 19) = 0.95
    (record,) = unrolled.trace(layer, torch.randn(6, 2, 3), lengths=[6, 2])  # zeros are no steps
    torch.testing.assert_close(time_constants(record), torch.full((4,), 20.0))


def test_cells_without_a_keeping_gate_have_no_time_constant():
    (record,) = unrolled.trace(unrolled.RNN(3, 4), torch.randn(5, 2, 3))
    with pytest.raises(unrolled.UnrolledError, match="no gate that keeps"):
        time_constants(record)


def test_saturation_counts_the_steps_at_either_end():
    layer = constant_gates(unrolled.LSTM, f=4.0, i=-4.0, o=0.0, g=3.0)
    (record,) = unrolled.trace(layer, torch.randn(6, 2, 3), lengths=[6, 2])
    found = {
        name: (float(low[0]), float(high[0])) for name, (low, high) in saturation(record).items()
    }
    assert found == {"f": (0, 1), "i": (1, 0), "o": (0, 0), "g": (0, 1)}


def test_what_is_bounded_is_found_from_the_equations():
    def of(layer: unrolled.RNN) -> dict[str, tuple[float, float]]:
        return bounds(layer.cell)

    assert of(unrolled.LSTM(1, 1)) == dict.fromkeys("ifo", (0, 1)) | {"g": (-1, 1)}
    for reset in ("after", "before"):
        layer = unrolled.GRU(1, 1, reset=reset)
        assert of(layer) == dict.fromkeys("rz", (0, 1)) | {"n": (-1, 1)}
    assert of(unrolled.JANET(1, 1)) == {"f": (0, 1), "g": (-1, 1)}
    assert of(unrolled.RNN(1, 1)) == {"h": (-1, 1)}
    assert of(unrolled.RNN(1, 1, nonlinearity="relu")) == {}


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_perturbation_moves_a_state_as_another_input_does(batch_first):
    """By hand, one replaced input at a time."""
    layer = unrolled.LSTM(7, 6, num_layers=2, batch_first=batch_first)
    time_dim = int(batch_first)
    x, others = torch.randn(9, 2, 7), torch.randn(2, 5, 3, 7)  # lag 4 first, three replacements
    initial = (torch.randn(2, 2, 6), torch.randn(2, 2, 6))

    def layout(values: torch.Tensor) -> torch.Tensor:
        return values.transpose(0, time_dim)

    memory = memory_by_perturbation(layer, layout(x), others, state=initial)
    records = unrolled.trace(layer, layout(x), initial)
    spread = records[1].values["c"].flatten(0, 1).std(0)
    _, (_, undisturbed) = layer(layout(x), initial)
    expected = torch.zeros(6)
    for number in range(3):
        other = x.clone()
        other[9 - 1 - 3] = others[:, 1, number]
        _, (_, moved) = layer(layout(other), initial)
        expected += (moved - undisturbed)[1].abs().mean(0).detach() / 3
    assert memory.by_state["c"].shape == (2, 5, 6)
    torch.testing.assert_close(memory.by_state["c"][1, 3], expected / spread)


def test_a_unit_that_forgets_at_once_spans_no_step():
    layer = unrolled.GRU(7, 6, num_layers=2)
    with torch.no_grad():  # z = 0, and nothing recurrent: h is the candidate of now
        for suffix in layer.suffixes:
            layer.get_parameter(f"weight_hh_{suffix}").zero_()
            layer.get_parameter(f"bias_ih_{suffix}")[6:12] = -1e3
    found = memory_by_perturbation(layer, torch.randn(9, 2, 7), torch.randn(2, 6, 1, 7))
    assert (found.by_state["h"][:, 0] > 0).any()
    assert (found.by_state["h"][:, 1:] == 0).all()
    assert set(found.spans(1e-9)["h"].flatten().tolist()) <= {-1, 0}


def test_replacements_that_do_not_fit_are_refused():
    layer, x = unrolled.GRU(3, 4), torch.randn(9, 2, 3)
    with pytest.raises(unrolled.UnrolledError, match="1 to 9 of 9 steps can be replaced, got 10"):
        memory_by_perturbation(layer, x, torch.randn(2, 10, 1, 3))
    with pytest.raises(unrolled.UnrolledError, match="got 0"):
        memory_by_perturbation(layer, x, torch.randn(2, 0, 1, 3))
    with pytest.raises(unrolled.UnrolledError, match=r"must be \(2, 5, 1, 3\), got \(9, 5, 1, 3\)"):
        memory_by_perturbation(layer, x, torch.randn(9, 5, 1, 3))
    with pytest.raises(unrolled.UnrolledError, match="3-D"):
        memory_by_perturbation(layer, x[0], torch.randn(2, 5, 1, 3))
    both = unrolled.GRU(3, 4, bidirectional=True)
    with pytest.raises(unrolled.UnrolledError, match="reads forwards"):
        memory_by_perturbation(both, x, torch.randn(2, 5, 1, 3))
