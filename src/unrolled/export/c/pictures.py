"""The encoder of pictures in C: pixels to a vector for each place of a grid."""

import re
from typing import Any

from torch import nn

from unrolled.export.c.grid import Grid
from unrolled.export.c.interface import function
from unrolled.export.c.source import Source
from unrolled.networks.picture_encoder import PictureEncoder

__all__ = ["add_pictures"]


def add_pictures(source: Source, encoder: PictureEncoder) -> Grid:
    """Add `grid_of(in, out, room)`, which makes places of a picture, and return what it does."""
    source.needs_libm = True
    side = encoder.config.picture_size
    stages: list[Any] = list(encoder.stages)
    sizes = [3 * side * side]
    lines = [f"darkness({side * side}, in, room);"]
    read = 0  # of the first two pieces of room, the one that the next stage reads
    for number, stage in enumerate(stages):
        after, size = (side + 1) // 2, stage.same.out_channels
        y, z = f"{1 - read} * @", "2 * @"
        lines += _convolved(source, f"stage{number}_down", stage.down, stage.down_norm, side, 2,
                            f"{read} * @", y)  # fmt: skip
        lines += _convolved(source, f"stage{number}_same", stage.same, stage.same_norm, after, 1,
                            y, z)  # fmt: skip
        sizes.append(after * after * size)
        lines.append(f"add({sizes[-1]}, room + {z}, room + {y});")
        side, read = after, 1 - read
    size, places = encoder.config.memory_size, side * side
    weight, bias = _norm(source, "grid", encoder.norm)
    place = source.vector("grid_place", encoder.place.detach())
    lines += [
        f"copy({places * size}, room + {read} * @, out);",
        f"normalise_each({places}, {size}, {encoder.norm.eps!r}f, {weight}, {bias}, out);",
        f"add({places * size}, {place}, out);",
    ]
    patch: int = 9 * max(each.same.in_channels for each in stages)
    widest = max(sizes)
    text = [re.sub(r"(\d) \* @", lambda at: str(int(at[1]) * widest), line) for line in lines]
    head = "static void grid_of(const uint8_t *in, float *out, float *room)"
    source.functions.append(function(head, text))
    return Grid(encoder.config.picture_size, places, 3 * widest + patch, tuple(text))


def _convolved(
    source: Source,
    name: str,
    conv: nn.Conv2d,
    norm: nn.GroupNorm,
    side: int,
    stride: int,
    read: str,
    to: str,
) -> list[str]:
    rows = conv.weight.permute(0, 2, 3, 1).reshape(conv.out_channels, -1)
    matrix, after = source.matrix(name, rows), (side + stride - 1) // stride
    weight, bias = _norm(source, name, norm)
    size = conv.out_channels
    return [
        f"convolve({matrix}, {side}, {stride}, room + {read}, room + 3 * @, room + {to});",
        f"normalise({after * after}, {size}, {norm.eps!r}f, {weight}, {bias}, room + {to});",
        f"relu({after * after * size}, room + {to});",
    ]


def _norm(source: Source, name: str, norm: Any) -> tuple[str, str]:
    weight = source.vector(f"{name}_norm_weight", norm.weight.detach())
    return weight, source.vector(f"{name}_norm_bias", norm.bias.detach())
