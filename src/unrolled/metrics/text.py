"""How close sentences come to those that people wrote: BLEU, chrF, exact matches.

BLEU and chrF are those of the library sacrebleu, whose signature says how they were computed;
without it two figures cannot be compared.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from unrolled.errors import OptionError
from unrolled.metrics.metric import Metric

__all__ = ["TEXT_METRICS", "text_metrics"]

TEXT_METRICS = (
    Metric("bleu", "higher"),
    Metric("chrf", "higher"),
    Metric("exact_match", "higher"),
)
"""What the numbers of `text_metrics` mean."""


def text_metrics(written: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the scores of sentences against references.

    Args:
        written: At least one.
        references: For each of `written` at least one; as many as there are.

    Returns:
        `bleu` and `chrf`, of the whole, in 0..100; `exact_match`, the part of `written` that is one
        of its references, in 0..1; `bleu_signature` and `chrf_signature`.

    Raises:
        OptionError: sacrebleu is not installed, or there is nothing to compare.

    Source:
        Papineni et al. (2002); Popovic (2015); M. Post (2018), "A call for clarity in reporting
        BLEU scores".

    Example:
        >>> scores = text_metrics(["a b c d e"], [["a b c d e", "f"]])
        >>> round(scores["bleu"]), round(scores["chrf"]), scores["exact_match"]
        (100, 100, 1.0)
    """
    if not written or len(written) != len(references) or not all(references):
        raise OptionError("every sentence needs a reference, and there must be one at least")
    metrics = _sacrebleu().metrics
    most = max(map(len, references))
    columns = [[own[n] if n < len(own) else None for own in references] for n in range(most)]
    bleu, chrf = metrics.BLEU(), metrics.CHRF()
    matches = sum(text in own for text, own in zip(written, references, strict=True))
    return {
        "bleu": bleu.corpus_score(list(written), columns).score,
        "chrf": chrf.corpus_score(list(written), columns).score,
        "exact_match": matches / len(written),
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }


def _sacrebleu() -> ModuleType:
    try:
        import sacrebleu
    except ImportError:
        hint = 'pip install "unrolled[translation]"'
        raise OptionError("BLEU and chrF need the library sacrebleu", hint) from None
    return sacrebleu
