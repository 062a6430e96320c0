"""A convolutional network over rows that are cut into pieces, in groups of similar lengths.

A network reads padded batches. One batch of all pieces could be far larger than that of the rows,
the longest piece being long and most of them short; in groups it is at most about twice as large.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from unrolled.kernels import Pieces, exchanged, valid_steps

__all__ = ["run_pieces"]

_Result = tuple[Tensor, tuple[Tensor, ...]]


class _Run(Protocol):
    def __call__(
        self, x: Tensor, past: tuple[Tensor, ...] | None, lengths: Tensor, *, ends: bool
    ) -> _Result:
        """Return the output (T, P, H), zero past a row's end, and if `ends` the past then."""
        ...


class _Group(NamedTuple):
    """Pieces that run together.

    numbers: Which, (P,). num_steps: Of the longest, at least 1. at_edge: Whether the states of
    their rows go in or come out; of the others, which may be many, none are kept.
    """

    numbers: Tensor
    num_steps: int
    at_edge: bool


def run_pieces(
    run: _Run, x: Tensor, past: tuple[Tensor, ...] | None, state: tuple[Tensor, ...], pieces: Pieces
) -> _Result:
    """Run a network over the pieces of a batch.

    Args:
        run: Runs it over a batch of rows with lengths.
        x: (T, B, I).
        past: What comes before each row, (span, B, C) for each convolution; None: zeros.
        state: Zeros, as `past`, for what comes next.
        pieces: Where the rows are cut.

    Returns:
        The output (T, B, H), zero past a row's end, and the past of what comes next.
    """
    (num_steps, batch_size, input_size), device = x.shape, x.device
    groups = list(_groups(pieces, past is not None))
    num_places = num_steps * batch_size
    # for each place of the groups' batches its place in `x`, behind which there is a row of zeros
    index, lengths = [], []
    for group in groups:
        row, first = pieces.row[group.numbers], pieces.first[group.numbers]
        lengths.append(pieces.length[group.numbers])
        place = (first + torch.arange(group.num_steps, device=device)[:, None]) * batch_size + row
        valid = valid_steps(lengths[-1], group.num_steps)
        index.append(place.where(valid, num_places).flatten())
    index_of_all = torch.cat([*index, torch.full((1,), num_places, device=device)])
    # what is past a row's end, and the row of zeros, come to the last place
    back = torch.full((num_places + 1,), len(index_of_all) - 1, device=device)
    back[index_of_all] = torch.arange(len(index_of_all), device=device)
    back[num_places] = len(index_of_all) - 1
    rows = torch.cat([x.reshape(num_places, input_size), x.new_zeros(1, input_size)])
    read = exchanged(rows, index_of_all, back)
    parts = torch.split(read, [*map(len, index), 1])
    outputs = []
    for group, length, part in zip(groups, lengths, parts, strict=False):
        chunk = part.view(group.num_steps, len(group.numbers), input_size)
        own = None
        if group.at_edge and past is not None:
            own = tuple(_begin(pieces, group.numbers, each) for each in past)
        output, ends = run(chunk, own, length, ends=group.at_edge)
        outputs.append(output.reshape(-1, output.shape[2]))
        if group.at_edge:
            last = pieces.is_last[group.numbers].nonzero()[:, 0]
            row = pieces.row[group.numbers[last]]
            pairs = zip(state, ends, strict=True)
            state = tuple(s.index_copy(1, row, e.index_select(1, last)) for s, e in pairs)
    zeros = outputs[0].new_zeros(1, outputs[0].shape[1])
    output = exchanged(torch.cat([*outputs, zeros]), back, index_of_all)[:num_places]
    return output.view(num_steps, batch_size, -1), state


def _groups(pieces: Pieces, has_past: bool) -> Iterator[_Group]:
    """Divide the pieces by length, those at the rows' edges on their own."""
    at_edge = pieces.is_last | pieces.continues if has_past else pieces.is_last
    for edge in (False, True):
        numbers = (at_edge == edge).nonzero()[:, 0]
        length, order = pieces.length[numbers].sort(descending=True, stable=True)
        numbers, begin = numbers[order], 0
        kinds = length.clamp(min=1).double().log2().floor()  # one for each power of two
        bounds = [0, *(kinds.diff().nonzero()[:, 0] + 1).tolist(), len(length)]
        steps = [0, *length.cumsum(0).tolist()]
        for start, end in pairwise(bounds):
            padded = (end - begin) * (steps[begin + 1] - steps[begin]) if begin < end else 0
            if start > begin and padded > 2 * (steps[end] - steps[begin]):
                yield _Group(numbers[begin:start], steps[begin + 1] - steps[begin], edge)
                begin = start
        if begin < len(length):
            yield _Group(numbers[begin:], max(1, steps[begin + 1] - steps[begin]), edge)


def _begin(pieces: Pieces, numbers: Tensor, past: Tensor) -> Tensor:
    """Return the past of pieces, (span, P, C): zeros but for those that go on from their rows'."""
    known = pieces.continues[numbers].nonzero()[:, 0]
    zeros = past.new_zeros(len(past), len(numbers), past.shape[2])
    return zeros.index_copy(1, known, past.index_select(1, pieces.row[numbers[known]]))
