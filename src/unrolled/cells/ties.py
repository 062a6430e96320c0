"""Recurrent weights that are made of others: what a cell declares of them by `ties=`.

Not for computing them: a layer makes torch's parametrisations of them (`unrolled.layers`).
"""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from unrolled.errors import OptionError

__all__ = ["Tie", "check_ties"]

Tie = Callable[[Tensor], Tensor]
"""From the matrix that is learned, (H, H), to the recurrent matrix of a gate, (H, H)."""


def check_ties(
    where: str, ties: Mapping[str, object], recurrent: Sequence[str], heads: int
) -> None:
    """Raise `OptionError` unless each tie is a function, of a gate with a matrix of its own."""
    for gate, tie in ties.items():
        if gate not in recurrent:
            names = ", ".join(recurrent) or "none"
            problem = f"{where}: ties= is of gate '{gate}', which has no recurrent weights"
            raise OptionError(problem, f"gates that have some: {names}")
        if not callable(tie):
            problem = f"{where}: the tie of gate {gate} is no function, but {type(tie).__name__}"
            raise OptionError(
                problem, "a function of the learned matrix, (H, H): lambda w: w - w.T"
            )
    if ties and heads > 1:
        problem = f"{where}: has ties= and {heads} heads, and a tie is of a whole matrix"
        raise OptionError(problem, "leave one of them out")
