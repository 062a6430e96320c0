"""A captioner as graphs: a picture or a recording in, the scores of its words out."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.data.batching import pad
from unrolled.data.words import BEGIN
from unrolled.networks.decoder import DecoderState
from unrolled.networks.picture_encoder import PictureEncoder
from unrolled.tasks.caption.writer import BEAM, LENGTH_PENALTY
from unrolled.tasks.decoder_graphs import DecoderGraphs
from unrolled.tasks.graphs import Parts, Writing

__all__ = ["CaptionerGraphs"]


class CaptionerGraphs(DecoderGraphs):
    """Pictures, (B, 3, S, S) uint8; or log-mel frames, (B, T, K) scaled, and their lengths."""

    @property
    def left_out(self) -> str | None:
        """Say that captions of training examples, which count here, are not among the outputs."""
        neighbours = self.model.neighbours
        if neighbours is None or not float(neighbours.weight):
            return None
        return (
            "what is written is the network's alone: the captions of the nearest training "
            "examples, which this model also chooses from, are not exported"
        )

    def source(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        """Return two pictures, or two recordings."""
        data = self.task.options.data
        if self.task.kind == "picture":
            size = data.picture_size
            pictures = torch.zeros(2, 3, size, size, dtype=torch.uint8)
            return {"media": pictures}, {"media": {0: "batch"}}
        frames = torch.zeros(2, 7, data.num_bands)
        source = {"media": frames, "lengths": torch.tensor([7, 4])}
        return source, {"media": {0: "batch", 1: "places"}, "lengths": {0: "batch"}}

    def read(self, *source: Tensor) -> DecoderState:
        """Return the decoder's first state."""
        state: DecoderState = self.model.start(*source)
        return state

    def parts(self) -> Parts:
        """Return what reads the medium, and the decoder; a step of recordings is k frames."""
        encoder, model = self.model.encoder, self.model
        is_picture = isinstance(encoder, PictureEncoder)
        summary = "greatest" if is_picture else "ends"
        modules = (encoder,) if is_picture else (encoder.layer,)
        return Writing(modules, None, summary if model.options.summary else None, model.decoder)

    def beside(self) -> dict[str, Any]:
        """Return how the words are searched for, and whether that is all that chooses."""
        found = {"beam": BEAM, "length_penalty": LENGTH_PENALTY, "max_length": self.task.max_words}
        return {"search": {**found, "alone": self.left_out is None}}

    def batches(self, examples: Sequence[Any]) -> Iterator[dict[str, Tensor]]:
        """Yield media, and their captions behind the mark of the beginning."""
        for indices in self.task.in_batches(examples, 16):
            some = [examples[index] for index in indices]
            media, lengths = self.task.collate([example.content for example in some])
            begin = torch.tensor([BEGIN])
            captions = [self.task.encoded(example) for example in some]
            words, _ = pad([torch.cat([begin, caption]) for caption in captions])
            yield {
                "media": media,
                **({} if lengths is None else {"lengths": lengths}),
                "words": words,
            }
