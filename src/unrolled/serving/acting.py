"""What a visitor does to a model: values held while it reads, and what a prediction is made of."""

from collections.abc import Iterator, Sequence
from contextvars import copy_context

import torch
from torch import Tensor

from unrolled.inspection import attribute
from unrolled.layers import Hold, intervene, reading_on
from unrolled.serving import schema
from unrolled.serving.answers import candidates_at, floats, position_in
from unrolled.serving.errors import ApiError
from unrolled.serving.reading import Reading, beginning_late, read
from unrolled.serving.runs import ServedRun

__all__ = ["attribution_answer", "held_answer", "held_pieces"]

_MOST_EXPLAINED = 400  # steps: each is read many times
_MOST_POINTS = 128


@torch.no_grad()
def held_answer(
    run: ServedRun, reading: Reading, question: schema.HoldQuestion
) -> schema.HoldAnswer:
    """Return what is expected while values are held, beside what is expected as it is.

    Raises:
        ApiError: Nothing was read, or the layer is no recurrent one; no such position, layer, name
            or unit.
        OptionError: A value that cannot be held.
    """
    subject = run.subject
    if subject.recurrent is None:
        raise ApiError("no_cell")
    if not reading.pieces:
        raise ApiError("nothing_read")
    position = position_in(reading, question.position)
    holds = _holds(run, question.holds)
    log_probabilities = subject.log_probabilities(reading.passage, reading.output)
    # a hold of steps behind the text is no mistake here: on the page the text is written meanwhile
    with intervene(subject.recurrent, holds), reading_on({}, len(reading.pieces)):
        held = read(subject, reading.source)
        with_holds = subject.log_probabilities(held.passage, held.output)
    changed = None
    if log_probabilities is not None and with_holds is not None:
        changed = floats((log_probabilities.exp() - with_holds.exp()).abs().amax(1))
    return schema.HoldAnswer(
        version=str(run.version),
        position=position,
        free=candidates_at(run, reading, position),
        held=candidates_at(run, held, position),
        changed=changed,
        surprise=[_mean(each.surprise) for each in (reading, held)],
    )


def held_pieces(
    run: ServedRun, pieces: Iterator[str], holds: Sequence[schema.HoldOf]
) -> Iterator[str]:
    """Return a text that is written while values are held; at all steps, or not at all.

    Raises:
        ApiError: The layer is no recurrent one; no such layer, name or unit.
        OptionError: A value that cannot be held.
    """
    layer = run.subject.recurrent
    if layer is None:
        raise ApiError("no_cell")
    held = _holds(run, holds)
    # what is wrong is said before an answer begins
    with intervene(layer, held), torch.no_grad(), reading_on({}, 1):
        layer(next(layer.parameters()).new_zeros(1, 1, layer.input_size))
    block = intervene(layer, held)
    context = copy_context()  # of these pieces alone: others are written in between

    def written() -> Iterator[str]:
        context.run(block.__enter__)
        try:
            while (piece := context.run(next, pieces, None)) is not None:
                yield piece
        finally:
            context.run(block.__exit__, None, None, None)

    return written()


def _holds(run: ServedRun, holds: Sequence[schema.HoldOf]) -> dict[str, list[Hold]]:
    by_name: dict[str, list[Hold]] = {}
    for each in holds:
        by_name.setdefault(each.name, []).append(_hold(run, each))
    return by_name


def _hold(run: ServedRun, hold: schema.HoldOf) -> Hold:
    parts, size = run.parts, run.task.options.model.hidden_size
    if hold.part is not None and hold.part >= len(parts):
        raise ApiError("part", most=len(parts) - 1, got=hold.part)
    of = parts[hold.part or 0]
    if hold.name not in of["signals"]:
        raise ApiError("signal", name=hold.name, names=" ".join(of["signals"]))
    if wrong := [unit for unit in hold.units or () if unit >= size]:
        raise ApiError("unit", most=size - 1, got=wrong[0])
    steps = slice(hold.start, hold.stop)
    units = None if hold.units is None else sorted({*hold.units})
    if hold.part is None:
        return Hold(hold.value, units=units, steps=steps)
    where = {"layer": of["layer"], "reverse": of["reverse"]}
    return Hold(hold.value, units=units, steps=steps, **where)


def _mean(surprise: Tensor) -> float | None:
    known = surprise[~surprise.isnan()]
    return round(float(known.mean()), 4) if len(known) else None


def attribution_answer(
    run: ServedRun, reading: Reading, question: schema.AttributionQuestion
) -> schema.AttributionAnswer:
    """Return what a prediction is made of.

    Raises:
        ApiError: No such position.
        OptionError: This model says nothing with a probability there.
    """
    position = position_in(reading, question.position)
    if position >= len(reading.likeliest):
        raise ApiError("position", most=len(reading.likeliest), got=position)
    passage, first = beginning_late(run.subject, reading, position - _MOST_EXPLAINED + 1)
    if run.subject.by_step and len(passage) > position - first + 2:
        passage = passage.beginning(position - first + 2)  # and what came
    if len(passage) > _MOST_EXPLAINED + 1:
        raise ApiError("many_steps", most=_MOST_EXPLAINED, got=len(passage))
    attribution = attribute(
        run.subject,
        passage,
        step=position - first,
        method=question.method,
        most_points=_MOST_POINTS,
    )
    return schema.AttributionAnswer(
        version=str(run.version),
        position=position,
        text=attribution.text,
        probability=round(float(torch.tensor(attribution.score).exp()), 7),
        first=first,
        values=floats(attribution.values),
        residual=attribution.residual,
    )
