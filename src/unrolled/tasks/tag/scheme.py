"""Which tag may follow which, in a scheme that marks entities.

In IOB2, I-X goes on with an entity of type X: it never stands first or after anything else. The
likeliest tags of a sentence are sought among those that keep to it, with `networks/crf.py`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["iob2_transitions", "may_follow"]


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
