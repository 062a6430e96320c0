"""A forecaster in C: a window of numbers of the data in, what is said of the steps to come out.

Scales go in beside the window, as doubles, for numbers of the data may need more digits than float
has. A window is scaled, put in its frame, and read; a row for each target, where these are forecast
by themselves. What is said goes the same way back (`forecast_head.py`).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.export.c.forecast_head import HeadWriter
from unrolled.export.c.interface import (
    Interface,
    Pass,
    Program,
    check_modules,
    function,
    program_text,
)
from unrolled.export.c.parts import add_module, add_sequential
from unrolled.export.c.passes import through
from unrolled.export.c.source import Source
from unrolled.export.c.stage import Stage, Writer
from unrolled.export.c.windows import WindowReader
from unrolled.kernels import WeightFormat
from unrolled.tasks.forecast.methods import (
    DirectForecaster,
    EncoderDecoderForecaster,
    SegmentForecaster,
)
from unrolled.tasks.graphs import Windows

__all__ = ["WindowsBuilder"]


class WindowsBuilder:
    """A forecaster in C."""

    def __init__(self, windows: Windows, name: str, weights: WeightFormat) -> None:
        self._windows, self._name = windows, name
        self._model = model = windows.model
        self._source = source = Source(weights)
        check_modules(model)
        self._writer = Writer(source, name)
        self._reader = WindowReader(windows, source)
        self._head = HeadWriter(windows, source, self._reader)
        self._h = source.state(model.output_size)
        steps = model.horizon
        if isinstance(model, SegmentForecaster):
            steps = model.segment * model.num_segments
        self._raw = source.state(steps * model.spoken_size)

    # ---- The methods -----------------------------------------------------------------------------

    def _layer(self, layer: nn.Module, size: int) -> tuple[list[Stage], "_Memory"]:
        """Add a layer; return its stages, and where it is in a sequence."""
        source = self._source
        begin, places = source.num_state, source.num_places
        stages = add_module(self._writer, layer, size, one_hot=False)
        return stages, _Memory(source, begin, places)

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
            f"  {self._reader.step(x)}",
            *(f"  {each}" for each in through(self._source, stages, x, self._h)),
            "}",
        ]
        return lines, stages, memory, x

    def _direct(self, model: DirectForecaster) -> list[str]:
        lines, *_ = self._window_read(model.step_size)
        output, spoken = model.output_size, model.spoken_size
        (answer,) = add_module(self._writer, model.answer, output, one_hot=False)
        lines.append(f"{answer.ahead}(m, {self._h}, {self._raw});")
        if model.known is None:
            return lines
        both = self._source.state(output + model.ahead_size)
        added = self._source.state(spoken)
        known = add_sequential(self._writer, model.known, output + model.ahead_size)
        return [
            *lines,
            f"copy({output}, {self._h}, {both});",
            f"for (int32_t s = 0; s < {model.horizon}; s++) {{",
            *(f"  {each}" for each in self._reader.ahead("s", f"{both} + {output}")),
            *(f"  {each}" for each in through(self._source, known, both, added)),
            f"  add({spoken}, {added}, {self._raw} + s * {spoken});",
            "}",
        ]

    def _segments(self, model: SegmentForecaster) -> list[str]:
        source, size, units = self._source, model.step_size, model.options.hidden_size
        count = model.segment
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
            f"    {self._reader.step(f'{x} + k * {size}', f'n * {count} + k', first)}",
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
                f"  for (int32_t k = 0; k < {count}; k++) {{",
                *(f"    {each}" for each in self._reader.ahead(f"n * {count} + k", at)),
                "  }",
                *(f"  {each}" for each in through(self._source, known, x, added)),
                f"  add({units}, {added}, {embedded});",
            ]
        spoken = count * model.spoken_size
        return [
            *(line for line in lines if line),
            *(f"  {each}" for each in memory.restored(saved)),
            *(f"  {each}" for each in through(self._source, stages, embedded, self._h)),
            f"  {answer.ahead}(m, {self._h}, {self._raw} + n * {spoken});",
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
            lines += [f"  {each}" for each in self._reader.ahead("s", ahead)]
            lines += [f"  {known.ahead}(m, {ahead}, {added});", f"  add({units}, {added}, {step});"]
        return [
            *lines,
            *summed,
            *(f"  {each}" for each in through(self._source, stages, step, h)),
            f"  {answer.ahead}(m, {h}, {self._raw} + s * {spoken});",
            "}",
        ]

    def _recursive(self, model: Any) -> list[str]:
        lines, stages, _, x = self._window_read(model.step_size)
        width, spoken, size = model.width, model.spoken_size, model.head.size
        level = self._source.state(width)
        (answer,) = add_module(self._writer, model.answer, model.output_size, one_hot=False)
        more = width * model.marks_missing  # which of them are missing: none

        def fed(said: str) -> list[str]:
            lines = [self._head.fed(said, x)]
            if model.differences:
                lines.append(f"rise({width}, {size}, {x}, {level}, {said});")
            return lines

        return [
            *lines,
            f"{answer.ahead}(m, {self._h}, {self._raw});",
            f"zero({width}, {level});",
            f"for (int32_t s = 0; s < {model.horizon - 1}; s++) {{",
            *(f"  {each}" for each in fed(f"{self._raw} + s * {spoken}")),
            *([f"  zero({more}, {x} + {width});"] if more else []),
            *(f"  {each}" for each in self._reader.ahead("s + 1", f"{x} + {width + more}")),
            *(f"  {each}" for each in through(self._source, stages, x, self._h)),
            f"  {answer.ahead}(m, {self._h}, {self._raw} + {spoken} + s * {spoken});",
            "}",
            *(fed(f"{self._raw} + {(model.horizon - 1) * spoken}") if model.differences else []),
        ]

    # ---- C ---------------------------------------------------------------------------------------

    def program(self) -> Program:
        """Return the file and its header."""
        name, source, model = self._name, self._source, self._model
        rows = model.num_targets if model.options.is_independent else 1
        lines = [*self._reader.scaled(), *self._reader.framed()]
        lines += self._reader.extrapolated(self._writer)
        lines += [
            f"for (int32_t row = 0; row < {rows}; row++) {{",
            *(f"  {each}" for each in (*self._answered(), *self._head.said(self._raw))),
            "}",
        ]
        tables = [] if model.statics is None else [*model.statics.words]
        body = [
            *(
                f"if (words[{n}] < 0 || words[{n}] >= {table.num_embeddings}) return -1;"
                for n, table in enumerate(tables)
            ),
            f"{name}_reset(m);",
            *lines,
            "return 0;",
        ]
        head = f"int32_t {name}_run({name} *m, {self._reader.arguments}, double *out)"
        defines = [
            (f"LOOKBACK {model.lookback}", "steps that are looked at"),
            (f"HORIZON {model.horizon}", "steps that are forecast"),
            (f"TARGETS {model.num_targets}", "numbers of a step"),
            (f"OUTPUTS {model.head.size}", f"numbers that are said of each: {self._head.meaning}"),
        ]
        interface = Interface(defines, [function(head, body)], self._declared(head))
        text, header, instance = program_text(name, source, interface)
        inputs = sum(self._reader.counts.values())
        outputs = model.horizon * model.num_targets * model.head.size
        passes = (Pass(tuple(lines), "ahead", "in", "out", inputs, outputs),)
        return Program(
            name,
            text,
            header,
            source.num_bytes,
            instance,
            input_size=inputs,
            output_size=outputs,
            row=self._row,
            source=source,
            passes=passes if model.statics is None else (),
            doubles=self._reader.counts,
            scaled=self._head.on_scale,
        )

    def _declared(self, head: str) -> list[str]:
        model = self._model
        shapes = [f"{each}: {shape}" for _, each, shape in self._reader.inputs]
        out = f"[{model.horizon}][{model.num_targets}][{model.head.size}]"
        return [
            "/* Forecasts what comes after a window, in numbers of the data; NaN where missing.",
            f"   center and width stand for each series in {self._name}.json.",
            *(["   Steps after the first follow what was forecast before them."]
              if model.options.method == "recursive" else []),
            *([] if self._windows.says_data or not self._reader.learned else
              [f"   What is said is of {self._reader.learned}."]),
            f"   {'; '.join(shapes)}; out: {out}. */",
            f"{head};",
        ]  # fmt: skip

    # ---- The proof -------------------------------------------------------------------------------

    def _row(self, library: Any, inputs: Mapping[str, Tensor], row: int) -> Tensor:
        """Return what is said of a window, (H, C, R)."""
        given = []
        for kind, name, _ in self._reader.inputs:
            dtype = torch.int32 if kind == "int32_t" else torch.float64
            given.append(inputs[name][row].to(dtype).contiguous())
        model = self._model
        shape = (model.horizon, model.num_targets, model.head.size)
        said: Tensor = library.answer(given, shape)
        return said


class _Memory:
    """Where a layer keeps what goes from step to step: floats of the state, and places of rings."""

    def __init__(self, source: Source, begin: int, places: int) -> None:
        self.count = source.num_state - begin
        self._places = range(places, source.num_places)
        self._kept = [f"&{source.place()}" for _ in self._places]
        self.address = f"m->state + {begin}"

    def zeroed(self) -> list[str]:
        """Return what begins a sequence."""
        places = [f"restart(&m->places[{each}]);" for each in self._places]
        return [*([f"zero({self.count}, {self.address});"] if self.count else []), *places]

    def saved(self, to: str) -> list[str]:
        """Return what keeps all that for later."""
        lines = [f"copy({self.count}, {self.address}, {to});"] if self.count else []
        pairs = zip(self._places, self._kept, strict=True)
        return lines + [f"keep(&m->places[{place}], {kept});" for place, kept in pairs]

    def restored(self, saved: str) -> list[str]:
        """Return what takes it up again."""
        lines = [f"copy({self.count}, {saved}, {self.address});"] if self.count else []
        pairs = zip(self._places, self._kept, strict=True)
        return lines + [f"keep({kept}, &m->places[{place}]);" for place, kept in pairs]
