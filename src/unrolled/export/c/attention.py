"""The look over a memory that a word begins with: in C, and as passes over the places."""

from dataclasses import dataclass
from typing import Any

from unrolled.export.c.interface import Pass, function
from unrolled.export.c.parts import add_module
from unrolled.export.c.stage import Writer
from unrolled.networks.attention import AdditiveAttention

__all__ = ["Look", "add_look"]


@dataclass(frozen=True)
class Look:
    """What looks over a memory.

    Args:
        call: Of its function in C.
        before: What `passes` need first, of one step.
        passes: The same over the places.
    """

    call: str
    before: tuple[str, ...]
    passes: tuple[Pass, ...]


def add_look(writer: Writer, model: str, attention: Any, size: int, both: str) -> Look:
    """Add what makes the context of a step.

    Args:
        writer: Adds it.
        model: What an instance is called.
        attention: How it looks.
        size: Numbers of a place.
        both: Where the context is, behind it the output that asks.
    """
    source, keys = writer.source, attention.query_size
    h = f"{both} + {size}"
    before: list[str] = []
    if isinstance(attention, AdditiveAttention):
        (query,) = add_module(writer, attention.query, keys, one_hot=False)
        (score,) = add_module(writer, attention.score, keys, one_hot=False)
        asked, hidden = source.state(keys), source.state(keys)
        before = [f"{query.ahead}(m, {h}, {asked});"]
        look = [
            f"copy({keys}, {asked}, {hidden});",
            f"add({keys}, in, {hidden});",
            f"tanh_of({keys}, {hidden});",
            f"{score.ahead}(m, {hidden}, out);",
        ]
    else:
        look = [f"dot({keys}, {h}, in, out);"]
    weighed = f"look_over(steps, {size}, in, out, {both});"
    lines = [
        "const int32_t steps = m->steps;",
        f"float *const weights = room + (size_t)steps * {size + keys};",
        *before,
        "for (int32_t t = 0; t < steps; t++) {",
        f"  const float *const in = room + (size_t)steps * {size} + (size_t)t * {keys};",
        "  float *const out = weights + t;",
        *(f"  {line}" for line in look),
        "}",
        weighed.replace("in, out", "room, weights"),
    ]
    source.functions.append(function(f"static void attend({model} *m, float *room)", lines))
    passes = (
        Pass(tuple(look), "ahead", "keys", "looks", keys, 1),
        Pass((weighed,), "once", "memory", "looks"),
    )
    return Look("attend(m, room);", tuple(before), passes)
