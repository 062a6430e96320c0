"""Entities in tagged sentences, and how well they were found: seqeval's definition.

An entity counts as found if its first word, its last word and its type are right; a part of it
counts nothing. Precision, recall and F1 are over all entities together (micro).
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Entity", "SpanScore", "doubtful_spans", "entities", "has_spans", "score_spans"]

_TYPED = re.compile(r"[BIMESLUW][-_].+", re.DOTALL)
_SEPARATOR = re.compile("[-_]")
_BARE = {"B", "I", "M", "E", "S"}
_SAME = {"L": "E", "U": "S", "W": "S", "M": "I"}  # BILOU, and BMES and BMEW of Chinese


@dataclass(frozen=True, order=True)
class Entity:
    """The words from `start` up to `stop`, not included, and the type that their tags name."""

    start: int
    stop: int
    type: str


@dataclass(frozen=True)
class SpanScore:
    """How well entities were found.

    Args:
        precision: Part of the predicted entities that are right; 0 where none was predicted.
        recall: Part of the true entities that were found; 0 where there is none.
        f1: Their harmonic mean; 0 where both are 0.
        num_entities: True entities.
    """

    precision: float
    recall: float
    f1: float
    num_entities: int


def has_spans(tags: Iterable[str]) -> bool:
    """Return whether a set of tags marks entities: O, and B-, I-, E-, S- of a type.

    L- and U- (BILOU), M- and W- (BMES, BMEW) are as good, and "_" as "-".

    Example:
        >>> has_spans(["O", "B-PER", "I-PER"]), has_spans(["NOUN", "VERB"])
        (True, False)
    """
    marks = set(tags) - {"O"}
    return bool(marks) and (marks <= _BARE or all(_TYPED.fullmatch(tag) for tag in marks))


def doubtful_spans(tags: Collection[str]) -> list[str]:
    """Return a note where most tags mark entities and some do not, so that none is counted.

    Args:
        tags: The different ones.

    Example:
        >>> doubtful_spans(["O", "B-PER", "I-PER", "b-per"])
        ["no entities are counted, for a tag is not like B-TYPE, I-TYPE or O: 'b-per'"]
    """
    marks = set(tags) - {"O"}
    alike = [tag for tag in marks if _TYPED.fullmatch(tag.upper())]
    if has_spans(tags) or len(marks) == len(tags) or 2 * len(alike) <= len(marks):
        return []
    others = sorted(tag for tag in marks if not _TYPED.fullmatch(tag))
    are = "a tag is" if len(others) == 1 else f"{len(others)} tags are"
    shown = ", ".join(map(repr, others[:5])) + " ..." * (len(others) > 5)
    return [f"no entities are counted, for {are} not like B-TYPE, I-TYPE or O: {shown}"]


def entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities that a sentence's tags mark, in order.

    Tags are IOB1, IOB2 or IOBES; BILOU and BMES are read as IOBES. Tags that break the scheme are
    read as seqeval reads them: an I or E that continues nothing of its type begins an entity.

    Args:
        tags: O, or a prefix and a type, as B-PER. A prefix without a type has the type "".

    Source:
        conlleval of CoNLL-2000; seqeval's default mode.

    Example:
        >>> entities(["B-PER", "I-PER", "O", "I-LOC"])
        [Entity(start=0, stop=2, type='PER'), Entity(start=3, stop=4, type='LOC')]
    """
    spans = []
    start, before, type_before = 0, "O", ""
    for index, tag in enumerate([*tags, "O"]):
        prefix, *rest = _SEPARATOR.split(tag, maxsplit=1)
        prefix, type = _SAME.get(prefix, prefix), "".join(rest)
        goes_on = prefix in ("I", "E") and before in ("B", "I") and type == type_before
        if not goes_on:
            if before != "O":
                spans.append(Entity(start, index, type_before))
            start = index
        before, type_before = prefix, type
    return spans


def score_spans(
    true: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]
) -> tuple[SpanScore, dict[str, SpanScore]]:
    """Return how well the entities were found, all together and those of each type.

    Args:
        true: The tags of each sentence.
        predicted: As many tags for as many sentences.

    Raises:
        ValueError: Another number of sentences.

    Example:
        >>> score, by_type = score_spans([["B-PER", "I-PER", "B-LOC"]], [["B-PER", "O", "B-LOC"]])
        >>> score
        SpanScore(precision=0.5, recall=0.5, f1=0.5, num_entities=2)
        >>> by_type["LOC"].f1, by_type["PER"].f1
        (1.0, 0.0)
    """
    right: Counter[str] = Counter()
    num_true: Counter[str] = Counter()
    num_predicted: Counter[str] = Counter()
    for true_tags, predicted_tags in zip(true, predicted, strict=True):
        true_spans, predicted_spans = entities(true_tags), entities(predicted_tags)
        num_true.update(span.type for span in true_spans)
        num_predicted.update(span.type for span in predicted_spans)
        right.update(span.type for span in set(true_spans) & set(predicted_spans))
    by_type = {
        type: _score(right[type], num_true[type], num_predicted[type])
        for type in sorted({*num_true, *num_predicted})
    }
    return _score(right.total(), num_true.total(), num_predicted.total()), by_type


def _score(right: int, num_true: int, num_predicted: int) -> SpanScore:
    total = num_true + num_predicted
    return SpanScore(
        precision=right / num_predicted if num_predicted else 0.0,
        recall=right / num_true if num_true else 0.0,
        f1=2 * right / total if total else 0.0,
        num_entities=num_true,
    )
