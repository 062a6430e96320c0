from itertools import product

import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.tasks.tag.path import best_path, iob2_transitions, may_follow

TAGS = ["B-X", "B-Y", "I-X", "I-Y", "O"]


def test_an_inside_tag_follows_only_an_entity_of_its_type() -> None:
    assert [before for before in TAGS if may_follow(before, "I-X")] == ["B-X", "I-X"]
    assert all(may_follow(before, tag) for before in TAGS for tag in ("B-X", "B-Y", "O"))
    assert iob2_transitions(TAGS)[-1].tolist() == [True, True, False, False, True]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 10**6))
def test_the_best_path_is_that_of_trying_all(lengths: list[int], seed: int) -> None:
    scores = 2 * torch.randn(
        len(lengths), max(lengths), len(TAGS), generator=torch.Generator().manual_seed(seed)
    )
    paths = best_path(scores, torch.tensor(lengths), iob2_transitions(TAGS))
    likely = scores.log_softmax(2)
    for row, length in enumerate(lengths):
        allowed = [
            path
            for path in product(range(len(TAGS)), repeat=length)
            if all(
                may_follow(*pair)
                for pair in zip(["O", *(TAGS[i] for i in path)], (TAGS[i] for i in path))  # noqa: B905
            )
        ]
        best = max(allowed, key=lambda path: sum(likely[row, t, i] for t, i in enumerate(path)))
        assert tuple(paths[row, :length].tolist()) == best


def test_without_a_constraint_it_is_the_likeliest_of_each_word() -> None:
    scores = torch.randn(3, 5, 4)
    paths = best_path(scores, torch.tensor([5, 2, 1]), torch.ones(5, 4, dtype=torch.bool))
    best = scores.argmax(2)
    for row, length in enumerate([5, 2, 1]):
        assert torch.equal(paths[row, :length], best[row, :length])
