"""Sections of a report that try something with the model: hold values, explain, follow its map.

They are written where somebody asks for them. What the others show is in `sections.py`.
"""

from collections.abc import Mapping, Sequence
from html import escape

import torch
from torch.nn import functional as F

from unrolled.errors import OptionError
from unrolled.inspection import figures
from unrolled.inspection.attribution import attribute
from unrolled.inspection.dynamics import fixed_points, lyapunov_exponents
from unrolled.inspection.page import Page
from unrolled.inspection.reading import Reading
from unrolled.layers import Hold, intervene

__all__ = ["write_attribution", "write_dynamics", "write_held"]

_STEPS = 400  # that are held, drawn and explained
_CANDIDATES = 6
_EXPONENTS = 12
_ROWS = 4
_STARTS = 24
_LARGEST_MAP = 1200  # numbers of a state, whose Jacobian has as many rows


@torch.no_grad()
def write_held(
    page: Page, reading: Reading, holds: Mapping[str, Sequence[Hold]], what: str
) -> None:
    """Write what the model says of the beginning while values are held, beside what it says.

    Args:
        page: Where it is written.
        reading: What the model has read.
        holds: By the names in the cell's equations.
        what: The same as they were asked for.

    Raises:
        OptionError: They cannot be held, or only beyond what is read; or the model says nothing.
    """
    say, subject = page.say, reading.subject
    passage = reading.passages[0].beginning(_STEPS)
    for name, each in holds.items():
        for hold in each:
            first = hold.steps.start or 0 if isinstance(hold.steps, slice) else 0
            if first >= len(passage):
                raise OptionError(
                    f"{name} is held from step {first} on, and steps 0..{len(passage) - 1} are read"
                )

    def said() -> torch.Tensor:
        _, (output,) = subject.run([passage])
        log_probabilities = subject.log_probabilities(passage, output)
        if log_probabilities is None:
            raise OptionError(
                "this model says nothing at a step that could change",
                "unrolled.intervene in Python",
            )
        return log_probabilities

    free = said()
    with intervene(subject.layer, holds):
        held = said()
    page.section(say("held.heading"), say("held.link"), say("held.intro", what=escape(what)))
    changed = (free.exp() - held.exp()).abs().amax(1)
    page.figure(
        figures.unit_over_text(changed, passage.pieces[: len(changed)], language=say.language),
        say("held.label"),
        say("held.caption", unit=say.one(reading.unit)),
    )
    if passage.tokens is not None and len(passage.tokens) > 1:
        following = passage.tokens[1 : len(free) + 1]
        losses = [float(F.nll_loss(each[: len(following)], following)) for each in (free, held)]
        before, after = (say.number(loss, ".3f") for loss in losses)
        page.paragraph(say("held.loss", before=before, after=after))
    tops = [each[-1].exp().topk(min(_CANDIDATES, each.shape[1])) for each in (free, held)]
    columns = [
        [(subject.labels[id], say.number(share, ".1%")) for share, id in zip(*part, strict=True)]
        for part in ((top.values.tolist(), top.indices.tolist()) for top in tops)
    ]
    rows = [(repr(a), p, repr(b), q) for (a, p), (b, q) in zip(*columns, strict=True)]
    page.table(say.all("held.columns"), rows, 0)


def write_attribution(page: Page, reading: Reading, step: int) -> None:
    """Write what a prediction is made of, over the text.

    Raises:
        OptionError: Nothing is said at that step.
    """
    say = page.say
    passage = reading.passages[0].beginning(_STEPS)
    attribution = attribute(reading.subject, passage, step=step)
    share = float(torch.tensor(attribution.score).exp())
    page.section(say("made_of.heading"), say("made_of.link"), say("made_of.intro"))
    values = attribution.values
    end = int(values.nonzero().max()) + 1 if values.any() else len(values)
    page.figure(
        figures.unit_over_text(values[:end], passage.pieces[:end], language=say.language),
        say("made_of.label"),
        say(
            "made_of.caption",
            text=escape(repr(attribution.text)),
            share=say.number(share, ".1%"),
            step=attribution.step,
            sum=say.number(float(values.sum()), ".3f"),
            difference=say.number(attribution.score - attribution.baseline_score, ".3f"),
            residual=say.number(attribution.residual or 0.0, ".3f"),
        ),
    )


def write_dynamics(page: Page, reading: Reading) -> None:
    """Write where the layer stands still, and how fast small differences grow along the text."""
    say, layer = page.say, reading.subject.recurrent
    page.section(say("dynamics.heading"), say("dynamics.link"), say("dynamics.intro"))
    if layer is None or layer.bidirectional:
        page.paragraph(say("dynamics.none"))
        return
    inputs = reading.windows.features[:_ROWS].detach()
    inputs = inputs if layer.batch_first else inputs.transpose(0, 1)
    size = layer.num_layers * len(layer.cell.states) * layer.hidden_size
    spectrum = lyapunov_exponents(layer, inputs, count=min(_EXPONENTS, size))
    page.figure(
        figures.lyapunov_spectrum(spectrum, language=say.language),
        say("dynamics.exponents_label"),
        say(
            "dynamics.exponents",
            number=len(spectrum.exponents),
            all=spectrum.num_directions,
            units=say.many(reading.unit),
            largest=say.number(float(spectrum.exponents[0]), ".3f"),
        ),
    )
    if size > _LARGEST_MAP:
        page.paragraph(say("dynamics.too_large", size=size, most=_LARGEST_MAP))
        return
    points = fixed_points(layer, inputs, number=_STARTS)
    page.figure(
        figures.fixed_point_map(points, language=say.language),
        say("dynamics.points_label"),
        say(
            "dynamics.points",
            number=len(points),
            fixed=int(points.is_fixed.sum()),
            starts=_STARTS,
        ),
    )
    page.figure(
        figures.eigenvalue_map(points, language=say.language),
        say("dynamics.eigenvalues_label"),
        say("dynamics.eigenvalues"),
    )
