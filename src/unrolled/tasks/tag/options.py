"""What can be chosen of a tagger: how its sentences are read, its network, its training."""

from typing import Annotated, ClassVar

from unrolled.data.options import Encoding, PartOptions, Vectors
from unrolled.networks.options import EmbeddingSize, FreezeVectors, LayerOptions
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
            "Tagged sentences: CoNLL-U, CoNLL with a word in each line, or a table.",
            metavar="FILE",
            positional=True,
            convert=absolute,
        ),
    ]
    column: Annotated[
        str | None,
        Option(
            "Column of the tags: upos, xpos, ... in CoNLL-U; a number or ner (the last) in CoNLL; "
            "a name in a table.",
            metavar="COLUMN",
            absent="upos or ner",
        ),
    ] = None
    word_column: Annotated[
        str | None,
        Option(
            "Column of the words: a number in CoNLL, a name in CoNLL-U and tables.",
            metavar="COLUMN",
            absent="form, or the first that does not number the words",
        ),
    ] = None
    sentence: Annotated[
        str | None,
        Option("Column of a table that numbers the sentences of its words.", metavar="COLUMN"),
    ] = None
    encoding: Encoding = "utf-8"
    vectors: Vectors = None


@options(dropout=0.33)
class ModelOptions(LayerOptions):
    """What a tagger is made of."""

    default_embedding_size: ClassVar[int] = 100
    delay: Annotated[
        int | None,
        Option(
            "Read forwards only, and tag each word after reading K more.",
            within="[0, inf)",
            metavar="K",
            absent="read from both ends",
        ),
    ] = None
    embedding_size: EmbeddingSize = None
    freeze_vectors: FreezeVectors = False
    letter_size: Annotated[
        int,
        Option("Units that read a word's letters from each end; 0 for none.", within="[0, inf)"),
    ] = 50
    affix_size: Annotated[
        int,
        Option(
            "Size of the embedding of a word's prefixes, suffixes and shape; 0 for none.",
            within="[0, inf)",
        ),
    ] = 50
    crf: Annotated[
        bool | None,
        Option(
            "Score each tag together with the one before it (CRF).",
            flag="--crf/--no-crf",
            absent="yes, up to 100 tags",
        ),
    ] = None
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
