"""Text from a language model, each token drawn from what the model expects next.

This file hands out the text; which token comes next is decided in `drawing.py`. Neither knows of
runs, terminals or training.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import OptionError, VocabularyError, field
from unrolled.networks.options import GenerateOptions
from unrolled.tasks.lm.drawing import Drawing, can_write
from unrolled.tasks.lm.model import LanguageModel

__all__ = ["default_prompt", "generate", "generate_many"]

_TEXTS_AT_ONCE = 64


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
    (pieces,) = generate_many(model, vocabulary, prompt, [GenerateOptions(**options)])
    return pieces


def generate_many(
    model: LanguageModel,
    vocabulary: Vocabulary,
    prompt: str,
    options: Sequence[GenerateOptions],
) -> list[Iterator[str]]:
    """Continue `prompt` several times, all of a step at once; each is what `generate` gives alone.

    Args:
        model: As `generate`.
        vocabulary: As `generate`.
        prompt: As `generate`.
        options: Of each text; they differ in nothing but their seeds.

    Returns:
        The texts, each piece by piece. What one draws, the others need not draw again: it waits for
        them.

    Raises:
        OptionError: The prompt is empty.
        VocabularyError: The prompt has characters that the vocabulary lacks.
    """
    if not prompt:
        hint = "the model needs something to continue, such as a line end"
        raise OptionError(f"{field('prompt')} is empty", hint)
    tokens = vocabulary.encode(prompt)
    texts: list[Iterator[str]] = []
    # torch's sums depend on how many rows there are: then each text is drawn by itself
    at_once = _TEXTS_AT_ONCE if len(options) > 1 and can_write(model) else 1
    for start in range(0, len(options), at_once):
        drawing = Drawing(model, tokens, options[start : start + at_once])
        texts += [_pieces(drawing, row, vocabulary) for row in range(drawing.num_texts)]
    return texts


def _pieces(drawing: Drawing, row: int, vocabulary: Vocabulary) -> Iterator[str]:
    until = drawing.options.until
    written = _written(drawing, row, vocabulary)
    yield from written if until is None else _up_to(written, until.replace("\\n", "\n"))


def _written(drawing: Drawing, row: int, vocabulary: Vocabulary) -> Iterator[str]:
    decoder = vocabulary.decoder()
    for number in range(drawing.options.length):
        if piece := decoder.push(drawing.token(row, number)):
            yield piece
    if piece := decoder.finish():
        yield piece


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
