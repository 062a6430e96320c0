"""From a layer or a run to a folder with a C file, its header, and what tokens mean."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from unrolled.data.files import to_json
from unrolled.errors import OptionError, field
from unrolled.export.c.model import exported
from unrolled.export.c.program import program_of
from unrolled.export.c.proof import Proof
from unrolled.export.folder import check_folder, write_folder
from unrolled.kernels import WEIGHT_FORMATS, WeightFormat
from unrolled.tasks import Loaded

__all__ = ["CModel", "to_c", "weight_format"]

# What C, C++, math.h or the files themselves call otherwise.
_TAKEN = re.compile(
    r"auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if"
    r"|inline|int|long|register|restrict|return|short|signed|sizeof|static|struct|switch|typedef"
    r"|union|unsigned|void|volatile|while|main|\w+_t|part\d+\w*|cell_\w*"
    r"|align(as|of)|and(_eq)?|asm|bit(and|or)|bool|catch|char(8|16|32)_t|class|co_\w+|compl"
    r"|concept|const(eval|expr|init|_cast)|decltype|delete|(dynamic|static|reinterpret)_cast"
    r"|explicit|export|false|friend|linux|mutable|namespace|new|noexcept|not(_eq)?|nullptr"
    r"|operator|x?or(_eq)?|private|protected|public|requires|static_assert|template|this"
    r"|thread_local|throw|true|try|typeid|typename|typeof\w*|unix|using|virtual|wchar_t"
    r"|v?(f|i|f?min|f?max|f?abs|sign|sigmoid|exp\w*|log\w*|sqrt|cbrt|floor|ceil|round|trunc)f?"
    r"|v?(a?sinh?|a?cosh?|a?tanh?|atan2|erfc?|pow|hypot|fma|[lt]gamma|[jy][01n]|l*rint)f?"
    r"|one_at|mean_of|most_of|attention_of|forward|conclude|attend|features|is_word|grid\w*|stage\d+\w*"
    r"|say(_exp|_expm1)?|scale_(targets|logs|logs_of_more|columns)|frame_(at_last|by_itself)|ones"
    r"|fill|changes|gather|scatter|look_(at|ahead)|feed(_counts)?|rise|add_to_first|reframe"
    r"|(quantiles|normal|student|counts)_of|on_data|restart|keep|limits"
    r"|product|lookup|embed|copy|zero|add|relu|tanh_of|sigmoid_of|window|drawn|softmax|add_times"
    r"|dot|press|convolve|normalise|softplus|select|splat|power|clamp|lesser|greater|lanes\w*"
    r"|running_\w+|blank_word|affixes_table\w*|words\d+\w*|(segment|decoder)_\w+"
    r"|(columns|numbers)_(center|width)|in|out|m|t|n|token|steps|room|tokens|count|scores|random"
    r"|word|words|pixels|places|row|raw|x|past|columns|future|numbers|center|width"
)


@dataclass(frozen=True)
class CModel:
    """A model that was written as C.

    Args:
        source: The file NAME.c.
        header: The file NAME.h, which says how it is used.
        weights: How its matrices are stored.
        num_bytes: Bytes of its constants.
        instance: Bytes of one instance.
        proof: What it computes beside the model; None where that was not asked for.
    """

    source: Path
    header: Path
    weights: WeightFormat
    num_bytes: int
    instance: int
    proof: Proof | None


def to_c(
    model: nn.Module | Sequence[nn.Module] | Loaded | Path | str,
    folder: Path | str,
    *,
    weights: WeightFormat = "f32",
    name: str = "model",
    check: bool = False,
    trust_code: bool = False,
) -> CModel:
    """Write a model as one file of C99 and its header, in a new folder.

    Args:
        model: A run's folder, a loaded run, one of unrolled's layers, or modules one after the
            other: such layers, Embedding, Linear, ReLU, Tanh, Sigmoid, Sequential.
        folder: The folder to make.
        weights: How matrices are stored: as they are, "bf16", or "int8" with a scale for each row.
        name: How its functions and files begin.
        check: Whether the C is compiled here and run on held-out data, of a layer on random
            numbers, and compared with the model, before anything is written.
        trust_code: Whether code that the run holds, a cell of somebody's own, may be run.

    Returns:
        What was written.

    Raises:
        OptionError: A model that there is no C for; weights that are not finite.
        RunError: There is no such run, the folder exists or cannot be written, or what was compiled
            computes something that differs by more than 1e-5.
        KernelError: There is no compiler to check with.

    Example:
        >>> import unrolled
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as place:
        ...     written = unrolled.export.to_c(unrolled.LSTM(1, 16), f"{place}/lstm")
        ...     sorted(path.name for path in written.source.parent.iterdir())
        ['model.c', 'model.h']
    """
    folder = Path(folder)
    weight_format(weights, name)
    check_folder(folder, "c")
    source = exported(model, trust_code=trust_code)
    program = program_of(source.parts, name, weights)
    proof = source.prove(program, weights) if check else None
    written = CModel(
        folder / f"{name}.c",
        folder / f"{name}.h",
        weights,
        program.num_bytes,
        program.instance,
        proof,
    )
    files = {f"{name}.c": program.text.encode(), f"{name}.h": program.header.encode()}
    if content := source.content():
        files[f"{name}.json"] = to_json(content, indent=1)
    write_folder(folder, files, "c")
    return written


def weight_format(weights: str, name: str) -> WeightFormat:
    """Return how matrices are stored.

    Raises:
        OptionError: C is not written with such weights, or cannot have the name.
    """
    stored = next((each for each in WEIGHT_FORMATS if each == weights), None)
    if stored is None:
        raise OptionError(f"{field('weights')} must be f32, bf16 or int8, got {weights!r}")
    if not re.fullmatch(r"[a-z]\w{0,30}", name, re.ASCII) or _TAKEN.fullmatch(name):
        message = f"{field('name')} must be a name that C can have, got {name!r}"
        raise OptionError(
            message, "a small letter, then letters, digits and _, at most 31; 'model' is one"
        )
    return stored
