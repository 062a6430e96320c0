"""Which answers to a toy problem are right, as each problem counts it.

The problems, and what guessing scores, are in problems.py.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.tasks.toy.problem import Toy
from unrolled.tasks.toy.problems import Adding, CopyMemory
from unrolled.tasks.toy.reber import SYMBOLS, Reber

__all__ = ["right_answers"]


def right_answers(
    toy: Toy, answers: Tensor, targets: Tensor, rows: Sequence[tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Return, for each metric but the loss, which of the answers that it counts are right.

    Args:
        toy: The problem.
        answers: (N, O) scores, or (N,) values: those that are asked for, row after row.
        targets: (N,), what is right.
        rows: The inputs and targets of each row.

    Returns:
        By metric, a tensor of bool; its mean is the metric, as in `toy.levels()`.
    """
    if isinstance(toy, Adding):
        return {"correct_sums": (answers - targets).abs() <= toy.tolerance}
    symbols = answers.argmax(-1)
    if isinstance(toy, CopyMemory):
        return {"recalled_symbols": (symbols == targets)[targets > 0]}
    if not isinstance(toy, Reber):
        return {"accuracy": symbols == targets}
    right = {"legal_symbols": _legal(toy, symbols, rows)}
    if toy.embedded:
        steps = torch.tensor([len(row_targets) for _, row_targets in rows])
        frame = steps.cumsum(0) - 2  # the last symbol but one
        t, p = SYMBOLS.index("T"), SYMBOLS.index("P")
        says_t = answers[frame, t] > answers[frame, p]
        right["closed_frames"] = says_t == (targets[frame] == t)
    return right


def _legal(toy: Reber, symbols: Tensor, rows: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    allowed: list[set[str]] = []  # at each step
    for inputs, targets in rows:
        string = "".join(SYMBOLS[i] for i in [int(inputs[0]), *targets.tolist()])
        allowed += list(toy.grammar.legal(string))[1:]
    pairs = zip(symbols.tolist(), allowed, strict=True)
    return torch.tensor([SYMBOLS[i] in legal for i, legal in pairs])
