"""What can be chosen of a forecaster's data: its table, what its columns are, and its parts."""

from typing import Annotated, ClassVar

from unrolled.data.options import Encoding
from unrolled.errors import OptionError, field
from unrolled.options import Option, Options, absolute, options
from unrolled.tasks.forecast.series_files import columns_of_suffix

__all__ = ["TRANSFORMS", "DataOptions", "names_of"]

TRANSFORMS = ("none", "log", "log1p", "diff", "log-diff", "season-diff", "log-season-diff")
_PARTS = 3


def names_of(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in A,B and C as A, B, C."""
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def _rows(text: str) -> str:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != _PARTS or not all(part.isdigit() and int(part) for part in parts):
        message = f"{field('split')} must be three numbers of steps, such as 8640,2880,2880"
        raise OptionError(f"{message}, got {text!r}")
    return ",".join(parts)


@options
class DataOptions(Options):
    """How a forecaster reads its data."""

    panel = "Data"
    part: ClassVar[float] = 0.2
    """What is held out, and what is measured on, where nothing is said."""
    file: Annotated[
        str,
        Option(
            "Table with a row for each step; or a .tsf or .ts file.",
            metavar="FILE",
            positional=True,
            convert=absolute,
        ),
    ]
    target: Annotated[
        tuple[str, ...],
        Option(
            "Column to forecast; A,B are two, and it may be repeated; of .tsf and .ts files value.",
            metavar="COLUMN",
            convert=names_of,
            decides_vocabulary=True,
        ),
    ] = ()
    time: Annotated[
        str | None,
        Option(
            "Column of the time: dates, months, quarters or numbers.",
            metavar="COLUMN",
            absent="the rows are the steps, in the order of the file; time of .tsf, step of .ts",
            decides_vocabulary=True,
        ),
    ] = None
    id: Annotated[
        str | None,
        Option(
            "Column that names the series, where there are several.",
            metavar="COLUMN",
            absent="all rows are one series; series_name of .tsf, case of .ts",
            decides_vocabulary=True,
        ),
    ] = None
    known: Annotated[
        tuple[str, ...],
        Option(
            "Column of numbers that are known in advance, such as prices; rows without a target "
            "have them for the future.",
            metavar="COLUMN",
            convert=names_of,
            decides_vocabulary=True,
        ),
    ] = ()
    past: Annotated[
        tuple[str, ...],
        Option(
            "Column of numbers that are known until now, such as a measurement.",
            metavar="COLUMN",
            convert=names_of,
            decides_vocabulary=True,
        ),
    ] = ()
    static: Annotated[
        tuple[str, ...],
        Option(
            "Column with one value for each series, a number or a word, such as its region.",
            metavar="COLUMN",
            convert=names_of,
            decides_vocabulary=True,
        ),
    ] = ()
    horizon: Annotated[
        int | None,
        Option(
            "Number of steps to forecast.",
            within="[1, inf)",
            metavar="H",
            absent="@horizon of a .tsf file; one cycle of the frequency: 12 months, 24 hours, "
            "7 days; 1 where none is known",
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
    dates: Annotated[
        str,
        Option(
            "How dates are written: ISO 8601, such as 2024-12-31; or 31/12/2024 (day-first), "
            "12/31/2024 (month-first), also with points or hyphens.",
            choices=("iso", "day-first", "month-first"),
            decides_vocabulary=True,
        ),
    ] = "iso"
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
    transform: Annotated[
        str,
        Option(
            "What of targets is learned: logarithms, of 1 + the target (log1p), differences from "
            "step to step (diff) or from cycle to cycle (season-diff), or those of logarithms "
            "(log-diff, log-season-diff); forecasts are of the targets.",
            choices=TRANSFORMS,
            decides_vocabulary=True,
        ),
    ] = "none"
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
        """Raise `OptionError` unless columns and parts fit together; fill in those of `.tsf`."""
        for name, column in columns_of_suffix(self.file).items():
            if not getattr(self, name):
                object.__setattr__(self, name, (column,) if name == "target" else column)
        if not self.target:
            raise OptionError("no column to forecast", f"{field('target')} COLUMN")
        columns = [*self.target, *self.known, *self.past]
        columns += [name for name in self.static if name != self.id]
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
            message = f"{field('regular=False')}: rows without a time are at even distances"
            raise OptionError(message, f"{field('time')} COLUMN, or leave it out")

    def fraction(self, part: str) -> float:
        """Return the fraction of the steps that is the part "held_out" or "test"."""
        fraction: float | None = getattr(self, part)
        return self.part if fraction is None else fraction
