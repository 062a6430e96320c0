"""What a stack of residual blocks computes, by torch's own operations."""

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from unrolled.kernels.convolving.piecewise import run_pieces
from unrolled.kernels.convolving.problem import NetworkProblem
from unrolled.kernels.rows import Pieces

__all__ = ["reference_blocks", "window_and_past"]


def window_and_past(x: Tensor, past: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return what a causal convolution reads, and the past of what comes next.

    Args:
        x: (B, C, T), features before time as torch's convolutions have them.
        past: (span, B, C), the inputs before `x`.
        lengths: (B,), the steps of each row that count; all of them if None.

    Returns:
        (B, C, span + T), and the last `span` inputs before each row's end, (span, B, C).
    """
    window = torch.cat([past.permute(1, 2, 0), x], dim=2)
    if lengths is None:
        latest = window[:, :, x.shape[2] :]
    else:
        # In the window, the inputs before step `length` start at `length`: the past comes first.
        steps = lengths[:, None] + torch.arange(len(past), device=x.device)  # (B, span)
        latest = window.gather(2, steps[:, None, :].expand(-1, x.shape[1], -1))
    # A copy, so that the state does not keep the whole window alive.
    return window, latest.permute(2, 0, 1).clone(memory_format=torch.contiguous_format)


def reference_blocks(problem: NetworkProblem) -> list[Tensor]:
    """Return the output, (T, B, H), zero past a row's end, and the past of what comes next."""
    if problem.pieces is not None:
        return _by_pieces(problem, problem.pieces)
    shapes, x, lengths, past, weights, keep, _ = problem
    num_steps, batch_size, _ = x.shape
    padding = None
    if lengths is not None:
        padding = torch.arange(num_steps, device=x.device)[:, None, None] >= lengths[:, None]
        x = x.masked_fill(padding, 0.0)
    x = x.permute(1, 2, 0)
    ends = []
    for level, (shape, block) in enumerate(zip(shapes, weights, strict=True)):
        read = a = x
        pairs = ((block.first, block.first_bias), (block.second, block.second_bias))
        for index, (weight, bias) in enumerate(pairs, start=2 * level):
            start = past[index] if past else x.new_zeros(shape.span, batch_size, a.shape[1])
            window, end = window_and_past(a, start, lengths)
            ends.append(end)
            a = conv1d(window, weight, bias, dilation=shape.dilation).relu()
            if (mask := keep[index]) is not None:
                a = a * mask.transpose(1, 2) * shape.scale
        if block.shortcut is not None:
            read = conv1d(read, block.shortcut, block.shortcut_bias)
        x = (a + read).relu()
    output = x.permute(2, 0, 1)
    return [output if padding is None else output.masked_fill(padding, 0.0), *ends]


def _by_pieces(problem: NetworkProblem, pieces: Pieces) -> list[Tensor]:
    batch_size = problem.x.shape[1]

    # torch.compile of 2.10 knows no `|` of types: these are texts
    def kept(keep: "Tensor | None", places: Tensor) -> "Tensor | None":
        if keep is None:
            return None
        of_places = keep.transpose(0, 1).reshape(-1, keep.shape[2])
        return of_places[places.T.clamp(max=len(of_places) - 1)]

    def run(
        x: Tensor, past: tuple[Tensor, ...], lengths: Tensor, places: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        keep = tuple(kept(each, places) for each in problem.keep)
        own = problem._replace(x=x, past=past, lengths=lengths, keep=keep, pieces=None)
        output, *ends = reference_blocks(own)
        return output, tuple(ends)

    spans = [(s.span, size) for s in problem.shapes for size in (s.input_size, s.hidden_size)]
    zeros = (problem.x.new_zeros(span, batch_size, size) for span, size in spans)
    output, ends = run_pieces(run, problem.x, problem.past or tuple(zeros), pieces)
    return [output, *ends]
