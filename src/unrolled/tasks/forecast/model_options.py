"""What can be chosen of a forecaster's network: its method, what it says, its layer."""

from typing import Annotated

from unrolled.errors import OptionError, field
from unrolled.networks.options import LayerOptions
from unrolled.options import Option, options
from unrolled.tasks.forecast.data_options import names_of

__all__ = ["DISTRIBUTIONS", "ModelOptions"]

LOSSES = ("mae", "mse", "huber", "quantile", "normal", "student-t", "negative-binomial")
DISTRIBUTIONS = ("normal", "student-t", "negative-binomial")
METHODS = ("direct", "recursive", "segment", "encoder-decoder")


def _levels(values: tuple[str, ...]) -> tuple[str, ...]:
    levels = names_of(values)
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


@options(hidden_size=64, dropout=0.3)
class ModelOptions(LayerOptions):
    """What a forecaster is made of."""

    method: Annotated[
        str,
        Option(
            "How steps are made: all by the last output (direct), each from the one before it "
            "(recursive), by segments of several steps (segment), or by a second layer that goes "
            "on from the state of the first (encoder-decoder).",
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
