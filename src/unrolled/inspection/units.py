"""What single units follow: patterns of a text as masks, and the units ranked by how well they do.

Not here: recording the units' values (`record.py`), drawing them over the text (`figures/`).

Source of the idea: A. Karpathy, J. Johnson and L. Fei-Fei (2015), "Visualizing and understanding
recurrent networks", section 4.1.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import OptionError, ShapeError

__all__ = ["PATTERNS", "Ranking", "area_under_curve", "pattern_masks", "rank_units"]

_SPEAKER = re.compile(r"(?:\A|\n\n)([^\n:]+):(?=\n)")
_BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}")
_QUOTED = re.compile(r'"[^"]*"|\u201c[^\u201d]*\u201d')
_WORD = re.compile(r"\w[\w'\u2019]*")
_LATE = 30  # characters since the line began


def inside_speaker(text: str) -> Tensor:
    r"""Return where a speaker is named: a line that ends in a colon, after an empty line.

    Example:
        >>> inside_speaker("ROMEO:" + chr(10) + "O!").int().tolist()
        [1, 1, 1, 1, 1, 0, 0, 0, 0]
    """
    return _mask(text, ((m.start(1), m.end(1)) for m in _SPEAKER.finditer(text)))


def inside_quotes(text: str) -> Tensor:
    """Return where the text is between double quotes, the closing one not counted."""
    return _mask(text, ((m.start(), m.end() - 1) for m in _QUOTED.finditer(text)))


def inside_brackets(text: str) -> Tensor:
    """Return where the text is between brackets, (), [] or {}, the closing one not counted."""
    return _mask(text, ((m.start(), m.end() - 1) for m in _BRACKETED.finditer(text)))


def late_in_line(text: str) -> Tensor:
    """Return where a line is 30 characters old or more, its end not counted."""
    lines, start = [], 0
    for line in text.split("\n"):
        lines.append((start + _LATE, start + len(line)))
        start += len(line) + 1
    return _mask(text, ((first, end) for first, end in lines if first < end))


def line_begins(text: str) -> Tensor:
    """Return where a line is over or empty: a line break was the last that was read."""
    return torch.tensor([character == "\n" for character in text], dtype=torch.bool)


def inside_word(text: str) -> Tensor:
    """Return where a word has begun and is not over."""
    return _mask(text, (m.span() for m in _WORD.finditer(text)))


def capitals(text: str) -> Tensor:
    """Return where the letters are capitals, two at least in a row."""
    return _mask(text, (m.span() for m in re.finditer(r"[A-Z]{2,}", text)))


PATTERNS: dict[str, Callable[[str], Tensor]] = {
    "inside a speaker's name": inside_speaker,
    "inside quotes": inside_quotes,
    "inside brackets": inside_brackets,
    "late in the line": late_in_line,
    "after a line break": line_begins,
    "inside a word": inside_word,
    "in capitals": capitals,
}
"""Patterns that are looked for by default: a function from a text to its mask, by its name."""


def pattern_masks(text: str, min_share: float = 0.002) -> dict[str, Tensor]:
    """Return the masks of those `PATTERNS` that occur in `text`, (N,) booleans by their names.

    A mask says of each character whether a reader who has just read it is inside of the pattern.

    Args:
        text: N characters.
        min_share: The least part of the text that must be inside, and outside.
    """
    masks = {name: pattern(text) for name, pattern in PATTERNS.items()}
    return {
        name: mask
        for name, mask in masks.items()
        if min_share <= float(mask.double().mean()) <= 1 - min_share
    }


@dataclass(frozen=True)
class Ranking:
    """Units in the order of how well they tell the inside of a pattern from the outside.

    Args:
        units: Unit numbers, the best first, (H,).
        area: For each unit of `units` the area under the curve of its value, (H,) in 0..1: the
            probability that it is higher inside than outside. 0.5 knows nothing; one near 0 is as
            good as one near 1, its sign reversed.
    """

    units: Tensor
    area: Tensor

    @property
    def score(self) -> Tensor:
        """The area, or 1 - area where a unit is low inside: in 0.5..1, falling."""
        return torch.maximum(self.area, 1 - self.area)


def rank_units(values: Tensor, mask: Tensor) -> Ranking:
    """Rank units by how well their values tell where `mask` is true.

    The best of many units looks better than it is on the text that it was chosen by: measure it
    once more, by `area_under_curve`, on another.

    Args:
        values: (N, H).
        mask: (N,) boolean.

    Raises:
        ShapeError: The two do not fit.
        OptionError: The mask is true everywhere, or nowhere.

    Example:
        >>> values = torch.tensor([[0.1, 5.0], [0.9, 5.0], [0.2, 4.0], [0.8, 6.0]])
        >>> ranking = rank_units(values, torch.tensor([False, True, False, True]))
        >>> ranking.units.tolist(), ranking.area.tolist()
        ([0, 1], [1.0, 0.875])
    """
    area = area_under_curve(values, mask)
    units = (area - 0.5).abs().argsort(descending=True, stable=True)
    return Ranking(units, area[units])


def area_under_curve(values: Tensor, mask: Tensor) -> Tensor:
    """Return P(value inside > value outside) + P(equal) / 2 for each column, (H,) float64.

    Args:
        values: (N, H).
        mask: (N,) boolean.

    Raises:
        ShapeError: The two do not fit.
        OptionError: The mask is true everywhere, or nowhere.
    """
    if values.dim() != 2 or mask.shape != values.shape[:1] or mask.dtype != torch.bool:
        raise ShapeError(
            f"area_under_curve: values must be (N, H) and the mask (N,) torch.bool, got "
            f"{tuple(values.shape)} and {tuple(mask.shape)} {mask.dtype}"
        )
    if bool(mask.all()) or not bool(mask.any()):
        everywhere = "everywhere" if bool(mask.any()) else "nowhere"
        raise OptionError(
            f"area_under_curve: the pattern is {everywhere} in this text", "give more text"
        )
    outside = values[~mask].T.contiguous().sort(dim=1).values  # (H, N0)
    inside = values[mask].T.contiguous()  # (H, N1)
    below = torch.searchsorted(outside, inside, right=False)
    not_above = torch.searchsorted(outside, inside, right=True)
    return (below + not_above).double().mean(1) / (2 * outside.shape[1])


def _mask(text: str, spans: Iterable[tuple[int, int]]) -> Tensor:
    mask = torch.zeros(len(text), dtype=torch.bool)
    for start, end in spans:
        mask[start:end] = True
    return mask
