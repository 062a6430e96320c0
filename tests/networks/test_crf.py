"""A linear-chain CRF against the sums and the maximum over all paths, one by one, in float64."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unrolled.data.batching import IGNORE
from unrolled.networks.crf import best_path, log_likelihood, log_marginals

LENGTHS = st.lists(st.integers(1, 4), min_size=1, max_size=3)
SEEDS = st.integers(0, 10**6)


def random_crf(lengths: list[int], num_labels: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Transitions (V + 1, V) and scores (B, T, V) in float64, and labels (B, T)."""
    chance = torch.Generator().manual_seed(seed)
    size = (len(lengths), max(lengths))
    transitions, scores = (
        2 * torch.randn(*shape, generator=chance, dtype=torch.float64)
        for shape in ((num_labels + 1, num_labels), (*size, num_labels))
    )
    return transitions, scores, torch.randint(0, num_labels, size, generator=chance)


def score(path: tuple[int, ...], scores: Tensor, transitions: Tensor) -> float:
    """The score of one path of labels, as its definition says it."""
    befores = (transitions.shape[1], *path)
    steps = zip(befores, path, strict=False)
    return sum((scores[t, y] + transitions[z, y]).item() for t, (z, y) in enumerate(steps))


def log_sum(scores: list[float]) -> float:
    return math.log(math.fsum(map(math.exp, scores)))


@settings(max_examples=40)
@given(LENGTHS, st.integers(1, 4), SEEDS)
def test_a_likelihood_is_that_of_summing_over_all_paths(lengths, num_labels, seed):
    transitions, scores, labels = random_crf(lengths, num_labels, seed)
    labels[torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed)) < 0.2] = IGNORE
    likelihoods = log_likelihood(scores, torch.tensor(lengths), transitions, labels)
    for row, length in enumerate(lengths):
        known = labels[row, :length].tolist()
        every = {
            path: score(path, scores[row], transitions)
            for path in product(range(num_labels), repeat=length)
        }
        right = [
            each
            for path, each in every.items()
            if all(y in (z, IGNORE) for z, y in zip(path, known, strict=True))
        ]
        expected = log_sum(right) - log_sum([*every.values()])
        assert likelihoods[row].item() == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40)
@given(LENGTHS, st.integers(1, 4), SEEDS)
def test_each_label_by_itself_is_as_likely_as_all_paths_through_it(lengths, num_labels, seed):
    transitions, scores, _ = random_crf(lengths, num_labels, seed)
    marginals = log_marginals(scores, torch.tensor(lengths), transitions).exp()
    for row, length in enumerate(lengths):
        expected = torch.zeros(length, num_labels, dtype=torch.float64)
        for path in product(range(num_labels), repeat=length):
            weight = math.exp(score(path, scores[row], transitions))
            expected[torch.arange(length), torch.tensor(path)] += weight
        expected /= expected.sum(1, keepdim=True)
        torch.testing.assert_close(marginals[row, :length], expected, atol=1e-9, rtol=0)


@settings(max_examples=40)
@given(LENGTHS, st.integers(1, 4), SEEDS)
def test_the_best_path_is_that_of_trying_all_that_are_allowed(lengths, num_labels, seed):
    transitions, scores, _ = random_crf(lengths, num_labels, seed)
    chance = torch.Generator().manual_seed(seed)
    allowed = torch.rand(num_labels + 1, num_labels, generator=chance) < 0.7
    allowed[:, 0] = True  # so that there is always a way
    legal_transitions = transitions.masked_fill(~allowed, -torch.inf)
    paths = best_path(scores, torch.tensor(lengths), legal_transitions)
    for row, length in enumerate(lengths):
        legal = [
            path
            for path in product(range(num_labels), repeat=length)
            if all(allowed[z, y] for z, y in zip((num_labels, *path), path, strict=False))
        ]
        best = max(legal, key=lambda path: score(path, scores[row], transitions))
        assert tuple(paths[row, :length].tolist()) == best


@pytest.mark.parametrize("lengths", [[1], [3, 1], [2, 4, 3]])
def test_gradients_are_those_of_finite_differences(lengths):
    transitions, scores, labels = random_crf(lengths, 3, seed=7)
    labels[0, 0] = IGNORE

    def likelihood(scores: Tensor, transitions: Tensor) -> Tensor:
        return log_likelihood(scores, torch.tensor(lengths), transitions, labels)

    inputs = (scores.requires_grad_(), transitions.requires_grad_())
    assert torch.autograd.gradcheck(likelihood, inputs)


def test_what_stands_beyond_a_length_changes_nothing():
    transitions, scores, labels = random_crf([4, 2], 3, seed=3)
    lengths = torch.tensor([4, 2])
    other = scores.clone()
    other[1, 2:] = 1e3
    shuffled = labels.clone()
    shuffled[1, 2:] = (labels[1, 2:] + 1) % 3
    likelihoods = [
        log_likelihood(*each, transitions, labels)
        for each, labels in (((scores, lengths), labels), ((other, lengths), shuffled))
    ]
    assert torch.equal(*likelihoods)
    for each in (log_marginals, best_path):
        answers = [each(some, lengths, transitions)[1, :2] for some in (scores, other)]
        assert torch.equal(*answers)


def test_scores_far_apart_lose_no_likelihood_in_float32():
    scores = torch.tensor([[[300.0, 0.0, -300.0]] * 50])
    labels = torch.tensor([[0] * 25 + [2] + [0] * 24])
    likelihood = log_likelihood(scores, torch.tensor([50]), torch.zeros(4, 3), labels)
    assert likelihood.item() == pytest.approx(-600, rel=1e-5)


def test_without_transitions_it_is_the_likeliest_of_each_step():
    scores = torch.randn(3, 5, 4)
    paths = best_path(scores, torch.tensor([5, 2, 1]), torch.zeros(5, 4))
    best = scores.argmax(2)
    for row, length in enumerate([5, 2, 1]):
        assert torch.equal(paths[row, :length], best[row, :length])
