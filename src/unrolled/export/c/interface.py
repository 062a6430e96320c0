"""A model in C as others see it: the structure of an instance, the functions, the header.

Not here: what is computed (`parts.py`), and in which order (`chain.py` and the other kinds).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from unrolled.errors import OptionError
from unrolled.export.c.grid import Grid
from unrolled.export.c.source import Source, check_numbers

__all__ = [
    "Interface",
    "Pass",
    "Program",
    "Row",
    "Scaled",
    "Written",
    "check_modules",
    "function",
    "program_text",
]

_MOST_BYTES = 2**31 - 1  # of what int32_t counts

Row = Callable[[Any, Mapping[str, Tensor], int], Tensor]
"""Of a row of a batch: from the library, the inputs of the whole graph and the row's number to
what is said of it, (T, O)."""

Written = Callable[[Any, Mapping[str, Tensor], int, int], list[int]]
"""From the same and how many words are written at most to their numbers."""

Scaled = Callable[[Tensor, Mapping[str, Tensor], int], Tensor]
"""From what is said of a row of a batch to the same on the scale on which it is compared."""


@dataclass(frozen=True)
class Pass:
    """What `run` does, as calls that go over a sequence; or are made once, of one step of it.

    Args:
        lines: The calls, which read `in` and write `out`.
        order: "ahead" or "back" over all steps; "first" or "last", of that one, if there is one;
            "once", from the first row on.
        reads: Where `in` is: in the rows of "in", "a", "b", "memory", "keys", or None.
        writes: Where `out` is: in the rows of "a", "b", "memory", "keys", "looks", "out", or None.
        in_size: Numbers of a row that is read.
        out_size: Numbers of a row that is written.
        out_at: Where in the row.
    """

    lines: tuple[str, ...]
    order: str
    reads: str | None = None
    writes: str | None = None
    in_size: int = 0
    out_size: int = 0
    out_at: int = 0


@dataclass(frozen=True)
class Program:
    """A model in C.

    Args:
        name: How everything in it begins.
        text: The file NAME.c.
        header: The file NAME.h.
        num_bytes: Bytes of its constants.
        instance: Bytes of an instance.
        num_tokens: V of a model of tokens; None of one of numbers.
        input_size: Numbers that a step reads, 1 of a token.
        output_size: Numbers that are said.
        is_pooled: Whether they are said of the whole sequence, and not of each step.
        steps: Whether it goes step by step.
        room: Floats that `run` or `read` needs of its caller for each step, of a picture
            altogether; 0 of one that has steps.
        row: How it is run where it is more than modules one after the other; else None.
        source: What the file is made of.
        passes: What `run` or `read` does; none where it is more than calls over the steps of a
            sequence.
        word_passes: What `step` does of one that writes words; else none.
        places: Floats of the rows "memory", "keys" and "looks" for each step.
        grid: What makes steps of a picture, where that is read.
        between: Floats between stages.
        doubles: Of one that is given numbers of the data, as doubles, how many of each name, in
            order; what it says are doubles, too. Of others none.
        scaled: How what it says is compared, where not as it is.
        written: How its loop over words is run, where it has one; else None.
    """

    name: str
    text: str
    header: str
    num_bytes: int
    instance: int
    num_tokens: int | None = None
    input_size: int = 0
    output_size: int = 0
    is_pooled: bool = False
    steps: bool = False
    room: int = 0
    row: Row | None = None
    source: Source | None = None
    passes: tuple[Pass, ...] = ()
    word_passes: tuple[Pass, ...] = ()
    places: tuple[int, int, int] = (0, 0, 0)
    grid: Grid | None = None
    between: int = 0
    doubles: Mapping[str, int] = field(default_factory=dict)
    scaled: Scaled | None = None
    written: Written | None = None


@dataclass
class Interface:
    """What a file has beside its parts.

    Args:
        defines: Macros of sizes, without the name that they begin with, and what they are.
        functions: Of the file, after its parts.
        declarations: Of the header.
        types: Of the header, before the structure.
        integers: Names of integers that an instance has besides.
        widest: Floats that go from one stage to the next.
    """

    defines: list[tuple[str, str]]
    functions: list[str]
    declarations: list[str]
    types: list[str] = field(default_factory=list)
    integers: tuple[str, ...] = ()
    widest: int = 1


def program_text(name: str, source: Source, interface: Interface) -> tuple[str, str, int]:
    """Return the file, its header, and the bytes of an instance."""
    num_state, num_work = max(1, source.num_state), max(1, source.num_work)
    places, widest = max(1, source.num_places), interface.widest
    integers = ("token", *interface.integers)
    begin = (
        f"void {name}_reset({name} *m) {{\n"
        f"  zero({num_state}, m->state);\n"
        f"  for (int32_t n = 0; n < {places}; n++) m->places[n] = 0;\n"
        + "".join(f"  m->{each} = 0;\n" for each in interface.integers)
        + f"}}\n\n"
        f"void {name}_init({name} *m) {{\n"
        f"  zero({num_work}, m->work);\n"
        f"  zero({2 * widest}, m->between);\n"
        f"  m->token = 0;\n"
        f"  {name}_reset(m);\n"
        f"}}\n"
    )
    source.functions += [begin, *interface.functions]
    lines = [
        *(f"#define {name.upper()}_{macro} /* {what} */" for macro, what in interface.defines),
        "",
        *interface.types,
        "typedef struct {",
        f"  float state[{num_state}]; /* what goes from step to step */",
        f"  float work[{num_work}], between[{2 * widest}]; /* of one step */",
        f"  int32_t places[{places}], {', '.join(integers)};",
        f"}} {name};",
        "",
        "/* Before anything else, once. */",
        f"void {name}_init({name} *m);",
        "",
        "/* Begins another sequence. */",
        f"void {name}_reset({name} *m);",
        "",
        *interface.declarations,
    ]
    header = _HEADER.format(
        name=name,
        weights=source.weights,
        guard=f"{name.upper()}_H",
        declarations="\n".join(lines),
    )
    instance = 4 * (num_state + num_work + 2 * widest + places + len(integers))
    if instance > _MOST_BYTES:
        message = f"export: an instance would have {instance:,} bytes, over 2 GB"
        raise OptionError(message, "make the model smaller")
    head = f"/* A model in plain C, written by unrolled. {name}.h says how it is used. */"
    return source.text(head, f"{name}.h"), header, instance


_HEADER = """\
/* A model in plain C, written by unrolled; weights: {weights}.
 *
 * Each {name} reads a sequence of its own. Nothing is allocated, and nothing is shared but
 * constants, so several may run at once. What returns int32_t returns 0; or -1, with nothing
 * done, for a token that there is not. */
#ifndef {guard}
#define {guard}

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{declarations}

#ifdef __cplusplus
}}
#endif

#endif
"""


def function(head: str, lines: list[str]) -> str:
    """Return a function of C."""
    body = "\n".join(f"  {line}" for line in lines)
    return f"{head} {{\n{body}\n}}\n"


def check_modules(*modules: nn.Module | None) -> None:
    """Raise `OptionError` for weights that cannot be constants, and for modules that draw."""
    for module in modules:
        if module is None:
            continue
        for part in module.modules():
            drops = getattr(part, "p", getattr(part, "dropout", 0))
            if part.training and isinstance(drops, (int, float)) and drops:
                kind = type(module).__name__
                raise OptionError(f"export: {kind} is in training mode", "call eval() first")
        numbers = [each for each in module.named_buffers() if each[1].is_floating_point()]
        for name, weight in (*module.named_parameters(), *numbers):
            check_numbers(f"{type(module).__name__}.{name}", weight)
