"""The tasks by the names that commands and runs use: one line for each folder beside this file."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from unrolled.errors import RunError

if TYPE_CHECKING:
    from unrolled.tasks.task import Task

__all__ = ["TASKS", "find_task", "options_of"]

TASKS = {
    "lm": "LanguageModelTask",
    "classify": "ClassifyTask",
    "tag": "TagTask",
    "translate": "TranslateTask",
    "caption": "CaptionTask",
    "forecast": "ForecastTask",
    "multilabel": "MultilabelTask",
    "toy": "ToyTask",
}
"""The name of each task's class, in `task.py` of its folder."""


def find_task(name: str) -> "type[Task[Any]]":
    """Return the class of the task called `name`.

    Raises:
        RunError: There is none of this name.
    """
    if name not in TASKS:
        raise RunError(f"unknown task {name!r}", f"this version knows {', '.join(TASKS)}")
    task: type[Task[Any]] = getattr(import_module(f"unrolled.tasks.{name}.task"), TASKS[name])
    return task


def options_of(name: str) -> ModuleType:
    """Return the module with the options of the task called `name`, without loading torch."""
    return import_module(f"unrolled.tasks.{name}.options")
