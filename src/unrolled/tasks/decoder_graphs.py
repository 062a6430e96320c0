"""What the graphs of models with a decoder have in common: known words, and word by word.

Such a model reads something whole, and then writes: of its steps, the first graph reads and gives
all that every further step is given, the second takes one word.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.data.words import BEGIN
from unrolled.layers import state_tensors
from unrolled.networks import BeamOptions
from unrolled.networks.attention import Memory
from unrolled.networks.decoder import Decoder, DecoderState
from unrolled.networks.word_search import search_words
from unrolled.tasks.graphs import AFTER, Graph, Graphs, Steps, Tensors, state_names, states_of

__all__ = ["DecoderGraphs"]


class DecoderGraphs(Graphs[Any]):
    """A source in, words behind the mark of the beginning in, scores of the next words out."""

    @abstractmethod
    def source(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        """Return an example of what is read, two rows of it, and its free axes."""

    @abstractmethod
    def read(self, *source: Tensor) -> DecoderState:
        """Return the decoder's first state."""

    def whole(self) -> Graph:
        """Return the graph of known words, (B, T), after a source."""
        source, free = self.source()

        def run(*tensors: Tensor) -> list[Tensor]:
            *read, words = tensors
            return [self._decoder(words, self.read(*read))[0]]

        inputs = source | {"words": torch.ones(2, 3, dtype=torch.int64)}
        words_free = {"words": {0: "batch", 1: "time"}}
        return Graph(self.model, run, inputs, free | words_free, ("scores",))

    def steps(self) -> Steps:
        """Return the graph that reads, and the graph of one word of each row, (B,)."""
        source, free = self.source()
        with torch.no_grad():
            state = self.read(*source.values())
        names, changing = self._names(state), self._changing()

        def start(*tensors: Tensor) -> list[Tensor]:
            return _tensors(self.read(*tensors))

        def step(words: Tensor, *tensors: Tensor) -> list[Tensor]:
            given = self._state_of(dict(zip(names, tensors, strict=True)))
            scores, after, weights = self._decoder(words[:, None], given)
            layers = [each for layer in after.layers for each in state_tensors(layer)]
            looked = [] if weights is None else [weights.squeeze(1)]
            return [scores.squeeze(1), *layers, *looked]

        inputs = {"words": torch.ones(2, dtype=torch.int64)}
        inputs |= dict(zip(names, _tensors(state), strict=True))
        of_memory = {0: "batch", 1: "places"}
        axes: dict[str, dict[int, str]] = {"words": {0: "batch"}, "summary": {0: "batch"}}
        axes |= {"memory_values": of_memory, "memory_keys": of_memory}
        axes |= {"memory_missing": {0: "batch", 2: "places"}}
        axes |= {name: {1: "batch"} for name in changing}
        if "places" not in {name for each in free.values() for name in each.values()}:
            del axes["memory_values"][1], axes["memory_missing"][2]  # a picture's grid is fixed
        looked = ("attention",) if "memory_values" in names else ()
        outputs = ("scores", *(f"{name}{AFTER}" for name in changing), *looked)
        free_of_step = {name: axes[name] for name in inputs}
        return Steps(
            Graph(self.model, step, inputs, free_of_step, outputs),
            Graph(self.model, start, source, free, tuple(names)),
        )

    def in_steps(
        self, inputs: Tensors, scores: Tensor
    ) -> tuple[dict[str, Tensor], list[tuple[dict[str, Tensor], Tensor]]]:
        """Return what is read, and a word of each row at a time."""
        source = {name: tensor for name, tensor in inputs.items() if name != "words"}
        pairs = zip(inputs["words"].unbind(1), scores.unbind(1), strict=True)
        return source, [({"words": words}, wanted) for words, wanted in pairs]

    def written(self, inputs: Tensors, most: int) -> list[list[int]]:
        """Return the words that come of each row by the greatest score, at most `most`.

        Args:
            inputs: Of the whole graph, whose known words are not looked at.
            most: Words at most, without the mark of the end.
        """
        options, count = BeamOptions(max_length=most), len(inputs["words"])
        rows = search_words(self._decoder, self._start(inputs), count, options)
        return [list(best.tokens) for (best,) in rows]

    def next_scores(self, inputs: Tensors, row: int, words: Sequence[int]) -> Tensor:
        """Return the scores, (V,), after words that follow the source of a row."""
        state = self._start(inputs).rows(torch.tensor([row]))
        scores: Tensor = self._decoder(torch.tensor([[BEGIN, *words]]), state)[0]
        return scores[0, -1]

    def _start(self, inputs: Tensors) -> DecoderState:
        return self.read(*(tensor for name, tensor in inputs.items() if name != "words"))

    @property
    def _decoder(self) -> Decoder:
        decoder: Decoder = self.model.decoder
        return decoder

    def _changing(self) -> list[str]:
        """Return the names of the states of the decoder's layers."""
        further = self._decoder.further
        names = state_names(self._decoder.layer)
        return names + ([] if further is None else state_names(further, "further"))

    def _names(self, state: DecoderState) -> list[str]:
        summary = [] if state.summary is None else ["summary"]
        memory = [] if state.memory is None else [f"memory_{name}" for name in Memory._fields]
        return [*self._changing(), *summary, *memory]

    def _state_of(self, named: dict[str, Tensor]) -> DecoderState:
        decoder = self._decoder
        layer: Any = decoder.layer
        layers = [states_of(layer, [named[name] for name in state_names(layer)])]
        if (further := decoder.further) is not None:
            own: Any = further
            layers.append(states_of(own, [named[n] for n in state_names(own, "further")]))
        memory = None
        if "memory_values" in named:
            memory = Memory(*(named[f"memory_{name}"] for name in Memory._fields))
        return DecoderState(tuple(layers), named.get("summary"), memory)


def _tensors(state: DecoderState) -> list[Tensor]:
    """Return the tensors of a state, in the order of their names."""
    layers = [tensor for layer in state.layers for tensor in state_tensors(layer)]
    summary = [] if state.summary is None else [state.summary]
    return [*layers, *summary, *(() if state.memory is None else state.memory)]
