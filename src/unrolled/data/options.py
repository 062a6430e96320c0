"""The options that several readers share: parts of the data, encodings, pictures and recordings."""

from pathlib import Path
from typing import Annotated, ClassVar

from unrolled.errors import OptionError, field
from unrolled.options import Option, Options, absolute, options

__all__ = [
    "MEDIA",
    "SENTENCE_TOKENS",
    "Encoding",
    "Flip",
    "MediaFolder",
    "MediumOptions",
    "PartOptions",
    "Vectors",
]

SENTENCE_TOKENS = ("word", "bpe", "char")
"""What a sentence can be cut into."""

Encoding = Annotated[str, Option("Encoding of the files.", metavar="NAME")]
"""The type of the field that says how text files are encoded."""

Vectors = Annotated[
    str | None,
    Option(
        "File of word vectors to begin with: word2vec or GloVe text, fastText .vec, .gz too.",
        metavar="FILE",
        convert=absolute,
        kept=False,
        absent="embeddings are learned from the data alone",
    ),
]
"""The type of the field that names vectors of the words that are read."""

MEDIA = Option(
    "Column with the paths of pictures or recordings; a;b joins two recordings.",
    metavar="COLUMN",
)
"""The option that names the column of the files in a table of pictures or recordings."""

MediaFolder = Annotated[
    str | None,
    Option(
        "Folder that the paths start from.",
        metavar="DIR",
        convert=absolute,
        absent="the folder of the table",
    ),
]
"""The type of the field that says where these paths start."""

Flip = Annotated[bool, Option("Also mirror pictures; not for letters or flags.")]
"""The type of the field that says whether pictures are mirrored in training."""


@options
class PartOptions(Options):
    """Which examples choose the weights, and which ones measure the model at the end."""

    panel = "Data"
    part: ClassVar[float] = 0.1
    """What is held out, and what is measured on, where nothing is said."""
    held_out: Annotated[
        float | None,
        Option(
            "Fraction of the data that chooses the weights; 0 for none.",
            within="[0, 1)",
            metavar="FRACTION",
            absent=lambda options: f"{options.part:g}, unless {field('held_out_file')} is given",
        ),
    ] = None
    test: Annotated[
        float | None,
        Option(
            "Fraction of the data to measure on at the end.",
            within="[0, 1)",
            metavar="FRACTION",
            absent=lambda options: f"{options.part:g}, unless {field('test_file')} is given",
        ),
    ] = None
    held_out_file: Annotated[
        str | None,
        Option(
            "File that chooses the weights, instead of a fraction of the data.",
            metavar="FILE",
            convert=absolute,
        ),
    ] = None
    test_file: Annotated[
        str | None,
        Option(
            "File to measure on at the end, instead of a fraction of the data.",
            metavar="FILE",
            convert=absolute,
        ),
    ] = None

    def check(self) -> None:
        """Raise `OptionError` if a part is given twice."""
        for part in ("held_out", "test"):
            if getattr(self, part) is not None and getattr(self, f"{part}_file") is not None:
                both = f"{field(part)} and {field(f'{part}_file')}"
                raise OptionError(f"{both}: a part of the data or a file, not both", "drop one")

    @property
    def part_files(self) -> list[Path]:
        """The files of parts that have their own."""
        return [Path(file) for file in (self.held_out_file, self.test_file) if file is not None]

    def fraction(self, part: str) -> float:
        """Return the fraction of the data that is the part "held_out" or "test"."""
        if getattr(self, f"{part}_file") is not None:
            return 0.0
        fraction: float | None = getattr(self, part)
        return self.part if fraction is None else fraction


@options
class MediumOptions(Options):
    """What pictures and recordings are turned into."""

    panel = "Data"
    picture_size: Annotated[
        int,
        Option(
            "Pixels of each side that pictures are scaled to.",
            within="[1, inf)",
            decides_vocabulary=True,
        ),
    ] = 32
    rate: Annotated[
        int,
        Option(
            "Sample rate that recordings are converted to, in Hz.",
            within="[1, inf)",
            decides_vocabulary=True,
        ),
    ] = 16_000
    num_bands: Annotated[
        int,
        Option(
            "Frequency bands in each frame of a recording.",
            within="[1, inf)",
            decides_vocabulary=True,
            flag="--bands",
        ),
    ] = 40
    max_seconds: Annotated[
        float, Option("Longest recording, all its parts together, in seconds.", within="(0, inf)")
    ] = 60.0
