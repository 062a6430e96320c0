"""What can be chosen of a translator: how its pairs are read, its network, its training."""

from dataclasses import replace
from typing import Annotated, ClassVar

from unrolled.data.options import SENTENCE_TOKENS, Encoding, PartOptions, Vectors
from unrolled.errors import OptionError, field
from unrolled.networks.options import (
    ATTENTION,
    EmbeddingSize,
    FreezeVectors,
    LabelSmoothing,
    LayerOptions,
    SearchOptions,
)
from unrolled.options import Option, absolute, options
from unrolled.training import options as training

__all__ = ["HELP", "DataOptions", "ModelOptions", "PredictOptions", "TrainingOptions"]

HELP = """Train a translator: a sentence in, another sentence out.

Ctrl-C saves the run, and `unrolled resume` continues it.
"""


@options
class DataOptions(PartOptions):
    """How pairs of sentences are read."""

    part: ClassVar[float] = 0.05
    file: Annotated[
        str,
        Option(
            "A pair in each line, its columns separated by tabs; or CSV, JSON lines or Parquet; or "
            "a source in each line, and their targets in another file.",
            metavar="PAIRS",
            positional=True,
            convert=absolute,
        ),
    ]
    targets: Annotated[
        str | None,
        Option(
            "Text file with the target of each line of PAIRS.",
            metavar="TARGETS",
            positional=True,
            convert=absolute,
        ),
    ] = None
    source_column: Annotated[
        str, Option("Column to translate from: its number or name.", metavar="COLUMN")
    ] = "1"
    target_column: Annotated[
        str, Option("Column to translate into: its number or name.", metavar="COLUMN")
    ] = "2"
    encoding: Encoding = "utf-8"
    tokens: Annotated[
        str,
        Option("What sentences are cut into.", choices=SENTENCE_TOKENS, decides_vocabulary=True),
    ] = "bpe"
    vocabulary_size: Annotated[
        int | None,
        Option(
            "Largest number of tokens in each language.",
            within="[1, inf)",
            metavar="N",
            absent="4000 for bpe, else all",
            decides_vocabulary=True,
        ),
    ] = None
    vectors: Vectors = None
    limit: Annotated[
        int | None,
        Option("Use only N pairs, drawn at random.", within="[1, inf)", metavar="N", absent="all"),
    ] = None
    max_characters: Annotated[
        int,
        Option(
            "Leave out pairs with a sentence of more than N characters.",
            within="[1, inf)",
            metavar="N",
        ),
    ] = 400

    def check(self) -> None:
        """Raise `OptionError` if a part is given twice, or there are vectors and no words."""
        super().check()
        if self.vectors is not None and self.tokens != "word":
            message = f"{field('vectors')} is for words, but the tokens are {self.tokens}"
            raise OptionError(message, f"{field('tokens')} word, or leave it out")


@options(hidden_size=256, dropout=0.3)
class ModelOptions(LayerOptions):
    """What a translator is made of: an encoder and a decoder, or with a delay one network."""

    default_embedding_size: ClassVar[int] = 128
    embedding_size: EmbeddingSize = None
    freeze_vectors: FreezeVectors = False
    bidirectional: Annotated[
        bool | None,
        Option(
            "Let the encoder also read from the end.", absent="both ways, unless there is a delay"
        ),
    ] = None
    attention: Annotated[str | None, replace(ATTENTION, absent="additive")] = None
    delay: Annotated[
        int | None,
        Option(
            "Use one network that answers K tokens late instead of an encoder and a decoder.",
            within="[0, inf)",
            metavar="K",
            absent="an encoder and a decoder",
        ),
    ] = None
    sampling: Annotated[
        float,
        Option(
            "Let the decoder read its own words in training, in the end with probability P.",
            within="[0, 1]",
            metavar="P",
        ),
    ] = 0.0
    sampling_updates: Annotated[
        int,
        Option(f"Updates over which {field('sampling')} rises from 0 to P.", within="[1, inf)"),
    ] = 5000

    def check(self) -> None:
        """Raise `OptionError` if an option of the encoder and decoder is given with a delay."""
        super().check()
        if self.delay is None:
            return
        for name in ("attention", "bidirectional", "sampling"):
            if getattr(self, name):
                message = f"{field(name)} is for an encoder and a decoder"
                raise OptionError(
                    f"{message}, {field('delay')} is another network", "leave one of the two out"
                )

    @property
    def own_embedding_size(self) -> int:
        """The size of an embedding that does not begin with vectors."""
        return self.embedding_size or self.default_embedding_size

    @property
    def reads_both_ways(self) -> bool:
        """Whether the encoder reads from the end too."""
        return self.bidirectional is not False

    @property
    def attends(self) -> str:
        """The name of the attention."""
        return self.attention or "additive"


@options(batch_size=64)
class TrainingOptions(training.TrainingOptions):
    """How a translator is trained."""

    budget: ClassVar[training.Budget] = training.Budget(epochs=10, least_updates=2000)
    label_smoothing: LabelSmoothing = 0.1


@options
class PredictOptions(SearchOptions):
    """How the best translation is searched for."""
