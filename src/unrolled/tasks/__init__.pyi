from .registry import TASKS, find_task, options_of
from .runs import Loaded, Prepared, load, prepare, resume
from .task import ExamplesTask, Splits, Task, TaskOptions

__all__ = [
    "TASKS",
    "ExamplesTask",
    "Loaded",
    "Prepared",
    "Splits",
    "Task",
    "TaskOptions",
    "find_task",
    "load",
    "options_of",
    "prepare",
    "resume",
]
