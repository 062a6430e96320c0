"""What all estimators share: parameters that are a task's options, and a run without its folder.

    @takes_options_of(ClassifyTask, data=("tokens",))
    class SequenceClassifier(ClassifierMixin, Estimator): ...

A run is made in a folder that is gone afterwards; the estimator keeps the bytes of its files. So a
pickle is of plain parts, and whoever unpickles it goes through the checks of a loaded run.
"""

import inspect
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self, TypeVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from torch import nn

from unrolled.data.split import split
from unrolled.errors import RunError, render
from unrolled.options import OptionField, Options, option_fields
from unrolled.tasks import Loaded, Splits, Task, load, prepare
from unrolled.training import FEWEST

__all__ = ["Estimator", "takes_options_of"]

# Of a run that goes on, or is looked at while it is trained; and what reads files.
_OF_RUNS = {"seed", "start_from", "log_every", "checkpoint_every_seconds", "freeze_vectors"}
_KEPT = ("config.json", "vocabulary.json", "weights.safetensors", "cell.py")
C = TypeVar("C", bound="type[Estimator]")


class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A task's model with scikit-learn's face; `takes_options_of` gives it its parameters.

    Attributes:
        model_: The network with the weights that were kept, in eval mode.
        result_: How its training ended.
    """

    _task: ClassVar[type[Task[Any]]]
    _options: ClassVar[dict[type[Options], list[OptionField]]]

    def __init__(self, **parameters: Any) -> None:
        names = inspect.signature(type(self)).parameters
        for name in parameters.keys() - names.keys():
            raise TypeError(f"{type(self).__name__} has no parameter {name!r}")
        for name, parameter in names.items():
            setattr(self, name, parameters.get(name, parameter.default))

    def _train(self, examples: list[Any], classes: list[str] | None = None, **data: Any) -> None:
        """Train on examples of the task.

        Args:
            examples: All of them. Where `held_out` is None a tenth is held out, if that is enough
                to choose weights by.
            classes: Of each example, of which each part then gets its share.
            data: Options of the data beside those that are parameters.
        """
        of_data = self._chosen(self._task.option_classes.data, **data)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        held_out = of_data.fraction("held_out")
        if self.held_out is None and round(held_out * len(examples)) < FEWEST:
            held_out = 0.0  # so few choose no weights: they are learned from
        parts = _parts(len(examples), held_out, seed, classes)
        training, held_out_part = ([examples[index] for index in part] for part in parts)
        self._run(of_data, Splits(training, held_out_part, [], []), seed)

    def _chosen(self, kind: type[Options], **more: Any) -> Any:
        """Return options: those that are parameters, where texts may be numbers, and others."""
        chosen = {each.name: getattr(self, each.name) for each in self._options[kind]}
        for each in self._options[kind]:
            if each.type is tuple and isinstance(chosen[each.name], tuple | list):
                chosen[each.name] = tuple(map(str, chosen[each.name]))
        return kind(**chosen, **more)

    def _run(self, data: Any, splits: Splits[Any], seed: int) -> None:
        """Train on splits of the task, and keep the files of the run."""
        of = self._task.option_classes
        with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
            path = Path(folder) / "run"
            prepared = prepare(
                self._task,
                data,
                path,
                model=self._chosen(of.model),
                training=replace(self._chosen(of.training), seed=seed),
                splits=splits,
            )
            self.result_ = prepared.trainer.fit()
            prepared.calibrate()
            paths = (path / name for name in _KEPT)
            self._files = {each.name: each.read_bytes() for each in paths if each.exists()}
        self._loaded = _load(self._files)

    @property
    def model_(self) -> nn.Module:
        """The network with the weights that were kept, in eval mode."""
        return self._loaded.model

    def save(self, path: Path | str) -> None:
        """Write a run's folder, which `unrolled predict`, `serve` and `inspect` take.

        Args:
            path: Must not exist.

        Raises:
            RunError: It exists, or cannot be made.
        """
        folder = Path(path)
        try:
            folder.mkdir(parents=True)
            for name, content in self._files.items():
                (folder / name).write_bytes(content)
        except OSError as error:
            raise RunError(f"{folder}: {error.strerror}", "name another folder") from error

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_files")

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_loaded"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "_files"):
            self._loaded = _load(self._files)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy = type(self).__new__(type(self))
        copy.__setstate__(self.__getstate__())
        return copy


def takes_options_of(
    task: type[Task[Any]], *, data: Collection[str] = (), but: Collection[str] = ()
) -> Callable[[C], C]:
    """Give an estimator the options of a task as parameters: their names, defaults and help.

    Args:
        task: What is learned.
        data: Options of the data that mean something where no file is read.
        but: Options of the model and the training that do not.
    """

    def complete(cls: C) -> C:
        of = task.option_classes
        cls._task = task
        cls._options = {
            of.data: [each for each in option_fields(of.data) if each.name in (*data, "held_out")]
        }
        for kind in (of.model, of.training):
            left_out = {*_OF_RUNS, *but}
            cls._options[kind] = [e for e in option_fields(kind) if e.name not in left_out]
        fields = [each for kind in (of.model, of.training, of.data) for each in cls._options[kind]]
        parameters = [
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default)
            for each in fields
        ]
        seed = inspect.Parameter("random_state", inspect.Parameter.KEYWORD_ONLY, default=None)
        signature = inspect.Signature([*parameters, seed])

        def __init__(self: Any, **parameters: Any) -> None:
            Estimator.__init__(self, **parameters)

        self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        __init__.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what inspect asks
            parameters=[self, *signature.parameters.values()]
        )
        cls.__init__ = __init__  # type: ignore[method-assign]  # made here
        lines = [f"{each.name}: {render(each.option.help)}" for each in fields]
        lines.append("random_state: Seed of weights, split and order; None draws one.")
        text = (cls.__doc__ or "").rstrip()
        cls.__doc__ = "\n".join([text, "", "    Args:", *(f"        {line}" for line in lines)])
        return cls

    return complete


def _parts(
    count: int, held_out: float, seed: int, classes: list[str] | None
) -> tuple[list[int], list[int]]:
    """Return the training and the held-out part, which may be empty."""
    if held_out == 0:
        return list(range(count)), []
    return split(range(count), held_out=held_out, seed=seed, classes=classes)[:2]


def _load(files: dict[str, bytes]) -> Loaded:
    """Return the model of a run whose code is the caller's own."""
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return load(Path(folder), trust_code=True)
