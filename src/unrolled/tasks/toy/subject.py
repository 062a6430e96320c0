"""The network of a toy problem as it is looked into: the inputs, and its answer at each step."""

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor

from unrolled.data.source import Source
from unrolled.inspection.subject import InputForm, Passage, Subject
from unrolled.tasks.toy.lines import format_inputs, parse_inputs
from unrolled.tasks.toy.model import ToyModel
from unrolled.tasks.toy.problem import Toy

__all__ = ["ToySubject"]


class ToySubject(Subject):
    """A network and its problem.

    Args:
        model: In eval mode.
        toy: The problem.
    """

    is_text = False

    def __init__(self, model: ToyModel, toy: Toy) -> None:
        super().__init__(model, model.layer, "step", toy.symbols)
        self.toy = toy

    @property
    def form(self) -> InputForm:
        """A symbol for each step, or a value, with a star if it is marked."""
        symbols = self.toy.symbols
        return InputForm("symbols", symbols) if symbols else InputForm("values")

    def example(self) -> str:
        """Return the first example of the problem, one that is never learned from."""
        inputs, _ = self.toy.example(0)
        return format_inputs(self.toy, inputs)

    def read(self, source: Source) -> Iterator[Passage]:
        """Yield each line of inputs, as `unrolled predict` reads it."""
        for number, line in enumerate(source.lines(), 1):
            inputs = parse_inputs(self.toy, line, f"{source.name}, line {number}")
            yield self.passage(torch.from_numpy(inputs))

    def passages(self, examples: Iterable[object]) -> Iterator[Passage]:
        """Yield examples."""
        yield from (self.passage(cast(Tensor, vars(example)["inputs"])) for example in examples)

    @torch.no_grad()
    def passage(self, inputs: Tensor) -> Passage:
        """Return how inputs are read, (T,) symbols or (T, I) values."""
        if self.toy.symbols:
            pieces = [self.toy.symbols[symbol] for symbol in inputs.tolist()]
        else:
            pieces = [f" {' '.join(f'{value:.2g}' for value in step)}" for step in inputs.tolist()]
        features = cast(ToyModel, self.model).features(inputs[None])[0]
        return Passage(tuple(pieces), features)

    def readout(self, output: Tensor) -> Tensor | None:
        """Return the scores of the symbols; None for a value."""
        return cast(ToyModel, self.model).answer(output) if self.toy.symbols else None
