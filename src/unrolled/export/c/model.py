"""What is exported as C or to a page: a run, or modules one after the other."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from unrolled.errors import OptionError, UnrolledError
from unrolled.export.c.parts import refuse_changed
from unrolled.export.c.program import Program
from unrolled.export.c.proof import Proof, Runs, prove_chain, prove_run
from unrolled.export.reading import content_of, examples_of
from unrolled.kernels import WeightFormat
from unrolled.tasks import Loaded, load
from unrolled.tasks.graphs import Chain, Graphs, Parts

__all__ = ["ExportedModules", "ExportedRun", "chain_of", "exported"]


@dataclass(frozen=True, eq=False)
class ExportedModules:
    """Modules one after the other, of which nothing is known but what they compute.

    Args:
        parts: They, in order.
    """

    parts: Chain

    def content(self) -> dict[str, Any] | None:
        """Return what turns data into numbers: nothing."""
        return None

    def typed(self) -> dict[str, Any]:
        """Return what a page reads beside what is typed: nothing."""
        return {}

    def prove(
        self,
        program: Program,
        weights: WeightFormat,
        running: AbstractContextManager[Runs] | None = None,
    ) -> Proof:
        """Compare a program of them with them, as `prove_chain` does."""
        return prove_chain(program, self.parts, weights, running)


@dataclass(frozen=True, eq=False)
class ExportedRun:
    """The model of a run.

    Args:
        loaded: The run.
        graphs: Of its model.
        parts: What that is made of.
    """

    loaded: Loaded
    graphs: Graphs[Any]
    parts: Parts

    def content(self) -> dict[str, Any] | None:
        """Return what turns data into numbers, in types that JSON has."""
        return content_of(self.loaded, self.graphs)

    def typed(self) -> dict[str, Any]:
        """Return what a page reads beside what is typed, in types that JSON has; or nothing.

        Raises:
            OptionError: The model reads what nobody types.
        """
        try:
            splits = self.loaded.read()
        except (UnrolledError, OSError):  # of data that are gone a page has no values to begin with
            return self.graphs.typed([])
        return self.graphs.typed(splits.test or splits.held_out)

    def prove(
        self,
        program: Program,
        weights: WeightFormat,
        running: AbstractContextManager[Runs] | None = None,
    ) -> Proof:
        """Compare a program of it with it on what was held out, as `prove_run` does."""
        return prove_run(program, self.graphs, examples_of(self.loaded), weights, running)


def exported(
    model: nn.Module | Sequence[nn.Module] | Loaded | Path | str, *, trust_code: bool
) -> ExportedModules | ExportedRun:
    """Return what is to be written of a model.

    Args:
        model: A run's folder, a loaded run, a layer, or modules one after the other.
        trust_code: Whether code that the run holds may be run.

    Raises:
        OptionError: It is nothing of this kind, its task has no parts, or it is in training mode.
        RunError: There is no such run.
    """
    if isinstance(model, Path | str):
        model = load(Path(model), trust_code=trust_code)
    if not isinstance(model, Loaded):
        return ExportedModules(chain_of(model))
    if model.model.training:
        message = f"{model.run.path}: its model is in training mode"
        raise OptionError(message, "call model.eval() first")
    graphs = model.task.graphs(model.model)
    return ExportedRun(model, graphs, graphs.parts())


def chain_of(model: Any) -> Chain:
    """Return modules one after the other as a chain."""
    modules = tuple(_one_by_one(model))
    if not modules or not all(isinstance(each, nn.Module) for each in modules):
        got = ", ".join(type(each).__name__ for each in modules) or "nothing"
        raise OptionError(f"export: takes a run, a layer or modules one after the other, got {got}")
    first = modules[0]
    num_tokens = first.num_embeddings if isinstance(first, nn.Embedding) else None
    return Chain(modules, num_tokens)


def _one_by_one(model: Any) -> Iterator[Any]:
    """Yield what runs one after the other."""
    if isinstance(model, nn.Sequential):
        refuse_changed(model)
    if not isinstance(model, (list, tuple, nn.Sequential)):
        yield model
        return
    for each in model:
        yield from _one_by_one(each)
