"""The report of a language model: what it does while it reads a text, as one HTML file.

Not here: runs and their folders (`cli/inspect.py` knows those), how a page is laid out (`page.py`).
"""

from unrolled.inspection.page import Page
from unrolled.inspection.reading import Reading, Subject
from unrolled.inspection.sections import (
    write_candidates,
    write_gates,
    write_memory,
    write_reach,
    write_training,
    write_units,
)

__all__ = ["Subject", "report"]


def report(subject: Subject, text: str) -> str:
    """Return a report of a language model over a text: one HTML file that works without a network.

    Args:
        subject: What it is about.
        text: What the model reads, best one that it has not learned from. Of a long text the first
            20,000 tokens are looked at.

    Raises:
        DataError: The text is too short to see anything.
        VocabularyError: The text has characters that the vocabulary lacks.
        OptionError: plotly is not installed.
    """
    reading = Reading(subject, text)
    page = Page(f"{subject.name}: inside")
    model = subject.model
    layers = f"{model.config.num_layers} layer{'s' * (model.config.num_layers > 1)}"
    facts = {
        "cell": model.config.cell,
        "units": f"{model.config.hidden_size} in {layers}",
        "parameters": f"{model.num_parameters:,}",
        "nats per token, this text": f"{reading.loss:.3f}",
        **subject.facts,
    }
    page.header("unrolled · a look inside", subject.name, facts)
    write_reach(page, reading)
    write_memory(page, reading)
    write_gates(page, reading)
    write_units(page, reading)
    write_candidates(page, reading)
    if subject.curves:
        write_training(page, subject)
    page.footer(reading.notes())
    return page.to_html()
