"""What this program is called where it was started: commands that it prints can be pasted."""

import os
import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["program", "program_of_all"]

_NAME = "unrolled"
_OF_TORCHRUN = (
    ("--nnodes", "GROUP_WORLD_SIZE", "1"),
    ("--nproc-per-node", "LOCAL_WORLD_SIZE", "1"),
    ("--max-restarts", "TORCHELASTIC_MAX_RESTARTS", "0"),
)
"""Its options, the variables by which it tells what they were, and what they are by themselves."""
_OF_COMPUTERS = (
    ("--node-rank", "GROUP_RANK"),
    ("--master-addr", "MASTER_ADDR"),
    ("--master-port", "MASTER_PORT"),
)


def program() -> str:
    """Return the words that start this program again, from the same folder.

    The name alone where the shell would find this very program by it.
    """
    started = Path(sys.argv[0])
    if started.parts[-2:] == (_NAME, "__main__.py"):  # python -m unrolled
        return f"{_shortened(Path(sys.executable))} -m {_NAME}"
    return _shortened(started) if started.stem == _NAME else _NAME


def program_of_all() -> str:
    """Return the words that start this program in as many processes as now, by torchrun if need be.

    On several computers the number of each is that of its own: here it is that of this one. What
    has started several processes without torchrun is not known, and left to the user.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1" or "GROUP_WORLD_SIZE" not in os.environ:
        return program()
    beside = Path(sys.executable).with_name("torchrun")
    words = [
        _shortened(beside)
        if beside.exists()
        else f"{_shortened(Path(sys.executable))} -m torch.distributed.run"
    ]
    for option, variable, usual in _OF_TORCHRUN:
        if (value := os.environ.get(variable, usual)) != usual:
            words.append(f"{option} {shlex.quote(value)}")
    if os.environ["GROUP_WORLD_SIZE"] != "1":
        words += [f"{option} {os.environ[variable]}" for option, variable in _OF_COMPUTERS]
    # -m: where the script was started, torchrun would take it for Python; --: our options are ours
    return " ".join([*words, f"-m -- {_NAME}"])


def _shortened(path: Path) -> str:
    # links are not followed: an environment's python is a link to one that lacks its packages
    on_path = shutil.which(path.name)
    is_found = on_path is not None and Path(on_path).absolute() == path.absolute()
    return path.name if is_found else shlex.quote(str(path))
