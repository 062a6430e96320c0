"""A model of words in C: what is known of a word, then stages as in a chain.

A word is a structure: its number, its letters, its affixes. With a delay the model goes on after a
sentence, with blanks, and each word is answered some steps after it was read.
"""

import ctypes
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError
from unrolled.export.c.interface import (
    Interface,
    Program,
    check_modules,
    function,
    program_text,
)
from unrolled.export.c.parts import add_module, add_sequential, add_table
from unrolled.export.c.passes import in_turn, over_steps
from unrolled.export.c.source import Source, check_numbers
from unrolled.export.c.stage import Stage, Writer
from unrolled.kernels import WeightFormat
from unrolled.tasks.graphs import WordChain

__all__ = ["WordsBuilder"]


class WordsBuilder:
    """A model of words in C."""

    def __init__(self, chain: WordChain, name: str, weights: WeightFormat) -> None:
        self._chain, self._name = chain, name
        self._source = source = Source(weights)
        check_modules(*chain.words, *(chain.letters or ()), chain.affixes, *chain.modules)
        writer = Writer(source, name)
        self._sizes: dict[str, int] = {}  # of what a word is checked against
        self._lines: list[str] = []
        self._size = self._add_word(writer)
        if chain.letters is not None:
            self._add_letters(writer, *chain.letters)
        if chain.affixes is not None:
            self._add_affixes(chain.affixes)
        self._blank = ""
        if chain.blank is not None:
            check_numbers("what is read after a sentence", chain.blank)
            self._blank = source.vector("blank_word", chain.blank.detach())
        self._stages = add_sequential(writer, chain.modules, self._size)
        self._output_size = self._stages[-1].output_size
        self._widest = max(self._size, *(stage.output_size for stage in self._stages))

    # ---- What is known of a word -----------------------------------------------------------------

    def _add_word(self, writer: Writer) -> int:
        table, *more = self._chain.words
        assert isinstance(table, nn.Embedding)
        stages = [add_table(writer, table)]
        stages += add_sequential(writer, more, table.embedding_dim)
        self._sizes["word"] = table.num_embeddings
        between = self._source.state(table.embedding_dim) if more else "out"
        self._lines += ["m->token = word->word;", f"{stages[0].ahead}(m, 0, {between});"]
        self._lines += [f"{each.ahead}(m, {between}, out);" for each in stages[1:]]
        return stages[-1].output_size

    def _add_letters(self, writer: Writer, table: nn.Embedding, layer: nn.Module) -> None:
        source = self._source
        letter = source.state(table.embedding_dim)
        begun = source.num_state
        embed = add_table(writer, table)
        (stage,) = add_module(writer, layer, table.embedding_dim, one_hot=False)
        zeroed = f"zero({source.num_state - begun}, m->state + {begun});"
        self._sizes["letters"] = table.num_embeddings
        assert stage.back is not None
        forwards = "for (int32_t n = 0; n < word->num_letters; n++) {"
        backwards = "for (int32_t n = word->num_letters - 1; n >= 0; n--) {"
        self._lines += [f"zero({stage.output_size}, out + {self._size});", zeroed]
        for loop, call in ((forwards, stage.ahead), (backwards, stage.back)):
            self._lines += [
                loop,
                "  m->token = word->letters[n];",
                f"  {embed.ahead}(m, 0, {letter});",
                f"  {call}(m, {letter}, out + {self._size});",
                "}",
            ]
            self._size += stage.size

    def _add_affixes(self, affixes: nn.EmbeddingBag) -> None:
        size, source = affixes.embedding_dim, self._source
        table = source.matrix("affixes_table", affixes.weight, is_table=True)
        vector = source.state(size)
        self._sizes["affixes"] = affixes.num_embeddings
        self._lines += [
            f"zero({size}, out + {self._size});",
            f"for (int32_t n = 0; n < {self._chain.num_affixes}; n++) {{",
            "  if (word->affixes[n] == 0) continue;",
            f"  embed({table}, word->affixes[n], {vector});",
            f"  add({size}, {vector}, out + {self._size});",
            "}",
        ]
        self._size += size

    # ---- C ---------------------------------------------------------------------------------------

    @property
    def _steps(self) -> bool:
        return self._chain.delay is not None

    def program(self) -> Program:
        """Return the file and its header."""
        name, source, size = self._name, self._source, self._output_size
        if self._steps and any(stage.back is not None for stage in self._stages):
            raise OptionError("export: a layer that reads from the end too has no delay")
        word = [f"typedef struct {{ /* a word; numbers as {name}.json has them */"]
        word += [f"  int32_t word; /* below {self._sizes['word']} */"]
        if "letters" in self._sizes:
            below = f"letters below {self._sizes['letters']}"
            word += [f"  int32_t num_letters;\n  const int32_t *letters; /* {below} */"]
        if "affixes" in self._sizes:
            below = f"below {self._sizes['affixes']}; 0 for none"
            word += [f"  int32_t affixes[{self._chain.num_affixes}]; /* {below} */"]
        word += [f"}} {name}_word;", ""]
        defines = [(f"OUTPUTS {size}", "numbers that are said of a word")]
        if self._steps:
            defines.append((f"DELAY {self._chain.delay}", "steps after which a word is answered"))
            functions, declared = [self._step(), self._run_steps()], self._declared_steps()
        else:
            room = 2 * max(self._size, *(stage.output_size for stage in self._stages))
            defines.append((f"ROOM(steps) ((size_t){room} * (size_t)(steps))", "floats"))
            functions, declared = [self._run_whole()], self._declared_whole()
        functions = [self._features(), self._is_word(), *functions]
        interface = Interface(defines, functions, declared, word, widest=self._widest)
        text, header, instance = program_text(name, source, interface)
        return Program(
            name, text, header, source.num_bytes, instance, output_size=size, row=self._row
        )

    def _features(self) -> str:
        head = f"static void features({self._name} *m, const {self._name}_word *word, float *out)"
        lines = self._lines
        if self._blank:
            begin = ["if (!word) {", f"  copy({self._size}, {self._blank}, out);", "  return;", "}"]
            lines = [*begin, *lines]
        return function(head, lines)

    def _is_word(self) -> str:
        sizes = self._sizes
        lines = [f"if (word->word < 0 || word->word >= {sizes['word']}) return 0;"]
        if "letters" in sizes:
            lines += [
                "for (int32_t n = 0; n < word->num_letters; n++) {",
                f"  if (word->letters[n] < 0 || word->letters[n] >= {sizes['letters']}) return 0;",
                "}",
            ]
        if "affixes" in sizes:
            lines += [
                f"for (int32_t n = 0; n < {self._chain.num_affixes}; n++) {{",
                f"  if (word->affixes[n] < 0 || word->affixes[n] >= {sizes['affixes']}) return 0;",
                "}",
            ]
        head = f"static int32_t is_word(const {self._name}_word *word)"
        return function(head, [*lines, "return 1;"])

    def _step(self) -> str:
        name = self._name
        between = f"m->between + {self._widest}"  # which the first stage does not write
        wrong = "word && !is_word(word)" if self._blank else "!word || !is_word(word)"
        lines = [f"if ({wrong}) return -1;", f"features(m, word, {between});"]
        calls = in_turn(self._stages, between, "out", self._widest)
        head = f"int32_t {name}_step({name} *m, const {name}_word *word, float *out)"
        return function(head, [*lines, *calls, "return 0;"])

    def _checked(self) -> list[str]:
        return [
            "for (int32_t t = 0; t < steps; t++) {",
            "  if (!is_word(words + t)) return -1;",
            "}",
        ]

    def _run_steps(self) -> str:
        name, delay = self._name, self._chain.delay or 0
        place = f"out + (size_t)(t < {delay} ? 0 : t - {delay}) * {self._output_size}"
        word = "t < steps ? words + t : 0" if delay else "words + t"
        end = f"(steps > 0 ? steps + {delay} : 0)" if delay else "steps"
        lines = [
            *self._checked(),
            f"{name}_reset(m);",
            f"for (int32_t t = 0; t < {end}; t++) {{",
            f"  if ({name}_step(m, {word}, {place}) != 0) return -1;",
            "}",
            "return 0;",
        ]
        given = f"int32_t steps, const {name}_word *words, float *out"
        return function(f"int32_t {name}_run({name} *m, {given})", lines)

    def _run_whole(self) -> str:
        name = self._name
        stages = [Stage("features", None, self._size), *self._stages]
        loops, _ = over_steps(stages, "words", 1, "out", "room")
        lines = [*self._checked(), f"{name}_reset(m);", *loops, "return 0;"]
        given = f"int32_t steps, const {name}_word *words, float *out, float *room"
        return function(f"int32_t {name}_run({name} *m, {given})", lines)

    # ---- The header ------------------------------------------------------------------------------

    def _declared_steps(self) -> list[str]:
        name, size, delay = self._name, self._output_size, self._chain.delay
        late = f"the one {delay} before it; " if delay else "it; "
        after = (
            f"\n   After a sentence {delay} more, with word 0, answer its last words."
            if delay
            else ""
        )
        return [
            f"/* Reads a word, and answers {late}out: [{size}].{after} */",
            f"int32_t {name}_step({name} *m, const {name}_word *word, float *out);",
            "",
            f"/* Reads a whole sentence. words: [steps]; out: [steps * {size}]. */",
            f"int32_t {name}_run({name} *m, int32_t steps, const {name}_word *words, float *out);",
        ]

    def _declared_whole(self) -> list[str]:
        name, size = self._name, self._output_size
        return [
            f"/* Reads a whole sentence, from both ends. words: [steps]; out: [steps * {size}];",
            f"   room: [{name.upper()}_ROOM(steps)]. */",
            f"int32_t {name}_run({name} *m, int32_t steps, const {name}_word *words, float *out,",
            "                  float *room);",
        ]

    # ---- The proof -------------------------------------------------------------------------------

    def _row(self, library: Any, inputs: Mapping[str, Tensor], row: int) -> Tensor:
        """Return what is said of the words of a sentence, (T, V)."""
        steps, alive = int(inputs["lengths"][row]), []
        fields: list[tuple[str, Any]] = [("word", ctypes.c_int32)]
        if "letters" in self._sizes:
            fields += [("num_letters", ctypes.c_int32), ("letters", ctypes.c_void_p)]
        if "affixes" in self._sizes:
            fields += [("affixes", ctypes.c_int32 * self._chain.num_affixes)]
        word_type: Any = type("Word", (ctypes.Structure,), {"_fields_": fields})
        words = (word_type * steps)()
        for number in range(steps):
            word = words[number]
            word.word = int(inputs["words"][row, number])
            spelling = int(inputs["spellings"][row, number]) if len(fields) > 1 else 0
            if "letters" in self._sizes:
                count = int(inputs["letter_lengths"][spelling])
                letters = inputs["letters"][spelling, :count].to(torch.int32).contiguous()
                alive.append(letters)
                word.num_letters, word.letters = count, letters.data_ptr()
            if "affixes" in self._sizes:
                word.affixes[:] = inputs["affixes"][spelling].tolist()
        out = torch.full((steps, self._output_size), torch.nan)
        room = torch.empty(2 * self._widest * max(steps, 1))
        more = [] if self._steps else [ctypes.c_void_p(room.data_ptr())]
        library.call("run", ctypes.c_int32(steps), words, ctypes.c_void_p(out.data_ptr()), *more)
        return out
