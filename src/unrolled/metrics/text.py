"""How close sentences come to those that people wrote: BLEU, chrF, exact matches.

BLEU and chrF are those of the library sacrebleu, whose signature says how they were computed;
without it two figures cannot be compared. BLEU counts words, up to four in a row: of texts that
have no four words it says nothing, and of Chinese, Japanese and Thai only where it counts
characters.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from statistics import median
from types import ModuleType
from typing import Any

import regex

from unrolled.errors import OptionError
from unrolled.metrics.metric import Metric

__all__ = ["are_short", "bleu_tokenizer", "metrics_of_texts", "text_metrics"]

_SHORT = 4
"""Texts of fewer words are short: the longest rows of words that BLEU counts are as long."""


def metrics_of_texts(short: bool) -> tuple[Metric, ...]:
    """Return what the numbers of `text_metrics` mean, first the one that means most.

    Args:
        short: Whether the texts are; if not, BLEU comes first.
    """
    bleu, chrf = Metric("bleu", "higher"), Metric("chrf", "higher")
    exact = Metric("exact_match", "higher", share=True)
    return (exact, chrf, bleu) if short else (bleu, chrf, exact)


def are_short(lengths: Iterable[int]) -> bool:
    """Return whether at least half of some texts have fewer than four words.

    Args:
        lengths: The words of each; at least one.
    """
    return median(lengths) < _SHORT


def bleu_tokenizer(texts: Iterable[str]) -> str:
    """Return what sacrebleu should cut texts with, by the script of most of their letters.

    "13a" cuts at blanks and punctuation, "zh" also between Chinese characters, and "char" between
    all: for Japanese, Thai, Lao, Khmer and Burmese, whose words no rule without a dictionary finds.

    Example:
        >>> bleu_tokenizer(["Go on!"]), bleu_tokenizer(["我们"]), bleu_tokenizer(["これ"])
        ('13a', 'zh', 'char')
    """
    text = "".join(texts)
    if text.isascii():
        return "13a"
    letters, han, others = (len(pattern.findall(text)) for pattern in _scripts())
    if 2 * (han + others) <= letters:
        return "13a"
    return "zh" if han > 10 * others else "char"


def text_metrics(
    written: Sequence[str], references: Sequence[Sequence[str]], *, short: bool = False
) -> dict[str, Any]:
    """Return the scores of sentences against references.

    Args:
        written: At least one.
        references: For each of `written` at least one; as many as there are.
        short: As of `metrics_of_texts`, whose order the scores have.

    Returns:
        `bleu` and `chrf`, of the whole, in 0..100; `bleu` is None where the references themselves
        would have 0, since none has four words; `exact_match`, the part of `written` that is one
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
    tokenizer = bleu_tokenizer(text for own in references for text in own)
    bleu, chrf = metrics.BLEU(tokenize=tokenizer), metrics.CHRF()
    score: float | None = bleu.corpus_score(list(written), columns).score
    if not score and not bleu.corpus_score([own[0] for own in references], columns).score:
        score = None
    matches = sum(text in own for text, own in zip(written, references, strict=True))
    figures = {
        "bleu": score,
        "chrf": chrf.corpus_score(list(written), columns).score,
        "exact_match": matches / len(written),
    }
    return {
        **{metric.name: figures[metric.name] for metric in metrics_of_texts(short)},
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }


@cache
def _scripts() -> tuple[Any, ...]:
    """Return what finds letters, Chinese ones, and those of other scripts without blanks."""
    scripts = (
        r"\p{L}",
        r"\p{Han}",
        r"[\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]",
    )
    return tuple(regex.compile(script) for script in scripts)


def _sacrebleu() -> ModuleType:
    try:
        import sacrebleu
    except ImportError:
        hint = 'pip install "unrolled[translation]"'
        raise OptionError("BLEU and chrF need the library sacrebleu", hint) from None
    return sacrebleu
