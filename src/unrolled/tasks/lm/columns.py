r"""One long text laid out in columns, for truncated backpropagation through time.

A batch of a recurrent network reads B places of a text at once. For the state to be carried from
one window to the next, each row of the batch must go on where it stopped. So the text is cut into B
contiguous columns of S steps each. The alphabet in B = 4 columns, time running down:

    column      0   1   2   3
              ┌───┬───┬───┬───┐
    step 0    │ a │ h │ o │ v │
         1    │ b │ i │ p │ w │   window(0, 3): 3 steps of
         2    │ c │ j │ q │ x │   all columns, (B, 3)
              ├───┼───┼───┼───┤
         3    │ d │ k │ r │ y │
         4    │ e │ l │ s │ z │   window(3, 6): the states after
         5    │ f │ m │ t │   │   c, j, q, x go in
              ├───┼───┼───┼───┤
         6    │ g │ n │ u │   │   window(6, 7)
              └───┴───┴───┴───┘

Each token's target is the one that follows it in the text, over the foot of a column too: the
target of g is h. So every token after the first is predicted exactly once. What is missing at the
end is filled up; there, and at z, the target is `IGNORE`, which torch's cross-entropy leaves out.

Here is the layout and nothing else: where training stands in it, and the state, belong to training.
"""

from torch import Tensor
from torch.nn.functional import pad

from unrolled.data.batching import IGNORE
from unrolled.errors import DataError, OptionError, field

__all__ = ["Columns", "check_length", "columns_of", "steps_within"]


class Columns:
    """The tokens of a text in `num_columns` columns of `num_steps` steps.

    Args:
        tokens: (N,), int64. Copied, not changed.
        num_columns: B, the rows of a batch over all processes, at least 1.
        min_steps: The least number of steps that the caller can use, such as one window.

    Raises:
        DataError: The text is too short for `min_steps` steps in each column.
        OptionError: `num_columns` is below 1.

    Example:
        >>> import torch
        >>> columns = Columns(torch.tensor([0, 1, 2, 3, 4, 5]), num_columns=2)
        >>> inputs, targets = columns.window(0, columns.num_steps)
        >>> inputs
        tensor([[0, 1, 2],
                [3, 4, 5]])
        >>> targets
        tensor([[   1,    2,    3],
                [   4,    5, -100]])
    """

    def __init__(self, tokens: Tensor, num_columns: int, min_steps: int = 1) -> None:
        check_length(len(tokens), num_columns, min_steps)
        self.num_columns = num_columns
        self.num_steps = -(-(len(tokens) - 1) // num_columns)
        size = num_columns * self.num_steps
        padded = pad(tokens, (0, size + 1 - len(tokens)), value=IGNORE)
        self._inputs = padded[:-1].view(num_columns, self.num_steps)
        self._targets = padded[1:].view(num_columns, self.num_steps)

    def window(
        self, start: int, stop: int, rank: int = 0, world_size: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Return the steps from `start` up to `stop` of the columns that belong to `rank`.

        Args:
            start: The first step, from 0.
            stop: The step after the last, at most `num_steps`.
            rank: Which of the processes, from 0. Process r of W has the columns from r B / W up
                to (r + 1) B / W, rounded down: each column has one process.
            world_size: W, the number of processes, at most B.

        Returns:
            The inputs and their targets, each (B of this rank, stop - start) and the caller's own.
            Where a target is `IGNORE` after the end of the text, the input is 0.

        Raises:
            OptionError: The steps or the rank are outside of their range.
        """
        steps_within(start, stop, self.num_steps)
        own = columns_of(rank, world_size, self.num_columns)
        inputs = self._inputs[own, start:stop].clamp(min=0)  # 0 is a token of any vocabulary
        return inputs, self._targets[own, start:stop].clone()


def check_length(num_tokens: int, num_columns: int, min_steps: int) -> None:
    """Raise `DataError` if a text is too short for its columns, `OptionError` if there are none."""
    if num_columns < 1:
        raise OptionError(f"the number of columns must be at least 1, got {num_columns}")
    needed = num_columns * (min_steps - 1) + 2
    if num_tokens < needed:
        raise DataError(
            f"the text is too short: {num_columns} columns of {min_steps} steps need "
            f"{needed} tokens, got {num_tokens}",
            f"give more text, or lower {field('batch_size')} (columns) or {field('k1')}",
        )


def steps_within(start: int, stop: int, num_steps: int) -> None:
    """Raise `OptionError` unless a window has steps, and all of them are of the columns."""
    if not 0 <= start < stop <= num_steps:
        raise OptionError(f"steps {start} to {stop} are not within 0 to {num_steps}")


def columns_of(rank: int, world_size: int, num_columns: int) -> slice:
    """Return which columns belong to a process; `OptionError` if it could have none."""
    if not 0 <= rank < world_size <= num_columns:
        raise OptionError(
            f"process {rank} of {world_size} can have none of {num_columns} columns",
            "take at least one column, a row of the batch, for each process",
        )
    return slice(rank * num_columns // world_size, (rank + 1) * num_columns // world_size)
