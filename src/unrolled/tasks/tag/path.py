"""The likeliest tags of a sentence among those that a tagging scheme allows.

In IOB2, I-X goes on with an entity of type X: it never stands first or after anything else. A
tagger that scores each word by itself does not know that; here it is held to it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["best_path", "iob2_transitions", "may_follow"]


def may_follow(before: str, tag: str) -> bool:
    """Return whether `tag` may follow the tag `before` in IOB2; at the begin `before` is O."""
    return not tag.startswith("I") or before in (tag, "B" + tag[1:])


def iob2_transitions(tags: Sequence[str]) -> Tensor:
    """Return which tag may follow which in IOB2, (V + 1, V) bool; row V is the sentence's begin.

    Example:
        >>> iob2_transitions(["B-X", "I-X", "O"])
        tensor([[ True,  True,  True],
                [ True,  True,  True],
                [ True, False,  True],
                [ True, False,  True]])
    """
    return torch.tensor([[may_follow(before, tag) for tag in tags] for before in (*tags, "O")])


def best_path(scores: Tensor, lengths: Tensor, transitions: Tensor) -> Tensor:
    """Return the sequence of tags with the greatest sum of scores that `transitions` allows.

    Args:
        scores: (B, T, V), log probabilities or what a softmax makes them from.
        lengths: (B,), words in each sentence, at least 1.
        transitions: (V + 1, V) bool: whether a tag may follow another; row V is the begin.

    Returns:
        (B, T) int64; what stands beyond a length means nothing.

    Source:
        Viterbi (1967).

    Example:
        >>> scores = torch.tensor([[[0.0, 2.0, 1.9], [0.0, 9.0, 1.0]]])
        >>> best_path(scores, torch.tensor([2]), iob2_transitions(["B-X", "I-X", "O"]))
        tensor([[0, 1]])
    """
    batch_size, num_steps, num_tags = scores.shape
    forbidden = torch.zeros(transitions.shape).masked_fill(~transitions, -torch.inf)
    scores = scores.log_softmax(dim=2)
    best = scores[:, 0] + forbidden[num_tags]  # (B, V)
    came_from = torch.zeros(batch_size, num_steps, num_tags, dtype=torch.int64)
    for step in range(1, num_steps):
        before, came_from[:, step] = (best[:, :, None] + forbidden[:num_tags]).max(dim=1)
        going_on = (step < lengths)[:, None]
        best = torch.where(going_on, before + scores[:, step], best)
    path = torch.zeros(batch_size, num_steps, dtype=torch.int64)
    tag = best.argmax(dim=1)
    for step in range(num_steps - 1, -1, -1):
        path[:, step] = tag
        earlier = came_from[:, step].gather(1, tag[:, None])[:, 0]
        tag = torch.where(step < lengths, earlier, tag)
    return path
