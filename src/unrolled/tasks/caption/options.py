"""What can be chosen of a captioner: how its media are read, its network, its training."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from unrolled.data.options import MEDIA, Encoding, Flip, MediaFolder, MediumOptions, PartOptions
from unrolled.data.tables import TABLE_SUFFIXES
from unrolled.errors import OptionError, field
from unrolled.networks.options import (
    ATTENTION,
    EMBEDDING_SIZE,
    BidirectionalOptions,
    Channels,
    FramesPerStep,
    LabelSmoothing,
    SearchOptions,
)
from unrolled.options import Option, absolute, options
from unrolled.training import options as training

__all__ = [
    "HELP",
    "DataOptions",
    "ModelOptions",
    "PredictOptions",
    "TrainingOptions",
]

HELP = """Train a captioner: a picture or a recording in, words out.

Ctrl-C saves the run, and `unrolled resume` continues it.
"""


@options
class DataOptions(MediumOptions, PartOptions):
    """How captions and what they are of are read."""

    file: Annotated[
        str,
        Option(
            f"Table with a caption in each row: {', '.join(TABLE_SUFFIXES)}.",
            metavar="TABLE",
            positional=True,
            convert=absolute,
        ),
    ]
    media: Annotated[str, MEDIA]
    text: Annotated[str, Option("Column with the caption.", metavar="COLUMN")]
    folder: MediaFolder = None
    split_by: Annotated[
        str | None,
        Option(
            "What never comes in two parts: text (equal captions), media, or a column's values.",
            metavar="WHAT",
            absent="text; media where the captions are a few names that come again and again",
        ),
    ] = None
    skip_bad: Annotated[bool, Option("Leave out and count rows whose files cannot be used.")] = (
        False
    )
    encoding: Encoding = "utf-8"


@options(dropout=0.2)
class ModelOptions(BidirectionalOptions):
    """What a captioner is made of."""

    before: ClassVar[Mapping[str, Any]] = {"neighbours": 0}

    encoder_layers: Annotated[
        int | None,
        Option(
            "Number of layers in the encoder of recordings.",
            within="[1, inf)",
            absent="as many as the decoder has",
        ),
    ] = None
    embedding_size: Annotated[int, EMBEDDING_SIZE] = 64
    attention: Annotated[str, ATTENTION] = "multiplicative"
    summary: Annotated[
        bool, Option("Start the decoder from a summary of the picture or recording.")
    ] = True
    frames_per_step: FramesPerStep = 3
    channels: Channels = 32
    neighbours: Annotated[
        int,
        Option(
            "Number of nearest training examples whose captions are candidates beside what is "
            "written; how much nearness counts is chosen on the held-out part. 0 for none.",
            within="[0, inf)",
        ),
    ] = 3

    def check(self) -> None:
        """Raise `OptionError` if nothing of what is seen or heard reaches the decoder."""
        super().check()
        if self.attention == "none" and not self.summary:
            message = "without attention and without a summary nothing reaches the decoder"
            raise OptionError(message, f"allow one of {field('attention')} and {field('summary')}")


@options(batch_size=64, learning_rate=3e-3)
class TrainingOptions(training.TrainingOptions):
    """How a captioner is trained."""

    budget: ClassVar[training.Budget] = training.Budget(epochs=20, least_updates=1500)
    augment: Annotated[
        bool, Option("Vary pictures and recordings a little, differently in each pass.")
    ] = True
    flip: Flip = False
    label_smoothing: LabelSmoothing = 0.0


@options
class PredictOptions(SearchOptions):
    """How the best caption is searched for."""

    skip_bad: Annotated[
        bool, Option("Write an empty line for a file that cannot be used, and go on.")
    ] = False
