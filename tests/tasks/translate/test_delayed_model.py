import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data import delay_batch
from unrolled.errors import OptionError, ShapeError
from unrolled.networks import LAYERS, LayerOptions, word_loss
from unrolled.tasks.translate import DelayedModel


def model_of(vocabulary_size: int, num_classes: int, **options: object) -> DelayedModel:
    embedding_size = options.pop("embedding_size", None)
    return DelayedModel(
        LayerOptions(**options),
        vocabulary_size=vocabulary_size,
        num_classes=num_classes,
        embedding_size=embedding_size,
    )


@pytest.mark.parametrize("cell", LAYERS)
def test_every_cell_serves_and_answers_do_not_depend_on_padding(cell: str) -> None:
    model = model_of(6, 3, cell=cell, hidden_size=8).eval()
    tokens = torch.randint(0, 6, (2, 7))
    lengths = torch.tensor([7, 4])
    together = model(tokens, lengths)
    alone = model(tokens[1:, :4], lengths[1:])
    torch.testing.assert_close(together[1:, :4], alone, atol=1e-6, rtol=1e-5)
    tokens[1, 4:] = 5
    torch.testing.assert_close(model(tokens, lengths)[1, :4], together[1, :4])


@settings(max_examples=20)
@given(step=st.integers(0, 5), embedding_size=st.sampled_from([None, 3]))
def test_no_answer_knows_what_is_read_after_it(step: int, embedding_size: int | None) -> None:
    model = model_of(4, 4, hidden_size=5, embedding_size=embedding_size).eval()
    tokens = torch.randint(0, 4, (1, 7))
    changed = tokens.clone()
    changed[0, step + 1 :] = (changed[0, step + 1 :] + 1) % 4
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, : step + 1], after[:, : step + 1])
    assert not torch.equal(before[:, step + 1 :], after[:, step + 1 :])


def test_the_loss_is_that_of_the_steps_with_a_target_alone() -> None:
    tokens = torch.tensor([[1, 2, 1], [2, 1, 0]])
    lengths = torch.tensor([3, 2])
    batch = delay_batch(tokens, tokens, 2, input_lengths=lengths, target_lengths=lengths)
    scores = torch.zeros(2, 5, 4)
    loss, count = word_loss(scores, batch.targets)
    assert count == 5
    assert loss.item() == pytest.approx(5 * math.log(4))
    scores[~batch.mask] = torch.tensor([100.0, 0, 0, -50.0])
    assert word_loss(scores, batch.targets)[0].item() == pytest.approx(5 * math.log(4))


def test_an_echo_is_learned_that_needs_the_delay() -> None:
    """The answer to a token is the one after it: no network of one direction knows it at once."""
    torch.manual_seed(1)
    tokens = torch.randint(1, 5, (64, 12))
    targets = torch.cat([tokens[:, 1:], torch.zeros(64, 1, dtype=torch.int64)], dim=1)
    losses = []
    for delay in (0, 1):
        model = model_of(5, 5, cell="gru", hidden_size=16)
        batch = delay_batch(tokens, targets, delay)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        for _ in range(60):
            loss, count = word_loss(model(batch.inputs, batch.lengths), batch.targets)
            optimizer.zero_grad()
            (loss / count).backward()
            optimizer.step()
        losses.append(loss.item() / count)
    chance = math.log(4) * 11 / 12
    assert losses[0] > 0.7 * chance
    assert losses[1] < 0.1 * chance


def test_bad_options_and_inputs_are_refused() -> None:
    for sizes in ((0, 4), (4, 0)):
        with pytest.raises(OptionError, match=r"DelayedModel: .* must be at least 1, got 0"):
            model_of(*sizes)
    with pytest.raises(OptionError, match="dropout"):
        model_of(4, 4, dropout=1.5)
    with pytest.raises(OptionError, match="did you mean lstm"):
        model_of(4, 4, cell="lsmt")
    model = model_of(4, 4, hidden_size=2)
    with pytest.raises(ShapeError, match=r"tokens must be \(B, T\) torch.int64"):
        model(torch.zeros(2, 3))
