"""The two parts of a unit's pre-activations: rows of the products, in float64."""

import pytest
import torch

from unrolled import trace
from unrolled.errors import OptionError
from unrolled.inspection import pre_activations
from unrolled.inspection.terms import unit_terms
from unrolled.layers import GRU, JANET, LSTM, RNN, TCN

SIZE, UNIT = 4, 2


@pytest.mark.parametrize("layer", [RNN, LSTM, GRU, JANET])
def test_terms_are_rows_of_the_products(layer):
    layer = layer(3, SIZE, bias=False)
    x = torch.randn(5, 1, 3)
    (record,) = trace(layer, x)
    terms = unit_terms(record, UNIT)
    before = torch.cat([torch.zeros(1, SIZE), record.values["h"][:-1, 0]]).double()
    for number, gate in enumerate(layer.cell.feedforward):
        row = SIZE * number + UNIT
        from_input = x[:, 0].double() @ layer.weight_ih_l0[row].double()
        recurrent = before @ layer.weight_hh_l0[row].double()
        torch.testing.assert_close(terms.x[gate], from_input, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(terms.u[gate], recurrent, rtol=1e-12, atol=1e-12)


def test_a_gate_inside_a_product_has_the_product_of_what_it_is_applied_to():
    layer = GRU(3, SIZE, reset="before")
    (record,) = trace(layer, torch.randn(5, 1, 3))
    before = torch.cat([torch.zeros(1, SIZE), record.values["h"][:-1, 0]]).double()
    row = 2 * SIZE + UNIT
    reset = record.values["r"][:, 0].double() * before
    expected = reset @ layer.weight_hh_l0[row].double() + layer.bias_hh_l0[row].double()
    torch.testing.assert_close(unit_terms(record, UNIT).u["n"], expected, rtol=1e-6, atol=1e-6)


def test_terms_of_both_directions_and_all_rows_are_those_of_pre_activations():
    records = trace(LSTM(3, SIZE, 2, bidirectional=True), torch.randn(5, 2, 3))
    assert [(record.layer, record.reverse) for record in records] == [
        (0, False),
        (0, True),
        (1, False),
        (1, True),
    ]
    for record in records:
        parts = pre_activations(record)
        for row in range(2):
            terms = unit_terms(record, UNIT, row)
            for gate in "ifgo":
                for side, values in (("x", terms.x), ("u", terms.u)):
                    expected = parts[f"{side}.{gate}"][:, row, UNIT].double()
                    torch.testing.assert_close(values[gate], expected, rtol=1e-5, atol=1e-6)


def test_what_has_no_terms_is_refused():
    (record,) = trace(LSTM(3, SIZE), torch.randn(5, 1, 3))
    with pytest.raises(OptionError, match=r"unit must be in 0\.\.3, got 4"):
        unit_terms(record, SIZE)
    with pytest.raises(OptionError, match=r"unit must be in 0\.\.3, got -1"):
        unit_terms(record, -1)
    (level,) = trace(TCN(3, SIZE, 1), torch.randn(5, 1, 3))
    with pytest.raises(OptionError, match="TCN has no gates"):
        unit_terms(level, 0)
