"""A model in C that reads something whole and then writes word after word.

`read` leaves what every step looks at in room of the caller's: the memory, its keys, and the
weights of the last look. `write` takes the likeliest word at each step, or draws one; a caller that
has another search calls `step`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from unrolled.export.c.attention import add_look
from unrolled.export.c.grid import Grid
from unrolled.export.c.interface import (
    Interface,
    Pass,
    Program,
    check_modules,
    function,
    program_text,
)
from unrolled.export.c.parts import add_module, add_reading, add_sequential, add_table
from unrolled.export.c.passes import over_steps, stage_passes, through
from unrolled.export.c.pictures import add_pictures
from unrolled.export.c.source import Source
from unrolled.export.c.stage import Stage, Writer
from unrolled.export.c.writing import declared_write, mark_defines, write_function
from unrolled.kernels import WeightFormat
from unrolled.layers import RecurrentLayer
from unrolled.networks.picture_encoder import PictureEncoder
from unrolled.networks.sound_encoder import side_by_side
from unrolled.tasks.graphs import Writing

__all__ = ["WritingBuilder"]


class WritingBuilder:
    """A model that reads and then writes in C."""

    def __init__(self, writing: Writing, name: str, weights: WeightFormat) -> None:
        self._writing, self._name = writing, name
        self._decoder = decoder = writing.decoder
        self._source = source = Source(weights)
        check_modules(*writing.modules, decoder)
        writer = Writer(source, name)
        self._stages: list[Stage] = []
        self._input_size = 0
        self._grid: Grid | None = None
        if isinstance(writing.modules[0], PictureEncoder):
            self._grid = add_pictures(source, writing.modules[0])
            self._memory_size = writing.modules[0].config.memory_size
        else:
            reading = add_reading(writer, writing.modules, writing.num_tokens)
            self._stages, self._input_size = reading
            self._memory_size = self._stages[-1].output_size
        self._summary = source.state(decoder.config.summary_size)
        self._key = self._added_keys(writer)
        self._begin: list[str] = []
        self._word_passes: list[Pass] = []
        self._steps = self._added_steps(writer)

    # ---- The decoder -----------------------------------------------------------------------------

    @property
    def _key_size(self) -> int:
        attention = self._decoder.attention
        return 0 if attention is None else attention.query_size

    def _added_keys(self, writer: Writer) -> str:
        """Add what makes the key of a place of the memory; return its name, if there are any."""
        attention: Any = self._decoder.attention
        if attention is None:
            return ""
        (key,) = add_module(writer, attention.key, self._memory_size, one_hot=False)
        return key.ahead

    def _keys_of_all(self) -> list[str]:
        """Return what makes the keys of a memory."""
        size, keys = self._memory_size, self._key_size
        if not self._key:
            return []
        return [
            "for (int32_t t = 0; t < steps; t++) {",
            f"  {self._key}(m, room + (size_t)t * {size},",
            f"      room + (size_t)steps * {size} + (size_t)t * {keys});",
            "}",
        ]

    def _added_steps(self, writer: Writer) -> list[str]:
        """Return the statements of a step, and add to what begins: the states before the first.

        The passes of a step are the same, where it looks at the memory in parts.
        """
        decoder: Any = self._decoder
        source, size = self._source, decoder.config.embedding_size
        x = source.state(size + (0 if decoder.bridge is not None else decoder.config.summary_size))
        embedding = add_table(writer, decoder.embedding)
        lines = [f"{embedding.ahead}(m, 0, {x});"]
        if decoder.bridge is None:
            lines.append(f"copy({decoder.config.summary_size}, {self._summary}, {x} + {size});")
        hidden = decoder.config.layer.hidden_size
        context = self._memory_size if decoder.attention is not None else 0
        both = source.state(context + hidden)
        h = f"{both} + {context}"
        lines += self._layers(writer, decoder.layer, decoder.bridge, x, h)
        call: list[str] = []
        above: list[str] = []
        if decoder.attention is not None:
            look = add_look(writer, self._name, decoder.attention, self._memory_size, both)
            call = [look.call]
            self._word_passes += [Pass((*lines, *look.before), "once", "in"), *look.passes]
            combined = add_sequential(writer, [decoder.combine, nn.Tanh()], context + hidden)
            h = source.state(hidden)
            above = through(self._source, combined, both, h)
        if decoder.further is not None:
            top = source.state(hidden)
            above += self._layers(writer, decoder.further, decoder.further_bridge, h, top)
            h = top
        (scores,) = add_module(writer, decoder.scores, hidden, one_hot=False)
        above.append(f"{scores.ahead}(m, {h}, out);")
        if not call:
            self._word_passes.append(Pass(tuple(lines), "once", "in"))
        self._word_passes.append(Pass(tuple(above), "once", None, "out"))
        return [*lines, *call, *above]

    def _layers(self, writer: Writer, layer: Any, bridge: Any, read: str, out: str) -> list[str]:
        """Return what a layer does at a step, and add to what begins how it is started."""
        reads = layer.input_size
        stages = add_module(writer, layer, reads, one_hot=False)
        if bridge is not None:
            assert isinstance(layer, RecurrentLayer)
            width, units = bridge.linear.out_features, layer.hidden_size
            started = self._source.state(width)
            (linear,) = add_module(writer, bridge.linear, bridge.linear.in_features, one_hot=False)
            self._begin += [
                f"{linear.ahead}(m, {self._summary}, {started});",
                f"tanh_of({width}, {started});",
            ]
            for state in range(len(layer.cell.states)):
                for number, stage in enumerate(stages):
                    place = (state * len(stages) + number) * units
                    copied = f"{started} + {place}, {stage.state} + {state * units}"
                    self._begin.append(f"copy({units}, {copied});")
        return through(self._source, stages, read, out)

    # ---- Reading ---------------------------------------------------------------------------------

    def _summed(self) -> list[str]:
        """Return what makes the summary of a memory."""
        size, summary = self._memory_size, self._summary
        at = f"room + (size_t)(steps - 1) * {size}"
        if self._writing.summary == "ends":
            half = self._stages[-1].size
            lines = [f"copy({half}, {at}, {summary});"]
            if self._stages[-1].back is not None:
                lines.append(f"copy({half}, room + {half}, {summary} + {half});")
            return lines
        if self._writing.summary == "mean":
            return [
                "for (int32_t t = 0; t < steps; t++) {",
                f"  add({size}, room + (size_t)t * {size}, {summary});",
                "}",
                f"divide({size}, steps, {summary});",
            ]
        if self._writing.summary == "greatest":
            return [
                f"copy({size}, room, {summary});",
                "for (int32_t t = 0; t < steps; t++) {",
                f"  take_greater({size}, room + t * {size}, {summary});",
                "}",
            ]
        return []

    def _read_passes(self) -> Iterator[Pass]:
        """Yield what `read` does."""
        size, summary = self._memory_size, self._summary

        def once(line: str, order: str = "once") -> Pass:
            return Pass((line,), order, "memory", None, size)

        if self._grid is not None:
            yield Pass(self._grid.lines, "once", "in", "memory")
        else:
            yield from stage_passes(self._stages, "in", self._input_size, "memory")
        if self._writing.summary == "ends":
            half = self._stages[-1].size
            yield once(f"copy({half}, in, {summary});", "last")
            if self._stages[-1].back is not None:
                yield once(f"copy({half}, in + {half}, {summary} + {half});", "first")
        elif self._writing.summary == "mean":
            yield once(f"add({size}, in, {summary});", "ahead")
            yield once(f"divide({size}, steps, {summary});")
        elif self._writing.summary == "greatest":
            yield once(f"copy({size}, in, {summary});", "first")
            yield once(f"take_greater({size}, in, {summary});", "ahead")
        if self._key:
            line = f"{self._key}(m, in, out);"
            yield Pass((line,), "ahead", "memory", "keys", size, self._key_size)
        yield Pass(tuple(self._begin), "once")

    @property
    def _beside(self) -> int:
        """Floats of a place in the room, besides its value: its key, its weight."""
        return self._key_size + 1 if self._decoder.attention is not None else 0

    def _read(self) -> tuple[str, str]:
        """Return the function that reads, and what it is given."""
        name, size = self._name, self._memory_size + self._beside
        if (grid := self._grid) is not None:
            given = "const uint8_t *pixels, float *room"
            at = f"room + {grid.num_places * size}"
            lines = [
                f"const int32_t steps = {grid.num_places};",
                f"{name}_reset(m);",
                f"grid_of(pixels, room, {at});",
            ]
        else:
            tokens = self._writing.num_tokens
            given = (
                f"int32_t steps, const {'float' if tokens is None else 'int32_t'} *in, float *room"
            )
            lines = ["if (steps < 1) return -1;"]
            if tokens is not None:
                lines += ["for (int32_t t = 0; t < steps; t++) {"]
                lines += [f"  if (in[t] < 0 || in[t] >= {tokens}) return -1;", "}"]

            def before(number: int) -> list[str]:
                return ["m->token = in[t];"] if tokens is not None and number == 0 else []

            read = "in" if tokens is None else "0"
            room = f"room + (size_t)steps * {size}"
            loops, _ = over_steps(self._stages, read, self._input_size, "room", room, before)
            lines += [f"{name}_reset(m);", *loops]
        lines += ["m->steps = steps;", *self._summed(), *self._keys_of_all(), *self._begin]
        lines.append("return 0;")
        head = f"int32_t {name}_read({name} *m, {given})"
        return function(head, lines), given

    # ---- C ---------------------------------------------------------------------------------------

    def program(self) -> Program:
        """Return the file and its header."""
        name, source, decoder = self._name, self._source, self._decoder
        words = decoder.config.vocabulary_size
        looks = decoder.attention is not None
        given = "int32_t word, float *room, float *out" if looks else "int32_t word, float *out"
        wrong = f"if (m->steps < 1 || word < 0 || word >= {words}) return -1;"
        head = f"int32_t {name}_step({name} *m, {given})"
        step = function(head, [wrong, "m->token = word;", *self._steps, "return 0;"])
        read, reads = self._read()
        defines = [
            (f"OUTPUTS {words}", "words: a step reads one, and says how likely each is next"),
            *mark_defines(),
        ]
        size = self._memory_size + self._beside
        if (grid := self._grid) is not None:
            room = size * grid.num_places + grid.room
            defines.append((f"ROOM {room}", "floats"))
            side = grid.side
            what = f"Reads a picture. pixels: [3][{side}][{side}], of red, green and blue;\n   "
            what += "room: [{0}_ROOM]"
        else:
            room = size + 2 * max(stage.output_size for stage in self._stages)
            tokens = self._writing.num_tokens
            shape = f"steps * {self._input_size}" if tokens is None else "steps"
            if tokens is None:
                defines.append((f"INPUTS {self._input_size}", "numbers of a step that is read"))
            else:
                defines.append((f"TOKENS {tokens}", "of what is read, from 0 on"))
            defines.append((f"ROOM(steps) ((size_t){room} * (size_t)(steps))", "floats"))
            what = (
                f"Reads a whole sequence, -1 of no step. in: [{shape}]; room: [{{0}}_ROOM(steps)]"
            )
        keeps = ",\n   which every step needs as it is left" if looks else ""
        places = f"steps * {self._memory_size + self._key_size}"
        if grid is not None:
            places = str(grid.num_places * (self._memory_size + self._key_size))
        looked = f"\n   room + {places}: how much it looked at each place." if looks else ""
        declared = [
            f"/* {what.format(name.upper())}{keeps}. */",
            f"int32_t {name}_read({name} *m, {reads});",
            "",
            "/* Reads the word that was written last, at first the mark of the beginning, and says",
            f"   scores of the next one; -1 before anything was read. out: [{words}].{looked} */",
            f"int32_t {name}_step({name} *m, {given});",
            *declared_write(name, words, looks),
        ]
        functions = [read, step, write_function(name, words, looks)]
        widest = max([1, *(stage.output_size for stage in self._stages)])
        interface = Interface(defines, functions, declared, integers=("steps",), widest=widest)
        text, header, instance = program_text(name, source, interface)
        return Program(
            name,
            text,
            header,
            source.num_bytes,
            instance,
            self._writing.num_tokens,
            self._input_size,
            words,
            is_pooled=True,
            room=room,
            row=self._row,
            written=self._written,
            source=source,
            passes=tuple(self._read_passes()),
            word_passes=tuple(self._word_passes),
            places=(self._memory_size, self._key_size, int(looks)),
            grid=grid,
        )

    # ---- The proof -------------------------------------------------------------------------------

    def _row(self, library: Any, inputs: Mapping[str, Tensor], row: int) -> Tensor:
        """Return the scores after each known word of a row, (T, V)."""
        words = inputs["words"][row].tolist()
        scores: Tensor = library.scores_after(self._read_of(inputs, row), words)
        return scores

    def _written(
        self, library: Any, inputs: Mapping[str, Tensor], row: int, most: int
    ) -> list[int]:
        """Return the numbers of the words that are written of a row."""
        words: list[int] = library.words_of(self._read_of(inputs, row), most)
        return words

    def _read_of(self, inputs: Mapping[str, Tensor], row: int) -> NDArray[Any]:
        """Return what is read of a row: tokens, (T,), frames, (T, I), or pixels, (3, S, S)."""
        read = inputs["source" if "source" in inputs else "media"][row]
        kind: Any = np.uint8
        if self._grid is None:
            read = read[: int(inputs["lengths"][row])]
            kind = np.float32 if self._writing.num_tokens is None else np.int32
            if self._writing.num_tokens is None:
                read = side_by_side(read, self._input_size // read.shape[1])
        return np.ascontiguousarray(read.numpy(), kind)
