"""The layers by their names."""

import pytest
import torch

import unrolled
from unrolled import cells
from unrolled.cells.catalogue import CATALOGUE
from unrolled.errors import OptionError
from unrolled.layers import TCN, Recurrent, state_tensors
from unrolled.networks import (
    LAYERS,
    BidirectionalOptions,
    Conv,
    Dense,
    LayerOptions,
    find_layer,
    make_layer,
)


@unrolled.cell(gates="f g", keeps="f")
def leaky(x, u, h):
    """A cell of somebody's own, in a file."""
    f = torch.sigmoid(x.f + u.f)
    g = torch.tanh(x.g + u.g)
    return dict(h=f * h + (1 - f) * g, f=f, g=g)


EVERY = [*LAYERS, leaky]
every = pytest.mark.parametrize("cell", EVERY, ids=lambda cell: getattr(cell, "name", cell))


def make(cell, input_size=2, **options):
    return make_layer(LayerOptions(**{"cell": cell, "hidden_size": 3} | options), input_size)


def test_every_name_makes_its_layer():
    named = {
        "rnn": cells.rnn_tanh,
        "rnn_relu": cells.rnn_relu,
        "lstm": cells.lstm,
        "gru": cells.gru_reset_after,
        "gru_reset_before": cells.gru_reset_before,
        "janet": cells.janet,
    }
    assert [*LAYERS] == [*named, "tcn", "conv", "dense"]
    for name, cell in named.items():
        layer = make(name)
        assert isinstance(layer, Recurrent)
        assert layer.cell is cell
    assert [type(make(name)) for name in ("tcn", "conv", "dense")] == [TCN, Conv, Dense]


@pytest.mark.parametrize(
    ("name", "by_torch"),
    [("rnn", torch.nn.RNN), ("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)],
)
def test_the_layers_of_known_names_are_those_of_torch(name, by_torch):
    layer, other = make(name, num_layers=2), by_torch(2, 3, 2, batch_first=True)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(4, 6, 2)
    torch.testing.assert_close(layer(x)[0], other(x)[0])


@every
def test_every_layer_keeps_the_protocol(cell):
    layer = make(cell, num_layers=2).double()
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


@every
def test_dropout_reaches_every_layer_that_has_a_place_for_it(cell):
    x = torch.randn(4, 6, 2)
    one, two = (make(cell, hidden_size=8, num_layers=n, dropout=0.5) for n in (1, 2))
    assert torch.equal(one(x)[0], one(x)[0]) == (cell != "tcn")
    assert not torch.equal(two(x)[0], two(x)[0])


@pytest.mark.parametrize(("cell", "default"), [("tcn", 3), ("conv", 8)])
def test_kernel_size_reaches_the_convolutions(cell, default):
    def sizes(layer):
        return {m.kernel_size[0] for m in layer.modules() if isinstance(m, torch.nn.Conv1d)}

    assert sizes(make(cell, 3)) == {default}
    assert sizes(make(cell, 3, kernel_size=5)) == {5}


@every
def test_the_numbers_that_none_stands_for_suit_the_layer(cell):
    options = LayerOptions(cell=cell).settled()
    assert options.num_layers == (4 if cell == "tcn" else 1)
    assert options.kernel_size == {"tcn": 3, "conv": 8}.get(cell)
    assert options.settled() == options
    assert LayerOptions(cell=cell, num_layers=2).settled().num_layers == 2


def test_a_layer_may_have_another_number_of_layers_than_its_options_say():
    options = LayerOptions(hidden_size=3, num_layers=4)
    assert make_layer(options, 2).num_layers == 4
    assert make_layer(options, 2, num_layers=1).num_layers == 1


@every
def test_a_layer_reads_both_ways_when_it_is_told_to(cell):
    options = BidirectionalOptions(cell=cell, hidden_size=3, bidirectional=True)
    assert make_layer(options, 2).output_size == 3  # whose reading it is, is the model's affair
    assert make_layer(options, 2, bidirectional=True).output_size == 6


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("LSTM", "did you mean lstm?"),
        ("jannet", "did you mean janet?"),
        ("gru-reset-before", "did you mean gru_reset_before?"),
        ("li-gru", "did you mean li_gru?"),
        ("transformer", "`unrolled cells` lists all, and a cell of your own is FILE.py:NAME"),
    ],
)
def test_an_unknown_cell_is_refused_with_what_may_be_meant(cell, hint):
    message = f"cell must be one of {', '.join(LAYERS)} or a published cell, got"
    with pytest.raises(OptionError, match=message) as caught:
        LayerOptions(cell=cell)
    assert caught.value.hint == hint


@pytest.mark.parametrize("cell", [None, 3, torch.nn.LSTM, lambda x, u, h: {}])
def test_what_is_neither_a_name_nor_a_cell_is_refused(cell):
    message = f"cell must be a name or a cell, got {type(cell).__name__}"
    with pytest.raises(OptionError, match=message):
        LayerOptions(cell=cell)


def test_a_cell_of_ones_own_is_itself_and_a_built_in_one_its_name():
    assert LayerOptions(cell=leaky).cell is leaky
    assert find_layer(leaky).name == "leaky"
    assert find_layer(leaky).cell.keeps == "f"
    for name, cell in cells.CELLS.items():
        assert LayerOptions(cell=cell).cell == name
        assert find_layer(cell) is LAYERS[name]
    assert LayerOptions(cell="unrolled.cells:gru_reset_after").cell == "gru"
    assert LayerOptions(cell=CATALOGUE["mgu"]).cell == LayerOptions(cell="mgu").cell == "mgu"
    assert not find_layer("mgu").is_own


@pytest.mark.parametrize("cell", [*cells.CELLS, "dense", leaky])
def test_a_kernel_size_for_a_cell_without_a_kernel_is_refused(cell):
    name = getattr(cell, "name", cell)
    with pytest.raises(OptionError, match=f"kernel_size is for convolutions, but .* {name}"):
        LayerOptions(cell=cell, kernel_size=3)


@every
@pytest.mark.parametrize(("option", "value"), [("hidden_size", 0), ("num_layers", 0)])
def test_a_size_below_one_is_refused_by_every_layer(cell, option, value):
    with pytest.raises(OptionError, match=f"{option} must be at least 1, got 0"):
        make(cell, **{option: value})


@every
def test_a_dropout_that_is_no_probability_is_refused_even_where_it_has_no_place(cell):
    with pytest.raises(OptionError, match=r"dropout must be in \[0, 1\), got 1.5"):
        make(cell, num_layers=1, dropout=1.5)
