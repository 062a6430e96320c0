"""What this program is called where it was started: commands that it prints can be pasted."""

import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["program"]

_NAME = "unrolled"


def program() -> str:
    """Return the words that start this program again, from the same folder.

    The name alone where the shell would find this very program by it.
    """
    started = Path(sys.argv[0])
    if started.parts[-2:] == (_NAME, "__main__.py"):  # python -m unrolled
        return f"{_shortened(Path(sys.executable))} -m {_NAME}"
    return _shortened(started) if started.stem == _NAME else _NAME


def _shortened(path: Path) -> str:
    # links are not followed: an environment's python is a link to one that lacks its packages
    on_path = shutil.which(path.name)
    is_found = on_path is not None and Path(on_path).absolute() == path.absolute()
    return path.name if is_found else shlex.quote(str(path))
