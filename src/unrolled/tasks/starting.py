"""Whether a training can start from a run: the same model, reading data in the same way.

Not here: taking over its weights (`runs.py`).
"""

import shlex
from typing import Any

from unrolled.cells import Cell, CellSource
from unrolled.errors import OptionError, field
from unrolled.options import option_fields
from unrolled.tasks.task import Splits, Task
from unrolled.training import Run

__all__ = ["check_data_start", "check_start"]


def check_data_start(run: Run, before: Task[Any], data: Any) -> None:
    """Raise unless `data` are read as the run to start from needs it, and begin with nothing else.

    It comes before a task is made of what was fitted to that run's data.

    Args:
        run: To start from.
        before: Its task.
        data: Options of the data of the new one.
    """
    for each in option_fields(type(data)):
        mine, theirs = getattr(data, each.name), getattr(before.options.data, each.name)
        if not each.option.kept and mine is not None:
            message = f"{field(each.name)} and {field('start_from')} both say what to begin with"
            raise OptionError(message, "leave one of them out")
        if each.option.decides_vocabulary and mine != theirs:
            raise _differs(run, each.name, mine, theirs)


def check_start(run: Run, before: Task[Any], task: Task[Any], splits: Splits[Any]) -> None:
    """Raise unless the model of `task` is that of the run it starts from, and can learn its data.

    Dropout may differ, which changes how a model is trained, and not what it is; and neighbours,
    which are the new run's own.

    Args:
        run: To start from.
        before: Its task.
        task: The new one.
        splits: Its data.
    """
    mine, theirs = task.options.model, before.options.model
    for each in option_fields(type(mine)):
        if each.name in ("num_parameters", "neighbours") or "dropout" in each.name:
            continue
        one, other = getattr(mine, each.name), getattr(theirs, each.name)
        if not _same(one, other):
            raise _differs(run, each.name, one, other)
    task.check_start(splits)


def _same(one: Any, other: Any) -> bool:
    """Whether two values of an option are the same; cells of somebody's own if their code is."""
    if isinstance(one, Cell) and isinstance(other, Cell):
        mine, theirs = CellSource.of(one), CellSource.of(other)
        return (mine.text, mine.name) == (theirs.text, theirs.name)
    return bool(one == other)


def _differs(run: Run, name: str, one: Any, other: Any) -> OptionError:
    """Return the error of an option that is another one in the run to start from."""
    was, got = (each.name if isinstance(each, Cell) else each for each in (other, one))
    hint = f"{field(name)} {was}"
    if other is None:
        message = f"{field('start_from')}: {run.path} was trained without {field(name)}, got {got}"
        return OptionError(message, f"leave {field(name)} out")
    if isinstance(other, Cell):
        got = f"other equations under the name of {got}" if got == was else got
        hint = f"{field(name)} {shlex.quote(f'{run.cell_path}:{was}')}"
    elif isinstance(was, bool):
        hint = f"have {field(name)} as it is there"
    got = "nothing" if got is None else got
    message = f"{field('start_from')}: {run.path} has {field(name)} {was}, got {got}"
    return OptionError(message, hint)
