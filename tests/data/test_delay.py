import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.batching import IGNORE
from unrolled.data.delay import append_blanks, delay_batch, delay_targets
from unrolled.errors import OptionError, ShapeError


def test_every_target_stands_delay_steps_after_its_place_and_blanks_fill_the_end() -> None:
    inputs, targets = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[6, 7, 8], [9, 6, 0]])
    lengths = torch.tensor([3, 2])
    batch = delay_batch(inputs, targets, 2, blank=99, input_lengths=lengths, target_lengths=lengths)
    assert batch.inputs.tolist() == [[1, 2, 3, 99, 99], [4, 5, 99, 99, 99]]
    none = IGNORE
    assert batch.targets.tolist() == [[none, none, 6, 7, 8], [none, none, 9, 6, none]]
    assert batch.lengths.tolist() == [5, 4]
    assert batch.mask.tolist() == (batch.targets != IGNORE).tolist()


def test_targets_longer_than_the_input_are_answered_over_further_blanks() -> None:
    batch = delay_batch(torch.tensor([[1]]), torch.tensor([[5, 6, 7]]), 1, blank=0)
    assert batch.inputs.tolist() == [[1, 0, 0, 0]]
    assert batch.targets.tolist() == [[IGNORE, 5, 6, 7]]


def test_targets_shorter_than_the_input_leave_the_rest_without_a_target() -> None:
    batch = delay_batch(torch.tensor([[1, 2, 3]]), torch.tensor([[5]]), 1, blank=0)
    assert batch.inputs.tolist() == [[1, 2, 3, 0]]
    assert batch.targets.tolist() == [[IGNORE, 5, IGNORE, IGNORE]]


def test_features_and_real_targets_are_delayed_like_tokens() -> None:
    inputs, targets = torch.rand(2, 3, 4), torch.rand(2, 3, 5)
    batch = delay_batch(inputs, targets, 1, blank=-1.0)
    assert torch.equal(batch.inputs[:, :3], inputs)
    assert bool((batch.inputs[:, 3] == -1).all())
    assert torch.equal(batch.targets[:, 1:], targets)
    assert batch.targets[:, 0].abs().sum() == 0
    assert batch.mask.tolist() == [[False, True, True, True]] * 2


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6)),
        min_size=1,
        max_size=5,
    ),
    delay=st.integers(0, 5),
)
def test_reading_the_mask_gives_back_every_target_in_order(
    rows: list[tuple[int, int]], delay: int
) -> None:
    sizes, answers = (torch.tensor(column) for column in zip(*rows, strict=True))
    inputs = torch.arange(1, 1 + len(rows) * 6).view(-1, 6)
    targets = inputs * 100
    batch = delay_batch(
        inputs, targets, delay, blank=0, input_lengths=sizes, target_lengths=answers
    )
    for row, (size, num_answers) in enumerate(rows):
        assert torch.equal(batch.targets[row][batch.mask[row]], targets[row, :num_answers])
        assert torch.equal(batch.inputs[row, :size], inputs[row, :size])
        assert not batch.inputs[row, size:].any()
        assert batch.lengths[row] == max(size, num_answers) + delay
    assert batch.inputs.shape[1] == int(batch.lengths.max())


def test_without_delay_nothing_changes() -> None:
    inputs = torch.tensor([[1, 2], [3, 4]])
    batch = delay_batch(inputs, inputs, 0)
    assert torch.equal(batch.inputs, inputs)
    assert torch.equal(batch.targets, inputs)


def test_a_blank_may_be_a_vector_that_is_learned() -> None:
    blank = torch.tensor([1.0, 2.0], requires_grad=True)
    padded = append_blanks(torch.zeros(1, 1, 2), torch.tensor([1]), 3, blank)
    padded.sum().backward()
    assert blank.grad is not None
    assert blank.grad.tolist() == [2.0, 2.0]


def test_the_inputs_of_the_caller_stay_as_they_are() -> None:
    inputs = torch.tensor([[1, 2]])
    append_blanks(inputs, torch.tensor([1]), 2, blank=9)
    assert inputs.tolist() == [[1, 2]]


def test_impossible_delays_and_rows_are_refused() -> None:
    inputs = torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(OptionError, match="delay must be at least 0"):
        delay_batch(inputs, inputs, -1)
    with pytest.raises(ShapeError, match="targets must have 2 rows, got 1"):
        delay_batch(inputs, inputs[:1], 1)
    with pytest.raises(ShapeError, match=r"lengths of inputs must be \(2,\)"):
        delay_batch(inputs, inputs, 1, input_lengths=torch.tensor([3]))
    with pytest.raises(ShapeError, match=r"lengths of targets must lie in 0\.\.3, got 1\.\.4"):
        delay_batch(inputs, inputs, 1, target_lengths=torch.tensor([1, 4]))
    with pytest.raises(ShapeError, match="num_steps must be at least 4, got 3"):
        delay_targets(inputs, torch.tensor([3, 2]), delay=1, num_steps=3)
