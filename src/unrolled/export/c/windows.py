"""Windows in C: what a forecaster reads of numbers of the data, scaled, framed, step by step."""

import math
import re

from unrolled.errors import OptionError, field
from unrolled.export.c.parts import add_module
from unrolled.export.c.source import Source
from unrolled.export.c.stage import Writer
from unrolled.tasks.forecast.transforms import takes_differences, takes_seasonal
from unrolled.tasks.graphs import Windows

__all__ = ["WindowReader"]

_CURVES = {"log": ("scale_logs", "say_exp"), "log1p": ("scale_logs_of_more", "say_expm1")}
_LEARNED = {"log": "log(y)", "log1p": "log(1 + y)"}


class WindowReader:
    """Writes what comes before the layers of a forecaster.

    Args:
        windows: The forecaster.
        source: The file.

    Attributes:
        learned: What is learned of a number y of the data; empty where that is y.
        says: The function that says numbers of the data.
        offset: Where what is taken off each target of a window is.
        size: The same of what it is divided by.
        linear: The same of its linear forecast, (H, C); empty where there is none.
    """

    def __init__(self, windows: Windows, source: Source) -> None:
        if takes_seasonal(windows.transform):
            message = f"{field('transform')} {windows.transform} is not written in C"
            raise OptionError(message, "export it to ONNX, or train with another one")
        self._windows, self._source = windows, source
        self._model = model = windows.model
        transform = windows.transform.removesuffix("diff").rstrip("-")
        self.learned = _LEARNED.get(transform, "")
        self._scales, self.says = _CURVES.get(transform, ("scale_targets", "say"))
        assert takes_differences(windows.transform) == model.differences
        source.needs_libm |= transform in _CURVES or model.options.frame == "instance"
        num = model.num_targets
        self._width = model.width  # targets that are read together
        self._num_columns = model.num_past + model.num_known
        self._num_static = model.ahead_size - model.num_known
        place = source.state
        self._z = place(model.lookback * num)
        self.offset, self.size = place(num), place(num)
        self._values = place(model.lookback * num)
        self._filled = place(model.lookback * num) if model.differences else self._values
        self._columns = place(model.lookback * self._num_columns)
        self._future = place(model.horizon * model.num_known)  # behind the columns
        self._static = place(self._num_static)
        self.linear = place(model.horizon * num) if model.linear is not None else ""

    @property
    def inputs(self) -> list[tuple[str, str, str]]:
        """What a call is given: types, names and shapes."""
        model = self._model
        num_numbers = len(self._windows.numbers[0])
        num_words = len(model.statics.words) if model.statics is not None else 0
        every = [
            ("double", "past", (model.lookback, model.num_targets)),
            ("double", "columns", (model.lookback, self._num_columns)),
            ("double", "future", (model.horizon, model.num_known)),
            ("double", "numbers", (num_numbers,)),
            ("int32_t", "words", (num_words,)),
            ("double", "center", (model.num_targets,)),
            ("double", "width", (model.num_targets,)),
        ]
        return [
            (kind, name, "".join(f"[{size}]" for size in shape))
            for kind, name, shape in every
            if 0 not in shape
        ]

    @property
    def counts(self) -> dict[str, int]:
        """How many numbers of each of them are doubles, in order."""
        shapes = {name: re.findall(r"\d+", shape) for kind, name, shape in self.inputs}
        return {name: math.prod(map(int, sizes)) for name, sizes in shapes.items()}

    @property
    def arguments(self) -> str:
        """The same as arguments of a function."""
        return ", ".join(f"const {kind} *{name}" for kind, name, _ in self.inputs)

    def scaled(self) -> list[str]:
        """Return what scales what is given."""
        model, source, num = self._model, self._source, self._model.num_targets
        count = model.lookback * num
        lines = [f"{self._scales}({count}, {num}, past, center, width, {self._z});"]
        if size := self._num_columns:
            center = source.vector_of_doubles("columns_center", self._windows.columns[0])
            spread = source.vector_of_doubles("columns_width", self._windows.columns[1])
            scales = f"{center}, {spread}, {self._columns}"
            lines.append(f"scale_columns({model.lookback * size}, {size}, columns, {scales});")
            if known := model.num_known:
                first = model.num_past
                scales = f"{center} + {first}, {spread} + {first}, {self._future}"
                lines.append(f"scale_columns({model.horizon * known}, {known}, future, {scales});")
        return lines + self._statics()

    def _statics(self) -> list[str]:
        model, source = self._model, self._source
        if model.statics is None:
            return []
        lines, place = [], len(self._windows.numbers[0])
        if place:
            center = source.vector_of_doubles("numbers_center", self._windows.numbers[0])
            spread = source.vector_of_doubles("numbers_width", self._windows.numbers[1])
            scales = f"{center}, {spread}, {self._static}"
            lines.append(f"scale_columns({place}, {place}, numbers, {scales});")
        for number, table in enumerate(model.statics.words):
            matrix = source.matrix(f"words{number}_table", table.weight, is_table=True)
            lines.append(f"embed({matrix}, words[{number}], {self._static} + {place});")
            place += table.embedding_dim
        return lines

    def framed(self) -> list[str]:
        """Return what takes a window's frame off, and says what stands for gaps."""
        model, num = self._model, self._model.num_targets
        sizes = f"{model.lookback}, {num}, {self._z}"
        frame = f"{self.offset}, {self.size}"
        lines = [f"ones({num}, {self.size});"]
        if model.options.frame == "last":
            lines.append(f"frame_at_last({sizes}, {self.offset});")
        elif model.options.frame == "instance":
            lines = [f"frame_by_itself({sizes}, {frame});"]
        if model.differences:
            lines.append(f"changes({sizes}, {frame}, {self._values});")
        if not model.differences or model.linear is not None:
            lines.append(f"fill({sizes}, {frame}, {self._filled});")
        return lines

    def extrapolated(self, writer: Writer) -> list[str]:
        """Return the linear forecast of each target."""
        model, num = self._model, self._model.num_targets
        if model.linear is None:
            return []
        (linear,) = add_module(writer, model.linear, model.lookback, one_hot=False)
        seen = self._source.state(model.lookback)
        ahead = self._source.state(model.horizon)
        return [
            f"for (int32_t c = 0; c < {num}; c++) {{",
            f"  gather({model.lookback}, {num}, {self._filled} + c, {seen});",
            f"  {linear.ahead}(m, {seen}, {ahead});",
            f"  scatter({model.horizon}, {num}, {ahead}, {self.linear} + c);",
            "}",
        ]

    def step(self, to: str, step: str = "t", first: int = 0) -> str:
        """Return what lays out what is known of a step that was.

        Args:
            to: Where.
            step: The variable of which step it is, with what it is multiplied by.
            first: That is added to it.
        """
        model, num, size = self._model, self._model.num_targets, self._num_columns
        column = first
        if model.options.method == "recursive":  # of the step after it, at the end of the future
            assert size == model.num_known
            column += 1
        sizes = f"{self._width}, {int(model.marks_missing)}, {size}, {self._num_static}"
        values = f"{self._values} + {first * num} + {_times(step, num)} + row"
        z = f"{self._z} + {first * num} + {_times(step, num)} + row"
        columns = f"{self._columns} + {column * size} + {_times(step, size)}"
        return f"look_at({sizes}, {values}, {z}, {columns}, {self._static}, {to});"

    def ahead(self, step: str, to: str) -> list[str]:
        """Return what lays out what is known of a step to come."""
        model = self._model
        if not model.ahead_size:
            return []
        sizes = f"{step}, {model.horizon}, {model.num_known}, {self._num_static}"
        return [f"look_ahead({sizes}, {self._future}, {self._static}, {to});"]


def _times(step: str, size: int) -> str:
    """Return a sum of variables, each with what it is multiplied by, multiplied."""
    return " + ".join(
        f"{each.partition(' * ')[0]} * {size * _factor(each)}" for each in step.split(" + ")
    )


def _factor(term: str) -> int:
    return int(term.partition(" * ")[2] or 1)
