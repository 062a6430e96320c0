"""What can be chosen of a language model: how its text is read, its network, its training."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from unrolled.data.options import Encoding
from unrolled.errors import OptionError, field
from unrolled.networks.options import EMBEDDING_SIZE, LayerOptions
from unrolled.options import Option, Options, absolute, options
from unrolled.training import options as training

__all__ = [
    "HELP",
    "DataOptions",
    "ModelOptions",
    "PredictOptions",
    "TrainingOptions",
]

HELP = """Train a language model: it reads a text and learns what comes next.

Several processes can share the work:

  torchrun --nproc-per-node 2 -m -- unrolled train lm FILE ...

Ctrl-C saves the run, and `unrolled resume` continues it.
"""

_TOKENS = ("char", "byte", "bpe", "word")
_SIZES = {"bpe": 1024, "word": 10_000}
_PART = 0.1

STREAMED_HELD_OUT = 200_000
"""Characters held out of a text that is streamed, unless told: each evaluation reads them all."""


@options
class DataOptions(Options):
    """How a language model reads its text."""

    panel = "Data"
    before: ClassVar[Mapping[str, Any]] = {"stream": False}
    files: Annotated[
        tuple[str, ...],
        Option(
            "Text files, joined in this order.", metavar="FILE", positional=True, convert=absolute
        ),
    ] = ()
    standard_library: Annotated[
        bool, Option("Train on the standard library of this Python instead of files.")
    ] = False
    tokens: Annotated[
        str, Option("What the text is cut into.", choices=_TOKENS, decides_vocabulary=True)
    ] = "char"
    vocabulary_size: Annotated[
        int | None,
        Option(
            "Number of tokens in the vocabulary, at most; for bpe and word.",
            within="[1, inf)",
            metavar="N",
            absent="1024 for bpe, 10000 for word",
            decides_vocabulary=True,
        ),
    ] = None
    held_out: Annotated[
        float | None,
        Option(
            "Fraction at the end of the text that chooses the weights; 0 for none.",
            within="[0, 1)",
            metavar="FRACTION",
            absent=f"{_PART:g}; of a streamed text at most {STREAMED_HELD_OUT:,} characters",
        ),
    ] = None
    encoding: Encoding = "utf-8"
    stream: Annotated[
        bool | None,
        Option(
            "Read the text from its files while training, and not into memory.",
            absent="for files of over 64 MB",
        ),
    ] = None

    def check(self) -> None:
        """Raise `OptionError` if there is no text, or a size for tokens that have none."""
        if bool(self.files) == self.standard_library:
            message = f"give text files or {field('standard_library')}, one of the two"
            raise OptionError(message)
        if self.vocabulary_size is not None and self.tokens not in _SIZES:
            kinds = " and ".join(_SIZES)
            message = f"{field('vocabulary_size')} is for {kinds}, the tokens are {self.tokens}"
            raise OptionError(message, "leave it out")

    @property
    def held_out_part(self) -> float:
        """Fraction of the text that is held out."""
        return _PART if self.held_out is None else self.held_out

    @property
    def most_tokens(self) -> int:
        """Tokens of a vocabulary of bpe or words, at most."""
        return _SIZES[self.tokens] if self.vocabulary_size is None else self.vocabulary_size


@options(hidden_size=512)
class ModelOptions(LayerOptions):
    """What a language model is made of."""

    embedding_size: Annotated[
        int | None, replace(EMBEDDING_SIZE, metavar="N", absent="one-hot input, 256 for word")
    ] = None


@options(learning_rate=8e-3)
class TrainingOptions(training.TrainingOptions):
    """How a language model is trained. A batch is so many places of the text, read side by side."""

    budget: ClassVar[training.Budget] = training.Budget(None, least_updates=4000)
    batch_size: Annotated[
        int,
        Option(
            "Columns of the text that are read side by side, those of all processes together.",
            within="[1, inf)",
        ),
    ] = 32
    k1: Annotated[
        int,
        Option("Steps forward: tokens of each column that an update predicts.", within="[1, inf)"),
    ] = 64
    k2: Annotated[
        int | None,
        Option(
            "Steps backward that the gradient goes through.", within="[1, inf)", absent=field("k1")
        ),
    ] = None
    log_reach: Annotated[bool, Option("Also log how far back the gradient reaches.")] = False

    def check(self) -> None:
        """Raise `OptionError` if some steps would never be learned from."""
        super().check()
        if self.k2 is not None and self.k2 < self.k1:
            raise OptionError(
                f"{field('k2')} (steps backward) must be at least {field('k1')} (steps forward), "
                f"got {self.k2} and {self.k1}",
                "with fewer, some steps would never be learned from",
            )

    @property
    def steps_backward(self) -> int:
        """k2, or what stands for it."""
        return self.k1 if self.k2 is None else self.k2


@options
class PredictOptions(Options):
    """What can be asked of a forecast."""

    panel = "Prediction"
    candidates: Annotated[
        int, Option("Number of likeliest next tokens to show.", within="[1, inf)", metavar="N")
    ] = 5
    skip_unknown: Annotated[
        bool, Option("Leave out of each line what the model has never seen, and say so.")
    ] = False
