"""The order in which stages run: one after the other at a step, or each over a whole sequence."""

from collections.abc import Callable, Iterator, Sequence

from unrolled.export.c.interface import Pass
from unrolled.export.c.source import Source
from unrolled.export.c.stage import Stage

__all__ = ["in_turn", "over_steps", "stage_passes", "through"]


def in_turn(stages: Sequence[Stage], read: str, out: str, widest: int) -> list[str]:
    """Return calls that run stages at a step, from `read` to `out`.

    Args:
        stages: At least one.
        read: What the first reads.
        out: Where the last one writes.
        widest: Floats of each half of `m->between`.
    """
    lines = []
    for number, stage in enumerate(stages):
        is_last = number == len(stages) - 1
        to = out if is_last else f"m->between + {number % 2 * widest}"
        lines.append(f"{stage.ahead}(m, {read}, {to});")
        read = to
    return lines


def through(source: Source, stages: Sequence[Stage], read: str, out: str) -> list[str]:
    """Return calls that run stages at a step, with room of their own between them."""
    lines = []
    for number, stage in enumerate(stages):
        to = out if number == len(stages) - 1 else source.state(stage.output_size)
        lines.append(f"{stage.ahead}(m, {read}, {to});")
        read = to
    return lines


def over_steps(
    stages: Sequence[Stage],
    read: str,
    size: int,
    out: str,
    room: str,
    before: Callable[[int], list[str]] = lambda _: [],
) -> tuple[list[str], str]:
    """Return loops that run each stage over all `steps`, and where the last one writes.

    Args:
        stages: At least one.
        read: What the first reads, `size` for each step; "0" where it reads what `before` sets.
        size: Of a step.
        out: Where the last one writes; the room where it is empty.
        room: Twice the widest output for each step.
        before: Statements that come before each step of the stage of a number.
    """
    wide, lines = max(stage.output_size for stage in stages), []
    for number, stage in enumerate(stages):
        is_last = number == len(stages) - 1
        half = room if number % 2 == 0 else f"{room} + (size_t)steps * {wide}"
        to, width = out if is_last and out else half, stage.output_size
        given = "0" if read == "0" else f"{read} + (size_t)t * {size}"
        first = [f"  {each}" for each in before(number)]
        lines += ["for (int32_t t = 0; t < steps; t++) {", *first]
        to_t = f"{to} + (size_t)t * {width}"
        lines += [f"  {stage.ahead}(m, {given}, {to_t});", "}"]
        if stage.back is not None:
            lines += ["for (int32_t t = steps - 1; t >= 0; t--) {", *first]
            lines += [
                f"  {stage.back}(m, {given}, {to_t} + {stage.size});",
                "}",
            ]
        read, size = to, width
    return lines, read


def stage_passes(stages: Sequence[Stage], read: str, size: int, out: str | None) -> Iterator[Pass]:
    """Yield what runs each stage over all steps.

    Args:
        stages: At least one.
        read: Which rows the first reads.
        size: Numbers of such a row.
        out: Which rows the last one writes; None: "a" or "b", as their number is odd or even.
    """
    for number, stage in enumerate(stages):
        is_last = number == len(stages) - 1
        to = out if out is not None and is_last else "ab"[number % 2]
        for part, order, at in ((stage.ahead, "ahead", 0), (stage.back, "back", stage.size)):
            if part is not None:
                line = f"{part}(m, in, out);"
                yield Pass((line,), order, read, to, size, stage.output_size, at)
        read, size = to, stage.output_size
