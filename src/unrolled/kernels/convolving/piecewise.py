"""A network by torch's operations over rows that are cut into pieces, in groups of similar lengths.

These read padded batches. One batch of all pieces could be far larger than that of the rows, the
longest piece being long and most of them short; in groups it is at most about twice as large. The
kernel needs none of this: it reads pieces where they are.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from unrolled.kernels.rows import Pieces, exchanged, valid_steps

__all__ = ["run_pieces"]

_Result = tuple[Tensor, tuple[Tensor, ...]]


class _Run(Protocol):
    def __call__(
        self, x: Tensor, past: tuple[Tensor, ...], lengths: Tensor, places: Tensor
    ) -> _Result:
        """Return the output (T, P, H), zero past a row's end, and the past of what comes next.

        `places`: for each step of each row its place among the (T * B) of the whole batch; past a
        row's end one more than the last of those, (T, P).
        """
        ...


def run_pieces(run: _Run, x: Tensor, past: tuple[Tensor, ...], pieces: Pieces) -> _Result:
    """Run a network over the pieces of a batch.

    Args:
        run: Runs it over a batch of rows with lengths.
        x: (T, B, I).
        past: What comes before each row, (span, B, C) for each convolution.
        pieces: Where the rows are cut.

    Returns:
        The output (T, B, H), zero past a row's end, and the past of what comes next.
    """
    (num_steps, batch_size, input_size), device = x.shape, x.device
    num_places = num_steps * batch_size
    groups, places = [*_groups(pieces)], []
    for group in groups:
        row, first, length = pieces.row[group], pieces.first[group], pieces.length[group]
        longest = max(1, int(length[0]))
        place = (first + torch.arange(longest, device=device)[:, None]) * batch_size + row
        places.append(place.where(valid_steps(length, longest), num_places))
    # a row of zeros behind all others: what padding is read from, and what it comes to
    index = torch.cat([*(p.flatten() for p in places), torch.full((1,), num_places, device=device)])
    back = torch.full((num_places + 1,), len(index) - 1, device=device)
    back[index] = torch.arange(len(index), device=device)
    back[num_places] = len(index) - 1
    rows = torch.cat([x.reshape(num_places, input_size), x.new_zeros(1, input_size)])
    parts = torch.split(exchanged(rows, index, back), [*(p.numel() for p in places), 1])
    outputs, state = [], tuple(torch.zeros_like(each) for each in past)
    for group, own, part in zip(groups, places, parts, strict=False):
        begin = tuple(_begin(pieces, group, each) for each in past)
        chunk = part.view(*own.shape, input_size)
        output, ends = run(chunk, begin, pieces.length[group], own)
        outputs.append(output.reshape(own.numel(), -1))
        last = pieces.is_last[group].nonzero()[:, 0]
        row, pairs = pieces.row[group[last]], zip(state, ends, strict=True)
        state = tuple(old.index_copy(1, row, end.index_select(1, last)) for old, end in pairs)
    zeros = outputs[0].new_zeros(1, outputs[0].shape[1])
    output = exchanged(torch.cat([*outputs, zeros]), back, index)[:num_places]
    return output.view(num_steps, batch_size, -1), state


def _groups(pieces: Pieces) -> Iterator[Tensor]:
    """Divide the pieces by length: the numbers of each group, the longest first."""
    length, numbers = pieces.length.sort(descending=True, stable=True)
    kinds = length.clamp(min=1).double().log2().floor()  # one for each power of two
    bounds = [0, *(kinds.diff().nonzero()[:, 0] + 1).tolist(), len(length)]
    steps = [0, *length.cumsum(0).tolist()]
    begin = 0
    for start, end in pairwise(bounds):
        padded = (end - begin) * (steps[begin + 1] - steps[begin])
        if start > begin and padded > 2 * (steps[end] - steps[begin]):
            yield numbers[begin:start]
            begin = start
    yield numbers[begin:]


def _begin(pieces: Pieces, group: Tensor, past: Tensor) -> Tensor:
    """Return the past of pieces, (span, P, C): zeros but for those that go on from their rows'."""
    known = pieces.continues[group].nonzero()[:, 0]
    zeros = past.new_zeros(len(past), len(group), past.shape[2])
    return zeros.index_copy(1, known, past.index_select(1, pieces.row[group[known]]))
