"""A tagger as graphs: the words of a sentence in, the scores of their tags out."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import OptionError, field
from unrolled.layers import state_tensors
from unrolled.tasks.graphs import (
    Chain,
    Graph,
    Graphs,
    Parts,
    Steps,
    Tensors,
    WordChain,
    expected_steps,
    start_of,
    state_names,
    states_of,
    step_of,
)
from unrolled.tasks.tag.model import Sentences

__all__ = ["TaggerGraphs"]

_NAMES = Sentences._fields
_OF_WORDS = ("letters", "letter_lengths", "affixes")


class TaggerGraphs(Graphs[Any]):
    """Whole sentences; with a delay also word by word, the tag of a word k words later."""

    def whole(self) -> Graph:
        """Return the graph of sentences, as `Sentences` lists its inputs."""
        words = {"words": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}
        spellings = {"spellings": {0: "batch", 1: "time"}}
        letters = {"letters": {0: "different", 1: "letters"}, "letter_lengths": {0: "different"}}
        free = words | spellings | letters | {"affixes": {0: "different"}}
        inputs = {
            "words": torch.zeros(2, 3, dtype=torch.int64),
            "lengths": torch.tensor([3, 2]),
            "spellings": torch.tensor([[0, 1, 2], [0, 3, 0]]),
            "letters": torch.zeros(4, 5, dtype=torch.int64),
            "letter_lengths": torch.tensor([5, 1, 2, 3]),
            "affixes": torch.zeros(4, self._num_affixes, dtype=torch.int64),
        }
        names = self._kept([*_NAMES])

        def run(*tensors: Tensor) -> list[Tensor]:
            fields = inputs | dict(zip(names, tensors, strict=True))
            return [self.model(Sentences(**fields))[0]]

        chosen = {name: inputs[name] for name in names}
        return Graph(self.model, run, chosen, {name: free[name] for name in names}, ("scores",))

    def steps(self) -> Steps:
        """Return the graph of one word of each sentence.

        A row of `ended` that is true reads the blank that comes after a sentence.
        """
        model = self.model
        if model.options.delay is None:
            raise OptionError(
                f"{field('stream')}: this tagger reads both ways",
                f"train with {field('delay')}, or export the whole alone",
            )
        names, num_letters = state_names(model.layer), 5
        inputs = {
            "words": torch.zeros(2, dtype=torch.int64),
            "letters": torch.zeros(2, num_letters, dtype=torch.int64),
            "letter_lengths": torch.tensor([num_letters, 1]),
            "affixes": torch.zeros(2, self._num_affixes, dtype=torch.int64),
        }
        read = self._kept([*inputs])
        chosen = {name: inputs[name] for name in read}
        free: dict[str, dict[int, str]] = {name: {0: "batch"} for name in read}
        if "letters" in free:
            free["letters"][1] = "letters"
        if model.options.delay:
            chosen["ended"] = torch.tensor([False, True])
            free["ended"] = {0: "batch"}

        def run(*tensors: Tensor) -> list[Tensor]:
            fields = inputs | dict(zip([*chosen, *names], tensors, strict=True))
            words = fields["words"]
            x = model.features(
                Sentences(
                    words[:, None],
                    torch.ones_like(words),
                    torch.arange(words.shape[0])[:, None],
                    *(fields[name] for name in _OF_WORDS),
                )
            )
            if "ended" in fields:
                x = torch.where(fields["ended"][:, None, None], model.blank, x)
            states = states_of(model.layer, tensors[len(chosen) :])
            h, after = model.layer(x, states)
            return [model.scores(h).squeeze(1), *state_tensors(after)]

        return step_of(model, run, chosen, free)

    def parts(self) -> Parts:
        """Return embedding, layer and scores, and where more is read of words, what reads it."""
        model = self.model
        delay: int | None = model.options.delay
        modules = (model.layer, model.scores)
        embedding = model.embedding.modules_in_order
        if not model.options.letter_size and model.affixes is None and not delay:
            return Chain((*embedding, *modules), model.embedding.table.num_embeddings)
        letters = None
        if model.options.letter_size:
            letters = model.letter_embedding, model.letter_layer
        blank = model.blank if delay else None
        return WordChain(
            embedding, letters, model.affixes, self._num_affixes, blank, delay, modules
        )

    def beside(self) -> dict[str, Any]:
        """Return what a tag counts for the next one, (V + 1, V), row V the begin, of a CRF."""
        transitions = self.model.transitions
        return {} if transitions is None else {"transitions": transitions.tolist()}

    def batches(self, examples: Sequence[Any]) -> Iterator[dict[str, Tensor]]:
        """Yield the sentences of examples."""
        for indices in self.task.in_batches(examples, 16):
            batch = self.task.collate([examples[index].words for index in indices])
            yield {name: getattr(batch, name) for name in self._kept([*_NAMES])}

    def in_steps(
        self, inputs: Tensors, scores: Tensor
    ) -> tuple[dict[str, Tensor], list[tuple[dict[str, Tensor], Tensor]]]:
        """Return a word of each sentence at a time, and blanks after it."""
        lengths, delay = inputs["lengths"], self.model.options.delay or 0
        batch_size, num_steps, num_scores = scores.shape
        nothing = scores.new_full((batch_size, num_scores), torch.nan)
        expected = [nothing] * delay + expected_steps(scores, lengths)
        pairs = []
        for number, wanted in enumerate(expected):
            at = min(number, num_steps - 1)
            step = {"words": inputs["words"][:, at]}
            if self._kept(list(_OF_WORDS)):
                spelled = inputs["spellings"][:, at]
                step |= {name: inputs[name][spelled] for name in self._kept(list(_OF_WORDS))}
            if delay:
                step["ended"] = number >= lengths
            pairs.append((step, wanted))
        return start_of(self.model.layer, batch_size), pairs

    @property
    def _num_affixes(self) -> int:
        return int(self.task.collate([["a"]]).affixes.shape[1])

    def _kept(self, names: list[str]) -> list[str]:
        """Return those inputs that the model reads."""
        unread: set[str] = set()
        if not self.model.options.letter_size:
            unread |= {"letters", "letter_lengths"}
        if self.model.affixes is None:
            unread.add("affixes")
        if len(unread) == len(_OF_WORDS):
            unread.add("spellings")
        return [name for name in names if name not in unread]
