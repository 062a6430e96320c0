"""A classifier as the page of a report computes it."""

from typing import Any, cast

from unrolled.inspection.gradients import direction_of
from unrolled.networks.embedding import TokenEmbedding
from unrolled.tasks.classify.model import Classifier
from unrolled.tasks.page_network import PageParts

__all__ = ["page_network"]


def page_network(parts: PageParts, *, model: Classifier, max_length: int | None) -> dict[str, Any]:
    """Return its embedding, what it makes of all steps, and the direction of its gradients."""
    embedding = cast(TokenEmbedding, model.embedding)
    layer: Any = model.layer
    attention: dict[str, Any] | None = None
    if model.attention is not None:
        inner, _, out = cast(Any, model.attention)
        attention = parts.linear(inner) | {"out": parts.vector(out.weight)}
    return {
        "embedding": parts.embedding(embedding),
        "pooling": model.options.pooling,
        "attention": attention,
        "evidence": None if model.evidence is None else parts.matrix(model.evidence.weight),
        "max_length": max_length,
        "direction": direction_of(layer, 1)[0].tolist(),
    }
