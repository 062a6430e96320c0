from .examples_task import ExamplesTask
from .loading import Loaded, from_pretrained, load
from .registry import TASKS, find_task, options_of
from .runs import Prepared, prepare, resume
from .task import Splits, Task, TaskOptions

__all__ = [
    "TASKS",
    "ExamplesTask",
    "Loaded",
    "Prepared",
    "Splits",
    "Task",
    "TaskOptions",
    "find_task",
    "from_pretrained",
    "load",
    "options_of",
    "prepare",
    "resume",
]
