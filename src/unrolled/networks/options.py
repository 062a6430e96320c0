"""The options that several networks share: the sequence layer, attention, what they write.

Not here: the layers themselves (`sequence_layers.py`), which this file does not load before an
object of a class is made: help must not wait for torch.
"""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Self

from unrolled.errors import OptionError, field
from unrolled.options import Option, Options, option_fields, options

if TYPE_CHECKING:
    from unrolled.cells import Cell
    from unrolled.networks.sequence_layers import LayerKind

__all__ = [
    "ATTENTION",
    "ATTENTION_NAMES",
    "EMBEDDING_SIZE",
    "KINDS_OF_DEVICES",
    "BidirectionalOptions",
    "Channels",
    "Device",
    "EmbeddingSize",
    "FramesPerStep",
    "FreezeVectors",
    "GenerateOptions",
    "Initialize",
    "LabelSmoothing",
    "LayerOptions",
    "SearchOptions",
    "WriteOptions",
    "check_initialize",
    "device_name",
]

ATTENTION_NAMES = ("additive", "multiplicative", "none")
"""The ways of attending."""

# What several networks say of a field that each gives a default of its own.
ATTENTION = Option("How the decoder looks back at its input.", choices=ATTENTION_NAMES)
EMBEDDING_SIZE = Option("Size of the learned embedding of each token.", within="[1, inf)")

KINDS_OF_DEVICES = ("cpu", "cuda", "xpu", "mps")
"""What torch calls the processors that models run on here; of those before the others, auto takes
the first that is there."""
_DEVICE = re.compile(f"auto|cpu|(?:{'|'.join(KINDS_OF_DEVICES[1:])})(:[0-9]{{1,4}})?")


def device_name(name: str) -> str:
    """Return the name of a device.

    Raises:
        OptionError: It is none, wherever this program runs.
    """
    if not _DEVICE.fullmatch(name):
        kinds = ", ".join(KINDS_OF_DEVICES)
        message = f"{field('device')} must be auto or one of {kinds}, got {name!r}"
        raise OptionError(message, "of several of a kind, cuda:1 is the second")
    return name


Device = Annotated[
    str | None,
    Option(
        "Where the model is: cpu, cuda, xpu or mps, of several cuda:1; auto takes the first "
        "accelerator.",
        metavar="DEVICE",
        absent="cpu",
        convert=device_name,
    ),
]
"""The type of the field `device`."""

EmbeddingSize = Annotated[
    int | None,
    replace(
        EMBEDDING_SIZE,
        metavar="N",
        absent=lambda options: (
            f"{options.default_embedding_size}, or the width of {field('vectors')}"
        ),
    ),
]
"""The type of the field `embedding_size` of a class that has a `default_embedding_size`."""

FreezeVectors = Annotated[
    bool,
    Option(
        f"Leave {field('vectors')} as they are in training.",
        flag="--freeze-vectors/--tune-vectors",
    ),
]
"""The type of the field that says whether vectors are learned further."""

FramesPerStep = Annotated[
    int, Option("Frames of 10 ms that are read in one step.", within="[1, inf)")
]
"""The type of the field that says how many frames of a recording a layer reads at once."""

Channels = Annotated[
    int, Option("Channels in the first stage of the picture encoder.", within="[1, inf)")
]
"""The type of the field that says how wide the picture encoder is."""

Initialize = Annotated[
    str | None,
    Option(
        "Initial values of the gate that keeps the old state.",
        choices=("chrono", "forget-bias"),
        absent="as in torch",
    ),
]
"""The type of the field that says what the units of a new layer remember."""

LabelSmoothing = Annotated[
    float,
    Option(
        "Fraction of the target probability that all words share.",
        within="[0, 1)",
        metavar="FRACTION",
    ),
]
"""The type of the field that says how much of a loss is of all words alike."""


@options
class LayerOptions(Options):
    """Which layer a model reads with, and how large it is."""

    panel = "Model"
    cell: Annotated[
        "str | Cell",
        Option(
            "Layer: tcn, conv, dense or the name of a cell (`unrolled cells` lists them), or "
            "FILE.py:NAME or MODULE:NAME for a cell of your own.",
            metavar="NAME",
            kind=str,
        ),
    ] = "lstm"
    hidden_size: Annotated[
        int, Option("Units in each layer.", within="[1, inf)", decided_by="num_parameters")
    ] = 128
    num_parameters: Annotated[
        int | None,
        Option(
            "Choose the hidden size that fits N parameters.",
            within="[1, inf)",
            metavar="N",
            flag="--parameters",
            absent=f"no limit, {field('hidden_size')} decides",
        ),
    ] = None
    num_layers: Annotated[
        int | None,
        Option(
            "Number of layers, one above the other.",
            within="[1, inf)",
            flag="--layers",
            absent="4 for tcn, else 1",
        ),
    ] = None
    kernel_size: Annotated[
        int | None,
        Option(
            "Width of a convolution, in steps; for tcn and conv only.",
            within="[1, inf)",
            absent="3 for tcn, 8 for conv",
        ),
    ] = None
    dropout: Annotated[
        float,
        Option(
            "Dropout: probability that an activation is set to zero in training.",
            within="[0, 1)",
            metavar="P",
        ),
    ] = 0.0

    def check(self) -> None:
        """Raise `OptionError` unless there is such a layer, with such options."""
        kind = self.kind
        object.__setattr__(
            self, "cell", kind.cell if kind.is_own else kind.name
        )  # a file: run once
        if self.kernel_size is not None and kind.kernel_size is None:
            message = f"{field('kernel_size')} is for convolutions, but the cell is {kind.name}"
            raise OptionError(message, "leave it out")

    @property
    def kind(self) -> "LayerKind":
        """What is known of the layer."""
        from unrolled.networks.sequence_layers import layer_for_tasks

        return layer_for_tasks(self.cell)

    def settled(self) -> Self:
        """Return the options with the numbers that None stands for."""
        num_layers = self.kind.num_layers if self.num_layers is None else self.num_layers
        kernel_size = self.kind.kernel_size if self.kernel_size is None else self.kernel_size
        return replace(self, num_layers=num_layers, kernel_size=kernel_size)


def check_initialize(options: LayerOptions, initialize: str | None) -> None:
    """Raise `OptionError` if there is something to initialize, and the cell has no gate for it."""
    if initialize is None:
        return
    from unrolled.layers import initialize as values

    cell = options.kind.cell
    if cell is not None and values.keeping_gate(cell) is not None:
        return
    message = f"{field('initialize')} is for cells with a gate that keeps the old state"
    raise OptionError(f"{message}, but the cell is {options.kind.name}", "leave it out")


@options
class BidirectionalOptions(LayerOptions):
    """The options of a layer that may read each row from both ends."""

    bidirectional: Annotated[bool, Option("Also read each sequence from its end to its start.")] = (
        True
    )


@options
class SearchOptions(Options):
    """How the search for the best output goes."""

    panel = "Search"
    beam: Annotated[
        int | None,
        Option(
            "Number of unfinished outputs that the search keeps; 1 is greedy.",
            within="[1, inf)",
            metavar="N",
            absent=f"8 for translate, 4 for caption, or {field('n_best')} if that is more",
        ),
    ] = None
    n_best: Annotated[
        int, Option("Number of outputs for each input.", within="[1, inf)", metavar="N")
    ] = 1
    length_penalty: Annotated[
        float | None,
        Option(
            "Divide scores by ((5 + length) / 6)^A before they are ranked.",
            within="[0, 10]",  # beyond, lengths of thousands leave float64
            metavar="A",
            absent="0.6 for translate, 1 for caption",
        ),
    ] = None
    no_repeat: Annotated[
        int | None,
        Option(
            "Never write the same N tokens in a row twice.",
            within="[1, inf)",
            metavar="N",
            absent="they may repeat",
        ),
    ] = None


@options
class GenerateOptions(Options):
    """How new text is drawn."""

    panel = "Text"
    length: Annotated[int, Option("Number of tokens to write.", within="[1, inf)", metavar="N")] = (
        500
    )
    temperature: Annotated[
        float,
        Option(
            "Below 1 safer, above 1 bolder; 0 always takes the likeliest token.",
            within="[0, inf)",
        ),
    ] = 1.0
    top_k: Annotated[
        int | None,
        Option(
            "Draw from the K likeliest tokens only.", within="[1, inf)", metavar="K", absent="all"
        ),
    ] = None
    top_p: Annotated[
        float | None,
        Option(
            "Draw from the likeliest tokens that together reach probability P.",
            within="(0, 1]",
            metavar="P",
            absent="all",
        ),
    ] = None
    seed: Annotated[
        int | None,
        Option(
            "Random seed; the same seed writes the same text.",
            within="[0, 9e18]",
            absent="a new one each time",
        ),
    ] = None
    until: Annotated[
        str | None,
        Option(
            r"Stop after this text, sooner than after all tokens; \n in it is a line end.",
            metavar="TEXT",
            absent="all tokens are written",
        ),
    ] = None

    def check(self) -> None:
        """Raise `OptionError` if the text to stop after is empty."""
        if self.until == "":
            raise OptionError(f"{field('until')} is empty", "leave it out to write all tokens")


@options
class WriteOptions(GenerateOptions):
    """What a text goes on from, and how often it is drawn."""

    prompt: Annotated[str | None, Option("Text to continue.", absent="a new line")] = None
    prompt_file: Annotated[
        str | None,
        Option("File with the text to continue, or - for the standard input.", metavar="FILE"),
    ] = None
    skip_unknown: Annotated[
        bool, Option("Leave out of the text what the model has never seen, and say so.")
    ] = False
    num_samples: Annotated[
        int,
        Option(
            "Number of texts to write; each begins with a line of its own.",
            within="[1, 100000]",
            metavar="N",
            flag="--samples",
        ),
    ] = 1

    def check(self) -> None:
        """Raise `OptionError` if there are two texts to continue, or an empty one."""
        super().check()
        if self.prompt is not None and self.prompt_file is not None:
            names = f"{field('prompt')} or {field('prompt_file')}"
            raise OptionError(f"give {names}, one of the two")
        if self.prompt == "":
            hint = "leave it out to begin with a new line"
            raise OptionError(f"{field('prompt')} is empty", hint)

    def of_sample(self, number: int) -> GenerateOptions:
        """Return how text `number`, from 0, is drawn: with a seed each has the next one."""
        names = (each.name for each in option_fields(GenerateOptions))
        values = {name: getattr(self, name) for name in names}
        if self.seed is not None:
            values["seed"] = self.seed + number
        return GenerateOptions(**values)
