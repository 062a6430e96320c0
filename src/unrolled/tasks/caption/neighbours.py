"""Captions of the training examples that are most alike, beside those that the decoder writes.

    candidates     what the beam found, and the captions of the k nearest training examples
    score(c)       log p(c) / length penalty - weight * distance(c)

Pictures are compared by fixed features, since a few hundred are too few to learn seeing from. Which
weight is best is chosen on the held-out part (`CaptionTask.calibrate`): with 0 the network writes
alone, with the largest one the nearest example's caption is taken. A caption that no neighbour has
is at a distance of 1, that of any two examples.

Source: Devlin, Gupta, Girshick, Mitchell and Zitnick (2015), "Exploring nearest neighbor approaches
for image captioning", for the candidates; the features are those of Dalal and Triggs (2005),
"Histograms of oriented gradients for human detection", without their blocks, and of Swain and
Ballard (1991), "Color indexing".
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.data.batching import pad
from unrolled.data.media import Kind, thumbnail
from unrolled.data.words import END
from unrolled.networks.devices import moved
from unrolled.training.options import FEWEST

__all__ = ["WEIGHTS", "Neighbour", "Neighbours", "likeness", "too_few", "weight_in_words"]

WEIGHTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0, 1e6)
"""What can be chosen beside 0: nats for a distance of 1."""

_OF_NEAREST = 1000.0  # from here on, log p counts where distances differ by some hundredths
_SAME = 1e-6  # no distance between rows that differ is as small
_COMPARED = 200  # training examples whose distances to all others give the unit
_CELLS = 4  # places on a side
_ANGLES = 9
_SHADES = 4  # of each channel
_SMALL = 8  # places on a side of a picture that is compared place by place


class Neighbour(NamedTuple):
    """A caption of the training part.

    words: (L,) int64, without the marks of the beginning and the end.
    distance: 0 for what is the same, about 1 between any two training examples.
    """

    words: Tensor
    distance: float


class Neighbours(nn.Module):
    """The training examples as far as they are compared, and their captions.

    Args:
        num_examples: N.
        num_words: L, of the longest caption.
        kind: "picture" or "recording".
        num_bands: K, of recordings.
    """

    keys: Tensor
    words: Tensor
    units: Tensor
    weight: Tensor

    def __init__(self, num_examples: int, num_words: int, kind: Kind, num_bands: int) -> None:
        super().__init__()
        with torch.device("cpu"):  # colours cannot be counted on "meta", where runs are checked
            like = torch.zeros((3, 8, 8), dtype=torch.uint8)
            parts = likeness(like if kind == "picture" else torch.zeros(1, num_bands))
        self._sizes = [len(part) for part in parts]
        size = sum(self._sizes)
        self.register_buffer("keys", torch.zeros(num_examples, size, dtype=torch.float16))
        words = torch.full((num_examples, num_words), END, dtype=torch.int32)
        self.register_buffer("words", words)
        self.register_buffer("units", torch.ones(len(parts)))
        self.register_buffer("weight", torch.zeros(()))

    @torch.no_grad()
    def remember(self, contents: Sequence[Tensor], captions: Sequence[Tensor] = ()) -> None:
        """Keep the examples.

        Args:
            contents: N pictures, (3, S, S) uint8, or log-mel frames, (T, K).
            captions: Their words, up to (L,) int64; none where only distances are wanted.
        """
        parts = [torch.stack(part) for part in zip(*map(likeness, contents), strict=True)]
        some = slice(None, None, max(1, len(contents) // _COMPARED))
        units = [_apart(part[some], part).mean() for part in parts]
        self.units.copy_(torch.stack(units))
        self.keys.copy_(torch.cat(parts, 1))
        if captions:
            words, _ = pad(captions, END)
            self.words.fill_(END)[:, : words.shape[1]] = words

    @torch.no_grad()
    def distances(self, content: Tensor) -> Tensor:
        """Return how far each example is from a picture or a recording, (N,).

        It is 0 for what is the same, and about 1 between any two training examples. A part in which
        all of these are the same tells none from another, and is not looked at.

        Args:
            content: As `remember` takes it.
        """
        known = torch.split(self.keys, self._sizes, 1)
        total, used = torch.zeros(len(self.keys)), 0
        for part, keys, unit in zip(likeness(content), known, self.units.tolist(), strict=True):
            if unit > _SAME:
                own = moved(part[None].half(), keys)  # rounded as the keys are
                total += (_apart(own.float(), keys.float())[0] / unit).cpu()
                used += 1
        return total / max(used, 1)

    @torch.no_grad()
    def nearest(self, content: Tensor, count: int) -> list[Neighbour]:
        """Return the different captions of the nearest examples, the nearest first.

        Args:
            content: A picture or a recording, as `remember` takes it.
            count: Examples that are looked at, at least 1.
        """
        distances = self.distances(content)
        distance_of: dict[tuple[int, ...], float] = {}
        for index in distances.argsort(stable=True)[:count].tolist():
            words = tuple(word for word in self.words[index].tolist() if word != END)
            distance_of.setdefault(words, float(distances[index]))
        return [Neighbour(torch.tensor(words), distance) for words, distance in distance_of.items()]


def too_few(num_held_out: int) -> str | None:
    """Return why so many held-out examples choose no weight, in a sentence; None if they do."""
    if num_held_out >= FEWEST:
        return None
    held_out = {0: "nothing is held out", 1: "1 example is held out"}.get(
        num_held_out, f"{num_held_out} examples are held out"
    )
    needed = f"and it takes {FEWEST} to choose how much the nearest training examples count"
    return f"the network writes alone: {held_out}, {needed}"


def weight_in_words(
    weight: float, num_examples: int, count: int, alone: Sequence[str], best: Sequence[str]
) -> str:
    """Return in a sentence what a weight means, and what it was worth.

    Args:
        weight: As it was chosen, 0 or one of `WEIGHTS`.
        num_examples: N, that are kept.
        count: Of neighbours that are looked at.
        alone: Figures of the network's captions on the held-out part, with their names.
        best: Those of the captions with this weight.
    """
    nearest = f"nearest of {num_examples:,} training examples"
    if not weight:
        raised = f"did not raise held-out {' and '.join(alone)}"
        return f"the network writes alone: captions of the {count} {nearest} {raised}"
    compared = f"held-out {' and '.join(best)}; the network alone has {' and '.join(alone)}"
    if weight >= _OF_NEAREST:
        near = "about as near" if weight < max(WEIGHTS) else "equally near"
        decides = f"the network decides only between those {near}"
        return f"each caption is that of the {nearest}, and {decides}: {compared}"
    nats = "1 nat" if weight == 1 else f"{weight:g} nats"
    candidates = f"captions of the {count} {nearest} are candidates"
    return f"{candidates}, where a distance of 1 costs {nats}: {compared}"


def likeness(content: Tensor) -> tuple[Tensor, ...]:
    """Return what a picture or a recording is compared by, in parts of one row each.

    Of a picture: 8 x 8 pixels, the directions of its edges in 4 x 4 places, how much it has of each
    of 64 colours. Of a recording: 16 frames.

    Args:
        content: (3, S, S) uint8, or log-mel frames, (T, K).

    Example:
        >>> [len(part) for part in likeness(torch.zeros(3, 32, 32, dtype=torch.uint8))]
        [192, 144, 64]
    """
    if content.dtype != torch.uint8:
        return (thumbnail(content),)
    x = content.float() / 255
    shades = (x * _SHADES).long().clamp(max=_SHADES - 1)
    colours = (shades[0] * _SHADES + shades[1]) * _SHADES + shades[2]
    shares = torch.bincount(colours.flatten(), minlength=_SHADES**3) / colours.numel()
    small = F.adaptive_avg_pool2d(x, _SMALL)
    return small.flatten(), _edges(x.mean(0)), shares.sqrt()


def _apart(rows: Tensor, others: Tensor) -> Tensor:
    """Return the Euclidean distances, exactly 0 between equal rows: so not by a matrix product."""
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")


def _edges(grey: Tensor) -> Tensor:
    """Return how strong edges of each direction are in each place, (9 * 4 * 4,), of (S, S)."""
    p = F.pad(grey[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    right, down = p[1:-1, 2:] - p[1:-1, :-2], p[2:, 1:-1] - p[:-2, 1:-1]
    strength = (right**2 + down**2).sqrt()
    angle = torch.atan2(down, right).remainder(torch.pi) / torch.pi * _ANGLES
    low = angle.floor()
    of_each = torch.zeros(_ANGLES, *grey.shape)
    for step, share in ((0, 1 - (angle - low)), (1, angle - low)):
        place = (low.long() + step).remainder(_ANGLES)
        of_each.scatter_add_(0, place[None], (strength * share)[None])
    pooled: Tensor = F.adaptive_avg_pool2d(of_each, _CELLS).flatten()
    size: Tensor = pooled.norm() + 1e-3
    return pooled.div(size)
