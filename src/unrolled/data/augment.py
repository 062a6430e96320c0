"""Small changes that a caption survives: more training data from what there is.

All draw from torch's global generator, so that a seed decides them and a checkpoint keeps them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.data.recordings import LOG_MEL_FLOOR

__all__ = ["augment_frames", "augment_pictures", "move_pictures"]

_WHITE = 255
_TURN = 0.2  # radians, at most: 11 degrees
_SIZE = 0.15  # at most so much larger or smaller
_GRAIN = 4.0  # standard deviation of the noise of a picture, of 255
_TEMPO = 0.15  # at most so much slower or faster
_GAIN = 1.5  # nats of energy: 6.5 dB up or down
_MASKED_BANDS = 0.15  # at most this part of the bands
_MASKED_FRAMES = 8  # at most


def augment_pictures(pixels: Tensor, flip: bool = False) -> Tensor:
    """Return pictures shifted by up to an eighth of their side, in other light and colours.

    What comes in at the edge is white.

    Args:
        pixels: (B, 3, S, S) uint8.
        flip: Whether left and right are exchanged in half of them; not for letters or flags.

    Returns:
        Pictures of the same shape and dtype.

    Example:
        >>> augment_pictures(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape
        torch.Size([2, 3, 64, 64])
    """
    batch_size, _, size, _ = pixels.shape
    x = pixels.float()
    if flip:
        flipped = torch.rand(batch_size) < 0.5
        x = torch.where(flipped[:, None, None, None], x.flip(3), x)
    most = size // 8
    x = F.pad(x, (most,) * 4, value=_WHITE)
    down, right = torch.randint(0, 2 * most + 1, (2, batch_size, 1)) + torch.arange(size)
    rows = torch.arange(batch_size)[:, None, None]
    x = x.permute(0, 2, 3, 1)[rows, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)
    return _in_other_light(x)


def move_pictures(pixels: Tensor, flip: bool = False) -> Tensor:
    """Return pictures shifted, turned, larger or smaller, in other light, with a little noise.

    Shifted by up to an eighth of their side, turned by up to 11 degrees, up to 15 % larger or
    smaller. What comes in at the edge is as the edge: `augment_pictures` has white, which around
    white letters on black would be a mark of its own.

    Args:
        pixels: (B, 3, S, S) uint8.
        flip: Whether left and right are exchanged in half of them.

    Returns:
        Pictures of the same shape and dtype.

    Example:
        >>> move_pictures(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).shape
        torch.Size([2, 3, 8, 8])
    """
    batch_size = len(pixels)
    angle, growth, right, down = 2 * torch.rand(4, batch_size) - 1
    angle, factor = _TURN * angle, 1 + _SIZE * growth
    cosine, sine = angle.cos() / factor, angle.sin() / factor
    mirror = torch.where(torch.rand(batch_size) < 0.5, -1.0, 1.0) if flip else torch.ones(())
    # the grid goes from -1 to 1: an eighth of the side is a quarter
    rows = [
        torch.stack(row, 1)
        for row in ((mirror * cosine, -sine, right / 4), (mirror * sine, cosine, down / 4))
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    x = F.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
    return _in_other_light(x + _GRAIN * torch.randn_like(x))


def _in_other_light(x: Tensor) -> Tensor:
    """Return pictures, (B, 3, S, S) float, in other light and colours, as uint8."""
    batch_size = len(x)
    x = torch.lerp(x.mean(1, keepdim=True).expand_as(x), x, _about_one(batch_size, 1))
    ink = (_WHITE - x) * _about_one(batch_size, 1) * _about_one(batch_size, 3)  # white stays white
    return (_WHITE - ink).round().clamp(0, _WHITE).to(torch.uint8)


def _about_one(batch_size: int, num_channels: int) -> Tensor:
    """Return factors between 0.8 and 1.2, (B, C, 1, 1)."""
    return 0.8 + 0.4 * torch.rand(batch_size, num_channels, 1, 1)


def augment_frames(frames: Tensor) -> Tensor:
    """Return log-mel frames a little faster or slower, louder or softer, noisier, with gaps.

    The tempo changes by up to 15 %, the energy by up to 6.5 dB; white noise of a random strength is
    added; and a group of neighbouring bands and one of neighbouring frames go silent (Park et al.
    2019, "SpecAugment").

    Args:
        frames: (T, K), T at least 1.

    Returns:
        (T', K) with T' at least 1.

    Example:
        >>> augment_frames(torch.zeros(100, 40)).shape[1]
        40
    """
    num_frames, num_bands = frames.shape
    tempo = 1 + _TEMPO * (2 * torch.rand(()).item() - 1)
    length = max(1, round(num_frames / tempo))
    x = F.interpolate(frames.T[None], size=length, mode="linear", align_corners=False)[0].T
    x = x + _GAIN * (2 * torch.rand(()) - 1)
    noise = LOG_MEL_FLOOR + 10 * torch.rand(())
    x = torch.logaddexp(x, noise + 0.5 * torch.randn(x.shape))
    silence = x.mean()
    start, stop = _stretch(num_bands, int(_MASKED_BANDS * num_bands))
    x[:, start:stop] = silence
    start, stop = _stretch(length, min(_MASKED_FRAMES, length // 4))
    x[start:stop] = silence
    return x


def _stretch(size: int, longest: int) -> tuple[int, int]:
    """Return the begin and the end of a random stretch of at most `longest` of `size` places."""
    width = int(torch.randint(0, longest + 1, ()))
    start = int(torch.randint(0, size - width + 1, ()))
    return start, start + width
