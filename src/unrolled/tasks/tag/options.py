"""What can be chosen of a tagger: how its sentences are read, its network, its training."""

from typing import Annotated, ClassVar

from unrolled.data.options import Encoding, PartOptions
from unrolled.networks.options import EMBEDDING_SIZE, LayerOptions
from unrolled.options import Option, Options, absolute, options
from unrolled.training import options as training

__all__ = ["HELP", "DataOptions", "ModelOptions", "PredictOptions", "TrainingOptions"]

HELP = """Train a tagger: a tag for every word of a sentence.

The tags are parts of speech from CoNLL-U, named entities (BIO) from CoNLL, or any other column.
Ctrl-C saves the run, and `unrolled resume` continues it.
"""


@options
class DataOptions(PartOptions):
    """How tagged sentences are read."""

    file: Annotated[
        str,
        Option(
            "Tagged sentences: CoNLL-U, or CoNLL with a word in each line.",
            metavar="FILE",
            positional=True,
            convert=absolute,
        ),
    ]
    column: Annotated[
        str | None,
        Option(
            "Column of the tags: upos, xpos, ... in CoNLL-U; a number or ner (the last) in CoNLL.",
            metavar="COLUMN",
            absent="upos or ner",
        ),
    ] = None
    encoding: Encoding = "utf-8"


@options(dropout=0.33)
class ModelOptions(LayerOptions):
    """What a tagger is made of."""

    delay: Annotated[
        int | None,
        Option(
            "Read forwards only, and tag each word after reading K more.",
            within="[0, inf)",
            metavar="K",
            absent="read from both ends",
        ),
    ] = None
    embedding_size: Annotated[int, EMBEDDING_SIZE] = 100
    letter_size: Annotated[
        int,
        Option("Units that read a word's letters from each end; 0 for none.", within="[0, inf)"),
    ] = 50
    word_dropout: Annotated[
        float,
        Option(
            "Probability of treating a word as unknown in training.",
            within="[0, 1]",
            metavar="P",
        ),
    ] = 0.1


@options(learning_rate=4e-3)
class TrainingOptions(training.TrainingOptions):
    """How a tagger is trained."""

    budget: ClassVar[training.Budget] = training.Budget(epochs=8, least_updates=1000)


@options
class PredictOptions(Options):
    """What can be asked of a prediction: nothing."""
