"""What can be chosen of a classifier: how its data are read, its network, its training."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from unrolled.data.options import (
    MEDIA,
    Encoding,
    Flip,
    MediaFolder,
    MediumOptions,
    PartOptions,
    Vectors,
)
from unrolled.data.tables import is_table
from unrolled.errors import OptionError, field
from unrolled.networks.options import (
    BidirectionalOptions,
    Channels,
    EmbeddingSize,
    FramesPerStep,
    FreezeVectors,
    Initialize,
    check_initialize,
)
from unrolled.options import Option, Options, absolute, options
from unrolled.tasks.classify.series import SCALES
from unrolled.tasks.classify.ts_files import is_ts
from unrolled.training import options as training

__all__ = ["HELP", "DataOptions", "ModelOptions", "PredictOptions", "TrainingOptions"]

HELP = """Train a classifier: the class of a text, a series of numbers, a picture or a recording.

The data are tables of texts, a text file or a folder of texts for each class, .ts files, tables of
numbers with a row for each step or for each series, a folder of pictures or recordings for each
class, or a table that names them:

  unrolled train classify reviews.csv --input text --target stars
  unrolled train classify neg=reviews.neg pos=reviews.pos
  unrolled train classify aclImdb/train
  unrolled train classify JapaneseVowels_TRAIN.ts
  unrolled train classify runs.csv --id case --time t --target activity
  unrolled train classify GunPoint_TRAIN.tsv --wide --target 1
  unrolled train classify digits/train
  unrolled train classify birds.csv --media file --target species

Ctrl-C saves the run, and `unrolled resume` continues it.
"""

_TOKENS = ("word", "char", "bpe")
_COLUMNS = ("input", "target", "media", "id", "time", "wide")
_TABLE_OPTIONS = (*_COLUMNS, "folder", "held_out_file", "test_file")


def _split(argument: str) -> tuple[str, str]:
    """Return the class that stands before a file's name, "" if there is none, and the file's."""
    name, equals, path = argument.partition("=")
    if not equals or Path(argument).is_absolute() or Path(argument).exists():
        return "", argument
    return name, path


def _absolute(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return each FILE or CLASS=FILE with the file's whole path; that of a folder ends in "/"."""
    pairs = [_split(argument) for argument in arguments]
    ends = ["/" if path.endswith("/") or Path(path).is_dir() else "" for _, path in pairs]
    wholes = [f"{absolute(path)}{end}" for (_, path), end in zip(pairs, ends, strict=True)]
    return tuple(
        f"{name}={path}" if name else path for (name, _), path in zip(pairs, wholes, strict=True)
    )


@options
class DataOptions(MediumOptions, PartOptions):
    """How a classifier reads its data."""

    before: ClassVar[Mapping[str, Any]] = {"stratify": False}
    default_bpe_size: ClassVar[int] = 2048
    files: Annotated[
        tuple[str, ...],
        Option(
            "Tables, .ts files, a file or folder for each class (CLASS=FILE), or a folder of them.",
            metavar="FILE",
            positional=True,
            convert=_absolute,
        ),
    ]
    input: Annotated[
        tuple[str, ...],
        Option(
            f"Column of the text, its name or, without a header, its number; with {field('id')} or "
            f"{field('wide')}, a column of numbers, and may be repeated.",
            metavar="COLUMN",
        ),
    ] = ()
    target: Annotated[
        str | None,
        Option("Column that holds the class: its name, or number.", metavar="COLUMN"),
    ] = None
    number: Annotated[
        bool,
        Option(
            "Predict the number in the column of the class, and no class.",
            flag="--number/--class",
            decides_vocabulary=True,
        ),
    ] = False
    media: Annotated[str | None, MEDIA] = None
    folder: MediaFolder = None
    skip_bad: Annotated[
        bool, Option("Leave out and count pictures and recordings that cannot be used.")
    ] = False
    id: Annotated[
        str | None,
        Option(
            "Column that names the series; each row is then one of its steps, in numbers.",
            metavar="COLUMN",
        ),
    ] = None
    time: Annotated[
        str | None,
        Option("Column that orders the steps.", metavar="COLUMN", absent="the order of the file"),
    ] = None
    wide: Annotated[
        bool,
        Option("Each row is a series, in numbers: its columns but the class are the steps."),
    ] = False
    tokens: Annotated[
        str | None,
        Option("What a text is cut into.", choices=_TOKENS, absent="word", decides_vocabulary=True),
    ] = None
    vocabulary_size: Annotated[
        int | None,
        Option(
            "Number of tokens in the vocabulary; for bpe only.",
            within="[1, inf)",
            metavar="N",
            absent=lambda options: f"{options.default_bpe_size}",
            decides_vocabulary=True,
        ),
    ] = None
    scale: Annotated[
        str | None,
        Option(
            "What numbers are scaled by: the training part, each series by itself, or both.",
            choices=SCALES,
            absent=SCALES[0],
            decides_vocabulary=True,
        ),
    ] = None
    min_count: Annotated[
        int | None,
        Option(
            "Treat words or characters seen fewer than N times as unknown.",
            within="[1, inf)",
            metavar="N",
            absent="2, or 1 for words of fewer than 10,000 training examples",
            decides_vocabulary=True,
        ),
    ] = None
    lowercase: Annotated[
        bool,
        Option(
            "Lowercase the text first.", flag="--lowercase/--keep-case", decides_vocabulary=True
        ),
    ] = True
    max_length: Annotated[
        int,
        Option(
            "Read at most N characters of a text, or N steps of numbers.",
            within="[1, inf)",
            metavar="N",
        ),
    ] = 5000
    stratify: Annotated[bool, Option("Give each part of the data its share of every class.")] = True
    encoding: Encoding = "utf-8"
    vectors: Vectors = None

    def check(self) -> None:
        """Raise `OptionError` unless files, columns and tokens fit together."""
        super().check()
        if not self.files:
            raise OptionError("no file to read", "name one")
        if self.vocabulary_size is not None and self.tokens != "bpe":
            message = f"{field('vocabulary_size')} is for bpe"
            raise OptionError(message, f"{field('tokens')} bpe, or leave it out")
        if self.vectors is not None and self.tokens not in (None, "word"):
            message = f"{field('vectors')} is for words, but the tokens are {self.tokens}"
            raise OptionError(message, f"{field('tokens')} word, or leave it out")
        if self.classes:
            self._check_text_files()
        elif self.of_folders:
            for name in (*_COLUMNS, "folder"):
                if getattr(self, name):
                    message = f"{field(name)} is for tables, not for a folder of classes"
                    raise OptionError(message, "leave it out")
        else:
            self._check_tables()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, without the names of classes."""
        return tuple(Path(_split(argument)[1]) for argument in self.files)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of text files, as many as there are files; none for tables and `.ts` files.

        A text file that nobody named gives its own name to its class.
        """
        pairs = [_split(argument) for argument in self.files]
        if self.target is not None or self.of_folders:
            return ()
        if any(not name and (is_ts(path) or is_table(Path(path))) for name, path in pairs):
            return ()
        return tuple(name or Path(path).name for name, path in pairs)

    @property
    def of_numbers(self) -> bool:
        """Whether the examples are numbers and not text."""
        return self.id is not None or self.wide or is_ts(self.files[0])

    @property
    def of_folders(self) -> bool:
        """Whether a folder has a folder for each class."""
        (name, _), *others = map(_split, self.files)
        return not name and not others and self.files[0].endswith("/")

    @property
    def bpe_size(self) -> int:
        """Tokens of a BPE vocabulary."""
        return self.default_bpe_size if self.vocabulary_size is None else self.vocabulary_size

    def _check_text_files(self) -> None:
        if len(self.files) < 2:
            message = f"{self.files[0]}: a text file has the texts of one class, one in each line"
            raise OptionError(message, "give a file for each class, or a table by its name")
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name, count in Counter(self.classes).items() if count > 1)
            raise OptionError(f"two files are of the class {twice!r}", "name them NAME=FILE")
        for name in (*_TABLE_OPTIONS, "number"):
            if getattr(self, name):
                message = "is for tables and folders, not for a file for each class"
                raise OptionError(f"{field(name)} {message}", "leave it out")

    def _check_tables(self) -> None:
        if named := [argument for argument in self.files if _split(argument)[0]]:
            message = f"{named[0]}: a class is named for a text file, and these are tables"
            raise OptionError(message, f"leave out the class, or {field('target')}")
        if len({is_ts(file) for file in self.files}) > 1:
            raise OptionError("tables and .ts files are not read together", "leave one kind out")
        columns = [name for name in _COLUMNS if getattr(self, name)]
        others = [name for name in columns if name not in ("media", "target")]
        if self.folder is not None and self.media is None:
            message = f"{field('folder')} is where the paths of pictures or recordings start"
            raise OptionError(message, f"{field('media')} COLUMN, or leave it out")
        if is_ts(self.files[0]):
            if columns:
                message = f"{field(columns[0])} names a column, and a .ts file has none"
                raise OptionError(message, "leave it out")
        elif self.target is None:
            raise OptionError("a table needs the column of the class", f"{field('target')} COLUMN")
        elif self.media is not None and others:
            message = f"{field('media')} is for pictures or recordings, {field(others[0])} is not"
            raise OptionError(message, "leave out one of them")
        elif self.id is not None and self.wide:
            message = f"{field('id')} has a row for each step, {field('wide')} for each series"
            raise OptionError(message, "leave out one of them")
        elif not (self.id or self.wide or self.media) and len(self.input) != 1:
            message = "a table needs one column of text"
            hint = (
                f"{field('input')} COLUMN; for numbers with a row for each step, {field('id')} "
                f"COLUMN, with a row for each series, {field('wide')}; for pictures or recordings, "
                f"{field('media')} COLUMN"
            )
            raise OptionError(message, hint)
        elif self.id is None and self.time is not None:
            message = f"{field('time')} is for numbers with a row for each step"
            raise OptionError(message, f"{field('id')} COLUMN")
        for name in ("tokens", "vectors"):
            if (self.of_numbers or self.media is not None) and getattr(self, name) is not None:
                what = "numbers" if self.of_numbers else "pictures or recordings"
                message = f"{field(name)} is for text, and the data are {what}"
                raise OptionError(message, "leave it out")
        if self.scale is not None and not self.of_numbers:
            message = f"{field('scale')} is for numbers, and the data are not"
            raise OptionError(message, "leave it out")


@options(hidden_size=64, dropout=0.5)
class ModelOptions(BidirectionalOptions):
    """What a classifier is made of."""

    default_embedding_size: ClassVar[int] = 128
    pooling: Annotated[
        str,
        Option(
            "How the outputs of all steps are pooled.", choices=("last", "mean", "max", "attention")
        ),
    ] = "max"
    embedding_size: EmbeddingSize = None
    freeze_vectors: FreezeVectors = False
    token_dropout: Annotated[
        float, Option("Probability of hiding a token in training.", within="[0, 1)", metavar="P")
    ] = 0.0
    evidence: Annotated[
        bool,
        Option("Also let each token, or 16 places of what else is read, count by themselves."),
    ] = True
    frames_per_step: FramesPerStep = 3
    channels: Channels = 16
    initialize: Initialize = None

    def check(self) -> None:
        """Raise `OptionError` if the cell has no gate to initialize."""
        super().check()
        check_initialize(self, self.initialize)


@options
class TrainingOptions(training.TrainingOptions):
    """How a classifier is trained."""

    budget: ClassVar[training.Budget] = training.Budget(
        epochs=5, least_updates=600, note=" (12 at most over texts)"
    )
    text_budget: ClassVar[training.Budget] = training.Budget(
        epochs=5, least_updates=600, most_epochs=12
    )
    """Of a few texts more passes than these are learned by heart; few series take them."""

    media_budget: ClassVar[training.Budget] = training.Budget(epochs=20, least_updates=1500)

    class_weights: Annotated[
        str,
        Option(
            "Weights of the classes in the loss; balanced makes all classes count alike.",
            choices=("none", "balanced"),
        ),
    ] = "none"
    augment: Annotated[
        bool | None,
        Option(
            "Vary what is learned from a little, differently in each pass; not texts.",
            flag="--augment/--no-augment",
            absent="pictures yes; recordings and series of numbers no",
        ),
    ] = None
    flip: Flip = False


@options
class PredictOptions(Options):
    """What can be asked of a prediction."""

    panel = "Prediction"
    running: Annotated[bool, Option("Also show the opinion after every token or step.")] = False
    skip_bad: Annotated[
        bool, Option("Write a line without a class for a file that cannot be used, and go on.")
    ] = False
