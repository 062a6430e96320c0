import pytest
import torch

from unrolled.networks import LAYERS, LayerOptions, make_layer
from unrolled.networks.both_directions import reverse_rows


@pytest.mark.parametrize("cell", LAYERS)
def test_outputs_do_not_depend_on_padding(cell):
    layer = make_layer(LayerOptions(cell=cell, hidden_size=4), 3, bidirectional=True).double()
    x, lengths = torch.randn(2, 6, 3, dtype=torch.double), torch.tensor([6, 4])
    output, _ = layer(x, lengths=lengths)
    assert output.shape == (2, 6, 8) == (*x.shape[:2], layer.output_size)
    alone, _ = layer(x[1:, :4])
    torch.testing.assert_close(output[1:, :4], alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("cell", ["tcn", "conv"])
def test_the_second_half_sees_what_follows_and_the_first_what_came(cell):
    options = LayerOptions(cell=cell, hidden_size=3, num_layers=1)
    layer = make_layer(options, 2, bidirectional=True)
    x = torch.randn(1, 5, 2, requires_grad=True)
    output, _ = layer(x)
    (gradient,) = torch.autograd.grad(output[0, 2, :3].sum(), x, retain_graph=True)
    assert gradient[0, 3:].abs().sum() == 0
    (gradient,) = torch.autograd.grad(output[0, 2, 3:].sum(), x)
    assert gradient[0, :2].abs().sum() == 0
    assert gradient[0, 2:].abs().sum() > 0


def test_rows_are_reversed_up_to_their_own_ends():
    x = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]])[:, :, None]
    reversed_rows = reverse_rows(x, torch.tensor([3, 2, 0]))
    assert reversed_rows[:, :, 0].tolist() == [[3, 2, 1], [5, 4, 6], [7, 8, 9]]
