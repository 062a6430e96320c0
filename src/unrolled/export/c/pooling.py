"""What a classifier makes of all steps until now, in C."""

from collections.abc import Callable

from torch import nn

from unrolled.export.c.parts import add_sequential, chained
from unrolled.export.c.stage import Body, Writer

__all__ = ["add_pooling"]


def add_pooling(
    writer: Writer, pooling: str, size: int, attention: nn.Module | None
) -> tuple[str, str]:
    """Add what becomes one of all steps until now.

    Returns:
        The name of its function, and where its output is, which is zeros before a step.
    """
    body = writer.body()
    source, lines = body.source, body.lines
    pooled = source.state(size)
    pool: dict[str, Callable[[], None]] = {
        "last": lambda: None,
        "mean": lambda: _mean(body, size, pooled),
        "max": lambda: _max(body, size, pooled),
        "attention": lambda: _attention(writer, body, size, pooled, attention),
    }
    if pooling == "last":
        lines.append(f"copy({size}, in, {pooled});")
    pool[pooling]()
    return body.end(), pooled


def _mean(body: Body, size: int, pooled: str) -> None:
    total, steps = body.source.state(size), body.source.state(1)
    body.lines.append(f"mean_of({size}, in, {total}, {steps}, {pooled});")


def _max(body: Body, size: int, pooled: str) -> None:
    begun = body.source.state(1)
    body.lines.append(f"most_of({size}, in, {begun}, {pooled});")


def _attention(
    writer: Writer, body: Body, size: int, pooled: str, attention: nn.Module | None
) -> None:
    assert isinstance(attention, nn.Sequential)
    source = body.source
    score = chained(writer, add_sequential(writer, attention, size))
    total, weight, most = source.state(size), source.state(1), source.state(1)
    said = source.state(1)
    body.lines += [
        f"{score}(m, in, {said});",
        f"attention_of({size}, in, {said}, {total}, {weight}, {most}, {pooled});",
    ]
