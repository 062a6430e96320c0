"""What is known of a whole series: numbers, standardised, and words, each a learned vector.

    shop  size  region
    A     120   north        size: (120 - mean) / deviation over the series that are learned from
    B     90    south        region: a vector of "north", one of "south"

A number that is missing is read as the mean; a word that is missing, or that training did not have,
as a vector of zeros. A column in which anything is no number has words.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from unrolled.data.content import number_of, strings_of
from unrolled.data.numbers import is_number, parse_number
from unrolled.errors import DataError, field
from unrolled.tasks.forecast.reader import Series
from unrolled.tasks.forecast.scales import column_scale

__all__ = ["StaticColumn", "StaticReader", "Statics"]

_MOST_FEATURES = 8  # of the vector of a word


@dataclass(frozen=True)
class StaticColumn:
    """A column with one value for each series.

    Args:
        name: Its name.
        center: What is taken off its numbers.
        width: What they are divided by.
        words: All that it has, where they are words and not numbers.
    """

    name: str
    center: float = 0.0
    width: float = 1.0
    words: tuple[str, ...] | None = None

    def number(self, where: str, text: str) -> float:
        """Return the number that a text is, NaN of a missing one.

        Raises:
            DataError: It is none.
        """
        try:
            return parse_number(text)
        except ValueError:
            message = f"{where}: {self.name!r} is not a finite number: {text!r}"
            raise DataError(message, "it was a number in all that was learned from") from None


class Statics:
    """The static columns of a table.

    Args:
        columns: In the order in which they were named.
    """

    def __init__(self, columns: Sequence[StaticColumn] = ()) -> None:
        self.columns = tuple(columns)
        self._indices = {
            column.name: {word: index for index, word in enumerate(column.words, 1)}
            for column in columns
            if column.words is not None
        }

    @classmethod
    def fit(
        cls,
        names: Sequence[str],
        series: Iterable[Series],
        id_column: str | None,
        notes: list[str],
    ) -> Self:
        """Return the columns as the series that are learned from have them.

        Args:
            names: Of the columns.
            series: That are learned from.
            id_column: The one that names series: its values are words, whatever they look like.
            notes: To which a sentence is added for a column with numbers among its words.

        Raises:
            DataError: None of the series has a value.
        """
        columns = []
        every = [*series]
        for index, name in enumerate(names):
            texts: dict[str, Series] = {}
            for one in every:
                if one.static[index]:
                    texts.setdefault(one.static[index], one)
            if not texts:
                message = f"{every[0].where}: no series has a value of {name!r}"
                raise DataError(message, f"leave it out of {field('static')}")
            others = [text for text in texts if not is_number(text)]
            if name == id_column or others:
                columns.append(StaticColumn(name, words=tuple(sorted(texts))))
                if name != id_column and len(others) < len(texts):
                    where = texts[others[0]].where
                    message = f"{name!r} is read as words: {others[0]!r} is not a finite number"
                    notes.append(f"{message} ({where})")
                continue
            numbers = [[parse_number(one.static[index])] for one in every if one.static[index]]
            center, width = column_scale(torch.tensor(numbers, dtype=torch.float64))
            columns.append(StaticColumn(name, float(center), float(width)))
        return cls(columns)

    @property
    def sizes(self) -> tuple[int, tuple[int, ...]]:
        """How many columns are numbers, and how many words each of the others has."""
        words = tuple(len(each.words) for each in self.columns if each.words is not None)
        return len(self.columns) - len(words), words

    @property
    def scale(self) -> tuple[Tensor, Tensor]:
        """What is taken off numbers and what they are divided by, (N,) each."""
        numbers = [each for each in self.columns if each.words is None]
        center = torch.tensor([each.center for each in numbers], dtype=torch.float64)
        return center, torch.tensor([each.width for each in numbers], dtype=torch.float64)

    def read(self, where: str, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the numbers of a series as they are, (N,), and which words it has, (W,).

        Args:
            where: With which a message begins.
            texts: Of each column its value; empty where it is missing.

        Raises:
            DataError: A number was expected.
        """
        numbers, words = [], []
        for column, text in zip(self.columns, texts, strict=True):
            if column.words is None:
                numbers.append(column.number(where, text))
            else:
                words.append(self._indices[column.name].get(text, 0))
        return torch.tensor(numbers, dtype=torch.float64), torch.tensor(words, dtype=torch.long)

    def note(self, series: Iterable[Series]) -> str | None:
        """Return in a sentence how many words of series training did not have; None for none.

        Raises:
            DataError: A number was expected, in any of them.
        """
        series = [*series]
        for one in series:
            self.read(one.where, one.static)
        unknown = {
            (column.name, text): None
            for one in series
            for column, text in zip(self.columns, one.static, strict=True)
            if text and column.words is not None and text not in self._indices[column.name]
        }
        if not unknown:
            return None
        (name, text), num = next(iter(unknown)), len(unknown)
        words = "1 word is" if num == 1 else f"{num:,} words are"
        return f"{words} new, and read as missing; the first: {text!r} in {name!r}"

    def to_list(self) -> list[dict[str, Any]]:
        """Return them in types that JSON has."""
        return [
            {"name": each.name, "center": each.center, "width": each.width}
            if each.words is None
            else {"name": each.name, "words": list(each.words)}
            for each in self.columns
        ]

    @classmethod
    def from_list(cls, names: Sequence[str], content: Sequence[Mapping[str, Any]]) -> Self:
        """Return what `to_list` described."""
        if [each["name"] for each in content] != [*names]:
            raise ValueError(f"statics must be {', '.join(names)}")
        columns = []
        for name, each in zip(names, content, strict=True):
            if "words" in each:
                columns.append(StaticColumn(name, words=tuple(strings_of(each, "words", least=1))))
            else:
                width = number_of(each, "width", above=0)
                columns.append(StaticColumn(name, number_of(each, "center"), width))
        return cls(columns)


class StaticReader(nn.Module):
    """What is known of series, (B, S): their numbers, and the vectors of their words.

    Args:
        num_numbers: N, columns of numbers.
        num_words: Of each other column how many words it has.
    """

    def __init__(self, num_numbers: int, num_words: Sequence[int]) -> None:
        super().__init__()
        self.words = nn.ModuleList(
            nn.Embedding(1 + num, min(_MOST_FEATURES, 1 + num // 2), padding_idx=0)
            for num in num_words
        )
        sizes = [min(_MOST_FEATURES, 1 + num // 2) for num in num_words]
        self.output_size = num_numbers + sum(sizes)

    def forward(self, numbers: Tensor, words: Tensor) -> Tensor:
        """Return the features, (B, S), of scaled numbers, (B, N), and indices of words, (B, W)."""
        vectors = [embedding(words[:, index]) for index, embedding in enumerate(self.words)]
        return torch.cat([numbers.nan_to_num(0.0), *vectors], 1)
