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


def small_model(kind: str) -> unrolled.LanguageModel:
    return unrolled.LanguageModel(unrolled.LanguageModelConfig(7, kind, 6, num_layers=2))


def test_a_perturbation_moves_a_state_as_another_text_does():
    """By hand, one replaced token at a time, whatever the number of pieces."""
    model, tokens = small_model("lstm"), torch.randint(0, 7, (2, 9))
    found = memory_by_perturbation(model, tokens, max_lag=4, num_replacements=40)
    records = unrolled.trace(model, tokens)
    spread = records[1].values["c"].flatten(0, 1).std(0)
    _, (_, kept) = model(tokens)
    expected = torch.zeros(6)
    for token in range(7):
        other = tokens.clone()
        other[:, 9 - 1 - 3] = (tokens[:, 9 - 1 - 3] + token) % 7
        _, (_, moved) = model(other)
        expected += (moved - kept)[1].abs().mean(0).detach() / 6
    assert found.by_state["c"].shape == (2, 5, 6)
    torch.testing.assert_close(found.by_state["c"][1, 3], expected / spread, rtol=0.3, atol=1e-3)


def test_a_unit_that_forgets_at_once_spans_no_step():
    model, tokens = small_model("gru"), torch.randint(0, 7, (2, 9))
    with torch.no_grad():  # z = 0, and nothing recurrent: h is the candidate of now
        for suffix in model.layer.suffixes:
            model.layer.get_parameter(f"weight_hh_{suffix}").zero_()
            model.layer.get_parameter(f"bias_ih_{suffix}")[6:12] = -1e3
    found = memory_by_perturbation(model, tokens, max_lag=5)
    assert (found.by_state["h"][:, 0] > 0).any()
    assert (found.by_state["h"][:, 1:] == 0).all()
    assert set(found.spans(1e-9)["h"].flatten().tolist()) <= {-1, 0}


@pytest.mark.parametrize("max_lag", [-1, 9])
def test_a_lag_out_of_range_is_refused(max_lag):
    with pytest.raises(unrolled.UnrolledError, match=r"max_lag must lie in 0\.\.8"):
        memory_by_perturbation(
            small_model("gru"), torch.zeros(1, 9, dtype=torch.int64), max_lag=max_lag
        )
