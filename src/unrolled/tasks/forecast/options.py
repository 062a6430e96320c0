"""What can be chosen of a forecaster, beside its data and its network: training, predictions."""

from typing import Annotated, ClassVar

from unrolled.errors import OptionError, field
from unrolled.options import Option, Options, options
from unrolled.tasks.forecast.data_options import DataOptions
from unrolled.tasks.forecast.model_options import ModelOptions
from unrolled.training import options as training

__all__ = ["HELP", "DataOptions", "ModelOptions", "PredictOptions", "TrainingOptions"]

HELP = """Train a forecaster: the next steps of series of numbers, with intervals.

The data are a table with a row for each step, of one series or, with a column that names them, of
many:

  unrolled train forecast airline.csv --time Month --target Passengers --horizon 12
  unrolled train forecast ETTh1.csv --time date --target OT --horizon 96 --split 8640,2880,2880
  unrolled train forecast sales.csv --time day --id shop --target units --known price --horizon 28

The last steps are measured on, those before them choose the weights, and only what comes before
both is learned from. Ctrl-C saves the run, and `unrolled resume` continues it.
"""


@options(batch_size=64, learning_rate=1e-3)
class TrainingOptions(training.TrainingOptions):
    """How a forecaster is trained."""

    budget: ClassVar[training.Budget] = training.Budget(
        epochs=10, least_updates=600, most_epochs=60, note=" (60 epochs at most)"
    )


@options
class PredictOptions(Options):
    """What can be asked of a forecast."""

    panel = "Prediction"
    horizon: Annotated[
        int | None,
        Option(
            "Number of steps to write.",
            within="[1, inf)",
            metavar="H",
            absent="as many as the training had",
        ),
    ] = None
    interval: Annotated[
        float | None,
        Option(
            "Probability that a value lies in the interval.",
            within="(0, 1)",
            metavar="P",
            absent="0.8, or that of the outermost quantiles",
        ),
    ] = None
    scores: Annotated[
        bool,
        Option(
            "Write, instead of what comes next, how unlikely each step of the table was after "
            "those before it."
        ),
    ] = False

    def check(self) -> None:
        """Raise `OptionError` if steps to come are asked for beside scores of those that came."""
        if self.scores and self.horizon is not None:
            message = f"{field('scores')} are of steps that came, one after the other"
            raise OptionError(message, f"leave out {field('horizon')}")
