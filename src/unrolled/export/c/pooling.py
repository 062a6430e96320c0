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
    lines.append(f"if (out) copy({size}, {pooled}, out);")
    return body.end(), pooled


def _mean(body: Body, size: int, pooled: str) -> None:
    total, steps = body.source.state(size), body.source.state(1)
    body.lines += [
        f"float *const total = {total}, *const steps = {steps}, *const mean = {pooled};",
        f"add({size}, in, total);",
        "*steps += 1.0f;",
        f"for (int32_t n = 0; n < {size}; n++) mean[n] = total[n] / *steps;",
    ]


def _max(body: Body, size: int, pooled: str) -> None:
    begun = body.source.state(1)
    body.lines += [
        f"float *const begun = {begun}, *const most = {pooled};",
        f"for (int32_t n = 0; n < {size}; n++) {{",
        "  most[n] = *begun == 0.0f || in[n] > most[n] ? in[n] : most[n];",
        "}",
        "*begun = 1.0f;",
    ]


def _attention(
    writer: Writer, body: Body, size: int, pooled: str, attention: nn.Module | None
) -> None:
    """Write a softmax over time whose greatest score is kept, so that none overflows."""
    assert isinstance(attention, nn.Sequential)
    source = body.source
    score = chained(writer, add_sequential(writer, attention, size))
    total, weight, most = source.state(size), source.state(1), source.state(1)
    body.lines += [
        f"float *const total = {total}, *const weight = {weight}, *const most = {most};",
        f"float *const pooled = {pooled};",
        "float score;",
        f"{score}(m, in, &score);",
        "const float now = *weight == 0.0f || score > *most ? score : *most;",
        "const float old = *weight == 0.0f ? 0.0f : vexp(*most - now);",
        "const float share = vexp(score - now);",
        "*weight = *weight * old + share;",
        "*most = now;",
        f"for (int32_t n = 0; n < {size}; n++) {{",
        "  total[n] = total[n] * old + in[n] * share;",
        "  pooled[n] = total[n] / *weight;",
        "}",
    ]
