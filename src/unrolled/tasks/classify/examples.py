"""An example of a classifier, in whichever format it came."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unrolled.data.media import Kind
from unrolled.errors import DataError

__all__ = ["Labelled", "Steps"]

Steps = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False, slots=True)
class Labelled:
    """An example. Two of equal content are two examples.

    Args:
        where: Its file and line.
        content: A text; T steps of I numbers each; a picture, (3, S, S) uint8; or log-mel frames of
            a recording, (T, K) float32.
        label: Its class, None if it is not known.
        id: What it is called, for what is no text.
        names: Of the I numbers.
        cut: Whether there was more than `max_length` of it.
        error: Why a picture or a recording cannot be read: then its content is empty.
    """

    where: str
    content: str | Steps | Tensor
    label: str | None
    id: str | None = None
    names: tuple[str, ...] = ()
    cut: bool = False
    error: DataError | None = None
    _read: tuple[object, Any] | None = field(default=None, init=False, repr=False)

    def as_read_by(self, reader: object, read: Callable[[Any], Any]) -> Any:
        """Return `read(content)`: at the first time, and when another reader has come between."""
        known = self._read
        if known is None or known[0] is not reader:
            known = (reader, read(self.content))
            object.__setattr__(self, "_read", known)
        return known[1]

    @property
    def kind(self) -> Kind | None:
        """What it is, if it is a picture or a recording."""
        if not isinstance(self.content, Tensor):
            return None
        return "picture" if self.content.dtype == torch.uint8 else "recording"

    def shown(self) -> dict[str, Any]:
        """Return what a prediction says of what was read: its text or its name."""
        if isinstance(self.content, Tensor) or self.error is not None:
            name: dict[str, Any] = {"media": self.id}
        elif isinstance(self.content, str):
            name = {"text": self.content}
        else:
            name = {"id": self.id}
        return name | {"read": len(self.content)} if self.cut else name
