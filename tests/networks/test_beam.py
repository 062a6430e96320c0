"""Greedy and beam search against all sequences of tiny vocabularies."""

import itertools
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import OptionError
from unrolled.networks import (
    BeamOptions,
    SearchOptions,
    beam_options,
    beam_search,
    greedy_search,
)
from unrolled.networks.beam import length_penalty

BEGIN = END = 0


@dataclass(frozen=True)
class Written:
    """A state that remembers all that was read, and the row it belongs to."""

    tokens: torch.Tensor

    def rows(self, index):
        return Written(self.tokens[index])


class Random:
    """A model whose scores depend on the row and on every token that it read."""

    def __init__(self, vocabulary_size, seed, num_values=1000):
        self.vocabulary_size, self.seed, self.num_values = vocabulary_size, seed, num_values

    def scores(self, tokens):
        random = torch.Generator().manual_seed(hash((self.seed, *tokens)))
        shape = (self.vocabulary_size,)
        return torch.randint(self.num_values, shape, generator=random) / self.num_values * 4

    def step(self, tokens, state):
        state = Written(torch.cat([state.tokens, tokens[:, None]], 1))
        return torch.stack([self.scores(row) for row in state.tokens.tolist()]), state

    def log_probability(self, row, tokens, ended):
        """By the definition: the product over all steps."""
        read, total = [row, BEGIN], 0.0
        for token in (*tokens, *([END] if ended else [])):
            total += self.scores(read).double().log_softmax(-1)[token].item()
            read.append(token)
        return total


def start(num_rows):
    return Written(torch.arange(num_rows)[:, None])


models = st.builds(Random, st.integers(2, 4), st.integers(0, 2**31), st.sampled_from([2, 1000]))


def all_sequences(vocabulary_size, max_length):
    words = range(1, vocabulary_size)
    for length in range(max_length + 1):
        yield from itertools.product(words, repeat=length)


@given(models, st.integers(1, 3), st.sampled_from([0.0, 0.6, 1.0]), st.integers(1, 3))
def test_a_beam_as_wide_as_all_sequences_finds_the_best(model, num_rows, alpha, max_length):
    options = BeamOptions(beam=200, n_best=5, length_penalty=alpha, max_length=max_length)
    found = beam_search(model.step, start(num_rows), num_rows, BEGIN, END, options)
    for row, hypotheses in enumerate(found):
        expected = sorted(
            (
                model.log_probability(row, tokens, ended=True)
                / ((5 + len(tokens) + 1) / 6) ** alpha
                for tokens in all_sequences(model.vocabulary_size, max_length)
            ),
            reverse=True,
        )
        complete = [h.score for h in hypotheses if h.complete]
        assert complete == pytest.approx(expected[: len(complete)], abs=1e-9)
        assert len(complete) == min(5, len(expected))


@given(models, st.integers(1, 3), st.integers(1, 5), st.sampled_from([0.0, 1.0]))
def test_a_beam_of_one_is_greedy(model, num_rows, max_length, alpha):
    options = BeamOptions(max_length=max_length, length_penalty=alpha)
    found = beam_search(model.step, start(num_rows), num_rows, BEGIN, END, options)
    greedy = greedy_search(model.step, start(num_rows), num_rows, BEGIN, END, max_length)
    for (one,), other in zip(found, greedy, strict=True):
        assert (one.tokens, one.complete) == (other.tokens, other.complete)
        assert one.log_probability == pytest.approx(other.log_probability)


@given(models, st.integers(1, 3), st.integers(1, 4), st.integers(1, 5))
def test_hypotheses_are_what_they_say(model, num_rows, beam, max_length):
    options = BeamOptions(beam=beam, n_best=beam, length_penalty=0.7, max_length=max_length)
    for row, hypotheses in enumerate(
        beam_search(model.step, start(num_rows), num_rows, BEGIN, END, options)
    ):
        assert hypotheses
        assert len({(h.tokens, h.complete) for h in hypotheses}) == len(hypotheses) <= beam
        for h in hypotheses:
            expected = model.log_probability(row, h.tokens, h.complete)
            assert h.log_probability == pytest.approx(expected)
            penalty = length_penalty(len(h.tokens) + h.complete, 0.7)
            assert h.score == pytest.approx(expected / penalty)
            assert len(h.tokens) == max_length or h.complete
            assert END not in h.tokens
        ranks = [(not h.complete, -h.score) for h in hypotheses]
        assert ranks == sorted(ranks)


@given(models, st.integers(2, 4), st.integers(1, 3))
def test_a_row_alone_gives_what_it_gives_in_a_batch(model, num_rows, beam):
    options = BeamOptions(beam=beam, n_best=beam, max_length=4)
    together = beam_search(model.step, start(num_rows), num_rows, BEGIN, END, options)
    for row in range(num_rows):
        alone = Written(torch.tensor([[row]]))
        assert beam_search(model.step, alone, 1, BEGIN, END, options) == [together[row]]


@given(models, st.integers(1, 3), st.integers(1, 4))
def test_no_n_tokens_in_a_row_occur_twice(model, n, beam):
    options = BeamOptions(beam=beam, n_best=beam, no_repeat=n, max_length=9)
    for h in beam_search(model.step, start(1), 1, BEGIN, END, options)[0]:
        grams = [h.tokens[i : i + n] for i in range(len(h.tokens) - n + 1)]
        assert len(set(grams)) == len(grams)


def test_without_no_repeat_a_model_may_repeat_itself():
    class Stammering(Random):
        def scores(self, tokens):  # noqa: ARG002
            return torch.tensor([0.0, 1.0, 2.0])

    options = BeamOptions(max_length=4)
    ((h,),) = beam_search(Stammering(3, 0).step, start(1), 1, BEGIN, END, options)
    assert (h.tokens, h.complete) == ((2, 2, 2, 2), False)
    options = BeamOptions(max_length=4, no_repeat=2)
    ((h,),) = beam_search(Stammering(3, 0).step, start(1), 1, BEGIN, END, options)
    assert h.tokens == (2, 2, 1, 2)


def test_the_length_penalty_is_that_of_wu():
    assert length_penalty(1, 0.6) == 1.0
    assert length_penalty(13, 0.5) == pytest.approx(3**0.5)


def test_no_row_gives_no_hypothesis():
    assert beam_search(Random(3, 0).step, start(0), 0, BEGIN, END, BeamOptions()) == []
    assert greedy_search(Random(3, 0).step, start(0), 0, BEGIN, END) == []


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"beam": 0}, "beam must be at least 1, got 0"),
        ({"n_best": 2}, "n_best is 2, but a beam of 1"),
        ({"length_penalty": -1.0}, r"length_penalty must be in \[0, 10\]"),
        ({"length_penalty": float("nan")}, r"length_penalty must be in \[0, 10\]"),
        ({"no_repeat": 0}, "no_repeat must be at least 1"),
        ({"max_length": 0}, "max_length must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(wrong, complaint):
    with pytest.raises(OptionError, match=complaint):
        BeamOptions(**wrong)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, {"beam": 4, "n_best": 1, "length_penalty": 0.6, "no_repeat": None}),
        ({"n_best": 3}, {"beam": 4, "n_best": 3}),
        ({"n_best": 9}, {"beam": 9, "n_best": 9}),  # as wide as it takes
        ({"beam": 2, "n_best": 2}, {"beam": 2, "n_best": 2}),
        ({"length_penalty": 0.0}, {"length_penalty": 0.0}),
        ({"no_repeat": 2}, {"no_repeat": 2}),
    ],
)
def test_a_search_is_what_was_asked_for_and_else_what_suits_the_model(chosen, expected):
    options = beam_options(SearchOptions(**chosen), beam=4, length_penalty=0.6, max_length=7)
    assert options.max_length == 7
    assert {name: getattr(options, name) for name in expected} == expected


def test_more_outputs_than_the_beam_that_was_asked_for_are_refused():
    with pytest.raises(OptionError, match="n_best is 3, but a beam of 2 finds no more"):
        beam_options(SearchOptions(beam=2, n_best=3), beam=4, length_penalty=0.6, max_length=7)
