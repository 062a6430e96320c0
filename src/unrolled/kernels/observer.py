"""Who sees what happens inside a recurrence, besides what it returns."""

from abc import ABC, abstractmethod

from torch import Tensor

__all__ = ["GraphObserver", "Observer", "ValueObserver"]


class ValueObserver(ABC):
    """Sees numbers: everything that the cell names, at all steps. No gradients are kept then."""

    @abstractmethod
    def see(
        self,
        x: Tensor,
        inputs: dict[str, Tensor],
        states: tuple[Tensor, ...],
        values: dict[str, Tensor],
    ) -> None:
        """Take note of a recurrence that has run.

        Args:
            x: What it read, (N, I).
            inputs: By name what it read beside x, (N, H) each.
            states: The states before the first step, (B, H) each.
            values: By name what the cell returned, if it has a value for each row and unit, (N, H)
                each in the order of `x`; booleans are 0 or 1.
        """


class GraphObserver(ABC):
    """Sees a graph: each step's values, as the tensors that gradients flow through.

    Only the reference makes such tensors, so that is what runs then.
    """

    @abstractmethod
    def input(self, x: Tensor) -> Tensor:
        """Return `x`, (N, I), as the recurrence is to read it."""

    @abstractmethod
    def see(self, step: int, values: dict[str, Tensor]) -> None:
        """Take note of all that the cell returned at `step`, by name."""


Observer = ValueObserver | GraphObserver
