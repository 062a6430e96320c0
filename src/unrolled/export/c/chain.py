"""A chain of modules in C: the parts, and the order in which they run.

A model of one direction goes step by step, and a sequence is its steps. One that reads from the end
too has no steps: each of its stages goes over the whole sequence, in room that the caller gives.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from unrolled.export.c.grid import Grid
from unrolled.export.c.interface import (
    Interface,
    Pass,
    Program,
    check_modules,
    function,
    program_text,
)
from unrolled.export.c.parts import add_module, add_reading
from unrolled.export.c.passes import in_turn, over_steps, stage_passes
from unrolled.export.c.pictures import add_pictures
from unrolled.export.c.pooling import add_pooling
from unrolled.export.c.source import Source
from unrolled.export.c.stage import Stage, Writer
from unrolled.export.c.writing import begin_drawing
from unrolled.kernels import WeightFormat
from unrolled.layers import RecurrentLayer
from unrolled.tasks.graphs import Chain

__all__ = ["ChainBuilder"]


class ChainBuilder:
    """A chain of modules in C."""

    def __init__(self, chain: Chain, name: str, weights: WeightFormat) -> None:
        self._chain, self._name = chain, name
        self._source = Source(weights)
        check_modules(*chain.modules, *chain.says, chain.attention, chain.evidence)
        check_modules(chain.pictures, chain.evenly)
        writer = Writer(self._source, name)
        self._grid: Grid | None = None
        if chain.pictures is not None:
            self._grid = add_pictures(self._source, chain.pictures)
        self._stages, self._input_size = add_reading(writer, chain.modules, chain.num_tokens)
        self._given = writer.given
        self._pool = self._pooled = ""
        self._evidence = ""
        self._says: list[Stage] = []
        size = self._stages[-1].output_size
        if chain.pooling == "last" and self._reads_both_ways:  # each direction's last is copied
            self._pooled = self._source.state(size)
        elif chain.pooling is not None:
            self._pool, self._pooled = add_pooling(writer, chain.pooling, size, chain.attention)
        for module in chain.says:
            self._says += add_module(writer, module, size, one_hot=False)
            size = self._says[-1].output_size
        self._output_size = size
        self._places_weighed: Callable[[str], list[str]] | None = None
        if chain.evenly is not None:
            self._places_weighed = self._add_evenly(writer, chain.evenly)
        if chain.evidence is not None:
            self._evidence = self._add_evidence(writer, chain.evidence)

    def _add_evidence(self, writer: Writer, evidence: nn.Embedding) -> str:
        """Add what sums up a row of scores for each token; return where the sums are."""
        body = writer.body()
        size = self._output_size
        total = body.source.state(size)
        table = body.source.matrix(f"{body.name}_table", evidence.weight, is_table=True)
        body.lines += [f"embed({table}, m->token, out);", f"add({size}, out, {total});"]
        self._adds_evidence = body.end()
        return total

    def _add_evenly(self, writer: Writer, evenly: nn.Linear) -> Callable[[str], list[str]]:
        """Add what weighs the steps at places that divide them evenly.

        Returns:
            What makes its statements of where the steps lie.
        """
        source, size, count = self._source, self._input_size, evenly.in_features
        pressed, said = source.state(count), source.state(evenly.out_features)
        (stage,) = add_module(writer, evenly, count, one_hot=False)
        return lambda read: [
            f"press({count // size}, {size}, steps, {read}, {pressed});",
            f"{stage.ahead}(m, {pressed}, {said});",
            f"add({evenly.out_features}, {said}, out);",
        ]

    @property
    def _steps(self) -> bool:
        chain = self._chain
        if chain.pictures is not None or chain.evenly is not None:
            return False
        return all(stage.back is None for stage in self._stages)

    @property
    def _reads_both_ways(self) -> bool:
        return self._stages[-1].back is not None

    # ---- C ---------------------------------------------------------------------------------------

    def program(self) -> Program:
        """Return the file and its header."""
        source, name, chain = self._source, self._name, self._chain
        widths = [self._input_size if chain.num_tokens is None else 0]
        widths += [stage.output_size for stage in (*self._stages, *self._says)]
        self._widest = max([*widths, self._output_size])
        room = 0 if self._steps else 2 * max(stage.output_size for stage in self._stages)
        if (grid := self._grid) is not None:
            places = grid.num_places
            room = places * self._input_size + max(grid.room, places * room)
        functions = [self._forward()] if self._steps else []
        functions += [self._say()] if chain.pooling is not None else []
        functions += [self._step(), self._run_steps()] if self._steps else [self._run_whole()]
        functions += [self._write()] if chain.writes else []
        of_all = "" if chain.pooling is not None else "steps * "
        declarations = self._declared_steps(of_all) if self._steps else self._declared_whole(of_all)
        declarations += self._declared_writer() if chain.writes else []
        interface = Interface(self._defines(room), functions, declarations, widest=self._widest)
        text, header, instance = program_text(name, source, interface)
        return Program(
            name,
            text,
            header,
            source.num_bytes,
            instance,
            chain.num_tokens,
            self._input_size,
            self._output_size,
            chain.pooling is not None,
            self._steps,
            room,
            None if grid is None else _picture_row,
            source,
            tuple(self._passes()),
            places=(0 if grid is None else self._input_size, 0, 0),
            grid=grid,
            between=2 * self._widest,
        )

    def _defines(self, room: int) -> list[tuple[str, str]]:
        tokens = self._chain.num_tokens
        reads = (f"TOKENS {tokens}", "a step reads one of them, from 0 on")
        if self._chain.pictures is not None:
            side = self._chain.pictures.config.picture_size
            reads = f"SIDE {side}", "pixels of each side of a picture"
        elif tokens is None:
            reads = f"INPUTS {self._input_size}", f"numbers that a step reads{self._parts}"
        what = "of a step" if self._chain.pooling is None else "of the sequence until now"
        says = f"OUTPUTS {self._output_size}", f"numbers that are said {what}"
        needs = [(f"ROOM(steps) ((size_t){room} * (size_t)(steps))", "floats")] if room else []
        if self._chain.pictures is not None:
            needs = [(f"ROOM {room}", "floats")]
        return [reads, says, *needs]

    def _in_turn(self, stages: list[Stage], read: str, out: str) -> list[str]:
        return in_turn(stages, read, out, self._widest)

    def _forward(self) -> str:
        """Return what reads one step, up to the pooling."""
        arguments = "const float *in" if self._chain.pooling else "const float *in, float *out"
        return function(f"static void forward({self._name} *m, {arguments})", self._read_step())

    def _read_step(self) -> list[str]:
        if self._chain.pooling is None:
            return self._beside("in") + self._in_turn(self._stages, "in", "out")
        place = f"m->between + {(len(self._stages) - 1) % 2 * self._widest}"
        lines = self._beside("in") + self._in_turn(self._stages, "in", place)
        lines.append(f"{self._pool}(m, {place}, 0);")
        if self._evidence:
            other = f"m->between + {len(self._stages) % 2 * self._widest}"
            lines.append(f"{self._adds_evidence}(m, 0, {other});")
        return lines

    def _beside(self, read: str) -> list[str]:
        """Return what puts the inputs of a step where each layer reads them."""
        given = self._given
        return [f"copy({given.count}, {read} + {given.after}, {given.address});"] if given else []

    def _say(self) -> str:
        """Return what is said of what was pooled."""
        return function(f"static void conclude({self._name} *m, float *out)", self._say_pooled())

    def _say_pooled(self) -> list[str]:
        lines = self._in_turn(self._says, self._pooled, "out")
        if self._evidence:
            lines.append(f"add({self._output_size}, {self._evidence}, out);")
        return lines

    # ---- What it does, for others ----------------------------------------------------------------

    def _passes(self) -> Iterator[Pass]:
        """Yield what goes over a sequence; with steps one that takes each, else stage by stage."""
        chain, said = self._chain, self._output_size
        pooled = chain.pooling is not None
        if self._steps:
            lines = tuple(self._read_step())
            yield Pass(lines, "ahead", "in", None if pooled else "out", self._input_size, said)
        elif self._given is not None:
            return  # where inputs are given, a stage reads two rows
        else:
            yield from self._whole_passes()
        if pooled:
            yield Pass(tuple(self._say_pooled()), "once", None, "out", 0, said)
        if self._places_weighed:
            read = "in" if self._grid is None else "memory"
            yield Pass(tuple(self._places_weighed("in")), "once", read, "out", 0, said)

    def _whole_passes(self) -> Iterator[Pass]:
        pooled = self._chain.pooling is not None
        read = "in"
        if self._grid is not None:
            read = "memory"
            yield Pass(self._grid.lines, "once", "in", read)
        yield from stage_passes(self._stages, read, self._input_size, None if pooled else "out")
        read, size = "ab"[(len(self._stages) - 1) % 2], self._stages[-1].output_size
        last = self._stages[-1].size
        if self._chain.pooling == "last" and self._reads_both_ways:  # backwards, the first step
            for order, at in (("last", 0), ("first", last)):
                line = f"copy({last}, in + {at}, {self._pooled} + {at});"
                yield Pass((line,), order, read, None, size)
        elif pooled:
            yield Pass((f"{self._pool}(m, in, 0);",), "ahead", read, None, size)
        if self._evidence:
            line = f"{self._adds_evidence}(m, 0, m->between);"
            yield Pass((line,), "ahead", "in", None, self._input_size)

    @property
    def _reads(self) -> str:
        return "const float *" if self._chain.num_tokens is None else "const int32_t *"

    def _step(self) -> str:
        name, number = self._name, self._chain.num_tokens
        say = "" if self._chain.pooling is None else "  conclude(m, out);\n"
        given = "" if say else ", out"
        if number is None:
            return (
                f"int32_t {name}_step({name} *m, const float *in, float *out) {{\n"
                f"  forward(m, in{given});\n{say}  return 0;\n}}\n"
            )
        return (
            f"int32_t {name}_step({name} *m, int32_t token, float *out) {{\n"
            f"  if (token < 0 || token >= {number}) return -1;\n"
            f"  m->token = token;\n"
            f"  forward(m, 0{given});\n{say}  return 0;\n}}\n"
        )

    def _check_tokens(self) -> str:
        number = self._chain.num_tokens
        if number is None:
            return ""
        return (
            f"  for (int32_t t = 0; t < steps; t++) {{\n"
            f"    if (in[t] < 0 || in[t] >= {number}) return -1;\n  }}\n"
        )

    def _run_steps(self) -> str:
        name, number = self._name, self._chain.num_tokens
        pooled = self._chain.pooling is not None
        out = "" if pooled else f", out + (size_t)t * {self._output_size}"
        read = f"forward(m, in + (size_t)t * {self._input_size}{out});"
        if number is not None:
            read = f"m->token = in[t];\n    forward(m, 0{out});"
        say = "  conclude(m, out);\n" if pooled else ""
        return (
            f"int32_t {name}_run({name} *m, int32_t steps, {self._reads}in, float *out) {{\n"
            f"{self._check_tokens()}"
            f"  for (int32_t t = 0; t < steps; t++) {{\n    {read}\n  }}\n{say}  return 0;\n}}\n"
        )

    def _run_whole(self) -> str:
        """Return what reads a sequence stage by stage, each over all steps."""
        name, size = self._name, self._input_size
        tokens, pooled = self._chain.num_tokens is not None, self._chain.pooling is not None

        def before(number: int) -> list[str]:
            token = ["m->token = in[t];"] if tokens and number == 0 else []
            return token + self._beside(f"in + (size_t)t * {size}")

        read, out, room = "0" if tokens else "in", "" if pooled else "out", "room"
        given = f"int32_t steps, {self._reads}in, float *out, float *room"
        first: list[str] = []
        if self._grid is not None:
            places = self._grid.num_places
            read, room = "room", f"room + {places * size}"
            given = "const uint8_t *in, float *out, float *room"
            first = [f"const int32_t steps = {places};", f"grid_of(in, room, {room});"]
        whole = read
        lines, last = over_steps(self._stages, read, size, out, room, before)
        if pooled:
            lines += self._pool_whole(last)
        if len(self._stages) == 1 and not pooled:
            lines.append("(void)room;")
        lines = [*first, *lines, *(self._places_weighed(whole) if self._places_weighed else [])]
        head = f"int32_t {name}_run({name} *m, {given})"
        body = "\n".join(f"  {line}" for line in lines)
        return f"{head} {{\n{self._check_tokens()}  {name}_reset(m);\n{body}\n  return 0;\n}}\n"

    def _pool_whole(self, read: str) -> list[str]:
        """Return what pools a sequence; the last of what reads from the end is its first step."""
        last = self._stages[-1]
        width = last.output_size
        if self._chain.pooling == "last" and self._reads_both_ways:
            lines = ["if (steps > 0) {"]
            lines.append(
                f"  copy({last.size}, {read} + (size_t)(steps - 1) * {width}, {self._pooled});"
            )
            at = f"{read} + {last.size}, {self._pooled} + {last.size}"
            lines += [f"  copy({last.size}, {at});", "}"]
        else:
            lines = ["for (int32_t t = 0; t < steps; t++) {"]
            lines += [f"  {self._pool}(m, {read} + (size_t)t * {width}, 0);", "}"]
        if self._evidence:
            lines += ["for (int32_t t = 0; t < steps; t++) {", "  m->token = in[t];"]
            lines += [f"  {self._adds_evidence}(m, 0, m->between);", "}"]
        return [*lines, "conclude(m, out);"]

    def _write(self) -> str:
        name, size = self._name, self._output_size
        begin = "\n  ".join(begin_drawing())
        return (
            f"{_WRITE.format(name=name)} {{\n"
            f"  {begin}\n"
            f"  for (int32_t n = 0; n < count; n++) {{\n"
            f"    if ({name}_step(m, token, scores) != 0) return -1;\n"
            f"    token = drawn({size}, scores, temperature, random);\n"
            f"    tokens[n] = token;\n  }}\n  return 0;\n}}\n"
        )

    # ---- The header ------------------------------------------------------------------------------

    @property
    def _parts(self) -> str:
        given, layer = self._given, self._chain.modules[0]
        if given is None or not isinstance(layer, RecurrentLayer):
            return ""
        names = ", ".join(layer.cell.inputs)
        return f": {given.after} of x, then {layer.hidden_size} of each of {names}"

    def _declared_steps(self, of_all: str) -> list[str]:
        name, size, reads = self._name, self._output_size, self._input_size
        if self._chain.num_tokens is None:
            one, given, shape = "const float *in", f"in: [{reads}]; ", f"[steps * {reads}]"
        else:
            one, given, shape = "int32_t token", "", "[steps]"
        return [
            f"/* Reads a step. {given}out: [{size}], elsewhere. */",
            f"int32_t {name}_step({name} *m, {one}, float *out);",
            "",
            f"/* Reads several, after those before. in: {shape}; out: [{of_all}{size}]. */",
            f"int32_t {name}_run({name} *m, int32_t steps, {self._reads}in, float *out);",
        ]

    def _declared_whole(self, of_all: str) -> list[str]:
        name, size = self._name, self._output_size
        if self._chain.pictures is not None:
            side = self._chain.pictures.config.picture_size
            return [
                f"/* Reads a picture. in: [3][{side}][{side}], of red, green and blue;",
                f"   out: [{size}]; room: [{name.upper()}_ROOM]. */",
                f"int32_t {name}_run({name} *m, const uint8_t *in, float *out, float *room);",
            ]
        both = ", from both ends" if any(stage.back for stage in self._stages) else ""
        shape = "[steps]"
        if self._chain.num_tokens is None:
            shape = f"[steps * {self._input_size}]"
        return [
            f"/* Reads a whole sequence{both}. in: {shape};",
            f"   out: [{of_all}{size}]; room: [{name.upper()}_ROOM(steps)]. */",
            f"int32_t {name}_run({name} *m, int32_t steps, {self._reads}in, float *out,",
            "                  float *room);",
        ]

    def _declared_writer(self) -> list[str]:
        name, size = self._name, self._output_size
        return [
            "",
            "/* Reads a token, then draws `count` more, each read in its turn but the last:",
            "   of the greatest score at temperature 0, else by softmax(scores / temperature).",
            "   -1 of a temperature that is not from 0 to 1e20.",
            f"   random: any number, which changes. tokens: [count]; scores: [{size}], those",
            "   that the last was drawn from. */",
            _WRITE.format(name=name) + ";",
        ]


def _picture_row(library: Any, inputs: Mapping[str, Tensor], row: int) -> Tensor:
    """Return what is said of a picture, (C,)."""
    said: Tensor = library.run(inputs["inputs"][row])
    return said


_WRITE = """\
int32_t {name}_write({name} *m, int32_t token, float temperature, uint32_t *random,
                     int32_t count, int32_t *tokens, float *scores)"""
