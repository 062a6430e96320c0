"""What the default run takes a part of, and `make explore` the whole of."""

from collections.abc import Sequence
from typing import TypeVar

import hypothesis

__all__ = ["EXPLORING", "share"]

T = TypeVar("T")
EXPLORING = hypothesis.settings.get_current_profile_name() == "explore"


def share(values: Sequence[T], number: int, of: int) -> Sequence[T]:
    """Return every `of`-th of `values`, from `number` on; all of them in `make explore`.

    Those who take a share each, of numbers 0 to `of - 1`, have all of them together.
    """
    return values if EXPLORING else values[number % of :: of]
