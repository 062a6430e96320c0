import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unrolled.data import pad
from unrolled.errors import OptionError, ShapeError
from unrolled.networks import LAYERS
from unrolled.tasks.tag import ModelOptions, Tagger
from unrolled.tasks.tag.model import Sentences

SIZES = {"vocabulary_size": 9, "alphabet_size": 6, "num_affixes": 6, "num_classes": 4}
SMALL = ModelOptions(
    hidden_size=5, embedding_size=3, letter_size=2, affix_size=2, dropout=0.0, word_dropout=0.0
)


def batch_of(*sentences: list[tuple[int, list[int]]]) -> Sentences:
    """A batch of words, each a number and its letters, the first and last of which are affixes."""
    words, lengths = pad([torch.tensor([word for word, _ in s]) for s in sentences])
    spelled = [torch.tensor(letters) for s in sentences for _, letters in s]
    letters, letter_lengths = pad(spelled)
    places = iter(range(len(spelled)))
    spellings, _ = pad([torch.tensor([next(places) for _ in s]) for s in sentences])
    affixes = torch.stack([word[[0, -1]] for word in spelled])
    return Sentences(words, lengths, spellings, letters, letter_lengths, affixes)


def model_of(**options: object) -> Tagger:
    return Tagger(replace(SMALL, **options), **SIZES, crf=False).eval()


def scores_of(model: Tagger, batch: Sentences) -> Tensor:
    scores, _ = model(batch)
    return scores


words = st.tuples(st.integers(0, 8), st.lists(st.integers(0, 5), min_size=1, max_size=4))
sentences = st.lists(words, min_size=1, max_size=5)


@settings(max_examples=25)
@given(st.lists(sentences, min_size=1, max_size=3), st.sampled_from([None, 0, 2]))
def test_scores_do_not_depend_on_what_else_is_in_the_batch(
    batch: list[list[tuple[int, list[int]]]], delay: int | None
) -> None:
    model = model_of(delay=delay)
    together = scores_of(model, batch_of(*batch))
    for row, sentence in enumerate(batch):
        alone = scores_of(model, batch_of(sentence))[0]
        torch.testing.assert_close(together[row, : len(sentence)], alone, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("delay", [None, 0, 1])
def test_every_cell_serves(cell: str, delay: int | None) -> None:
    model = model_of(cell=cell, delay=delay)
    batch = batch_of([(1, [1]), (2, [2, 3])], [(3, [4])])
    scores = scores_of(model, batch)
    assert scores.shape == (2, 2, 4)
    scores[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


class Sums(TorchDispatchMode):
    """What adds numbers up at places that may be the same, in the order in which threads come."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        is_sum = "index_put" in call.name() and len(args) > 3 and args[3]
        if is_sum and any(index is not None and index.dtype == torch.int64 for index in args[1]):
            self.names.append(call.name())
        return call(*args, **(kwargs or {}))


def test_gradients_of_a_word_that_comes_twice_are_added_up_in_one_order() -> None:
    places = torch.zeros(2, dtype=torch.int64)
    with Sums() as sums:
        torch.ones(1, requires_grad=True)[places].sum().backward()
    assert sums.names  # as an index does
    with Sums() as sums:
        scores_of(model_of(), batch_of([(1, [1]), (1, [1])])).sum().backward()
    assert not sums.names


@pytest.mark.parametrize(("delay", "sees"), [(None, 4), (0, 0), (1, 1), (3, 3)])
def test_a_word_is_tagged_with_as_many_words_ahead_as_the_delay_says(
    delay: int | None, sees: int
) -> None:
    model = model_of(delay=delay)
    sentence = [(1, [1, 2])] * 5
    before = scores_of(model, batch_of(sentence))[0, 0]
    for index in range(1, 5):
        changed = [*sentence]
        changed[index] = (2, [3])
        same = torch.equal(scores_of(model, batch_of(changed))[0, 0], before)
        assert same == (index > sees)


def test_letters_tell_words_apart_that_are_equally_unknown() -> None:
    one, other = batch_of([(0, [1, 2])]), batch_of([(0, [1, 3])])
    with_letters = model_of(affix_size=0)
    assert not torch.equal(scores_of(with_letters, one), scores_of(with_letters, other))
    without = model_of(letter_size=0, affix_size=0)
    assert torch.equal(scores_of(without, one), scores_of(without, other))


def test_affixes_tell_words_apart_without_letters() -> None:
    one, other = batch_of([(0, [1, 2])]), batch_of([(0, [1, 3])])
    model = model_of(letter_size=0)
    assert not torch.equal(scores_of(model, one), scores_of(model, other))


def test_in_training_words_are_forgotten_at_the_rate_that_is_asked_for() -> None:
    model = model_of(word_dropout=0.25, letter_size=0)
    seen: list[Tensor] = []
    model.embedding.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    batch = batch_of([(5, [1])] * 4000)
    model(batch)
    assert bool((seen[-1] == 5).all())
    model.train()(batch)
    rate = float((seen[-1] == 0).float().mean())
    assert abs(rate - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 4000)


def test_a_delay_beyond_the_sentence_reads_blanks() -> None:
    assert scores_of(model_of(delay=7), batch_of([(1, [1])])).shape == (1, 1, 4)


def test_bad_options_and_inputs_are_refused() -> None:
    for name, value in {
        "hidden_size": 0,
        "embedding_size": 0,
        "letter_size": -1,
        "affix_size": -1,
        "delay": -1,
        "dropout": 1.5,
        "word_dropout": -0.1,
        "cell": "lsmt",
        "kernel_size": 3,
    }.items():
        with pytest.raises(OptionError, match=name):
            replace(SMALL, **{name: value})
    for name in SIZES:
        with pytest.raises(OptionError, match=f"{name} must be at least 1, got 0"):
            Tagger(SMALL, **SIZES | {name: 0}, crf=False)
    batch = batch_of([(1, [1])])
    with pytest.raises(ShapeError, match=r"words must be \(B, T\) torch.int64"):
        model_of()(batch._replace(words=batch.words.float()))
