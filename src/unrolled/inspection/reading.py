"""What a report looks at: a model's reading of a text. How it is shown is `sections.py`'s part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError
from unrolled.inspection.gradients import Reach, gradient_reach
from unrolled.inspection.modes import evaluating
from unrolled.inspection.record import trace
from unrolled.layers.recording import Record
from unrolled.layers.recurrent import RecurrentLayer
from unrolled.networks.language_model import LanguageModel

__all__ = ["EXCERPT", "MAP_STEPS", "MAP_UNITS", "Reading", "Subject"]

_FEWEST = 24  # tokens that a report needs
_MOST = 20_000  # tokens that are looked at: units are ranked in the time of a breath
_LAGS = 160  # that the gradient is followed back
_ROWS = 24  # pieces of text that it is averaged over
MAP_STEPS = 120  # steps that gates are drawn over
MAP_UNITS = 48
EXCERPT = 440  # characters that a unit is drawn over


@dataclass(frozen=True)
class Subject:
    """What a report is about.

    Args:
        name: Of the model, as the report calls it.
        model: A language model.
        vocabulary: The one that it was trained with.
        facts: What stands beneath the title: what is known of it, by short names.
        wanted: The steps that the gradient of its training went back; None if not known.
        curves: The measurements of its training, (update, nats per token) by name; may be empty.
        beside: Other models with the same vocabulary, by name, to compare the reach with.
    """

    name: str
    model: LanguageModel
    vocabulary: Vocabulary
    facts: Mapping[str, str] = field(default_factory=dict)
    wanted: int | None = None
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    beside: Mapping[str, LanguageModel] = field(default_factory=dict)


class Reading:
    """A model's reading of a text: what all sections look at."""

    def __init__(self, subject: Subject, text: str) -> None:
        self.subject = subject
        self.model = subject.model
        every = subject.vocabulary.encode(text)
        if len(every) < _FEWEST:
            raise DataError(
                f"the text is too short to look into: {len(every)} tokens, at least {_FEWEST} are "
                "needed",
                "give more text",
            )
        self.num_given = len(every)
        self.ids = every[:_MOST]
        decoder = subject.vocabulary.decoder()
        self.tokens = [decoder.push(int(number)) for number in self.ids]
        self.text = "".join(self.tokens)
        self.unit = "character" if subject.vocabulary.kind == "char" else "token"
        with evaluating(self.model):
            self.records: list[Record] = trace(self.model, self.ids[None])
            with torch.inference_mode():
                scores, _ = self.model(self.ids[None])
        self.log_probabilities = scores[0].log_softmax(-1)
        self.loss = float(F.nll_loss(self.log_probabilities[:-1], self.ids[1:]))
        self.max_lag = min(_LAGS, len(self.ids) - 2)
        width = self.max_lag + 2
        num_rows = min(_ROWS, len(self.ids) // width)
        starts = torch.linspace(0, len(self.ids) - width, num_rows).long().tolist()
        self.pieces = torch.stack([self.ids[start : start + width] for start in starts])

    @property
    def recurrent(self) -> RecurrentLayer | None:
        """The model's layer, if it is a recurrent one."""
        layer = self.model.layer
        return layer if isinstance(layer, RecurrentLayer) else None

    @property
    def wanted(self) -> int | None:
        """How far back the gradient should be felt, as far as the text can tell."""
        wanted = self.subject.wanted
        return None if wanted is None else max(1, min(wanted, self.max_lag))

    def reach(self, model: LanguageModel) -> Reach:
        """Return how far the gradient of `model` reaches in this text."""
        return gradient_reach(model, self.pieces, max_lag=self.max_lag)

    def token_mask(self, mask: Tensor) -> Tensor:
        """Return a mask of characters as one of tokens: that of each token's last character."""
        ends = torch.tensor([len(token) for token in self.tokens]).cumsum(0) - 1
        return mask[ends.clamp_min(0)]

    def notes(self) -> list[str]:
        """Return what was looked at, and what was thinned, in sentences."""
        seen, given = f"{len(self.ids):,} {self.unit}s", f"{self.num_given:,}"
        thinned = (
            f"the first {seen} of {given}" if len(self.ids) < self.num_given else f"all {seen}"
        )
        return [
            f"Looked at {thinned} of the text; the gradient's reach is the mean over "
            f"{len(self.pieces)} pieces of it, {self.max_lag} steps back. To keep this file small, "
            f"maps show {min(MAP_STEPS, len(self.ids))} steps of at most {MAP_UNITS} units and "
            f"texts {EXCERPT} characters; trace() has everything.",
            "Made by unrolled. This page is complete: it asks no other host for anything.",
        ]
