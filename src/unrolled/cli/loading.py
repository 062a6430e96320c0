"""A run that a command uses: loaded, with what its user should know of it said on stderr."""

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.cli.program import program
from unrolled.cli.terminal import say
from unrolled.errors import render

if TYPE_CHECKING:
    from unrolled.tasks import Loaded

__all__ = ["load_run"]


def load_run(path: Path, *, trust_code: bool, device: str | None = None) -> "Loaded":
    """Return a run's task and model.

    Args:
        path: The run's folder.
        trust_code: As of `tasks.load`.
        device: The same.

    Raises:
        OptionError: As `tasks.load` does.
        RunError: As `tasks.load` does.
    """
    from unrolled.tasks import load

    loaded = load(path, trust_code=trust_code, device=device)
    for note in loaded.notes:
        say(f"note: {render(note, program=program())}", err=True)
    return loaded
