"""What is done to series in training: what it leaves alone, and how much it changes."""

import torch
from torch import Tensor

from unrolled.tasks.classify.augment import augment_series


def lines(num_rows: int, num_steps: int) -> Tensor:
    return torch.linspace(0, 1, num_steps).expand(num_rows, num_steps)[..., None]


def test_length_and_what_is_beyond_it_stay() -> None:
    x = lines(3, 20).clone()
    lengths = torch.tensor([20, 7, 1])
    x[1, 7:] = 0
    x[2, 1:] = 0
    varied = augment_series(x, lengths)
    assert varied.shape == x.shape
    for row, length in enumerate(lengths):
        assert (varied[row, length:] == 0).all()
        assert (varied[row, :length] != 0).all()  # noise is everywhere else


def test_a_row_is_read_from_its_first_step_to_its_last_and_nothing_beyond() -> None:
    x = torch.ones(200, 30, 1)
    x[:, 12:] = 1e6
    varied = augment_series(x, torch.full((200,), 12))
    assert varied.abs().max() < 2


def test_changes_are_small_and_different_for_each_row_and_draw() -> None:
    torch.manual_seed(0)
    x = lines(400, 50)
    lengths = torch.full((400,), 50)
    varied = augment_series(x, lengths)
    assert torch.equal(x, lines(400, 50))
    off = (varied - x).abs()
    assert 0.03 < off.mean() < 0.12
    assert (varied[0] - varied[1]).abs().max() > 0.02
    assert not torch.equal(varied, augment_series(x, lengths))
    middle = varied[:, 25, 0]
    assert 0.05 < middle.std() < 0.2  # of the warp, the factor and the noise


def test_the_seed_decides() -> None:
    x, lengths = lines(4, 9), torch.tensor([9, 9, 3, 2])
    torch.manual_seed(3)
    first = augment_series(x, lengths)
    torch.manual_seed(3)
    assert torch.equal(first, augment_series(x, lengths))
