"""A classifier as graphs: a sequence in, the scores of the classes out; or its running opinion."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError, field
from unrolled.layers import state_tensors
from unrolled.tasks.graphs import (
    AFTER,
    Chain,
    Graph,
    Graphs,
    Steps,
    Tensors,
    start_of,
    state_names,
    states_of,
)

__all__ = ["ClassifierGraphs"]


class ClassifierGraphs(Graphs[Any]):
    """Whole sequences; or the scores after each step of what was read so far."""

    def whole(self) -> Graph:
        """Return the graph of whole sequences, or of pictures, that have no lengths."""
        model = self.model
        if model.pictures is not None:
            return Graph(
                model,
                lambda inputs: [model(inputs, None)],
                {"inputs": self._example(2)},
                {"inputs": {0: "batch"}},
                ("scores",),
            )
        return Graph(
            model,
            lambda inputs, lengths: [model(inputs, lengths)],
            {"inputs": self._example(7), "lengths": torch.tensor([7, 4])},
            {"inputs": {0: "batch", 1: "time"}, "lengths": {0: "batch"}},
            ("scores",),
        )

    def steps(self) -> Steps:
        """Return the graph of one step of the layer: a token, (B,), or numbers, (B, I).

        Of recordings these are the frames of a step side by side.
        """
        model = self.model
        if model.options.bidirectional or model.shape is not None or model.pictures is not None:
            what, hint = "reads both ways", f"train with {field('bidirectional=False')}"
            if model.pictures is not None:
                what, hint = "sees a picture at once", ""
            elif model.shape is not None:
                what = "weighs places of the whole series"
                hint = f"train with {field('bidirectional=False')} and {field('evidence=False')}"
            message = f"{field('stream')}: this classifier {what}, and has no single steps"
            raise OptionError(message, hint or "export the whole alone")
        names = state_names(model.layer)

        def run(inputs: Tensor, *states: Tensor) -> list[Tensor]:
            x = inputs if model.embedding is None else model.embedding(inputs)
            read, pooled = states[: len(names)], states[len(names) :]
            h, after = model.layer(x.unsqueeze(1), states_of(model.layer, read))
            result, pooled_after = self._pooled(h.squeeze(1), pooled)
            scores = model.scores(result)
            if model.evidence is not None:
                total = pooled[-1] + model.evidence(inputs)
                scores, pooled_after = scores + total, [*pooled_after, total]
            return [scores, *state_tensors(after), *pooled_after]

        step = self._layer_input(self._example(model.frames_per_step))[:, 0]
        start = self._start(2)
        free = {name: {1 if name in names else 0: "batch"} for name in start}
        outputs = ("scores", *(f"{name}{AFTER}" for name in start))
        inputs = {"inputs": step, **start}
        return Steps(Graph(model, run, inputs, {"inputs": {0: "batch"}, **free}, outputs))

    def parts(self) -> Chain:
        """Return embedding, layer, pooling and scores; a step of recordings is k frames."""
        model = self.model
        features: tuple[nn.Module, ...] = ()
        num_tokens = None
        if model.embedding is not None:
            features = model.embedding.modules_in_order
            num_tokens = model.embedding.table.num_embeddings
        return Chain(
            (*features, model.layer),
            num_tokens,
            model.options.pooling,
            model.attention,
            (model.scores,),
            model.evidence,
            pictures=model.pictures,
            evenly=model.shape,
        )

    def batches(self, examples: Sequence[Any]) -> Iterator[dict[str, Tensor]]:
        """Yield the inputs of examples, those without a step left out."""
        some = [each for each in examples if self.task.length(each)]
        for indices in self.task.in_batches(some, 16):
            inputs, lengths = self.task.batch([some[index] for index in indices])
            yield {"inputs": inputs} | ({} if lengths is None else {"lengths": lengths})

    def in_steps(
        self, inputs: Tensors, scores: Tensor
    ) -> tuple[dict[str, Tensor], list[tuple[dict[str, Tensor], Tensor]]]:
        """Return a step of the layer at a time; what counts is the opinion after the last one."""
        steps = self._layer_input(inputs["inputs"]).unbind(1)
        k = self.model.frames_per_step
        last = (inputs["lengths"] + k - 1).div(k, rounding_mode="floor") - 1
        pairs = []
        for number, step in enumerate(steps):
            wanted = scores.masked_fill((last != number)[:, None], torch.nan)
            pairs.append(({"inputs": step}, wanted))
        return self._start(len(scores)), pairs

    def _layer_input(self, inputs: Tensor) -> Tensor:
        """Return what a step graph is given at each step, (B, S) or (B, S, I)."""
        return inputs if self.model.embedding is not None else self.model.features(inputs)

    def _example(self, num_steps: int) -> Tensor:
        model = self.model
        if model.pictures is not None:
            size = model.pictures.config.picture_size
            return torch.zeros(2, 3, size, size, dtype=torch.uint8)
        if model.embedding is not None:
            return torch.zeros(2, num_steps, dtype=torch.int64)
        return torch.zeros(2, num_steps, model.input_size)

    def _start(self, batch_size: int) -> dict[str, Tensor]:
        """Return the states before the first step: of the layer, the pooling and the evidence."""
        model = self.model
        start = start_of(model.layer, batch_size)
        zeros = torch.zeros(batch_size, model.scores.in_features)
        none = torch.zeros(batch_size, 1)
        pooling = {
            "mean": {"pooled_sum": zeros, "pooled_steps": none},
            "max": {"pooled_max": zeros - torch.inf},
            "attention": {
                "pooled_sum": zeros,
                "pooled_weight": none,
                "pooled_max": none - torch.inf,
            },
        }
        start |= pooling.get(model.options.pooling, {})
        if model.evidence is not None:
            start["evidence"] = torch.zeros(batch_size, model.num_classes)
        return start

    def _pooled(self, h: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return what is classified after a step with output `h`, (B, H), and the states of it."""
        pooling = self.model.options.pooling
        if pooling == "mean":
            total, count = states[0] + h, states[1] + 1
            return total / count, [total, count]
        if pooling == "max":
            largest = torch.maximum(states[0], h)
            return largest, [largest]
        if pooling == "attention":  # a softmax whose greatest score is kept, so that none overflows
            total, weight, greatest = states[:3]
            score = self.model.attention(h)
            now = torch.maximum(greatest, score)
            old, new = (greatest - now).exp(), (score - now).exp()
            total, weight = total * old + h * new, weight * old + new
            return total / weight, [total, weight, now]
        return h, []
