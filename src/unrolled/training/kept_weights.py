"""The weights that a run keeps: the best ones, or the last ones.

Which they are is decided in `trainer.py`; the file is written in `checkpoint.py`.
"""

from torch import Tensor, nn

from unrolled.training.checkpoint import read_weights, save_weights
from unrolled.training.distributed import Processes
from unrolled.training.run import Run

__all__ = ["KeptWeights"]


class KeptWeights:
    """The file of weights, which the first process writes.

    Where a training is stopped, those it has then may stand there until the next evaluation, for
    the run to go on as if it had not stopped.

    Args:
        run: Whose they are.
        processes: Those that train it.

    Attributes:
        replaced: What those of a stop stand in place of, and the update that it is of.
    """

    def __init__(self, run: Run, processes: Processes) -> None:
        self._run, self._processes = run, processes
        self.replaced: tuple[dict[str, Tensor], int | None] | None = None

    def save(self, weights: nn.Module | dict[str, Tensor], update: int | None) -> None:
        """Keep weights, or those of a model, and the update that they are of."""
        path, run = self._run.weights_path, self._run.identity
        self._processes.from_first(lambda: save_weights(path, weights, run, update))

    def set_aside(self) -> None:
        """Remember what is kept, unless those of a stop are."""
        if self.replaced is None:
            path, run = self._run.weights_path, self._run.identity
            self.replaced = self._processes.from_first(lambda: read_weights(path, run))

    def put_back(self) -> None:
        """Keep again what the weights of a stop replaced, if any: those since are not better."""
        if self.replaced is not None:
            self.save(*self.replaced)
            self.replaced = None
