"""A forecaster in C: a window of numbers of the data in, what is said of the steps to come out.

Scales go in beside the window, as doubles, for numbers of the data may need more digits than float
has. A window is scaled, put in its frame, and read; a row for each target, where these are forecast
by themselves. What is said goes the same way back.
"""

import ctypes
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.export.c.interface import (
    Interface,
    Program,
    check_modules,
    function,
    program_text,
)
from unrolled.export.c.parts import add_module, add_sequential
from unrolled.export.c.passes import through
from unrolled.export.c.source import Source
from unrolled.export.c.stage import Stage, Writer
from unrolled.kernels import WeightFormat
from unrolled.tasks.forecast.head import LEAST
from unrolled.tasks.forecast.methods import (
    DirectForecaster,
    EncoderDecoderForecaster,
    SegmentForecaster,
)
from unrolled.tasks.forecast.transforms import takes_differences
from unrolled.tasks.graphs import Windows

__all__ = ["windows_program"]

# Of each parameter that is said how it moves with a scale: with both numbers, with the width, not.
_MOVES = {
    "normal": ("both", "width"),
    "student-t": ("both", "width", "not"),
    "negative-binomial": ("width", "not"),
}
_CURVES = {"log": ("log({})", "exp({})"), "log1p": ("log1p({})", "expm1({})")}


def windows_program(windows: Windows, name: str, weights: WeightFormat) -> Program:
    """Return a forecaster in C.

    Raises:
        OptionError: A module that there is no C for, in training mode, or with weights that are
            not finite.
    """
    return _Builder(windows, name, weights).program()


class _Builder:
    def __init__(self, windows: Windows, name: str, weights: WeightFormat) -> None:
        self._windows, self._name = windows, name
        self._model = model = windows.model
        self._source = source = Source(weights)
        check_modules(model)
        self._writer = Writer(source, name)
        self._learns: str = model.options.learns
        transform = windows.transform.removesuffix("diff").rstrip("-")
        self._curve = _CURVES.get(transform, ("{}", "{}"))
        assert takes_differences(windows.transform) == model.differences
        source.needs_libm = transform in _CURVES or model.options.frame == "instance"
        source.needs_libm |= self._learns in ("quantile", *_MOVES)
        num = model.num_targets
        self._width = model.width  # targets that are read together
        self._num_columns = model.num_past + model.num_known
        self._num_static = model.ahead_size - model.num_known
        place = source.state
        self._z = place(model.lookback * num)
        self._offset, self._size = place(num), place(num)
        self._values = place(model.lookback * num)
        self._filled = place(model.lookback * num) if model.differences else self._values
        self._columns = place(model.lookback * self._num_columns)
        self._future = place(model.horizon * model.num_known)
        self._static = place(self._num_static)
        self._linear = place(model.horizon * num) if model.linear is not None else ""
        self._h = place(model.output_size)

    # ---- What is read ----------------------------------------------------------------------------

    @property
    def _inputs(self) -> list[tuple[str, str, str]]:
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
    def _arguments(self) -> str:
        return ", ".join(f"const {kind} *{name}" for kind, name, _ in self._inputs)

    def _scaled(self) -> str:
        """Return the function that scales what is given."""
        model, source, num = self._model, self._source, self._model.num_targets
        apply = self._curve[0].format("past[n]")
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
        quiet = [f"(void){name};" for _, name, _ in self._inputs if f"{name}[" not in used]
        head = f"static void scale({self._name} *m, {self._arguments})"
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

    def _framed(self) -> str:
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
            f"  ({self._offset})[c] = offset;",
            f"  ({self._size})[c] = size;",
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

    def _extrapolated(self) -> list[str]:
        """Return the linear forecast of each target."""
        model, num = self._model, self._model.num_targets
        if model.linear is None:
            return []
        (linear,) = add_module(self._writer, model.linear, model.lookback, one_hot=False)
        seen = self._source.state(model.lookback)
        ahead = self._source.state(model.horizon)
        return [
            f"for (int32_t c = 0; c < {num}; c++) {{",
            f"  for (int32_t t = 0; t < {model.lookback}; t++) {{",
            f"    ({seen})[t] = ({self._filled})[t * {num} + c];",
            "  }",
            f"  {linear.ahead}(m, {seen}, {ahead});",
            f"  for (int32_t s = 0; s < {model.horizon}; s++) {{",
            f"    ({self._linear})[s * {num} + c] = ({ahead})[s];",
            "  }",
            "}",
        ]

    def _step(self) -> str:
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

    def _ahead(self, step: str, to: str) -> list[str]:
        """Return what lays out what is known of a step to come."""
        known, lines = self._model.num_known, []
        if known:
            lines.append(f"copy({known}, {self._future} + ({step}) * {known}, {to});")
        if self._num_static:
            lines.append(f"copy({self._num_static}, {self._static}, {to} + {known});")
        return lines

    # ---- The methods -----------------------------------------------------------------------------

    def _layer(self, layer: nn.Module, size: int) -> tuple[list[Stage], "_Memory"]:
        """Add a layer; return its stages, and where it is in a sequence."""
        source = self._source
        begin, places = source.num_state, source.num_places
        stages = add_module(self._writer, layer, size, one_hot=False)
        memory = _Memory(begin, source.num_state - begin, list(range(places, source.num_places)))
        return stages, memory

    def _answered(self) -> list[str]:
        """Return what reads a row's window and leaves its raw numbers in `raw`."""
        model = self._model
        if isinstance(model, DirectForecaster):
            return self._direct(model)
        if isinstance(model, SegmentForecaster):
            return self._segments(model)
        if isinstance(model, EncoderDecoderForecaster):
            return self._decoded(model)
        return self._recursive(model)

    def _window_read(self, size: int) -> tuple[list[str], list[Stage], "_Memory", str]:
        stages, memory = self._layer(self._model.layer, size)
        x = self._source.state(size)
        lines = [
            *memory.zeroed(),
            f"for (int32_t t = 0; t < {self._model.lookback}; t++) {{",
            f"  look(m, row, t, {x});",
            *(f"  {each}" for each in through(self._source, stages, x, self._h)),
            "}",
        ]
        return lines, stages, memory, x

    def _direct(self, model: DirectForecaster) -> list[str]:
        lines, *_ = self._window_read(model.step_size)
        output, spoken = model.output_size, model.spoken_size
        (answer,) = add_module(self._writer, model.answer, output, one_hot=False)
        lines.append(f"{answer.ahead}(m, {self._h}, raw);")
        if model.known is None:
            return lines
        both = self._source.state(output + model.ahead_size)
        added = self._source.state(spoken)
        known = add_sequential(self._writer, model.known, output + model.ahead_size)
        return [
            *lines,
            f"copy({output}, {self._h}, {both});",
            f"for (int32_t s = 0; s < {model.horizon}; s++) {{",
            *(f"  {each}" for each in self._ahead("s", f"{both} + {output}")),
            *(f"  {each}" for each in through(self._source, known, both, added)),
            f"  add({spoken}, {added}, raw + s * {spoken});",
            "}",
        ]

    def _segments(self, model: SegmentForecaster) -> list[str]:
        source, size, units = self._source, model.step_size, model.options.hidden_size
        count, horizon = model.segment, model.horizon
        x = source.state(count * max(size, model.ahead_size))
        embedded = source.state(units)
        (embed,) = add_module(self._writer, model.embed, count * size, one_hot=False)
        stages, memory = self._layer(model.layer, units)
        saved = source.state(memory.count)
        num = model.lookback // count
        first = model.lookback - num * count
        place = source.vector("segment_place", model.place.detach())
        channel = source.vector("segment_channel", model.channel.detach())
        half, rest = units // 2, units - units // 2
        (answer,) = add_module(self._writer, model.answer, model.output_size, one_hot=False)
        lines = [
            *memory.zeroed(),
            f"for (int32_t n = 0; n < {num}; n++) {{",
            f"  for (int32_t k = 0; k < {count}; k++) {{",
            f"    look(m, row, {first} + n * {count} + k, {x} + k * {size});",
            "  }",
            f"  {embed.ahead}(m, {x}, {embedded});",
            f"  relu({units}, {embedded});",
            *(f"  {each}" for each in through(self._source, stages, embedded, self._h)),
            "}",
            *memory.saved(saved),
            f"for (int32_t n = 0; n < {model.num_segments}; n++) {{",
            f"  copy({half}, {place} + n * {half}, {embedded});" if half else "",
            f"  copy({rest}, {channel} + row * {rest}, {embedded} + {half});",
        ]
        if model.known is not None:
            added = source.state(units)
            known = add_sequential(self._writer, model.known, count * model.ahead_size)
            at = f"{x} + k * {model.ahead_size}"
            lines += [
                f"  zero({count * model.ahead_size}, {x});",
                f"  for (int32_t k = 0; k < {count}; k++) {{",
                f"    if (n * {count} + k >= {horizon}) continue;",
                *(f"    {each}" for each in self._ahead(f"n * {count} + k", at)),
                "  }",
                *(f"  {each}" for each in through(self._source, known, x, added)),
                f"  add({units}, {added}, {embedded});",
            ]
        spoken = count * model.spoken_size
        return [
            *(line for line in lines if line),
            *(f"  {each}" for each in memory.restored(saved)),
            *(f"  {each}" for each in through(self._source, stages, embedded, self._h)),
            f"  {answer.ahead}(m, {self._h}, raw + n * {spoken});",
            "}",
        ]

    def _decoded(self, model: EncoderDecoderForecaster) -> list[str]:
        source, units, spoken = self._source, model.options.hidden_size, model.spoken_size
        lines, _, memory, _ = self._window_read(model.step_size)
        stages, after = self._layer(model.decoder, units)
        size = stages[-1].output_size
        place = source.vector("decoder_place", model.place.detach())
        step, added, h = source.state(units), source.state(units), source.state(size)
        (answer,) = add_module(self._writer, model.answer, size, one_hot=False)
        if model.summary is None:
            assert memory.count == after.count
            lines.append(f"copy({memory.count}, {memory.address}, {after.address});")
            summed = []
        else:
            summary = source.state(units)
            (sums,) = add_module(self._writer, model.summary, model.output_size, one_hot=False)
            lines += [*after.zeroed(), f"{sums.ahead}(m, {self._h}, {summary});"]
            summed = [f"  add({units}, {summary}, {step});"]
        lines += [
            f"for (int32_t s = 0; s < {model.horizon}; s++) {{",
            f"  copy({units}, {place} + s * {units}, {step});",
        ]
        if model.known is not None:
            ahead = source.state(model.ahead_size)
            (known,) = add_module(self._writer, model.known, model.ahead_size, one_hot=False)
            lines += [f"  {each}" for each in self._ahead("s", ahead)]
            lines += [f"  {known.ahead}(m, {ahead}, {added});", f"  add({units}, {added}, {step});"]
        return [
            *lines,
            *summed,
            *(f"  {each}" for each in through(self._source, stages, step, h)),
            f"  {answer.ahead}(m, {h}, raw + s * {spoken});",
            "}",
        ]

    def _recursive(self, model: Any) -> list[str]:
        lines, stages, _, x = self._window_read(model.step_size)
        width, spoken, size = self._width, model.spoken_size, model.head.size
        level = self._source.state(width)
        (answer,) = add_module(self._writer, model.answer, model.output_size, one_hot=False)
        point = f"now[n * {size}]"
        said = f"softplus({point}) + {LEAST!r}f" if self._learns == "negative-binomial" else point
        ahead = width * (1 + model.marks_missing)
        return [
            *lines,
            f"zero({width}, {level});",
            f"for (int32_t s = 0; s < {model.horizon}; s++) {{",
            f"  float *const now = raw + s * {spoken};",
            f"  {answer.ahead}(m, {self._h}, now);",
            f"  zero({model.step_size}, {x});",
            f"  for (int32_t n = 0; n < {width}; n++) {{",
            f"    const float said = {said};",
            f"    ({x})[n] = said;",
            *([f"    {point} += ({level})[n];"] if model.differences else []),
            *([f"    ({level})[n] += said;"] if model.differences else []),
            "  }",
            f"  if (s + 1 == {model.horizon}) break;",
            *(f"  {each}" for each in self._ahead("s + 1", f"{x} + {ahead}")),
            *(f"  {each}" for each in through(self._source, stages, x, self._h)),
            "}",
        ]

    # ---- What is said ----------------------------------------------------------------------------

    def _said(self) -> str:
        """Return the function that makes of a row's raw numbers what is said of its targets."""
        model, num, width = self._model, self._model.num_targets, self._width
        size = model.head.size
        lines = [
            f"for (int32_t s = 0; s < {model.horizon}; s++) {{",
            f"  for (int32_t n = 0; n < {width}; n++) {{",
            f"    float *const p = raw + (s * {width} + n) * {size};",
            f"    double *const to = out + (s * {num} + row + n) * {size};",
            "    const int32_t c = row + n;",
        ]
        if self._linear:
            middle = getattr(model.head, "middle", 0)
            lines.append(f"    p[{middle}] += ({self._linear})[s * {num} + c];")
        lines += [f"    {each}" for each in self._parameters()]
        moves = _MOVES.get(self._learns, ("both",) * size)
        offset, spread = f"({self._offset})[c]", f"({self._size})[c]"
        undo = self._curve[1] if self._windows.says_data else "{}"
        for number, move in enumerate(moves):
            if model.options.frame != "none" and move != "not":
                more = f" + {offset}" if move == "both" else ""
                lines.append(f"    p[{number}] = p[{number}] * {spread}{more};")
            value = f"(double)p[{number}]"
            value = {"both": f"{value} * width[c] + center[c]", "width": f"{value} * width[c]"}.get(
                move, value
            )
            lines.append(f"    to[{number}] = {undo.format(value)};")
        unused = [each for each in ("center", "m") if f"{each}[" not in "".join(lines)]
        quiet = ["(void)center;"] if "center" in unused else []
        quiet += [] if "m->" in "".join(lines) else ["(void)m;"]
        if "(s *" not in "".join(lines):
            quiet.append("(void)raw;")
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

    # ---- C ---------------------------------------------------------------------------------------

    def program(self) -> Program:
        """Return the file and its header."""
        name, source, model = self._name, self._source, self._model
        rows = model.num_targets if model.options.is_independent else 1
        steps = model.horizon
        if isinstance(model, SegmentForecaster):
            steps = model.segment * model.num_segments
        raw = source.state(steps * model.spoken_size)
        extrapolated, answered = self._extrapolated(), self._answered()
        scaled, framed, said = self._scaled(), self._framed(), self._said()
        answer = function(f"static void answer({name} *m, int32_t row, float *raw)", answered)
        if model.num_targets == 1 or not model.options.is_independent:
            answer = answer.replace("{\n", "{\n  (void)row;\n", 1)
        names = ", ".join(each for _, each, _ in self._inputs)
        tables = [] if model.statics is None else [*model.statics.words]
        lines = [
            *(
                f"if (words[{n}] < 0 || words[{n}] >= {table.num_embeddings}) return -1;"
                for n, table in enumerate(tables)
            ),
            f"float *const raw = {raw};",
            f"{name}_reset(m);",
            f"scale(m, {names});",
            "frame(m);",
            *extrapolated,
            f"for (int32_t row = 0; row < {rows}; row++) {{",
            "  answer(m, row, raw);",
            "  speak(m, row, center, width, raw, out);",
            "}",
            "return 0;",
        ]
        head = f"int32_t {name}_run({name} *m, {self._arguments}, double *out)"
        defines = [
            (f"LOOKBACK {model.lookback}", "steps that are looked at"),
            (f"HORIZON {model.horizon}", "steps that are forecast"),
            (f"TARGETS {model.num_targets}", "numbers of a step"),
            (f"OUTPUTS {model.head.size}", f"numbers that are said of each: {self._meaning}"),
        ]
        functions = [scaled, framed, self._step(), answer, said, function(head, lines)]
        interface = Interface(defines, functions, self._declared(head))
        text, header, instance = program_text(name, source, interface)
        outputs = model.horizon * model.num_targets * model.head.size
        return Program(
            name, text, header, source.num_bytes, instance, output_size=outputs, row=self._row
        )

    @property
    def _meaning(self) -> str:
        if self._learns == "quantile":
            return "quantiles " + ", ".join(f"{each:g}" for each in self._model.head.levels)
        return {
            "normal": "mean and deviation",
            "student-t": "location, scale and degrees of freedom",
            "negative-binomial": "mean and dispersion",
        }.get(self._learns, "the forecast")

    def _declared(self, head: str) -> list[str]:
        model = self._model
        shapes = [f"{each}: {shape}" for _, each, shape in self._inputs]
        out = f"[{model.horizon}][{model.num_targets}][{model.head.size}]"
        lines = [
            "/* Forecasts what comes after a window, in numbers of the data; NaN where missing.",
            f"   center and width stand for each series in {self._name}.json.",
            *(["   Steps after the first follow what was forecast before them."]
              if model.options.method == "recursive" else []),
            *([] if self._windows.says_data or self._curve[0] == "{}" else
              [f"   What is said is of {self._curve[0].format('y')}."]),
            f"   {'; '.join(shapes)}; out: {out}. */",
            f"{head};",
        ]  # fmt: skip
        return lines

    # ---- The proof -------------------------------------------------------------------------------

    def _row(self, library: Any, inputs: Mapping[str, Tensor], row: int) -> Tensor:
        """Return what is said of a window, (H, C, R)."""
        given = []
        for kind, name, _ in self._inputs:
            dtype = torch.int32 if kind == "int32_t" else torch.float64
            given.append(inputs[name][row].to(dtype).contiguous())
        model = self._model
        shape = (model.horizon, model.num_targets, model.head.size)
        out = torch.full(shape, torch.nan, dtype=torch.float64)
        library.call("run", *(ctypes.c_void_p(each.data_ptr()) for each in (*given, out)))
        return out


class _Memory:
    """Where a layer keeps what goes from step to step: floats of the state, and places of rings."""

    def __init__(self, begin: int, count: int, places: list[int]) -> None:
        self.count, self._places = count, places
        self.address = f"m->state + {begin}"

    def zeroed(self) -> list[str]:
        """Return what begins a sequence."""
        places = [f"m->places[{each}] = 0;" for each in self._places]
        return [*([f"zero({self.count}, {self.address});"] if self.count else []), *places]

    def saved(self, to: str) -> list[str]:
        """Return what keeps all that for later."""
        lines = [f"copy({self.count}, {self.address}, {to});"] if self.count else []
        return lines + [f"const int32_t place{n} = m->places[{n}];" for n in self._places]

    def restored(self, saved: str) -> list[str]:
        """Return what takes it up again."""
        lines = [f"copy({self.count}, {saved}, {self.address});"] if self.count else []
        return lines + [f"m->places[{n}] = place{n};" for n in self._places]
