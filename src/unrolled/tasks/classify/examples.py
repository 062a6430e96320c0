"""An example of a classifier, in whichever format it came."""

from array import array
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.data.media import Kind
from unrolled.data.packed_examples import PackedExamples, ReadOnce, Texts
from unrolled.errors import DataError

__all__ = ["Labelled", "LabelledTexts", "Steps"]

Steps = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False, slots=True)
class Labelled(ReadOnce):
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


class LabelledTexts(PackedExamples[Labelled]):
    """Texts of one file, each with its class.

    Args:
        before: What stands before the number in each `where`: "reviews.csv, line ".
    """

    def __init__(self, before: str) -> None:
        super().__init__()
        self._before = before
        self._numbers = array("q")
        self._texts = Texts()
        self._labels: dict[str | None, int] = {}
        self._names: list[str | None] = []
        self._label_of = array("i")
        self._are_cut = bytearray()

    def append(self, example: Labelled) -> None:
        """Add a text that stands at a number of the file."""
        assert isinstance(example.content, str)
        self._numbers.append(int(example.where.removeprefix(self._before)))
        self._texts.append(example.content)
        number = self._labels.setdefault(example.label, len(self._names))
        if number == len(self._names):
            self._names.append(example.label)
        self._label_of.append(number)
        self._are_cut.append(example.cut)

    def example(self, number: int) -> Labelled:
        """Return a text that was added."""
        return Labelled(
            where=f"{self._before}{self._numbers[number]}",
            content=self._texts[number],
            label=self._names[self._label_of[number]],
            cut=bool(self._are_cut[number]),
        )

    def __len__(self) -> int:
        return len(self._numbers)
