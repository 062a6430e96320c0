"""The report of a model: what happens in it while it reads.

Not here: runs and their folders (`cli/inspect.py` knows those), how a report is laid out
(`page.py`), the file that it is part of (`serving/bundle.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from unrolled.inspection.page import Page
from unrolled.inspection.reading import Facts, Measured, Read, Reading, first_passages, measure
from unrolled.inspection.sections import (
    write_candidates,
    write_gates,
    write_memory,
    write_reach,
    write_training,
    write_units,
)
from unrolled.inspection.subject import Passage, Subject
from unrolled.languages import ENGLISH, Phrases
from unrolled.networks import count_parameters

__all__ = ["Facts", "Report", "report"]


class Report(NamedTuple):
    """A report, and what its verdict is made of.

    Args:
        page: What is written.
        measured: How far the gradient reaches; None where that cannot be told.
    """

    page: Page
    measured: Measured | None


def report(
    subject: Subject,
    read: Read,
    facts: Facts,
    *,
    untrained: Subject | None = None,
    beside: Mapping[str, Subject] | None = None,
    held_out: Read | None = None,
    also: Sequence[Callable[[Page, Reading], None]] = (),
    language: str = ENGLISH,
) -> Report:
    """Return a report of a model.

    Args:
        subject: The model.
        read: What a subject reads, best what it has not learned from. The first 20,000 steps are
            looked at.
        facts: What is known of the model.
        untrained: The same model before its training, to compare the reach with.
        beside: Other models that read the same, by name, to compare the reach with.
        held_out: What the reach is measured on where `read` gives too little for it.
        also: Write more sections, such as those of `doing.py`.
        language: Of what is said: "en", "pt-BR".

    Raises:
        DataError: There is too little to see anything.
        VocabularyError: A text has characters that the vocabulary lacks.
        OptionError: plotly is not installed; there is no such language.
    """
    say = Phrases(language, "report")
    reading = Reading(subject, read)

    def reach_of(subject: Subject, passages: Sequence[Passage]) -> Measured | None:
        more = None if held_out is None else lambda: first_passages(held_out(subject))[0]
        return measure(subject, passages, facts.wanted, more)

    def read_anew(subject: Subject) -> Measured | None:
        return reach_of(subject, first_passages(read(subject))[0])

    page = Page(say("title", name=facts.name), say)
    pairs = {say.of("facts", name): value for name, value in facts.facts.items()}
    pairs[say("facts.parameters")] = say.number(count_parameters(subject.model), ",")
    if (loss := reading.loss) is not None:
        name = say("facts.loss_here", unit=facts.loss_unit or "nats/token")
        pairs[name] = say.number(loss, ".3f")
    page.header(say("kicker"), facts.name, pairs)
    subject.write(page, reading.passages)
    measured = reach_of(subject, reading.passages)
    fresh = None if untrained is None else read_anew(untrained)
    others = {name: read_anew(other) for name, other in (beside or {}).items()}
    write_reach(page, reading, facts, measured, fresh, others)
    write_memory(page, reading)
    write_gates(page, reading)
    write_units(page, reading)
    write_candidates(page, reading)
    for write in also:
        write(page, reading)
    if facts.curves:
        write_training(page, facts)
    page.footer(reading.notes(say))
    return Report(page, measured)
