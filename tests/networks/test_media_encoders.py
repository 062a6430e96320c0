"""The encoders of pictures and sounds: each row alone decides what it is turned into."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import ShapeError
from unrolled.networks import LAYERS, LayerOptions
from unrolled.networks.picture_encoder import PictureEncoder, PictureEncoderConfig
from unrolled.networks.sound_encoder import SoundEncoder, SoundEncoderConfig


def pictures(size: int, batch_size: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8)


@given(size=st.integers(1, 80))
@settings(max_examples=20)
def test_any_size_of_picture_has_a_grid_as_the_configuration_says(size):
    config = PictureEncoderConfig(size, channels=8)
    memory, summary = PictureEncoder(config)(pictures(size, 2))
    assert memory.shape == (2, config.grid_size**2, config.memory_size)
    assert summary.shape == (2, config.memory_size)
    assert torch.equal(summary, memory.amax(1))


@pytest.mark.parametrize(("size", "grid"), [(64, 4), (32, 4), (128, 8), (5, 3)])
def test_the_grid_is_halved_to_four_by_four_but_at_most_four_times(size, grid):
    assert PictureEncoderConfig(size).grid_size == grid


def test_a_picture_does_not_depend_on_the_others_of_its_batch():
    encoder = PictureEncoder(PictureEncoderConfig(16, channels=8)).double()
    batch = pictures(16)
    together, summary = encoder(batch)
    alone, own_summary = encoder(batch[1:2])
    torch.testing.assert_close(together[1:2], alone)
    torch.testing.assert_close(summary[1:2], own_summary)


def test_pictures_of_one_colour_keep_it():
    encoder = PictureEncoder(PictureEncoderConfig(16, channels=8))
    one_colour = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)
    memory, _ = encoder(one_colour[:, :, None, None].expand(3, 3, 16, 16))
    assert torch.pdist(memory.flatten(1)).min() > 0.1


def test_all_that_a_picture_encoder_keeps_is_learned():
    encoder = PictureEncoder(PictureEncoderConfig(16, channels=8))
    assert not list(encoder.buffers())
    memory, _ = encoder(pictures(16))
    memory.square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("shape", [(2, 3, 16, 8), (2, 1, 16, 16), (3, 16, 16)])
def test_pictures_of_another_shape_are_refused(shape):
    encoder = PictureEncoder(PictureEncoderConfig(16, channels=8))
    with pytest.raises(ShapeError, match=r"must be \(B, 3, 16, 16\) torch\.uint8"):
        encoder(torch.zeros(shape, dtype=torch.uint8))


def test_pictures_that_are_not_bytes_are_refused():
    encoder = PictureEncoder(PictureEncoderConfig(16, channels=8))
    with pytest.raises(ShapeError, match=r"torch\.float32"):
        encoder(torch.zeros(2, 3, 16, 16))


def sound_encoder(cell="lstm", **options):
    layer = LayerOptions(cell=cell, hidden_size=5)
    return SoundEncoder(SoundEncoderConfig(num_bands=4, layer=layer, **options))


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_nothing_depends_on_padding(cell, bidirectional):
    encoder = sound_encoder(cell, bidirectional=bidirectional).double().eval()
    lengths = torch.tensor([10, 1, 6, 4])
    frames = torch.randn(4, 10, 4, dtype=torch.float64)
    memory, steps, summary = encoder(frames, lengths)
    assert steps.tolist() == [4, 1, 2, 2]  # three frames a step
    for row, length in enumerate(lengths):
        alone, _, own_summary = encoder(frames[row : row + 1, :length], length[None])
        torch.testing.assert_close(memory[row : row + 1, : steps[row]], alone)
        torch.testing.assert_close(summary[row : row + 1], own_summary)
    for row, length in enumerate(lengths):
        frames[row, length:] = torch.nan
    again, _, _ = encoder(frames, lengths)
    for row in range(4):
        assert torch.equal(memory[row, : steps[row]], again[row, : steps[row]])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_summary_has_heard_all(bidirectional):
    encoder = sound_encoder(bidirectional=bidirectional)
    frames = torch.randn(1, 9, 4, requires_grad=True)
    _, _, summary = encoder(frames, torch.tensor([9]))
    for part in summary.split(5, dim=1):
        (gradient,) = torch.autograd.grad(part.sum(), frames, retain_graph=True)
        assert (gradient.abs().sum(-1) > 0).all()


def test_a_recording_without_a_frame_is_refused():
    encoder = sound_encoder()
    with pytest.raises(ShapeError, match="recording 1 of the batch has no frame"):
        encoder(torch.zeros(2, 3, 4), torch.tensor([3, 0]))


def test_frames_of_another_shape_are_refused():
    encoder = sound_encoder()
    with pytest.raises(ShapeError, match=r"frames must be \(B, T, 4\), got \(2, 3, 5\)"):
        encoder(torch.zeros(2, 3, 5), torch.tensor([3, 3]))


def test_a_frame_goes_to_the_step_that_its_place_says():
    encoder = sound_encoder("dense", bidirectional=False, frames_per_step=3)
    frames = torch.randn(1, 7, 4, requires_grad=True)
    memory, _, _ = encoder(frames, torch.tensor([7]))
    (gradient,) = torch.autograd.grad(memory[0, 1].sum(), frames)
    assert gradient[0].abs().sum(-1).nonzero().flatten().tolist() == [3, 4, 5]
