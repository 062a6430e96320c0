"""The picture encoder: a small convolutional network, learned from scratch.

    pixels (3, S, S)
       |
    [3x3 convolution, half the size, twice the channels; 3x3 convolution added to it]   stage 1
       |
      ...                                                                               stage 4
       |
    normalised at each place of the grid, + what the place learned about being there
       |                     |
    memory (P, M)        summary (M)
    a vector for each    the largest of each feature:
    place of the grid    is it there, wherever it is?

Each picture is normalised by itself, all channels together (channel by channel, a picture of one
colour would lose it): nothing depends on the other pictures of a batch, and there are no running
averages to keep. White comes in as zero: around most small pictures it is all that there is.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from unrolled.errors import ShapeError
from unrolled.layers import check_dropout, check_sizes

__all__ = ["PictureEncoder", "PictureEncoderConfig"]

_SMALLEST_GRID = 4  # places on a side, from where on the size is not halved any more


@dataclass(frozen=True)
class PictureEncoderConfig:
    """What it takes to build a `PictureEncoder`, all of it plain values.

    Args:
        picture_size: S, pixels of each side.
        channels: C, of the first stage; each stage doubles them.
        dropout: Probability that a value of the memory is zeroed in training.

    Raises:
        OptionError: A size below 1, a dropout that is no probability.
    """

    picture_size: int
    channels: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        where = "PictureEncoderConfig"
        check_sizes(where, {"picture_size": self.picture_size, "channels": self.channels})
        check_dropout(where, self.dropout)

    @property
    def num_stages(self) -> int:
        """How often the size is halved: until the grid is 4 by 4 or smaller, at most 4 times."""
        side, stages = self.picture_size, 0
        while stages < 1 or (stages < 4 and side > _SMALLEST_GRID):
            side, stages = (side + 1) // 2, stages + 1
        return stages

    @property
    def memory_size(self) -> int:
        """M, features of each place of the grid."""
        return self.channels << (self.num_stages - 1)

    @property
    def grid_size(self) -> int:
        """Places on each side of the grid."""
        side = self.picture_size
        for _ in range(self.num_stages):
            side = (side + 1) // 2
        return side


class _Stage(nn.Module):
    """Half the size: y = relu(norm(conv(x))), then y + relu(norm(conv(y)))."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        self.down_norm = nn.GroupNorm(1, out_channels)
        self.same = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.same_norm = nn.GroupNorm(1, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down_norm(self.down(x)).relu()
        z: Tensor = self.same_norm(self.same(y)).relu()
        return y + z


class PictureEncoder(nn.Module):
    """Pictures to a grid of feature vectors and a summary.

    Args:
        config: The sizes.

    Example:
        >>> encoder = PictureEncoder(PictureEncoderConfig(picture_size=64, channels=8))
        >>> memory, summary = encoder(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
        >>> memory.shape, summary.shape
        (torch.Size([2, 16, 64]), torch.Size([2, 64]))
    """

    def __init__(self, config: PictureEncoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = [3, *(config.channels * 2**stage for stage in range(config.num_stages))]
        self.stages = nn.Sequential(
            *(_Stage(width, further) for width, further in pairwise(widths))
        )
        self.norm = nn.LayerNorm(config.memory_size)
        self.dropout = nn.Dropout(config.dropout)
        num_places = config.grid_size**2
        self.place = nn.Parameter(0.02 * torch.randn(num_places, config.memory_size))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch of pictures.

        Args:
            pixels: (B, 3, S, S) uint8.

        Returns:
            The memory, (B, P, M), row by row of the grid, and the summary, (B, M).

        Raises:
            ShapeError: Another shape or dtype.
        """
        size = self.config.picture_size
        if tuple(pixels.shape[1:]) != (3, size, size) or pixels.dtype != torch.uint8:
            got = f"{tuple(pixels.shape)} {pixels.dtype}"
            message = f"PictureEncoder: pixels must be (B, 3, {size}, {size}) torch.uint8"
            raise ShapeError(f"{message}, got {got}", "data.pictures.read_picture makes them")
        ink = (255 - pixels.to(self.place.dtype)) / 127.5
        grid = self.stages(ink).flatten(2).transpose(1, 2)  # (B, P, M)
        memory = self.dropout(self.norm(grid) + self.place)
        return memory, memory.amax(1)
