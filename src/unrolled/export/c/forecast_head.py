"""What a forecaster in C says of its targets: a head's raw numbers made parameters, of the data.

How they are learned is in `tasks.forecast.head` and `heads`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from unrolled.export.c.interface import function
from unrolled.export.c.source import Source
from unrolled.export.c.windows import WindowReader
from unrolled.tasks.forecast.head import LEAST
from unrolled.tasks.forecast.transforms import curve_of
from unrolled.tasks.graphs import Windows

__all__ = ["HeadWriter"]

# Of each parameter that is said how it moves with a scale: with both numbers, with the width, not.
_MOVES = {
    "normal": ("both", "width"),
    "student-t": ("both", "width", "not"),
    "negative-binomial": ("width", "not"),
}


class HeadWriter:
    """Writes the C that makes of a row's raw numbers what is said of its targets.

    Args:
        windows: What is exported.
        name: Of the model in C.
        source: Where the model's numbers are.
        reader: What has read the window, and knows the scales.
    """

    def __init__(self, windows: Windows, name: str, source: Source, reader: WindowReader) -> None:
        self._windows, self._model, self._name, self._reader = windows, windows.model, name, reader
        self._learns: str = windows.model.options.learns
        source.needs_libm |= self._learns in ("quantile", *_MOVES)

    def function(self) -> str:
        """Return the function in C; the reader has extrapolated before."""
        model, num, width = self._model, self._model.num_targets, self._model.width
        size = model.head.size
        lines = [
            f"for (int32_t s = 0; s < {model.horizon}; s++) {{",
            f"  for (int32_t n = 0; n < {width}; n++) {{",
            f"    float *const p = raw + (s * {width} + n) * {size};",
            f"    double *const to = out + (s * {num} + row + n) * {size};",
            "    const int32_t c = row + n;",
        ]
        if self._reader.linear:
            middle = getattr(model.head, "middle", 0)
            lines.append(f"    p[{middle}] += ({self._reader.linear})[s * {num} + c];")
        lines += [f"    {each}" for each in self._parameters()]
        offset, spread = f"({self._reader.offset})[c]", f"({self._reader.size})[c]"
        undo = self._reader.curve[1] if self._windows.says_data else "{}"
        for number, move in enumerate(self._moves):
            if model.options.frame != "none" and move != "not":
                more = f" + {offset}" if move == "both" else ""
                lines.append(f"    p[{number}] = p[{number}] * {spread}{more};")
            value = f"(double)p[{number}]"
            value = {"both": f"{value} * width[c] + center[c]", "width": f"{value} * width[c]"}.get(
                move, value
            )
            lines.append(f"    to[{number}] = {undo.format(value)};")
        signs, text = {"center": "center[", "m": "m->"}, "".join(lines)
        quiet = [f"(void){argument};" for argument, sign in signs.items() if sign not in text]
        given = "int32_t row, const double *center, const double *width, float *raw, double *out"
        head = f"static void speak({self._name} *m, {given})"
        return function(head, [*quiet, *lines, "  }", "}"])

    def _parameters(self) -> list[str]:
        """Return what makes parameters of a head's raw numbers p, widened as held-out data said."""
        model = self._model
        spread = f"{float(model.spread)!r}f" if model.widens else "1.0f"
        least = f"{LEAST!r}f"
        if self._learns == "quantile":
            middle, size = model.head.middle, model.head.size
            return [
                "float sum = 0.0f;",
                f"for (int32_t r = {middle - 1}; r >= 0; r--) {{",
                "  sum += softplus(p[r]);",
                f"  p[r] = p[{middle}] - sum;",
                "}",
                "sum = 0.0f;",
                f"for (int32_t r = {middle + 1}; r < {size}; r++) {{",
                "  sum += softplus(p[r]);",
                f"  p[r] = p[{middle}] + sum;",
                "}",
                f"for (int32_t r = 0; r < {size}; r++) {{",
                f"  p[r] = p[{middle}] + {spread} * (p[r] - p[{middle}]);",
                "}",
            ]
        if self._learns == "negative-binomial":
            return [f"p[{number}] = softplus(p[{number}]) + {least};" for number in range(2)]
        if self._learns not in _MOVES:
            return []
        lines = [f"p[1] = (softplus(p[1]) + {least}) * {spread};"]
        return lines + (["p[2] = 2.0f + softplus(p[2]);"] if self._learns == "student-t" else [])

    @property
    def _moves(self) -> tuple[str, ...]:
        size: int = self._model.head.size
        return _MOVES.get(self._learns, ("both",) * size)

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
