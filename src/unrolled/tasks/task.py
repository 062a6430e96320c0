"""What a task is: data, a model of them, what it is trained for, what it is worth.

One class for each sequence configuration, each in a folder of its own beside this file. Running a
task (folders, training, resuming) is in `runs.py`, the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from torch import Tensor, nn

from unrolled.data.files import fingerprint
from unrolled.data.source import Source
from unrolled.errors import OptionError, field
from unrolled.inspection import Subject
from unrolled.metrics import Metric, find_metric
from unrolled.networks.options import GenerateOptions, LayerOptions
from unrolled.options import Options, option_fields
from unrolled.tasks.graphs import Graphs
from unrolled.tasks.page_network import PageNetwork
from unrolled.training import LAST, Budget, Objective, Processes, TrainingOptions

__all__ = ["Example", "OptionClasses", "Splits", "Task", "TaskOptions"]

Example = TypeVar("Example")


@dataclass(frozen=True)
class Splits(Generic[Example]):
    """The examples of a data set.

    Args:
        training: Learned from.
        held_out: The best weights are chosen on these; may be empty.
        test: Measured once, at the end; may be empty.
        notes: What the reader counted or left out, in sentences; `errors.render` names the options.
    """

    training: Sequence[Example]
    held_out: Sequence[Example]
    test: Sequence[Example]
    notes: list[str]


class OptionClasses(NamedTuple):
    """The classes of a task's options: of its data, its model, its training and its predictions."""

    data: type[Options]
    model: type[LayerOptions]
    training: type[TrainingOptions]
    predict: type[Options]


@dataclass(frozen=True)
class TaskOptions:
    """All that was chosen of a task, each part of the class that the task names.

    Args:
        data: How the data are read.
        model: What the model is made of.
        training: How it is trained.
    """

    data: Any
    model: Any
    training: Any


class Task(ABC, Generic[Example]):
    """A sequence configuration on given data: its options, and what was fitted to its examples.

    Args:
        options: Of this task's classes.
    """

    name: ClassVar[str]
    """What config.json and the command line call it: the name of its folder."""
    option_classes: ClassVar[OptionClasses]
    """Of what can be chosen: the four classes in `options.py`."""
    vectors_width: int | None = None
    """Numbers of each vector that words begin with; None without vectors."""

    def __init__(self, options: TaskOptions) -> None:
        self.options = options

    @property
    @abstractmethod
    def metrics(self) -> Sequence[Metric]:
        """What the figures of `evaluate` mean; the first is the one that models are ranked by."""

    @classmethod
    @abstractmethod
    def files(cls, data: Any) -> list[Path]:
        """Return the files that hold the data: if one changes, a run cannot be resumed."""

    def fingerprints(self, splits: Splits[Example]) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return path, size and SHA-256 of each file that `splits` were read from."""
        return [fingerprint(path) for path in self.files(self.options.data)]

    @classmethod
    @abstractmethod
    def read(cls, options: TaskOptions) -> Splits[Example]:
        """Return the data set.

        Raises:
            DataError: A file that cannot be used; it names the file and the line.
        """

    @classmethod
    @abstractmethod
    def fit(cls, options: TaskOptions, splits: Splits[Example]) -> Self:
        """Return the task with the vocabularies, labels and scales of its training part."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return what was fitted, in types that JSON has."""

    @classmethod
    @abstractmethod
    def from_dict(cls, options: TaskOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""

    @abstractmethod
    def make_model(self, options: Any) -> nn.Module:
        """Return a new model for these data.

        Args:
            options: Of the model, which may differ from the task's own in the hidden size.
        """

    @property
    def budget(self) -> Budget | None:
        """How long models of these data are trained where nobody says it."""
        budget: Budget | None = self.options.training.budget
        return budget

    def metric(self, name: str | None) -> Metric:
        """Return the metric that weights are chosen by; the first one for None.

        Raises:
            OptionError: There is none of that name, or it does not rank.
        """
        ranking = [metric for metric in self.metrics if metric.better]
        if name is None:
            return ranking[0]
        metric = find_metric(ranking, name)
        if metric is None:
            known = ", ".join(each.name for each in ranking)
            message = f"{field('select')}: {self.name} has no metric {name!r} to choose by"
            raise OptionError(message, f"choose one of {known}, or {LAST}")
        return metric

    def check_start(self, splits: Splits[Example]) -> None:
        """Raise `DataError` if a model of this task, fitted to other data, cannot learn these."""

    def initialize(self, model: nn.Module, splits: Splits[Example]) -> None:
        """Set what the data tell of a new model's initial values: nothing.

        Whoever reads a file for it adds to the notes of `splits` what that gave.
        """

    @property
    def begins_with_a_file(self) -> bool:
        """Whether a new model takes numbers from a file that a run does not keep."""
        return self.vectors_width is not None

    @abstractmethod
    def objective(self, splits: Splits[Example], processes: Processes) -> Objective:
        """Return what a model is trained for. It draws from no global random generator."""

    def take_over(
        self,
        model: nn.Module,
        weights: Mapping[str, Tensor],
        splits: Splits[Example],  # noqa: ARG002
    ) -> None:
        """Have a new model begin with the weights of another run, instead of `initialize`."""
        model.load_state_dict(weights)

    def calibrate(self, model: nn.Module, held_out: Sequence[Example]) -> str | None:  # noqa: ARG002
        """Set by held-out examples what is not learned, in a model with the kept weights.

        Returns:
            What was set, in a sentence for the user; None where nothing is.
        """
        return None

    @abstractmethod
    def evaluate(self, model: nn.Module, examples: Sequence[Example]) -> dict[str, Any]:
        """Return all figures, and whatever else is worth keeping of the measurement.

        The model is in eval mode. `metrics` says what each number means.
        """

    def baselines(
        self,
        training: Sequence[Example],  # noqa: ARG002
        examples: Sequence[Example],  # noqa: ARG002
    ) -> dict[str, dict[str, Any]]:
        """Return the figures of trivial predictors on `examples`, by the predictors' names."""
        return {}

    @abstractmethod
    def read_examples(self, path: Path) -> tuple[Sequence[Example], list[str]]:
        """Return the examples of a file with answers, to evaluate on, and notes."""

    @abstractmethod
    def predict(self, model: nn.Module, source: Source, options: Any) -> Iterator[dict[str, Any]]:
        """Yield a prediction for each input of `source`, in types that JSON has, as they come.

        Args:
            model: In eval mode.
            source: What is read.
            options: Of the prediction.
        """

    @abstractmethod
    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return a prediction as text for people, without an end of line."""

    def heading(self, options: Any) -> str | None:  # noqa: ARG002
        """Return a line above predictions as text, where each is a row of a table; else None.

        Args:
            options: Of the prediction.
        """
        return None

    @property
    def own_source(self) -> Source | None:
        """What is predicted from where nothing is named: the run's own data; None for nothing."""
        return None

    def beginning(self, examples: Sequence[Example], num_steps: int) -> list[Example]:
        """Return the first examples, of so many steps together if there are as many, or more."""
        return list(examples[:num_steps])

    @property
    def commands(self) -> tuple[str, ...]:
        """What this task's runs are for, each after `unrolled`."""
        return "predict RUN FILE", "evaluate RUN FILE"

    @property
    def predict_options(self) -> tuple[str, ...]:
        """The options of a prediction that this task's model takes."""
        return tuple(each.name for each in option_fields(self.option_classes.predict))

    @property
    def medium(self) -> str | None:
        """What is read where that is not text or numbers: "picture" or "recording"."""
        return None

    @property
    def characters(self) -> str | None:
        """The characters that can be read, where others cannot; None where all can."""
        return None

    def readable(self, text: str) -> tuple[str, list[str]]:
        """Return a text without what cannot be read, and the different characters of that.

        Halves of surrogate pairs, which are no text, are named by the sign for such things, U+FFFD.
        """
        known = None if self.characters is None else frozenset(self.characters)

        def is_half(character: str) -> bool:
            return "\ud800" <= character <= "\udfff"

        different = dict.fromkeys(text)
        unknown = [c for c in different if is_half(c) or (known is not None and c not in known)]
        names = dict.fromkeys("\ufffd" if is_half(each) else each for each in unknown)
        return text.translate(dict.fromkeys(map(ord, unknown))), [*names]

    @property
    def steps_backward(self) -> int | None:
        """How many steps the gradient of the training goes back; None where it is all of them."""
        return None

    @property
    def prompt(self) -> str | None:
        """What a text begins with that a model writes by itself; None where it writes none."""
        return None

    def generate(
        self,
        model: nn.Module,  # noqa: ARG002
        prompt: str,  # noqa: ARG002
        options: GenerateOptions,  # noqa: ARG002
    ) -> Iterator[str]:
        """Return the text that a model writes after `prompt`, piece by piece as it is drawn.

        Raises:
            OptionError: Models of this task write no text by themselves.
        """
        message = f"a model of {self.name} writes no text by itself"
        raise OptionError(message, "choose a language model")

    def generate_many(
        self, model: nn.Module, prompt: str, options: Sequence[GenerateOptions]
    ) -> list[Iterator[str]]:
        """Return several texts that a model writes after `prompt`, each as `generate` gives it.

        Args:
            model: The model.
            prompt: What they begin with.
            options: Of each text; they differ in nothing but their seeds.

        Raises:
            OptionError: Models of this task write no text by themselves.
        """
        return [self.generate(model, prompt, each) for each in options]

    def graphs(self, model: nn.Module) -> Graphs[Example]:  # noqa: ARG002
        """Return what is exported of a model, which is in eval mode.

        Raises:
            OptionError: Models of this task are not exported.
        """
        message = f"models of {self.name} are not exported"
        raise OptionError(message, "torch.onnx.export writes its layers")

    def page_network(self, model: nn.Module) -> PageNetwork | None:  # noqa: ARG002
        """Return what describes a model to a page that computes it; None: no page computes it.

        Raises:
            NotInPageError: No page computes this one.
        """
        return None

    @abstractmethod
    def subject(self, model: nn.Module) -> Subject:
        """Return what reports and views look into: the model's layer, what it reads and says."""

    def describe(self, splits: Splits[Example]) -> str:
        """Return what is learned from, in a few words."""
        sizes = {"training": splits.training, "held out": splits.held_out, "test": splits.test}
        parts = [f"{len(part):,} {name}" for name, part in sizes.items() if part]
        return f"examples: {', '.join(parts)}"

    def sample(self, model: nn.Module, seed: int) -> str | None:  # noqa: ARG002
        """Return something to read from a model as it is now, without a trace on the training.

        None where a model writes nothing by itself.
        """
        return None
