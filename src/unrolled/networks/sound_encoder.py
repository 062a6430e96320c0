"""The sound encoder: a sequence layer over the log-mel frames of a recording.

    memory           m_1       m_2       m_3              (S, M), and a summary (M)
                      ^         ^         ^
    both ways     [layer]<->[layer]<->[layer]             or ->, of any cell
                      ^         ^         ^
    k at a time   x_1..x_3  x_4..x_6  x_7 x_8 0           K bands each, here k = 3
                      ^         ^         ^
    frames        x_1  x_2  x_3  ...  x_7  x_8            one every 10 ms

A layer over single frames would make many steps of little news each: k of them side by side are as
much information in k times fewer steps.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import ShapeError
from unrolled.layers import check_lengths, check_sizes, valid_steps
from unrolled.networks.options import LayerOptions
from unrolled.networks.sequence_layers import make_layer

__all__ = ["SoundEncoder", "SoundEncoderConfig", "side_by_side"]


def side_by_side(frames: Tensor, count: int) -> Tensor:
    """Return `count` frames as one step, zeros after the last: (..., T, K) to (..., S, count K).

    Example:
        >>> side_by_side(torch.ones(3, 1), 2)
        tensor([[1., 1.],
                [1., 0.]])
    """
    if count == 1:
        return frames
    filled = F.pad(frames, (0, 0, 0, -frames.shape[-2] % count))
    return filled.reshape(*frames.shape[:-2], -1, count * frames.shape[-1])


@dataclass(frozen=True)
class SoundEncoderConfig:
    """What it takes to build a `SoundEncoder`.

    Args:
        num_bands: K, features of each frame.
        layer: Of the layer; its dropout is that of the input and of the output too.
        bidirectional: Whether each recording is also read from its end.
        frames_per_step: k, frames that the layer reads in one step.

    Raises:
        OptionError: A size below 1.
    """

    num_bands: int
    layer: LayerOptions
    bidirectional: bool = True
    frames_per_step: int = 3

    def __post_init__(self) -> None:
        names = ("num_bands", "frames_per_step")
        check_sizes("SoundEncoderConfig", {name: getattr(self, name) for name in names})

    @property
    def memory_size(self) -> int:
        """M, features of each step of the memory."""
        return self.layer.hidden_size * (2 if self.bidirectional else 1)


class SoundEncoder(nn.Module):
    """Log-mel frames to a memory of what was heard when, and a summary.

    The summary is what each direction has at its end: the last step's output of the one that reads
    forwards, the first step's of the one that reads backwards.

    Args:
        config: The sizes and the cell.

    Example:
        >>> encoder = SoundEncoder(SoundEncoderConfig(40, LayerOptions(hidden_size=8)))
        >>> frames = torch.zeros(2, 10, 40)
        >>> memory, lengths, summary = encoder(frames, torch.tensor([10, 4]))
        >>> memory.shape, lengths, summary.shape
        (torch.Size([2, 4, 16]), tensor([4, 2]), torch.Size([2, 16]))
    """

    def __init__(self, config: SoundEncoderConfig) -> None:
        super().__init__()
        self.config = config
        input_size = config.num_bands * config.frames_per_step
        self.layer = make_layer(config.layer, input_size, bidirectional=config.bidirectional)
        self.dropout = nn.Dropout(config.layer.dropout)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode a batch of recordings.

        Args:
            frames: (B, T, K), on a scale of about 1 around 0.
            lengths: (B,), the frames of each recording, 1..T. What lies past them is not read.

        Returns:
            The memory, (B, S, M) with S = ceil(T / k); its steps of each recording, (B,); the
            summary, (B, M).

        Raises:
            ShapeError: Another shape, or a recording without a frame.
        """
        config = self.config
        if frames.dim() != 3 or frames.shape[2] != config.num_bands:
            got = tuple(frames.shape)
            raise ShapeError(f"SoundEncoder: frames must be (B, T, {config.num_bands}), got {got}")
        batch_size, num_frames, _ = frames.shape
        lengths = check_lengths("SoundEncoder", lengths, num_frames, batch_size, frames.device)
        if not torch.compiler.is_compiling() and not bool((lengths > 0).all()):
            row = int(lengths.argmin())
            raise ShapeError(f"SoundEncoder: recording {row} of the batch has no frame")
        k = config.frames_per_step
        x = frames.masked_fill(~valid_steps(lengths, num_frames).T[:, :, None], 0.0)
        x = side_by_side(x, k)  # (B, S, k K)
        steps = (lengths + k - 1).div(k, rounding_mode="floor")
        memory, _ = self.layer(self.dropout(x), lengths=steps)
        memory = self.dropout(memory)
        return memory, steps, self._summary(memory, steps)

    def _summary(self, memory: Tensor, steps: Tensor) -> Tensor:
        """Return the output of each direction at its end, (B, M)."""
        rows = torch.arange(memory.shape[0], device=memory.device)
        last = memory[rows, steps - 1]
        size = self.config.layer.hidden_size
        if not self.config.bidirectional:
            return last
        return torch.cat([last[:, :size], memory[:, 0, size:]], dim=1)
