"""The named tuples in which the states of a cell travel: `state.h`, `state.c`, or `h, c = state`.

Not for a single state, which is the tensor itself.
"""

from collections import namedtuple
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import _register_namedtuple

__all__ = ["named_state", "state_type"]


@lru_cache
def state_type(names: tuple[str, ...]) -> Any:
    """Return the type of named tuples with these names; equal names give the same type."""
    make_named_tuple: Any = namedtuple  # whose fields are known only now
    rebuild = {"__reduce__": lambda self: (named_state, (names, tuple(self)))}
    state_class = type("State", (make_named_tuple("State", names),), {"__slots__": (), **rebuild})
    # so that torch.export.save can write a program that returns one
    _register_namedtuple(state_class, serialized_type_name=f"unrolled.State[{', '.join(names)}]")
    return state_class


def named_state(names: tuple[str, ...], tensors: Sequence[Tensor]) -> Any:
    """Return `tensors` as a named tuple. Pickles and files hold this function's name."""
    return state_type(names)._make(tensors)


# torch.load calls no function that is not on this list, unless told to trust the file. This one
# does nothing but make a tuple, so that a state can be read once this module is imported.
torch.serialization.add_safe_globals([named_state])
