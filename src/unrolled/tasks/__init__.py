"""The tasks: one class for each sequence configuration, found by the name that a run keeps.

Language models are trained on one long text and have their own way, in `training`.
"""

from importlib import import_module
from typing import Any

from unrolled.errors import RunError
from unrolled.tasks.task import Splits, Task

__all__ = ["TASKS", "Splits", "Task", "task_class"]

TASKS = {
    "classify": "ClassifyTask",
    "tag": "TagTask",
    "translate": "TranslateTask",
    "translate_delayed": "DelayedTranslateTask",
    "caption": "CaptionTask",
    "toy": "ToyTask",
}
"""The class of each task, in the module of its name."""


def task_class(name: str) -> type[Task[Any]]:
    """Return the class of the task called `name`.

    Raises:
        RunError: There is none of this name.
    """
    if name not in TASKS:
        raise RunError(f"unknown task {name!r}", f"this version knows lm, {', '.join(TASKS)}")
    task: type[Task[Any]] = getattr(import_module(f"unrolled.tasks.{name}"), TASKS[name])
    return task
