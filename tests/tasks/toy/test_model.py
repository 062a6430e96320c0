import math
import re

import pytest
import torch

from unrolled.errors import OptionError
from unrolled.networks import LAYERS
from unrolled.tasks.toy import ModelOptions, ToyModel

VALUES = {"input_size": 2, "output_size": 1, "reads_symbols": False, "max_time": 50}
SYMBOLS = {"input_size": 4, "output_size": 4, "reads_symbols": True, "max_time": 5}


def values(cell="lstm", **options):
    return ToyModel(ModelOptions(cell=cell, hidden_size=6, **options), **VALUES).eval()


def symbols(cell):
    return ToyModel(ModelOptions(cell=cell, hidden_size=6), **SYMBOLS).eval()


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("make", [values, symbols])
@torch.no_grad()
def test_answers_depend_neither_on_padding_nor_on_the_batch(cell, make):
    model = make(cell)
    rows = [torch.rand(t, 2) if make is values else torch.randint(4, (t,)) for t in (7, 1, 4)]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    junk = padded.clone()
    for index, row in enumerate(rows):
        junk[index, len(row) :] = 3
    lengths = torch.tensor([7, 1, 4])
    for index, row in enumerate(rows):
        alone = model(row[None], torch.tensor([len(row)]))[0]
        for batch in (padded, junk):
            torch.testing.assert_close(model(batch, lengths)[index, : len(row)], alone)


@pytest.mark.parametrize("cell", LAYERS)
@torch.no_grad()
def test_an_answer_knows_nothing_of_later_steps(cell):
    model = symbols(cell)
    first, second = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[0, 1, 3, 0]])
    answers = [model(tokens, torch.tensor([4]))[:, :2] for tokens in (first, second)]
    torch.testing.assert_close(*answers, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("cell", "rows"),
    # of the bias: i f g o, r z n, f g
    [("lstm", slice(6, 12)), ("gru", slice(6, 12)), ("janet", slice(0, 6))],
)
def test_the_gate_that_keeps_the_old_state_begins_as_it_is_asked_to(cell, rows):
    def bias(model):
        return (model.layer.bias_ih_l0 + model.layer.bias_hh_l0)[rows]

    torch.testing.assert_close(bias(values(cell, initialize="forget-bias")), torch.ones(6))
    spread = bias(values(cell, initialize="chrono"))
    assert (0 <= spread).all()
    assert (spread <= math.log(49)).all()  # log u, u from 1 to max_time - 1
    assert bias(values(cell)).abs().max() < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "lsmt"}, "did you mean lstm"),
        ({"cell": "rnn", "initialize": "chrono"}, "initialize is for cells with a gate that keeps"),
        ({"cell": "tcn", "initialize": "chrono"}, "but the cell is tcn"),
        ({"initialize": "crono"}, "initialize must be one of chrono, forget-bias, got 'crono'"),
        ({"kernel_size": 3}, "kernel_size is for convolutions"),
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"dropout": 2.0}, "dropout must be in [0, 1)"),
    ],
)
def test_options_that_make_no_model_are_refused(options, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        ModelOptions(**options)


@pytest.mark.parametrize("name", ["input_size", "output_size", "max_time"])
def test_sizes_below_one_are_refused(name):
    with pytest.raises(OptionError, match=f"ToyModel: {name} must be at least 1, got 0"):
        ToyModel(ModelOptions(), **VALUES | {name: 0})
