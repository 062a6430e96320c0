"""Which token comes next: drawn from what a language model expects, for several texts at once.

Its random numbers are its own: neither the global generator nor a training in progress is touched.
A text is drawn by the same numbers, and from the same scores, whatever is drawn beside it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import DivergedError
from unrolled.kernels import WeightCache, Writer, are_weights_cached, caching_weights
from unrolled.layers import (
    RecurrentLayer,
    State,
    StepsRead,
    make_writer,
    map_state,
    reading_on,
    state_tensors,
    written_weights,
)
from unrolled.networks.devices import moved
from unrolled.networks.modes import evaluating
from unrolled.networks.options import GenerateOptions
from unrolled.tasks.lm.model import LanguageModel

__all__ = ["Drawing", "can_write", "filter_scores"]

_NUMBERS_AT_ONCE = 64  # random ones of a text


class Drawing:
    """Texts that begin alike and are drawn together, a token of each at a time.

    Where the model's layer has a kernel, a token is read and the next one drawn in one call.

    Args:
        model: Any language model.
        prompt: (N,) int64, what they begin with.
        options: Of each text; they differ in nothing but their seeds.
    """

    def __init__(
        self, model: LanguageModel, prompt: Tensor, options: Sequence[GenerateOptions]
    ) -> None:
        self.options, self.num_texts = options[0], len(options)
        self._model = model
        self._generators = [_generator(each.seed) for each in options]
        self._numbers = torch.empty(self.num_texts, 0, dtype=torch.float64)
        self._tokens: list[list[int]] = []  # of each step
        self._last = torch.empty(self.num_texts, dtype=torch.int64)  # -1: it has diverged
        self._prompt = prompt
        self._state: State | None = None  # None: before the prompt, or while a writer has it
        self._writer: Writer | None = None
        self._weight_cache = WeightCache()
        self._steps_read: StepsRead = {}

    def token(self, row: int, number: int) -> int:
        """Return a token of a text, drawn now unless it was drawn with that of another text.

        Raises:
            DivergedError: The model's scores of this text are not finite numbers.
        """
        while len(self._tokens) <= number:
            self._draw_next(len(self._tokens))
            self._tokens.append(self._last.tolist())
        token = self._tokens[number][row]
        if token < 0:
            message = "the model's scores of the next token are not finite numbers"
            raise DivergedError(message, "its weights may have grown without bound in training")
        return token

    def _draw_next(self, number: int) -> None:
        at = number % _NUMBERS_AT_ONCE
        if not at:
            rows = [
                torch.rand(_NUMBERS_AT_ONCE, generator=generator, dtype=torch.float64)
                for generator in self._generators
            ]
            self._numbers = torch.stack(rows, 1)  # (numbers, texts)
        if self._writer is not None and not self._writer.serves(_weights_of(self._model)):
            self._state = _state_of(self._model, self._writer)
            self._writer = None
        if number and self._writer is None and not are_weights_cached():
            self._writer = self._writer_of(self._state)
        if self._writer is None:
            self._last = self._drawn_by_torch(number, self._numbers[at])
            return
        numbers = self._numbers.data_ptr() + at * self._numbers.stride(0) * 8
        self._writer.write(numbers, self._last.data_ptr())

    def _drawn_by_torch(self, number: int, numbers: Tensor) -> Tensor:
        """Return the next tokens, (B,), of the scores after the last ones; -1 as a writer does."""
        read = self._last[:, None].clamp(min=0) if number else self._prompt[None]
        with caching_weights(self._weight_cache), reading_on(self._steps_read, read.shape[1]):
            scores, self._state = _read(self._model, read, self._state)
        if not number and self.num_texts > 1:
            scores = scores.expand(self.num_texts, -1)
            self._state = _repeated(self._state, self.num_texts)
        diverged = ~scores.isfinite().all(-1)
        if number:
            diverged |= self._last < 0
        scores = scores.masked_fill(diverged[:, None], 0.0)
        chosen = self.options
        shares = torch.stack(
            [filter_scores(s, chosen.temperature, chosen.top_k, chosen.top_p) for s in scores]
        ).softmax(-1)
        ends = shares.cumsum(-1)
        ends[ends >= ends[:, -1:]] = torch.inf  # the last that may be drawn
        at = numbers[:, None] * shares.sum(-1, True)
        drawn = torch.searchsorted(ends, at, right=True)[:, 0]
        return drawn.masked_fill_(diverged, -1)

    def _writer_of(self, state: State | None) -> Writer | None:
        writer = None if state is None else _writer_of(self._model, self.num_texts)
        if state is not None and writer is not None:
            for own, part in zip(writer.states, state_tensors(state), strict=True):
                own.copy_(part)
            writer.choose(self.options.temperature, self.options.top_k, self.options.top_p)
        return writer


def can_write(model: LanguageModel) -> bool:
    """Whether a token of a model is read and the next one drawn in one call."""
    return _writer_of(model, 1) is not None


def _writer_of(model: LanguageModel, num_texts: int) -> Writer | None:
    if _weights_of(model) is None:
        return None
    return make_writer(model.layer, model.embedding, model.scores, num_texts)  # type: ignore[arg-type]  # asked


def _weights_of(model: LanguageModel) -> list[Tensor] | None:
    """Return what a writer reads of a model; None where more is to be done."""
    if type(model) is not LanguageModel or model._forward_hooks or model._forward_pre_hooks:
        return None
    parts: Any = model._modules  # asked at every token
    layer = parts["layer"]
    if not isinstance(layer, RecurrentLayer):
        return None
    return written_weights(layer, parts.get("embedding"), parts["scores"])


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


def _generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


@torch.inference_mode()
def _read(model: LanguageModel, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Return the scores (B, V) of what follows `tokens` (B, N), and the state there."""
    with evaluating(model):
        scores, state = model(moved(tokens, model), state)
    return scores[:, -1].cpu(), state


def _repeated(state: State | None, count: int) -> State | None:
    """Return the state of one row as that of `count` rows."""
    if state is None:
        return None
    return map_state(lambda part: part.repeat_interleave(count, 1), state)


def _state_of(model: LanguageModel, writer: Writer) -> State:
    """Return the state that a writer has come to, as the model's layer has it."""
    tensors = iter(state.clone() for state in writer.states)
    return map_state(lambda _: next(tensors), model.initial_state(0))
