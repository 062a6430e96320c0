"""Whether a call is to have a gradient, and whether a kernel can keep what that takes."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

__all__ = ["cannot_keep", "wants_gradient"]


def wants_gradient(read: Sequence[Any]) -> bool:
    """Whether autograd is to go back through a call.

    Args:
        read: What it reads: tensors, tuples or lists of them, and anything else, such as None.
    """
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in _tensors(read))


def cannot_keep(read: Sequence[Any]) -> bool:
    """Whether a call wants a gradient, and reads tensors made in inference mode.

    Autograd refuses to keep those. A kernel keeps all that it reads; torch's code does not.
    """
    return torch.is_grad_enabled() and _has_inference(read) and wants_gradient(read)


def _has_inference(read: Sequence[Any]) -> bool:
    for each in read:  # no generator: this is asked at every call of a training
        if isinstance(each, Tensor):
            if each.is_inference():
                return True
        elif each is not None and isinstance(each, tuple | list) and _has_inference(each):
            return True
    return False


def _tensors(read: Sequence[Any]) -> Iterator[Tensor]:
    leaves = chain.from_iterable(t if isinstance(t, tuple | list) else (t,) for t in read)
    return (leaf for leaf in leaves if isinstance(leaf, Tensor))
