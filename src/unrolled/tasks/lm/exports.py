"""A language model as graphs: tokens and states in, scores and states out."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from unrolled.data.long_text import Text
from unrolled.layers import state_tensors
from unrolled.tasks.graphs import (
    AFTER,
    Chain,
    Graph,
    Graphs,
    Steps,
    Tensors,
    chain_of_tokens,
    state_names,
    states_of,
)

__all__ = ["LanguageGraphs"]

_ROWS = 4
_LONGEST = 512  # steps of a row


class LanguageGraphs(Graphs[Text]):
    """The same for a text and for a token; a state of zeros stands at the beginning."""

    def whole(self) -> Graph:
        """Return the graph of a text, (B, T) tokens."""
        return self._graph(one_step=False)

    def steps(self) -> Steps:
        """Return the graph of a token, (B,)."""
        return Steps(self._graph(one_step=True))

    def parts(self) -> Chain:
        """Return embedding, layer and scores."""
        return chain_of_tokens(self.model, writes=True)

    def beside(self) -> dict[str, Any]:
        """Return that what it scores is what comes next of a text."""
        return {"writes_text": True}

    def batches(self, examples: Sequence[Text]) -> Iterator[dict[str, Tensor]]:
        """Yield the beginning of each text: its first row alone, and several rows."""
        for text in examples:
            tokens = self.task.encode(str(text))
            for count in (1, _ROWS):
                length = min(_LONGEST, len(tokens) // count)
                if length:
                    rows = tokens[: count * length].view(count, length)
                    yield {"tokens": rows, **self._start(count)}

    def in_steps(
        self, inputs: Tensors, scores: Tensor
    ) -> tuple[dict[str, Tensor], list[tuple[dict[str, Tensor], Tensor]]]:
        """Return a row of tokens at a time."""
        rows = inputs["tokens"].unbind(1)
        pairs = zip(rows, scores.unbind(1), strict=True)
        return self._start(len(scores)), [({"tokens": each}, wanted) for each, wanted in pairs]

    def _start(self, batch_size: int) -> dict[str, Tensor]:
        names, state = state_names(self.model.layer), self.model.initial_state(batch_size)
        return dict(zip(names, state_tensors(state), strict=True))

    def _graph(self, *, one_step: bool) -> Graph:
        model, names = self.model, state_names(self.model.layer)

        def run(tokens: Tensor, *states: Tensor) -> list[Tensor]:
            tokens = tokens.unsqueeze(1) if one_step else tokens
            scores, after = model(tokens, states_of(model.layer, states))
            return [scores.squeeze(1) if one_step else scores, *state_tensors(after)]

        tokens = self.task.encode(self.task.prompt * 8)[:6].view(2, 3)
        tokens_free = {0: "batch"} if one_step else {0: "batch", 1: "time"}
        return Graph(
            model,
            run,
            {"tokens": tokens[:, 0] if one_step else tokens, **self._start(2)},
            {"tokens": tokens_free, **{name: {1: "batch"} for name in names}},
            ("scores", *(f"{name}{AFTER}" for name in names)),
        )
