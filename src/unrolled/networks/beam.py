r"""The best continuation by a model's own scores: greedy and beam search.

    beam of 2        il  -0.4 --> pleut -0.9 --> END -1.1     finished
    BEGIN 0.0 <            \----> fait  -1.3      (dropped)
                     ce  -1.6 --> ...             (dropped)

Nothing here knows a model: it asks a function for the scores of the next token and gives it back
the state it returned, its rows rearranged. No random numbers; of equals, the first is taken.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from unrolled.errors import OptionError, field, require
from unrolled.networks.options import SearchOptions
from unrolled.options import option_fields

__all__ = [
    "BeamOptions",
    "Hypothesis",
    "Rows",
    "beam_options",
    "beam_search",
    "greedy_search",
    "length_penalty",
]


class Rows(Protocol):
    """A state whose rows can be rearranged, as `DecoderState`."""

    def rows(self, index: Tensor) -> Self:
        """Return the state of the rows `index`, (N,), which may repeat."""
        ...


S = TypeVar("S", bound=Rows)
Step = Callable[[Tensor, S], tuple[Tensor, S]]
"""From the last tokens, (N,), and the state to the next scores, (N, V), and the state after."""


@dataclass(frozen=True, kw_only=True)
class BeamOptions:
    """How the search goes.

    Args:
        beam: K, hypotheses that are followed side by side, at least 1.
        n_best: Hypotheses that are returned for each row, 1..K.
        length_penalty: alpha of `length_penalty`; 0 ranks by the probability alone, which prefers
            the short.
        no_repeat: n, so that no n tokens in a row occur twice; None allows all.
        max_length: Tokens at most, without the end.

    Raises:
        OptionError: An option out of its range.
    """

    beam: int = 1
    n_best: int = 1
    length_penalty: float = 0.0
    no_repeat: int | None = None
    max_length: int = 100

    def __post_init__(self) -> None:
        values = {each.name: getattr(self, each.name) for each in option_fields(SearchOptions)}
        SearchOptions(**values)  # refuses
        require(self.max_length >= 1, "max_length", "at least 1", self.max_length)
        if self.n_best > self.beam:
            raise OptionError(
                f"{field('n_best')} is {self.n_best}, but a beam of {self.beam} finds no more",
                "take a beam at least as large",
            )


def beam_options(
    chosen: SearchOptions, *, beam: int, length_penalty: float, max_length: int
) -> BeamOptions:
    """Return the options of a search.

    Args:
        chosen: What somebody asked for.
        beam: K where nobody says it; more if more outputs are asked for.
        length_penalty: alpha where nobody says it.
        max_length: Tokens at most.

    Raises:
        OptionError: More outputs than the beam that was asked for.
    """
    penalty = chosen.length_penalty
    return BeamOptions(
        beam=max(beam, chosen.n_best) if chosen.beam is None else chosen.beam,
        n_best=chosen.n_best,
        length_penalty=length_penalty if penalty is None else penalty,
        no_repeat=chosen.no_repeat,
        max_length=max_length,
    )


@dataclass(frozen=True)
class Hypothesis:
    """A sequence that the search found.

    tokens: Without the marks of the beginning and the end.
    log_probability: In nats; of the end too, if it was reached.
    score: What hypotheses are ranked by: log_probability / length_penalty.
    complete: Whether the model ended it; if not, it was cut at the greatest length.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float
    complete: bool

    def with_end(self, end: int) -> tuple[int, ...]:
        """Return the tokens, and the mark of the end if the model wrote it."""
        return (*self.tokens, end) if self.complete else self.tokens


def length_penalty(num_tokens: int, alpha: float) -> float:
    """Return ((5 + num_tokens) / 6) ** alpha, which a log probability is divided by.

    Source: Wu et al. (2016), "Google's neural machine translation system", equation 14; the number
    of tokens includes the end.

    Example:
        >>> length_penalty(7, 1.0)
        2.0
    """
    return float(((5 + num_tokens) / 6) ** alpha)


@torch.inference_mode()
def greedy_search(
    step: Step[S], state: S, batch_size: int, begin: int, end: int, max_length: int = 100
) -> list[Hypothesis]:
    """Take the likeliest token at each step until the end.

    Args:
        step: The model.
        state: Before the first token, of `batch_size` rows.
        batch_size: B.
        begin: The token that every sequence begins with.
        end: The token that ends one.
        max_length: Tokens at most, without the end.

    Returns:
        One hypothesis for each row, its score the log probability.
    """
    tokens: list[list[int]] = [[] for _ in range(batch_size)]
    totals, complete = [0.0] * batch_size, [False] * batch_size
    live = list(range(batch_size))
    last = torch.full((batch_size,), begin)
    for _ in range(max_length + 1):
        if not live:
            break
        scores, state = step(last, state)
        log_probabilities = scores.double().log_softmax(-1)
        best = log_probabilities.argmax(-1)  # the first of equals
        gained = log_probabilities.gather(1, best[:, None]).squeeze(1).tolist()
        going_on = []
        for place, (row, token) in enumerate(zip(live, best.tolist(), strict=True)):
            if token == end:
                complete[row] = True
            elif len(tokens[row]) == max_length:
                continue
            else:
                tokens[row].append(token)
                going_on.append(place)
            totals[row] += gained[place]
        live = [live[place] for place in going_on]
        index = torch.tensor(going_on, dtype=torch.int64)
        last, state = best[index], state.rows(index)
    return [
        Hypothesis(tuple(words), total, total, ended)
        for words, total, ended in zip(tokens, totals, complete, strict=True)
    ]


@torch.inference_mode()
def beam_search(
    step: Step[S],
    state: S,
    batch_size: int,
    begin: int,
    end: int,
    options: BeamOptions,
) -> list[list[Hypothesis]]:
    """Follow the K likeliest beginnings of each row side by side.

    At each step, of all continuations of a row's K hypotheses the likeliest K are looked at: those
    that end are finished and make no further ones; the likeliest K that do not end go on. A row
    is done when it has K finished hypotheses, or at the greatest length, where what has not ended
    is cut. A beam of 1 is greedy search.

    Args:
        step: The model.
        state: Before the first token, of `batch_size` rows.
        batch_size: B.
        begin: The token that every sequence begins with.
        end: The token that ends one.
        options: Size of the beam and what hypotheses are ranked by.

    Returns:
        For each row up to `n_best` hypotheses: those that ended by falling score, then those cut.
        There are fewer only where fewer sequences are possible.

    Source:
        A. Graves (2012), "Sequence transduction with recurrent neural networks", section 2.6;
        Sutskever, Vinyals and Le (2014), section 3.2; no repeats: Paulus, Xiong and Socher (2018),
        section 2.5.
    """
    rows = [_Row([_Live((), 0.0)], []) for _ in range(batch_size)]
    active = list(range(batch_size))
    last = torch.full((batch_size,), begin)
    for length in range(options.max_length + 1):
        if not active:
            break
        scores, state = step(last, state)
        log_probabilities = scores.double().log_softmax(-1)
        places, tokens, going_on, first = [], [], [], 0
        for row in active:
            beam = rows[row]
            block = slice(first, first + len(beam.live))
            survivors = _advance(beam, log_probabilities[block], end, length, options)
            if survivors:
                places += [block.start + parent for parent, _ in survivors]
                tokens += [token for _, token in survivors]
                going_on.append(row)
            first = block.stop
        active = going_on
        index = torch.tensor(places, dtype=torch.int64)
        state, last = state.rows(index), torch.tensor(tokens)
    return [_ranked(beam, options) for beam in rows]


@dataclass(frozen=True)
class _Live:
    tokens: tuple[int, ...]
    log_probability: float


@dataclass
class _Row:
    live: list[_Live]
    finished: list[Hypothesis]


def _advance(
    row: _Row, log_probabilities: Tensor, end: int, length: int, options: BeamOptions
) -> list[tuple[int, int]]:
    """Go one token further; return each new live hypothesis as (number of its parent, token).

    None are returned when the row is done; what is live then has been cut.
    """
    beam, vocabulary_size = options.beam, log_probabilities.shape[1]
    if options.no_repeat is not None:
        for number, old in enumerate(row.live):
            log_probabilities[number, _repeats(old.tokens, options.no_repeat)] = -torch.inf
    before = log_probabilities.new_tensor([old.log_probability for old in row.live])
    totals = (log_probabilities + before[:, None]).flatten()
    live: list[_Live] = []
    survivors: list[tuple[int, int]] = []
    best = _best(totals, 2 * beam)  # at most `beam` of them are ends
    for rank, (index, total) in enumerate(zip(best.tolist(), totals[best].tolist(), strict=True)):
        parent, token = divmod(index, vocabulary_size)
        if total == -torch.inf or len(live) == beam:
            break
        tokens = row.live[parent].tokens
        if token != end:
            live.append(_Live((*tokens, token), total))
            survivors.append((parent, token))
        elif rank < beam:
            score = total / length_penalty(len(tokens) + 1, options.length_penalty)
            row.finished.append(Hypothesis(tokens, total, score, complete=True))
    if len(row.finished) >= beam:
        row.live = []
        return []
    if length == options.max_length:
        return []
    row.live = live
    return survivors


def _ranked(row: _Row, options: BeamOptions) -> list[Hypothesis]:
    cut = [
        Hypothesis(
            live.tokens,
            live.log_probability,
            live.log_probability / length_penalty(len(live.tokens), options.length_penalty),
            complete=False,
        )
        for live in row.live
    ]
    by_score = [sorted(part, key=lambda h: -h.score) for part in (row.finished, cut)]
    return [hypothesis for part in by_score for hypothesis in part][: options.n_best]


def _repeats(tokens: tuple[int, ...], n: int) -> list[int]:
    """Return the tokens that would make the last n tokens occur for a second time."""
    if len(tokens) < n:
        return []
    ending = tokens[len(tokens) - n + 1 :]
    return [
        tokens[start + n - 1]
        for start in range(len(tokens) - n + 1)
        if tokens[start : start + n - 1] == ending
    ]


def _best(values: Tensor, count: int) -> Tensor:
    """Return the places of the `count` largest of `values`, (N,), of equals the first first."""
    count = min(count, len(values))
    smallest = values.topk(count).values[-1]
    candidates = (values >= smallest).nonzero().squeeze(1)  # more than `count` where some are equal
    return candidates[values[candidates].argsort(descending=True, stable=True)][:count]
