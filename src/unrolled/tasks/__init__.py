"""The tasks: one class for each sequence configuration, found by the name that a run keeps.

Language models are trained on one long text and have their own way, in `lm/task.py`.
"""

from importlib import import_module
from typing import Any

from unrolled.errors import RunError
from unrolled.tasks.task import Splits, Task

__all__ = ["TASKS", "Splits", "Task", "task_class"]

TASKS = {
    "classify": "classify.task:ClassifyTask",
    "tag": "tag.task:TagTask",
    "translate": "translate.by_decoder:TranslateTask",
    "translate_delayed": "translate.by_delay:DelayedTranslateTask",
    "caption": "caption.task:CaptionTask",
    "toy": "toy.task:ToyTask",
}
"""Where the class of each task is: module and name."""


def task_class(name: str) -> type[Task[Any]]:
    """Return the class of the task called `name`.

    Raises:
        RunError: There is none of this name.
    """
    if name not in TASKS:
        raise RunError(f"unknown task {name!r}", f"this version knows lm, {', '.join(TASKS)}")
    module, _, class_name = TASKS[name].partition(":")
    task: type[Task[Any]] = getattr(import_module(f"unrolled.tasks.{module}"), class_name)
    return task
