"""How well a language model predicts a text it has not learned from.

Not here: when that is measured (`training/schedule.py`), and turning text into tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.data.batching import IGNORE
from unrolled.layers import State, state_tensors
from unrolled.networks.devices import moved
from unrolled.networks.modes import evaluating
from unrolled.tasks.lm.columns import Columns
from unrolled.tasks.lm.model import LanguageModel
from unrolled.training import num_sharing, share

__all__ = ["LanguageModelMetrics", "TextSize", "combined", "evaluate_language_model"]

_STEPS_PER_COLUMN = 1024  # at least, where the number of columns is left to us
_SCORES_AT_ONCE = 2**23  # bounds the memory that (B, T, V) takes: 32 MB


@dataclass(frozen=True)
class TextSize:
    """How long a text is.

    Args:
        characters: Code points.
        words: What stands between blanks, and one for every line's end.
    """

    characters: int
    words: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the size of `text`."""
        return cls(len(text), len(text.split()) + text.count("\n"))


@dataclass(frozen=True)
class LanguageModelMetrics:
    """How well a text was predicted: every token after the first, from those before it.

    Args:
        nats_per_token: Mean cross-entropy, natural logarithm.
        bits_per_character: The same information, over the characters it describes: comparable
            between characters, bytes and BPE.
        perplexity_per_token: exp(nats_per_token).
        perplexity_per_word: exp of the nats per word. Words are what stands between blanks, and
            every line's end is one more, as in published figures; comparable between all tokens.
        num_tokens: How many were predicted.
        num_characters: How many they stand for.
        num_words: The same for words.
    """

    nats_per_token: float
    bits_per_character: float
    perplexity_per_token: float
    perplexity_per_word: float
    num_tokens: int
    num_characters: int
    num_words: int

    def to_dict(self) -> dict[str, float]:
        """Return the figures by the names of the task's metrics."""
        return {
            "loss": self.nats_per_token,
            "bits_per_character": self.bits_per_character,
            "perplexity_per_token": self.perplexity_per_token,
            "perplexity_per_word": self.perplexity_per_word,
            "num_tokens": self.num_tokens,
            "num_characters": self.num_characters,
            "num_words": self.num_words,
        }


def combined(measured: Sequence[LanguageModelMetrics]) -> LanguageModelMetrics:
    """Return how well several texts, at least one, were predicted together."""
    return _metrics(
        sum(each.nats_per_token * each.num_tokens for each in measured),
        sum(each.num_tokens for each in measured),
        TextSize(
            sum(each.num_characters for each in measured),
            sum(each.num_words for each in measured),
        ),
    )


def evaluate_language_model(
    model: LanguageModel,
    tokens: Tensor,
    size: TextSize,
    *,
    num_columns: int | None = None,
    context: int = 256,
) -> LanguageModelMetrics:
    """Measure how well `model` predicts `tokens[1:]`, each token scored exactly once.

    The text is read in columns side by side, which is fast. A column does not know what came before
    it, so its state is warmed on the `context` tokens before, which are not scored there. With one
    column the result is exact; with more it differs as far as the model remembers beyond `context`.
    Processes that share the work take columns each: products of fewer rows may be rounded
    otherwise, so that the last digits differ from those of one process.

    Args:
        model: Its mode (train or eval) is left as it was.
        tokens: (N,), at least 2.
        size: Of the text that `tokens[1:]` stand for.
        num_columns: None takes up to 64, each of at least 1024 steps.
        context: Tokens read before each column but the first.

    Returns:
        The metrics, from a sum in float64.

    Raises:
        DataError: Fewer than 2 tokens.
    """
    if num_columns is None:
        num_columns = min(64, max(1, len(tokens) // _STEPS_PER_COLUMN))
    columns = Columns(tokens, num_columns)
    num_parts = min(num_sharing(), num_columns)

    def nats_of(part: int) -> float:
        state = _warm_state(model, columns, context, part, num_parts)
        return _score(model, columns, state, part, num_parts)

    with evaluating(model), torch.inference_mode():
        nats = sum(share(nats_of, range(num_parts)))
    return _metrics(nats, len(tokens) - 1, size)


def _metrics(nats: float, num_tokens: int, size: TextSize) -> LanguageModelMetrics:
    return LanguageModelMetrics(
        nats_per_token=nats / num_tokens,
        bits_per_character=nats / math.log(2) / size.characters,
        perplexity_per_token=_perplexity(nats, num_tokens),
        perplexity_per_word=_perplexity(nats, size.words),
        num_tokens=num_tokens,
        num_characters=size.characters,
        num_words=size.words,
    )


def _perplexity(nats: float, count: int) -> float:
    """Return exp(nats / count), infinity where that is beyond a float or nothing is counted."""
    return math.exp(nats / count) if nats < 700 * count else math.inf


def _warm_state(
    model: LanguageModel, columns: Columns, context: int, part: int, num_parts: int
) -> State | None:
    """Return the state in which each column of a part is entered: that at the end of the last one.

    Which is the column before it; the first of all has a fresh state.
    """
    context = min(context, columns.num_steps)
    if columns.num_columns == 1 or context == 0:
        return None
    first, stop = (each * columns.num_columns // num_parts for each in (part, part + 1))
    ends, _ = columns.window(columns.num_steps - context, columns.num_steps)
    ends = ends[max(0, first - 1) : stop - 1]
    if len(ends) == 0:  # the first column alone
        return None
    warmed: State = model(moved(ends, model))[1]
    if first > 0:
        return warmed
    fresh = model.initial_state(1)
    if isinstance(warmed, Tensor):
        return torch.cat([*state_tensors(fresh), warmed], dim=1)
    pairs = zip(state_tensors(fresh), warmed, strict=True)
    return tuple(torch.cat(pair, dim=1) for pair in pairs)


def _score(
    model: LanguageModel, columns: Columns, state: State | None, part: int, num_parts: int
) -> float:
    """Return the sum of the cross-entropies of a part of the columns, in nats."""
    size = columns.num_columns * model.vocabulary_size
    steps = max(1, min(256, _SCORES_AT_ONCE // size))
    nats = torch.zeros((), dtype=torch.float64)
    for start in range(0, columns.num_steps, steps):
        stop = min(start + steps, columns.num_steps)
        inputs, targets = moved(columns.window(start, stop, part, num_parts), model)
        scores, state = model(inputs, state)
        losses = F.cross_entropy(
            scores.flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORE,
            reduction="none",
        )
        nats += losses.cpu().sum(dtype=torch.float64)
    return nats.item()
