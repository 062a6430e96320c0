"""A language model as the page of a report computes it."""

from typing import Any

from unrolled.tasks.lm.model import LanguageModel
from unrolled.tasks.page_network import PageParts

__all__ = ["page_network"]


def page_network(parts: PageParts, *, model: LanguageModel, prompt: str) -> dict[str, Any]:
    """Return its embedding, and what a text begins with that it writes by itself."""
    table = model.embedding
    return {
        "prompt": prompt,
        "embedding": None if table is None else parts.matrix(table.weight),
    }
