"""Where torch was measured to be faster it does the work, and nowhere else."""

import pytest
import torch
from torch import nn

import unrolled
from unrolled.acceleration.sequences import read_sequences
from unrolled.acceleration.steps import read_step


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def runs_on_kernel(kind, *shape, hidden_size=256, **options):
    layer, _ = unrolled.accelerate(kind(8, hidden_size, **options))
    run = read_sequences if isinstance(layer, nn.RNNBase) else read_step
    return run(layer, torch.zeros(*shape, 8), None) is not None


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("rows", [6, 7, 8, 9])
def test_seven_or_eight_rows_of_many_steps_are_torchs_lstm(rows):
    with torch.no_grad():
        assert runs_on_kernel(nn.LSTM, 100, rows) == (rows not in (7, 8))
        assert runs_on_kernel(nn.LSTM, rows, 100, batch_first=True) == (rows not in (7, 8))
        assert runs_on_kernel(nn.LSTM, 20, rows)
        assert runs_on_kernel(nn.LSTM, 100, rows, hidden_size=16)
        assert runs_on_kernel(nn.GRU, 100, rows)
    assert runs_on_kernel(nn.LSTM, 100, rows)  # learning


def test_with_two_threads_rows_are_divided():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            assert runs_on_kernel(nn.LSTM, 100, 8)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("kind", "hidden_size", "expected"),
    [
        (nn.LSTMCell, 128, True),
        (nn.LSTMCell, 384, False),
        (nn.LSTMCell, 1024, True),
        (nn.GRUCell, 128, True),
        (nn.GRUCell, 512, False),
        (nn.RNNCell, 128, True),
        (nn.RNNCell, 512, False),
    ],
)
def test_one_row_and_weights_beside_the_cache_are_torchs_cell(kind, hidden_size, expected):
    with torch.no_grad():
        assert runs_on_kernel(kind, 1, hidden_size=hidden_size) is expected
        assert runs_on_kernel(kind, hidden_size=hidden_size) is expected
        assert runs_on_kernel(kind, 4, hidden_size=hidden_size)


def test_small_rnn_cells_learn_by_torch():
    assert not runs_on_kernel(nn.RNNCell, 1, hidden_size=64)
    assert not runs_on_kernel(nn.RNNCell, 8, hidden_size=64)
    assert runs_on_kernel(nn.RNNCell, 64, hidden_size=128)
    assert runs_on_kernel(nn.LSTMCell, 1, hidden_size=64)
    layer, _ = unrolled.accelerate(nn.RNNCell(8, 64).requires_grad_(False))
    assert read_step(layer, torch.zeros(8, 8), None) is not None
