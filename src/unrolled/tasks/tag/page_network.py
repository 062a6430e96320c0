"""A tagger as the page of a report computes it."""

from typing import Any

from unrolled.tasks.page_network import PageParts
from unrolled.tasks.tag.model import Tagger

__all__ = ["page_network"]


def page_network(parts: PageParts, *, model: Tagger, has_entities: bool) -> dict[str, Any]:
    """Return what it reads of a word, how late it answers, and how tags follow each other."""
    options, letters = model.options, None
    embedding = parts.embedding(model.embedding)
    if options.letter_size:
        letters = {
            "table": parts.matrix(model.letter_embedding.weight),
            "stack": parts.stack(model.letter_layer),
        }
    affixes, transitions = model.affixes, model.transitions
    return {
        "embedding": embedding,
        "letters": letters,
        "affixes": None if affixes is None else parts.matrix(affixes.weight),
        "delay": options.delay or 0,
        "blank": parts.vector(model.blank) if options.delay else None,
        "transitions": None if transitions is None else parts.vector(transitions),
        "has_entities": has_entities,
    }
