"""A new folder of files, written whole or not at all."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from unrolled.data.files import write_atomically
from unrolled.errors import RunError, field
from unrolled.training import writing

__all__ = ["check_folder", "write_folder"]


def check_folder(folder: Path, option: str) -> None:
    """Raise `RunError` where a folder is already, or none can be made.

    Args:
        folder: Which is to be made.
        option: That names it.
    """
    hint = f"choose another {field(option)}"
    with writing(folder, option):
        if folder.exists():
            raise RunError(f"{folder}: exists", hint)
        if not folder.absolute().parent.is_dir():
            raise RunError(f"{folder}: there is no folder that it could be made in", hint)


def write_folder(folder: Path, files: Mapping[str, bytes], option: str) -> None:
    """Make a folder and what is in it; nothing is left of it where that fails.

    Args:
        folder: Which there is not.
        files: Their content by their names.
        option: That names the folder.

    Raises:
        RunError: It exists, or cannot be written.
    """
    with writing(folder, option):
        folder.mkdir()
        try:
            for name, content in files.items():
                with write_atomically(folder / name) as file:
                    file.write(content)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
