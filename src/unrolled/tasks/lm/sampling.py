"""Text from a language model, each token drawn from what the model expects next.

This file decides which token comes next and hands out the text; it knows nothing of runs, terminals
or training. Its random numbers are its own: neither the global generator nor a training in progress
is touched.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import OptionError, VocabularyError, field
from unrolled.kernels import WeightCache, caching_weights
from unrolled.layers import State
from unrolled.networks.modes import evaluating
from unrolled.networks.options import GenerateOptions
from unrolled.tasks.lm.model import LanguageModel

__all__ = ["default_prompt", "filter_scores", "generate"]


def generate(
    model: LanguageModel, vocabulary: Vocabulary, prompt: str, **options: Any
) -> Iterator[str]:
    """Continue `prompt`, handed out piece by piece as it is drawn.

    The prompt is read at once, then each token is fed back with the carried state:

        scores_t, state = model(token_t, state)
        token_{t+1} ~ softmax(filter_scores(scores_t, temperature, top_k, top_p))

    Args:
        model: Any language model. Its train or eval mode is the caller's again between two pieces.
        vocabulary: The one the model was trained with.
        prompt: At least one character, all of them known to the vocabulary. It is not handed out.
        options: Those of `GenerateOptions`: length, temperature, top_k, top_p, seed, until.

    Returns:
        An iterator over complete pieces of text. A piece is one token, unless a token ends inside
        a character (bytes, BPE): that one is withheld until the character is whole.

    Raises:
        OptionError: An option is out of its range. Raised by the call, before any iteration.
        VocabularyError: The prompt has characters that the vocabulary lacks.

    Example:
        >>> from unrolled.data import CharVocabulary
        >>> from unrolled.networks import LayerOptions
        >>> vocabulary = CharVocabulary.from_text("hello")
        >>> model = LanguageModel(LayerOptions(hidden_size=3), vocabulary_size=len(vocabulary))
        >>> pieces = generate(model, vocabulary, "hell", length=5, seed=0)
        >>> sum(len(piece) for piece in pieces)
        5
    """
    chosen = GenerateOptions(**options)
    if not prompt:
        hint = "the model needs something to continue, such as a line end"
        raise OptionError(f"{field('prompt')} is empty", hint)
    tokens = vocabulary.encode(prompt)
    generator = torch.Generator()
    if chosen.seed is None:
        generator.seed()
    else:
        generator.manual_seed(chosen.seed)

    def pieces() -> Iterator[str]:
        until = None if chosen.until is None else chosen.until.replace("\\n", "\n")
        written = _drawn()
        yield from written if until is None else _up_to(written, until)

    def _drawn() -> Iterator[str]:
        decoder = vocabulary.decoder()
        token, state = tokens, None
        weight_cache = WeightCache()
        for _ in range(chosen.length):
            with caching_weights(weight_cache):
                scores, state = _read(model, token, state)
            scores = filter_scores(scores, chosen.temperature, chosen.top_k, chosen.top_p)
            token = torch.multinomial(scores.softmax(-1), 1, generator=generator)
            if piece := decoder.push(int(token)):
                yield piece
        if piece := decoder.finish():
            yield piece

    return pieces()


def _up_to(pieces: Iterator[str], end: str) -> Iterator[str]:
    """Yield pieces of a text until `end` has come, and nothing after it.

    >>> list(_up_to(iter(["one", ", t", "wo, three"]), "two"))
    ['one', ', t', 'wo']
    """
    before = ""
    for piece in pieces:
        text = before + piece
        if (at := text.find(end)) >= 0:
            yield text[len(before) : at + len(end)]
            return
        yield piece
        before = text[max(0, len(text) - len(end) + 1) :]


def filter_scores(
    scores: Tensor, temperature: float, top_k: int | None, top_p: float | None
) -> Tensor:
    """Return `scores` reshaped by the temperature, the tokens not to be drawn at minus infinity.

    In this order: the scores are divided by the temperature; the `top_k` largest are kept; of
    those, renormalised, the smallest set of most likely tokens whose probability reaches `top_p`.

    Args:
        scores: (V,), unnormalised logarithms of probabilities.
        temperature: At least 0. Below 1 the likely becomes likelier, above 1 the unlikely does;
            0 is the limit: the most likely token alone (the first of equals).
        top_k: Keep at most this many tokens, at least 1; None keeps all.
        top_p: Keep the smallest set that reaches this probability, in (0, 1]; None keeps all.

    Returns:
        (V,), in double precision.

    Raises:
        OptionError: An argument is out of its range.

    Source:
        top-k: Fan, Lewis, Dauphin (2018), section 5.1; top-p: Holtzman et al. (2020), section 3.1.

    Example:
        >>> import torch
        >>> filter_scores(torch.tensor([1.0, 3.0, 2.0]), 0.5, 2, None)
        tensor([-inf,  0., -2.], dtype=torch.float64)
    """
    GenerateOptions(temperature=temperature, top_k=top_k, top_p=top_p)  # refuses
    scores = scores.double() - scores.max()  # the largest is 0: no temperature can overflow it
    if temperature == 0:
        top_k = 1
    else:
        scores = scores / temperature
    if top_k is None and top_p is None:
        return scores
    order = scores.argsort(descending=True, stable=True)
    keep = torch.zeros_like(order, dtype=torch.bool)
    keep[order[:top_k]] = True
    scores = scores.masked_fill(~keep, -torch.inf)
    if top_p is not None:
        probabilities = scores[order].softmax(-1)
        reached_before = probabilities.cumsum(-1) - probabilities
        scores[order[reached_before >= top_p]] = -torch.inf
    return scores


def default_prompt(vocabulary: Vocabulary) -> str:
    """Return what to start from when the user gave no prompt.

    That is the end of a line, after which most texts may start anew, or else the vocabulary's
    first symbol.
    """
    try:
        vocabulary.encode("\n")
    except VocabularyError:
        return vocabulary.decode([0])
    return "\n"


@torch.inference_mode()
def _read(model: LanguageModel, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Return the scores (V,) of what follows `tokens` (N,), and the state there."""
    device = next(model.parameters()).device
    with evaluating(model):
        scores, state = model(tokens.unsqueeze(0).to(device), state)
    return scores[0, -1].cpu(), state
