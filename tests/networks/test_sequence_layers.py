"""The layers by their names."""

import pytest
import torch

from unrolled.errors import OptionError
from unrolled.layers import GRU, JANET, LSTM, RNN, TCN
from unrolled.layers.state import state_tensors
from unrolled.networks.memoryless import Conv, Dense
from unrolled.networks.sequence_layers import CELLS, make_layer


def test_every_name_makes_its_layer():
    kinds = [RNN, LSTM, GRU, JANET, TCN, Dense, Conv]
    assert CELLS == ("rnn", "lstm", "gru", "janet", "tcn", "dense", "conv")
    assert [type(make_layer(cell, 2, 3)) for cell in CELLS] == kinds


@pytest.mark.parametrize("cell", CELLS)
def test_every_layer_keeps_the_protocol(cell):
    layer = make_layer(cell, input_size=2, hidden_size=3, num_layers=2).double()
    x = torch.randn(4, 6, 2, dtype=torch.float64)  # (B, T, I)
    whole, end = layer(x)
    assert whole.shape == (4, 6, 3)
    assert (layer.input_size, layer.output_size) == (2, 3)
    first, state = layer(x[:, :2], layer.initial_state(4))
    second, state = layer(x[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(state, end)
    assert all(part.shape[1] == 4 for part in state_tensors(end))
    ragged, _ = layer(x, lengths=torch.tensor([6, 0, 3, 1]))
    torch.testing.assert_close(ragged[2, :3], whole[2, :3])
    assert not ragged[2, 3:].any()
    torch.testing.assert_close(layer.stream(4).push(x), whole.detach())


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_reaches_every_layer_that_has_a_place_for_it(cell):
    x = torch.randn(4, 6, 2)
    one, two = (make_layer(cell, 2, 8, num_layers=n, dropout=0.5) for n in (1, 2))
    assert torch.equal(one(x)[0], one(x)[0]) == (cell != "tcn")
    assert not torch.equal(two(x)[0], two(x)[0])


@pytest.mark.parametrize(("cell", "default"), [("tcn", 3), ("conv", 8)])
def test_kernel_size_reaches_the_convolutions(cell, default):
    def sizes(layer):
        return {m.kernel_size[0] for m in layer.modules() if isinstance(m, torch.nn.Conv1d)}

    assert sizes(make_layer(cell, 3, 3)) == {default}
    assert sizes(make_layer(cell, 3, 3, kernel_size=5)) == {5}


@pytest.mark.parametrize(
    ("cell", "hint"), [("LSTM", "did you mean lstm?"), ("jannet", "did you mean janet?")]
)
def test_an_unknown_cell_is_refused_with_the_nearest_name(cell, hint):
    with pytest.raises(OptionError, match="rnn, lstm, gru, janet, tcn, dense, conv") as caught:
        make_layer(cell, 2, 3)
    assert caught.value.hint == hint


def test_a_cell_like_no_other_is_refused_without_a_guess():
    with pytest.raises(OptionError, match="got 'transformer'") as caught:
        make_layer("transformer", 2, 3)
    assert caught.value.hint == ""


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "janet", "dense"])
def test_a_kernel_size_for_a_cell_without_a_kernel_is_refused(cell):
    with pytest.raises(OptionError, match=f"kernel_size is for tcn and conv, .* {cell}"):
        make_layer(cell, 2, 3, kernel_size=3)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("option", "value"), [("hidden_size", 0), ("num_layers", 0)])
def test_a_size_below_one_is_refused_by_every_layer(cell, option, value):
    options = {"input_size": 2, "hidden_size": 3, "num_layers": 1} | {option: value}
    with pytest.raises(OptionError, match=f"{option} must be at least 1, got 0"):
        make_layer(cell, **options)


@pytest.mark.parametrize("cell", CELLS)
def test_a_dropout_that_is_no_probability_is_refused_even_where_it_has_no_place(cell):
    with pytest.raises(OptionError, match=r"dropout must be a probability in \[0, 1\], got 1.5"):
        make_layer(cell, 2, 3, num_layers=1, dropout=1.5)
