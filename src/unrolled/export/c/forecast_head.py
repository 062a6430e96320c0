"""What a forecaster in C says of its targets: a head's raw numbers made parameters, of the data.

How they are learned is in `tasks.forecast.head` and `heads`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from unrolled.export.c.source import Source
from unrolled.export.c.windows import WindowReader
from unrolled.tasks.forecast.head import LEAST
from unrolled.tasks.forecast.transforms import curve_of
from unrolled.tasks.graphs import Windows

__all__ = ["HeadWriter"]

# Of each parameter that is said how it moves with a scale: with both numbers, with the width, not;
# in this order.
_MOVES = {
    "normal": ("both", "width"),
    "student-t": ("both", "width", "not"),
    "negative-binomial": ("width", "not"),
}
_MAKES = {"normal": "normal_of", "student-t": "student_of", "negative-binomial": "counts_of"}


class HeadWriter:
    """Writes the C that makes of a row's raw numbers what is said of its targets.

    Args:
        windows: What is exported.
        source: Where the model's numbers are.
        reader: What has read the window, and knows the scales.
    """

    def __init__(self, windows: Windows, source: Source, reader: WindowReader) -> None:
        self._windows, self._model, self._reader = windows, windows.model, reader
        self._learns: str = windows.model.options.learns
        self._width: int = windows.model.width  # targets that are read together
        self._size: int = windows.model.head.size
        self._limits = ""
        if self._learns in ("quantile", *_MOVES):
            source.needs_libm = True
            spread = float(self._model.spread) if self._model.widens else 1.0
            self._limits = source.vector("limits", torch.tensor([spread, LEAST]))

    def said(self, raw: str) -> list[str]:
        """Return what says a row's targets; `raw` is where its raw numbers are, (H, width R)."""
        model, num, width, size = self._model, self._model.num_targets, self._width, self._size
        raw = f"{raw} + s * {model.spoken_size}"
        shifted, scaled = self._moves.count("both"), size - self._moves.count("not")
        moves = f"{width}, {size}, {shifted}, {scaled}"
        lines = []
        if self._reader.linear:
            middle = getattr(model.head, "middle", 0)
            linear = f"{self._reader.linear} + s * {num} + row"
            lines.append(f"add_to_first({width}, {size}, {linear}, {raw} + {middle});")
        lines += self._parameters(raw)
        if model.options.frame != "none":
            frame = f"{self._reader.offset} + row, {self._reader.size} + row"
            lines.append(f"reframe({moves}, {frame}, {raw});")
        says = self._reader.says if self._windows.says_data else "say"
        to = f"out + s * {num * size} + row * {size}"
        lines.append(f"{says}({moves}, {raw}, center + row, width + row, {to});")
        return [
            f"for (int32_t s = 0; s < {model.horizon}; s++) {{",
            *(f"  {each}" for each in lines),
            "}",
        ]

    def _parameters(self, raw: str) -> list[str]:
        """Return what makes parameters of a head's raw numbers, widened as held-out data said."""
        if self._learns == "quantile":
            sizes = f"{self._width}, {self._size}, {self._model.head.middle}"
            return [f"quantiles_of({sizes}, {self._limits}, {raw});"]
        if self._learns not in _MAKES:
            return []
        return [f"{_MAKES[self._learns]}({self._width}, {self._limits}, {raw});"]

    def fed(self, raw: str, to: str) -> str:
        """Return what lays out what a recursive model reads of what it said of a step, at `raw`."""
        sizes = f"{self._width}, {self._size}"
        if self._learns == "negative-binomial":
            return f"feed_counts({sizes}, {self._limits}, {raw}, {to});"
        return f"feed({sizes}, {raw}, {to});"

    @property
    def _moves(self) -> tuple[str, ...]:
        return _MOVES.get(self._learns, ("both",) * self._size)

    @property
    def meaning(self) -> str:
        """What the numbers are that are said of each target, for a comment."""
        if self._learns == "quantile":
            return "quantiles " + ", ".join(f"{each:g}" for each in self._model.head.levels)
        return {
            "normal": "mean and deviation",
            "student-t": "location, scale and degrees of freedom",
            "negative-binomial": "mean and dispersion",
        }.get(self._learns, "the forecast")

    def on_scale(self, said: Tensor, inputs: Mapping[str, Tensor], row: int) -> Tensor:
        """Return what is said, (H, C, R), on the scale that is learned."""
        center, width = inputs["center"][row], inputs["width"][row]
        if self._windows.says_data:
            said = curve_of(self._windows.transform).apply(said)
        moved = {
            "both": lambda number: (said[..., number] - center) / width,
            "width": lambda number: said[..., number] / width,
            "not": lambda number: said[..., number],
        }
        return torch.stack([moved[move](number) for number, move in enumerate(self._moves)], -1)
