"""What can be chosen of a forecaster: its table, its network, its training."""

from typing import Annotated, ClassVar

from unrolled.data.options import Encoding
from unrolled.errors import OptionError, field
from unrolled.networks.options import LayerOptions
from unrolled.options import Option, Options, absolute, options
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

LOSSES = ("mae", "mse", "huber", "quantile", "normal", "student-t", "negative-binomial")
DISTRIBUTIONS = ("normal", "student-t", "negative-binomial")
METHODS = ("direct", "recursive", "segment")
_PARTS = 3


def _names(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in A,B and C as A, B, C."""
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def _rows(text: str) -> str:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != _PARTS or not all(part.isdigit() and int(part) for part in parts):
        message = f"{field('split')} must be three numbers of steps, such as 8640,2880,2880"
        raise OptionError(f"{message}, got {text!r}")
    return ",".join(parts)


def _levels(values: tuple[str, ...]) -> tuple[str, ...]:
    levels = _names(values)
    try:
        numbers = [float(level) for level in levels]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number < 1 for number in numbers) or 0.5 not in numbers:
        message = f"{field('quantiles')} must be numbers between 0 and 1, 0.5 among them"
        raise OptionError(
            f"{message}, got {', '.join(levels)}", f"{field('quantiles')} 0.1,0.5,0.9"
        )
    return tuple(f"{number:g}" for number in sorted(set(numbers)))


@options
class DataOptions(Options):
    """How a forecaster reads its data."""

    panel = "Data"
    part: ClassVar[float] = 0.2
    """What is held out, and what is measured on, where nothing is said."""
    file: Annotated[
        str,
        Option(
            "Table with a row for each step.", metavar="FILE", positional=True, convert=absolute
        ),
    ]
    target: Annotated[
        tuple[str, ...],
        Option(
            "Column to forecast; A,B are two, and it may be repeated.",
            metavar="COLUMN",
            convert=_names,
            decides_vocabulary=True,
        ),
    ]
    time: Annotated[
        str | None,
        Option(
            "Column of the time: dates, months, quarters or numbers.",
            metavar="COLUMN",
            absent="the rows are the steps, in the order of the file",
            decides_vocabulary=True,
        ),
    ] = None
    id: Annotated[
        str | None,
        Option(
            "Column that names the series, where there are several.",
            metavar="COLUMN",
            absent="all rows are one series",
            decides_vocabulary=True,
        ),
    ] = None
    known: Annotated[
        tuple[str, ...],
        Option(
            "Column of numbers that are known in advance, such as prices; rows without a target "
            "have them for the future.",
            metavar="COLUMN",
            convert=_names,
            decides_vocabulary=True,
        ),
    ] = ()
    past: Annotated[
        tuple[str, ...],
        Option(
            "Column of numbers that are known until now, such as a measurement.",
            metavar="COLUMN",
            convert=_names,
            decides_vocabulary=True,
        ),
    ] = ()
    horizon: Annotated[
        int | None,
        Option(
            "Number of steps to forecast.",
            within="[1, inf)",
            metavar="H",
            absent="one cycle of the frequency: 12 months, 24 hours, 7 days; 1 where none is known",
            decides_vocabulary=True,
        ),
    ] = None
    lookback: Annotated[
        int | None,
        Option(
            "Number of steps that a forecast looks at.",
            within="[1, inf)",
            metavar="N",
            absent="two cycles or two horizons, whichever is more, at most a third of what is "
            "learned from",
            decides_vocabulary=True,
        ),
    ] = None
    season: Annotated[
        int | None,
        Option(
            "Number of steps in a cycle.",
            within="[1, inf)",
            metavar="N",
            absent="by the frequency: 12 months, 24 hours, 7 days, 5 business days",
            decides_vocabulary=True,
        ),
    ] = None
    zone: Annotated[
        str | None,
        Option(
            "Time zone of the times, such as Europe/Lisbon.",
            metavar="NAME",
            absent="as the table writes them, or none",
            decides_vocabulary=True,
        ),
    ] = None
    regular: Annotated[
        bool,
        Option(
            "Whether all times lie at even distances, where some may be missing; if not, each row "
            "is a step, and the time between them is read too.",
            flag="--regular/--irregular",
            decides_vocabulary=True,
        ),
    ] = True
    calendar: Annotated[
        bool,
        Option(
            "Also read the hour, the weekday and the time of the year.",
            flag="--calendar/--no-calendar",
            decides_vocabulary=True,
        ),
    ] = True
    scale: Annotated[
        str | None,
        Option(
            "What each series is scaled by: mean and deviation, its mean, or nothing.",
            choices=("standard", "mean", "none"),
            absent="standard; negative-binomial mean",
            decides_vocabulary=True,
        ),
    ] = None
    log: Annotated[
        bool,
        Option(
            "Learn from the logarithms of targets, which must be above 0.",
            flag="--log/--no-log",
            decides_vocabulary=True,
        ),
    ] = False
    held_out: Annotated[
        float | None,
        Option(
            "Fraction of the steps, before the test, that chooses the weights; 0 for none.",
            within="[0, 1)",
            metavar="FRACTION",
            absent=lambda options: f"{options.part:g}, unless {field('split')} is given",
        ),
    ] = None
    test: Annotated[
        float | None,
        Option(
            "Fraction of the steps, the last ones, to measure on.",
            within="[0, 1)",
            metavar="FRACTION",
            absent=lambda options: f"{options.part:g}, unless {field('split')} is given",
        ),
    ] = None
    split: Annotated[
        str | None,
        Option(
            "Steps to learn from, to choose by and to measure on, from the start of each series.",
            metavar="A,B,C",
            convert=_rows,
            absent=f"{field('held_out')} and {field('test')} decide",
        ),
    ] = None
    stride: Annotated[
        int,
        Option("Steps between two forecasts that are measured.", within="[1, inf)", metavar="N"),
    ] = 1
    encoding: Encoding = "utf-8"

    def check(self) -> None:
        """Raise `OptionError` unless columns and parts fit together."""
        if not self.target:
            raise OptionError("no column to forecast", f"{field('target')} COLUMN")
        columns = [*self.target, *self.known, *self.past]
        columns += [name for name in (self.time, self.id) if name is not None]
        for name in columns:
            if columns.count(name) > 1:
                raise OptionError(f"column {name!r} is named twice", "leave it out once")
        if self.split is not None:
            for part in ("held_out", "test"):
                if getattr(self, part) is not None:
                    message = f"{field(part)} and {field('split')} both say where parts begin"
                    raise OptionError(message, "leave one of them out")
        elif self.fraction("held_out") + self.fraction("test") >= 1:
            together = f"{field('held_out')} and {field('test')} together"
            got = self.fraction("held_out") + self.fraction("test")
            raise OptionError(f"{together} must be below 1, got {got:g}")
        if not self.regular and self.time is None:
            message = f"{field('regular')}: rows without a time are at even distances"
            raise OptionError(message, f"{field('time')} COLUMN, or leave it out")

    def fraction(self, part: str) -> float:
        """Return the fraction of the steps that is the part "held_out" or "test"."""
        fraction: float | None = getattr(self, part)
        return self.part if fraction is None else fraction


@options(hidden_size=64, dropout=0.3)
class ModelOptions(LayerOptions):
    """What a forecaster is made of."""

    method: Annotated[
        str,
        Option(
            "How steps are made: all by the last output (direct), each from the one before it "
            "(recursive), or by segments of several steps (segment).",
            choices=METHODS,
        ),
    ] = "direct"
    loss: Annotated[
        str | None,
        Option(
            "What is learned: one number for each step (mae, mse, huber), quantiles, or a "
            "distribution.",
            choices=LOSSES,
            absent="quantile; recursive student-t",
        ),
    ] = None
    quantiles: Annotated[
        tuple[str, ...],
        Option(
            "Levels of the quantiles that are learned, such as 0.1,0.5,0.9.",
            metavar="LEVEL",
            convert=lambda values: _levels(values) if values else (),
        ),
    ] = ()
    normalize: Annotated[
        str | None,
        Option(
            "What is taken out of what a forecast looks at, and put back: its last value, its mean "
            "and deviation (instance), or nothing.",
            choices=("last", "instance", "none"),
            absent="last; negative-binomial none",
        ),
    ] = None
    linear: Annotated[
        bool | None,
        Option(
            "Also add a linear forecast, which begins as a naive one.",
            flag="--linear/--no-linear",
            absent="yes; recursive no",
        ),
    ] = None
    independent: Annotated[
        bool | None,
        Option(
            "Forecast each target from itself alone, all by the same weights.",
            flag="--independent/--together",
            absent="segment yes, others no",
        ),
    ] = None
    segment: Annotated[
        int | None,
        Option(
            "Steps in a segment.",
            within="[1, inf)",
            metavar="N",
            absent="a quarter of what a forecast looks at, at most the horizon",
        ),
    ] = None
    feedback: Annotated[
        str | None,
        Option(
            "What a recursive forecaster reads ahead in training: its own output, or the truth.",
            choices=("own", "truth"),
            absent="own; of a distribution truth",
        ),
    ] = None

    def check(self) -> None:
        """Raise `OptionError` unless method and loss fit together."""
        super().check()
        if self.quantiles and self.learns != "quantile":
            message = f"{field('quantiles')} is for {field('loss')} quantile, got {self.learns}"
            raise OptionError(message, "leave it out")
        if self.segment is not None and self.method != "segment":
            message = f"{field('segment')} is for {field('method')} segment, got {self.method}"
            raise OptionError(message, "leave it out")
        if self.learns == "negative-binomial" and (
            self.normalize not in (None, "none") or self.linear
        ):
            message = "counts of negative-binomial cannot be shifted"
            hint = f"leave out {field('normalize')} and {field('linear')}"
            raise OptionError(message, hint)
        if self.method != "recursive":
            if self.feedback is not None:
                message = f"{field('feedback')} is for {field('method')} recursive"
                raise OptionError(f"{message}, got {self.method}", "leave it out")
            return
        if self.learns == "quantile":
            message = f"{field('method')} recursive has no quantiles of more than one step"
            raise OptionError(message, f"{field('loss')} student-t draws paths")
        if self.linear:
            message = f"{field('linear')} is not for {field('method')} recursive"
            raise OptionError(message, "leave it out")

    @property
    def learns(self) -> str:
        """The loss."""
        if self.loss is not None:
            return self.loss
        return "student-t" if self.method == "recursive" else "quantile"

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels of the quantiles."""
        return tuple(map(float, self.quantiles or ("0.1", "0.5", "0.9")))

    @property
    def frame(self) -> str:
        """What is taken out of each window."""
        if self.normalize is not None:
            return self.normalize
        return "none" if self.learns == "negative-binomial" else "last"

    @property
    def is_linear(self) -> bool:
        """Whether a linear forecast is added."""
        if self.linear is not None:
            return self.linear
        return self.method != "recursive" and self.learns != "negative-binomial"

    @property
    def is_independent(self) -> bool:
        """Whether each target is forecast by itself."""
        return self.method == "segment" if self.independent is None else self.independent

    @property
    def reads_truth(self) -> bool:
        """Whether a recursive forecaster reads the truth in training."""
        if self.feedback is not None:
            return self.feedback == "truth"
        return self.learns in DISTRIBUTIONS


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
