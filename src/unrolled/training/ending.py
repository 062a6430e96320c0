"""How a training ends: with a result, or as its numbers are not finite any more."""

from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import DivergedError, field
from unrolled.training.options import TrainingOptions
from unrolled.training.schedule import Progress

__all__ = ["TrainingResult", "diverged", "what_is_left"]


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended.

    Args:
        reason: "finished", "out of patience" (what is held out was no longer predicted better), or
            "interrupted" (by `Trainer.request_stop`; it can be resumed).
        update: Updates made.
        epoch: Passes over the training data.
        best_loss: Held-out loss at the best evaluation: that of the weights that were kept, unless
            those are the last ones; infinite without a held-out part.
        elapsed_seconds: Of training and evaluation, all sessions together.
        best_figure: Of the metric that chooses, at the same evaluation.
        kept_update: The update whose weights, averaged, are kept; None before the first evaluation.
        still_improving: Whether each of the last three evaluations was the best so far, when there
            was nothing left to do.
    """

    reason: str
    update: int
    epoch: float
    best_loss: float
    elapsed_seconds: float
    best_figure: float | None = None
    kept_update: int | None = None
    still_improving: bool = False


def what_is_left(path: Path, progress: Progress, *, is_removed: bool) -> str:
    """Return what a run's folder has when its training has failed."""
    if is_removed:
        return f"nothing was learned, and {path} is removed"
    if progress.kept_update is None:
        return f"{path} keeps its last checkpoint, and no weights"
    return f"{path} keeps its last checkpoint and the weights that were kept"


def diverged(
    name: str,
    value: float,
    update: int,
    last_loss: float | None,
    left: str,
    options: TrainingOptions,
) -> DivergedError:
    """Return the error of a figure that is not finite.

    Args:
        name: Of the figure.
        value: It.
        update: At which it was found.
        last_loss: Before it; None where there was none.
        left: What the run's folder has now.
        options: Of the training.
    """
    if name == "held-out loss" and update == 0:
        hint = "it is that of the model before any update: look at the data and the cell"
    else:
        hint = f"try a lower learning rate, it was {options.learning_rate:g}, or "
        if options.clip_norm is None:
            hint += f"clip the gradient: {field('clip_norm')} 1"
        else:
            hint += f"a smaller clip norm, it was {options.clip_norm}"
    before = "" if last_loss is None else f", after a loss of {last_loss:.4g}"
    message = f"training diverged at update {update}: the {name} is {value}{before}; {left}"
    return DivergedError(message, hint)
