"""The one table of sequence layers, by the names that commands and runs use; a user's cell in it.

Not for the layers themselves: those are in layers/ and memoryless.py.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from torch import nn

from unrolled.cells import CELLS, Cell, CellSource
from unrolled.errors import PROGRAM, OptionError, field
from unrolled.layers import TCN, Recurrent, RecurrentLayer, SequenceLayer, initialize
from unrolled.networks.both_directions import BothDirections
from unrolled.networks.memoryless import Conv, Dense
from unrolled.networks.options import LayerOptions

__all__ = [
    "LAYERS",
    "LayerKind",
    "find_layer",
    "initialize_gates",
    "layer_for_tasks",
    "make_layer",
]


@dataclass(frozen=True)
class LayerKind:
    """What is known of a layer before it has sizes.

    Args:
        name: As people read it.
        make: Makes one, from input_size, hidden_size, num_layers and keywords.
        cell: Its equations; None of a layer that is not recurrent.
        num_layers: Layers one above the other where nobody says how many.
        kernel_size: Width of its convolutions where nobody says it; None of a layer without.
        drops_within: Whether dropout acts within a layer, and not only between two.
        is_own: Whether it is over a cell of the user's own, which has no name in `LAYERS`.
    """

    name: str
    make: Callable[..., nn.Module]
    cell: Cell | None = None
    num_layers: int = 1
    kernel_size: int | None = None
    drops_within: bool = False
    is_own: bool = False


LAYERS: dict[str, LayerKind] = {
    **{name: LayerKind(name, partial(Recurrent, cell), cell) for name, cell in CELLS.items()},
    "tcn": LayerKind("tcn", TCN, num_layers=4, kernel_size=3, drops_within=True),  # sees 61 steps
    "conv": LayerKind("conv", Conv, kernel_size=8),
    "dense": LayerKind("dense", Dense),
}
"""The layers that are always known: those of `CELLS`, and those that are not recurrent.

`find_layer` knows those over all other cells of the catalogue, too.
"""


def find_layer(cell: str | Cell) -> LayerKind:
    """Return the layer that `cell` names.

    Args:
        cell: One of `LAYERS` or of the catalogue; or a cell of one's own, or where it is declared:
            "FILE.py:NAME" or "MODULE:NAME". Naming a file runs it.

    Raises:
        OptionError: There is none.
    """
    if isinstance(cell, Cell):
        built_in = next((kind for kind in LAYERS.values() if kind.cell is cell), None)
        is_own = not cell.equations.__module__.startswith("unrolled.cells.catalogue.")
        return built_in or _layer_over(cell, is_own=is_own)
    if not isinstance(cell, str):
        raise OptionError(f"{field('cell')} must be a name or a cell, got {type(cell).__name__}")
    if ":" in cell:
        return find_layer(CellSource.find(cell).load())
    if cell in LAYERS:
        return LAYERS[cell]
    from unrolled.cells.catalogue import CATALOGUE  # which most trainings have no need of

    if cell in CATALOGUE:
        return _layer_over(CATALOGUE[cell])
    names = [*LAYERS, *CATALOGUE]
    near = difflib.get_close_matches(cell.lower().replace("-", "_"), names, n=1)
    own = f"`{PROGRAM} cells` lists all, and a cell of your own is FILE.py:NAME"
    hint = f"did you mean {near[0]}?" if near else own
    message = f"{field('cell')} must be one of {', '.join(LAYERS)} or a published cell"
    raise OptionError(f"{message}, got {cell!r}", hint)


def _layer_over(cell: Cell, *, is_own: bool = False) -> LayerKind:
    return LayerKind(cell.name, partial(Recurrent, cell), cell, is_own=is_own)


def layer_for_tasks(cell: str | Cell) -> LayerKind:
    """Return what `find_layer` does, if tasks can train it.

    Raises:
        OptionError: There is none; or its cell reads at every step what no task gives.
    """
    kind = find_layer(cell)
    if kind.cell is not None and (inputs := kind.cell.wanted_inputs):
        raise OptionError(
            f"{field('cell')}: {kind.name} reads {', '.join(inputs)} at every step beside x, which "
            "no task gives",
            f'declare what it is in tasks, such as inputs="{inputs[0]}=1"; or train it in a '
            "program of your own, with unrolled.Recurrent",
        )
    return kind


def make_layer(
    options: LayerOptions,
    input_size: int,
    *,
    num_layers: int | None = None,
    bidirectional: bool = False,
) -> nn.Module:
    """Return a layer, (B, T, input_size) -> (B, T, output_size).

    Args:
        options: Which, and how large.
        input_size: Features of each input step.
        num_layers: Layers one above the other, if not as many as the options say.
        bidirectional: Whether each row is also read from its end; the output then has
            2 * hidden_size features.

    Returns:
        A `SequenceLayer`: `output, state = layer(x, state)`.
    """
    options = options.settled()
    kind = options.kind
    layers = options.num_layers if num_layers is None else num_layers
    assert layers is not None
    keywords: dict[str, Any] = {"batch_first": True}
    # nothing lies between the layers of a single one; torch's constructor would warn
    keywords["dropout"] = options.dropout if layers > 1 or kind.drops_within else 0.0
    if kind.kernel_size is not None:
        keywords["kernel_size"] = options.kernel_size

    def make(**more: Any) -> SequenceLayer:
        layer = kind.make(input_size, options.hidden_size, layers, **keywords, **more)
        return cast(SequenceLayer, layer)

    if bidirectional and kind.cell is None:
        return BothDirections(make(), make())
    return cast(nn.Module, make(bidirectional=True) if bidirectional else make())


def initialize_gates(layer: nn.Module, how: str | None, max_time: int) -> None:
    """Set what the units of a new layer remember.

    Args:
        layer: Over a cell with a gate that keeps the old state, unless `how` is None.
        how: "chrono", "forget-bias", or None, which leaves the layer as it is.
        max_time: Steps of the longest memory that there is something to remember for; for "chrono".
    """
    if how == "chrono":
        initialize.chrono(cast(RecurrentLayer, layer), max(2, max_time))
    elif how == "forget-bias":
        initialize.forget_bias(cast(RecurrentLayer, layer))
