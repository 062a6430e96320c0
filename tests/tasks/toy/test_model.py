import math
import re

import pytest
import torch

from unrolled.errors import OptionError
from unrolled.networks.sequence_layers import CELLS
from unrolled.tasks.toy.model import ToyModel, ToyModelConfig


def values(cell="lstm", **options):
    config = ToyModelConfig(2, 1, reads_symbols=False, max_time=50, cell=cell, hidden_size=6)
    return ToyModel(type(config)(**vars(config) | options)).eval()


def symbols(cell):
    config = ToyModelConfig(4, 4, reads_symbols=True, max_time=5, cell=cell, hidden_size=6)
    return ToyModel(config).eval()


@pytest.mark.parametrize("cell", CELLS)
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


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_an_answer_knows_nothing_of_later_steps(cell):
    model = symbols(cell)
    first, second = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[0, 1, 3, 0]])
    answers = [model(tokens, torch.tensor([4]))[:, :2] for tokens in (first, second)]
    torch.testing.assert_close(*answers, rtol=0, atol=0)


def test_gates_begin_as_they_are_asked_to():
    # rows i, f, g, o of an LSTM's bias
    def forget_gate(model):
        layer = model.layer
        return (layer.bias_ih_l0 + layer.bias_hh_l0)[6:12]

    torch.testing.assert_close(forget_gate(values(initialize="forget-bias")), torch.ones(6))
    spread = forget_gate(values(initialize="chrono"))
    assert (0 <= spread).all()
    assert (spread <= math.log(49)).all()  # log u, u from 1 to max_time - 1
    assert forget_gate(values()).abs().max() < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "lsmt"}, "did you mean lstm"),
        ({"cell": "rnn", "initialize": "chrono"}, "initialize is for cells with gates"),
        ({"cell": "tcn", "initialize": "chrono"}, "initialize is for cells with gates"),
        ({"cell": "gru", "initialize": "forget-bias"}, "has no gate 'f'"),
        ({"initialize": "crono"}, "initialize must be chrono or forget-bias, got 'crono'"),
        ({"kernel_size": 3}, "kernel_size is for tcn and conv"),
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"dropout": 2.0}, "dropout"),
    ],
)
def test_options_that_make_no_model_are_refused(options, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        values(**options)
