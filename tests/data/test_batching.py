import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.batching import batches_by_length, pad, shuffled_batches

lengths = st.lists(st.integers(0, 30), min_size=1, max_size=300)


@given(lengths, st.integers(1, 9), st.text(max_size=3))
def test_every_example_is_in_one_batch(lengths, batch_size, seed):
    for batches in (
        shuffled_batches(lengths, batch_size, seed),
        batches_by_length(lengths, batch_size),
    ):
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        assert len(batches) == -(-len(lengths) // batch_size)
        assert max(map(len, batches)) <= batch_size


def test_batches_are_of_about_the_same_length_and_in_a_random_order():
    lengths = [(7 * index) % 101 for index in range(320)]
    batches = shuffled_batches(lengths, 10, "seed")
    spreads = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert max(spreads) <= 10  # of 101, where 320 are sorted together
    assert batches != shuffled_batches(lengths, 10, "another")
    assert [lengths[batch[0]] for batch in batches] != sorted(lengths[b[0]] for b in batches)


def test_pad_keeps_every_step_and_fills_the_rest():
    first, second = torch.randn(3, 2), torch.randn(1, 2)
    padded, lengths = pad([first, second], value=-1.0)
    assert lengths.tolist() == [3, 1]
    assert torch.equal(padded[0], first)
    assert torch.equal(padded[1, :1], second)
    assert (padded[1, 1:] == -1).all()
