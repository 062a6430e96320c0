"""A classifier as it is looked into: what it reads, and its opinion on the way."""

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor

from unrolled.data.source import Source
from unrolled.inspection.subject import InputForm, Passage, Subject
from unrolled.tasks.classify.encoders import NumberEncoder, TextEncoder
from unrolled.tasks.classify.examples import Labelled
from unrolled.tasks.classify.media import MediumEncoder
from unrolled.tasks.classify.model import Classifier
from unrolled.tasks.classify.options import DataOptions
from unrolled.tasks.classify.reader import read_unlabelled

__all__ = ["ClassifierSubject"]

_WAVE = 16  # steps of a series to begin with


class ClassifierSubject(Subject):
    """A classifier, its classes and what it reads.

    Args:
        model: In eval mode.
        options: How the data are read.
        encoder: Of an example's content.
        classes: Their names.
    """

    by_step = False

    def __init__(
        self,
        model: Classifier,
        options: DataOptions,
        encoder: TextEncoder | NumberEncoder | MediumEncoder,
        classes: Iterable[str],
    ) -> None:
        units = {"char": "character", "bpe": "token", "word": "word"}
        unit = units[encoder.kind] if isinstance(encoder, TextEncoder) else "step"
        super().__init__(model, model.layer, unit, tuple(classes))
        self.options = options
        self.encoder = encoder

    @property
    def form(self) -> InputForm:
        """A line of text, or a series as a line of a `.ts` file."""
        if isinstance(self.encoder, NumberEncoder):
            return InputForm("series", dimensions=len(self.encoder.names))
        return InputForm()

    def example(self) -> str | None:
        """Return waves of the training part's mean and spread, where numbers are read."""
        if not isinstance(self.encoder, NumberEncoder):
            return None
        return ":".join(",".join(f"{x:.4g}" for x in wave) for wave in self.encoder.waves(_WAVE))

    def as_input(self, example: Labelled) -> str | None:
        """Return the text of an example, as one line."""
        return " ".join(example.content.split()) if isinstance(example.content, str) else None

    def read(self, source: Source) -> Iterator[Passage]:
        """Yield each input, as `unrolled predict` reads it."""
        names = self.encoder.names if isinstance(self.encoder, NumberEncoder) else ()
        kind = self.encoder.kind if isinstance(self.encoder, MediumEncoder) else None
        for example in read_unlabelled(self.options, source, names, kind):
            if example.error is not None:
                raise example.error
            yield self.passage(example)

    def passages(self, examples: Iterable[Labelled]) -> Iterator[Passage]:
        """Yield examples."""
        yield from map(self.passage, examples)

    @torch.no_grad()
    def passage(self, example: Labelled) -> Passage:
        """Return how an example is read."""
        inputs = self.encoder.encode(example.content)  # type: ignore[arg-type]  # of its own kind
        features = cast(Classifier, self.model).features(inputs[None])[0]
        if isinstance(self.encoder, TextEncoder):
            pieces = tuple(self.encoder.pieces(str(example.content)))
        else:
            pieces = tuple(str(step) for step in range(1, len(features) + 1))
        return Passage(pieces, features, context=inputs)

    @property
    def is_text(self) -> bool:  # type: ignore[override]  # it depends on the data
        """Whether what is read is text."""
        return isinstance(self.encoder, TextEncoder)

    def evidence(self, passage: Passage) -> Tensor:
        """Return what the layer reads, and behind it what the tokens weigh by themselves."""
        own = cast(Classifier, self.model).own_evidence(passage.context)
        return passage.features if own is None else torch.cat([passage.features, own], dim=1)

    def said_at(self, passage: Passage, rows: Tensor, step: int) -> Tensor:
        """Return the opinions of what was read until a step, for each of other evidences."""
        x, own = rows[:, : step + 1].tensor_split([passage.features.shape[1]], dim=2)
        opinions = cast(Classifier, self.model).opinions_at_end(x, own if own.shape[2] else None)
        return opinions.double().log_softmax(-1)

    def log_probabilities(self, passage: Passage, output: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return the opinion after each step, of what was read so far; None of a number."""
        if not self.labels:
            return None
        return cast(Classifier, self.model).opinions(passage.context).double().log_softmax(-1)
