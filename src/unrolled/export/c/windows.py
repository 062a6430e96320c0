"""Windows in C: what a forecaster reads of numbers of the data, scaled, framed, step by step."""

from unrolled.errors import OptionError, field
from unrolled.export.c.interface import function
from unrolled.export.c.parts import add_module
from unrolled.export.c.source import Source
from unrolled.export.c.stage import Writer
from unrolled.tasks.forecast.transforms import takes_differences, takes_seasonal
from unrolled.tasks.graphs import Windows

__all__ = ["WindowReader"]

_CURVES = {"log": ("log({})", "exp({})"), "log1p": ("log1p({})", "expm1({})")}


class WindowReader:
    """Writes what comes before the layers of a forecaster.

    Args:
        windows: The forecaster.
        name: Of its instances.
        source: The file.

    Attributes:
        curve: What is learned of a number of the data, and the way back, with {} for it.
        offset: Where what is taken off each target of a window is.
        size: The same of what it is divided by.
        linear: The same of its linear forecast, (H, C); empty where there is none.
    """

    def __init__(self, windows: Windows, name: str, source: Source) -> None:
        if takes_seasonal(windows.transform):
            message = f"{field('transform')} {windows.transform} is not written in C"
            raise OptionError(message, "export it to ONNX, or train with another one")
        self._windows, self._name, self._source = windows, name, source
        self._model = model = windows.model
        transform = windows.transform.removesuffix("diff").rstrip("-")
        self.curve = _CURVES.get(transform, ("{}", "{}"))
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
        self._future = place(model.horizon * model.num_known)
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
    def arguments(self) -> str:
        """The same as arguments of a function."""
        return ", ".join(f"const {kind} *{name}" for kind, name, _ in self.inputs)

    def scaled(self) -> str:
        """Return the function that scales what is given."""
        model, source, num = self._model, self._source, self._model.num_targets
        apply = self.curve[0].format("past[n]")
        lines = [
            f"float *const z = {self._z};",
            f"for (int32_t n = 0; n < {model.lookback * num}; n++) {{",
            f"  z[n] = (float)(({apply} - center[n % {num}]) / width[n % {num}]);",
            "}",
        ]
        read = [("columns", self._columns, 0, model.lookback, self._num_columns)]
        read += [("future", self._future, model.num_past, model.horizon, model.num_known)]
        if self._num_columns:
            center = source.doubles("columns_center", self._windows.columns[0])
            spread = source.doubles("columns_width", self._windows.columns[1])
            for given, to, first, steps, size in read:
                if not size:
                    continue
                by = f"{first} + n % {size}"
                lines += [
                    f"for (int32_t n = 0; n < {steps * size}; n++) {{",
                    f"  const double x = ({given}[n] - {center}[{by}]) / {spread}[{by}];",
                    f"  ({to})[n] = x == x ? (float)x : 0.0f;",
                    "}",
                ]
        lines += self._statics()
        used = "\n".join(lines)
        quiet = [f"(void){name};" for _, name, _ in self.inputs if f"{name}[" not in used]
        head = f"static void scale({self._name} *m, {self.arguments})"
        return function(head, [*quiet, *lines])

    def _statics(self) -> list[str]:
        model, source = self._model, self._source
        if model.statics is None:
            return []
        lines, place = [], len(self._windows.numbers[0])
        if place:
            center = source.doubles("numbers_center", self._windows.numbers[0])
            spread = source.doubles("numbers_width", self._windows.numbers[1])
            lines += [
                f"for (int32_t n = 0; n < {place}; n++) {{",
                f"  const double x = (numbers[n] - {center}[n]) / {spread}[n];",
                f"  ({self._static})[n] = x == x ? (float)x : 0.0f;",
                "}",
            ]
        for number, table in enumerate(model.statics.words):
            matrix = source.matrix(f"words{number}_table", table.weight, is_table=True)
            lines.append(f"embed({matrix}, words[{number}], {self._static} + {place});")
            place += table.embedding_dim
        return lines

    def framed(self) -> str:
        """Return the function that takes a window's frame off, and says what stands for gaps."""
        model, num = self._model, self._model.num_targets
        steps, kind = model.lookback, model.options.frame
        lines = [
            f"float *const z = {self._z}, *const values = {self._values};",
            f"for (int32_t c = 0; c < {num}; c++) {{",
            "  float offset = 0.0f, size = 1.0f, last = 0.0f;",
            "  int32_t any = 0;",
        ]
        loop = f"  for (int32_t t = 0; t < {steps}; t++) {{"
        at = f"t * {num} + c"
        if kind == "last":
            lines += [loop, f"    if (z[{at}] == z[{at}]) offset = z[{at}];", "  }"]
        elif kind == "instance":
            lines += [
                "  float sum = 0.0f, squares = 0.0f;",
                "  int32_t count = 0;",
                loop,
                f"    if (z[{at}] != z[{at}]) continue;",
                f"    sum += z[{at}];",
                "    count++;",
                "  }",
                "  offset = sum / (float)(count > 0 ? count : 1);",
                loop,
                f"    const float off = z[{at}] - offset;",
                "    if (off == off) squares += off * off;",
                "  }",
                "  size = vsqrt(squares / (float)(count > 0 ? count : 1) + 1e-5f);",
            ]
        change = "any && !gone ? now - last : 0.0f"
        lines += [
            f"  ({self.offset})[c] = offset;",
            f"  ({self.size})[c] = size;",
            loop,
            f"    const int32_t gone = z[{at}] != z[{at}];",
            f"    const float now = (z[{at}] - offset) / size;",
            *([f"    values[{at}] = {change};"] if model.differences else []),
            "    last = gone ? last : now;",
            *(["    any = any || !gone;"] if model.differences else []),
            f"    ({self._filled})[{at}] = last;",
            "  }",
            *([] if model.differences else ["  (void)any;"]),
            "}",
            *([] if model.differences else ["(void)values;"]),
        ]
        return function(f"static void frame({self._name} *m)", lines)

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
            f"  for (int32_t t = 0; t < {model.lookback}; t++) {{",
            f"    ({seen})[t] = ({self._filled})[t * {num} + c];",
            "  }",
            f"  {linear.ahead}(m, {seen}, {ahead});",
            f"  for (int32_t s = 0; s < {model.horizon}; s++) {{",
            f"    ({self.linear})[s * {num} + c] = ({ahead})[s];",
            "  }",
            "}",
        ]

    def step(self) -> str:
        """Return the function that lays out what is known of a step that was."""
        model, num, width = self._model, self._model.num_targets, self._width
        at = f"t * {num} + row + n"
        lines = [
            f"for (int32_t n = 0; n < {width}; n++) {{",
            f"  x[n] = ({self._values})[{at}];",
            "}",
        ]
        place = width
        if model.marks_missing:
            lines += [
                f"for (int32_t n = 0; n < {width}; n++) {{",
                f"  const float z = ({self._z})[{at}];",
                f"  x[{place} + n] = z == z ? 0.0f : 1.0f;",
                "}",
            ]
            place += width
        size, known = self._num_columns, model.num_known
        if size and model.options.method == "recursive":  # of the step after it
            next_columns = f"t + 1 < {model.lookback} ? {self._columns} + (t + 1) * {size}"
            lines.append(f"copy({size}, {next_columns} : {self._future}, x + {place});")
        elif size:
            lines.append(f"copy({size}, {self._columns} + t * {size}, x + {place});")
        assert model.options.method != "recursive" or size == known
        place += size
        if self._num_static:
            lines.append(f"copy({self._num_static}, {self._static}, x + {place});")
        head = f"static void look({self._name} *m, int32_t row, int32_t t, float *x)"
        return function(head, lines)

    def ahead(self, step: str, to: str) -> list[str]:
        """Return what lays out what is known of a step to come."""
        known, lines = self._model.num_known, []
        if known:
            lines.append(f"copy({known}, {self._future} + ({step}) * {known}, {to});")
        if self._num_static:
            lines.append(f"copy({self._num_static}, {self._static}, {to} + {known});")
        return lines
