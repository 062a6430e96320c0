"""A text as a model has read it: every gate and state, and what the model expected at each token.

A reading is never changed. When its text is edited, the next one goes on from the state at the
last token that both have in common, so that typing costs one step a character.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import OptionError
from unrolled.inspection.terms import unit_terms
from unrolled.layers.recording import recording
from unrolled.layers.recurrent import RecurrentLayer
from unrolled.layers.state import SequenceLayer, State, map_state
from unrolled.networks.language_model import LanguageModel

__all__ = ["NUM_CANDIDATES", "Reading", "UnitView", "read", "signal", "unit_view"]

NUM_CANDIDATES = 12


@dataclass(frozen=True, eq=False)
class Reading:
    """What happened while a language model read a text.

    Args:
        tokens: (T,) int64.
        pieces: The text of each token; joined, they are the text.
        layers: For each layer its gates and states by name, (T, H) each; none for a model whose
            layers are not recorded.
        likeliest: The tokens most expected after each token, the first the most, (T, K) int64.
        probabilities: Of those, (T, K).
        surprise: Of each token after those before it, in bits, (T,); the first is NaN.
    """

    tokens: Tensor
    pieces: tuple[str, ...]
    layers: tuple[dict[str, Tensor], ...]
    likeliest: Tensor
    probabilities: Tensor
    surprise: Tensor

    @property
    def nbytes(self) -> int:
        """The memory it takes, in bytes."""
        tensors = [self.tokens, self.likeliest, self.probabilities, self.surprise]
        tensors += [value for layer in self.layers for value in layer.values()]
        return sum(tensor.nbytes for tensor in tensors) + 64 * len(self.pieces)


@dataclass(frozen=True)
class UnitView:
    """All numbers of one unit over a text, (T,) each, by name.

    Args:
        x: The input's part of each gate's pre-activation.
        u: The recurrent part.
        values: Gates, candidates and states after each step.
        before: The states before each step.
    """

    x: dict[str, Tensor]
    u: dict[str, Tensor]
    values: dict[str, Tensor]
    before: dict[str, Tensor]


@torch.no_grad()
def read(
    model: LanguageModel, vocabulary: Vocabulary, text: str, before: Reading | None = None
) -> Reading:
    """Return how `model` reads `text`.

    Args:
        model: In eval mode, on CPU.
        vocabulary: The model's.
        text: May be empty.
        before: An earlier reading by the same model, to go on from where the texts part.

    Raises:
        VocabularyError: The text has characters that the vocabulary lacks.
    """
    tokens = vocabulary.encode(text) if text else torch.zeros(0, dtype=torch.int64)
    kept, state = 0, None
    if before is not None:
        kept = _num_common(tokens, before.tokens)
        if kept == len(tokens) == len(before.tokens):
            return before
        kept = min(kept, len(tokens) - 1)  # one step at least, for what comes next
        state = _state_after(model, before, kept) if kept > 0 else None
    num_candidates = min(NUM_CANDIDATES, len(vocabulary))
    if before is None or state is None or not len(tokens):
        kept, before = 0, _nothing_read(num_candidates)
    if not len(tokens):
        return before
    with recording() as records:
        scores, _ = model(tokens[None, kept:], state)
    log_probabilities = scores[0].double().log_softmax(-1)  # (T - kept, V)
    top = log_probabilities.topk(num_candidates)
    told = _expected_after(model, before, kept) if kept else None
    following = tokens[kept + 1 :, None]
    surprise = -log_probabilities[:-1].gather(1, following)[:, 0] / torch.log(torch.tensor(2.0))
    first = _first_surprise(told, int(tokens[kept]))
    new = [{name: value[:, 0] for name, value in record.values.items()} for record in records]
    old = before.layers or tuple({} for _ in new)
    return Reading(
        tokens=tokens,
        pieces=_pieces(vocabulary, tokens),
        layers=tuple(
            {name: torch.cat([past[name][:kept], now[name]]) if past else now[name] for name in now}
            for past, now in zip(old, new, strict=True)
        ),
        likeliest=torch.cat([before.likeliest[:kept], top.indices]),
        probabilities=torch.cat([before.probabilities[:kept], top.values.exp().float()]),
        surprise=torch.cat([before.surprise[:kept], first, surprise.float()]),
    )


def signal(reading: Reading, layer: int, name: str, unit: int | None) -> Tensor:
    """Return a gate or a state over the text, (T,): of one unit, or the mean of all of them.

    Raises:
        OptionError: There is no such layer, name or unit.
    """
    values = named(reading, layer, name)
    if unit is None:
        return values.mean(1)
    if not 0 <= unit < values.shape[1]:
        raise OptionError(f"unit must be in 0..{values.shape[1] - 1}, got {unit}")
    return values[:, unit]


def named(reading: Reading, layer: int, name: str) -> Tensor:
    """Return a gate or a state of all units, (T, H).

    Raises:
        OptionError: There is no such layer or name.
    """
    if not 0 <= layer < len(reading.layers):
        raise OptionError(f"layer must be in 0..{len(reading.layers) - 1}, got {layer}")
    if name not in reading.layers[layer]:
        names = " ".join(reading.layers[layer])
        raise OptionError(f"no gate or state {name!r}; there are: {names}")
    return reading.layers[layer][name]


@torch.no_grad()
def unit_view(model: LanguageModel, reading: Reading, layer: int, unit: int) -> UnitView:
    """Return all numbers of one unit while it read.

    Raises:
        OptionError: There is no such layer or unit, or the layer is not a recurrent one.
    """
    recurrent = model.layer
    if not isinstance(recurrent, RecurrentLayer):
        raise OptionError(
            f"a {model.config.cell} has no cell to step through",
            "that view is for rnn, lstm, gru and janet",
        )
    values = named(reading, layer, recurrent.cell.states[0])
    x = reading.layers[layer - 1]["h"] if layer else model.features(reading.tokens[None])[0]
    terms = unit_terms(recurrent, layer, x, _shifted(values), unit)
    own = {name: value[:, unit] for name, value in reading.layers[layer].items()}
    before = {state: _shifted(own[state]) for state in recurrent.cell.states}
    return UnitView(terms.x, terms.u, own, before)


def _shifted(values: Tensor) -> Tensor:
    """Return the values one step earlier, zeros before the first."""
    return torch.cat([torch.zeros_like(values[:1]), values[:-1]])[: len(values)]


def _expected_after(model: LanguageModel, reading: Reading, kept: int) -> Tensor:
    """Return what `model` expected after the first `kept` tokens of a reading, (V,) in nats."""
    h = reading.layers[-1]["h"][kept - 1]
    return cast(Tensor, model.scores(h)).double().log_softmax(-1)


def _num_common(tokens: Tensor, others: Tensor) -> int:
    length = min(len(tokens), len(others))
    differ = (tokens[:length] != others[:length]).nonzero()
    return int(differ[0]) if len(differ) else length


def _state_after(model: LanguageModel, reading: Reading, kept: int) -> State | None:
    """Return the state after the first `kept` tokens, None for a layer that cannot be resumed."""
    layer = model.layer
    if not isinstance(layer, RecurrentLayer):
        return None
    stacked = iter(
        torch.stack([values[name][kept - 1] for values in reading.layers])[:, None]
        for name in layer.cell.states
    )
    initial = cast(SequenceLayer, layer).initial_state(1)
    return map_state(lambda _: next(stacked), initial)


def _nothing_read(num_candidates: int) -> Reading:
    none = torch.zeros(0, dtype=torch.int64)
    return Reading(
        tokens=none,
        pieces=(),
        layers=(),
        likeliest=torch.zeros(0, num_candidates, dtype=torch.int64),
        probabilities=torch.zeros(0, num_candidates),
        surprise=torch.zeros(0),
    )


def _first_surprise(told: Tensor | None, token: int) -> Tensor:
    if told is None:
        return torch.full((1,), torch.nan)
    return (-told[token] / torch.log(torch.tensor(2.0)))[None].float()


def _pieces(vocabulary: Vocabulary, tokens: Tensor) -> tuple[str, ...]:
    """Return the text that each token completes."""
    decoder = vocabulary.decoder()
    pieces = [decoder.push(token) for token in tokens.tolist()]
    if pieces and (rest := decoder.finish()):
        pieces[-1] += rest
    return tuple(pieces)
