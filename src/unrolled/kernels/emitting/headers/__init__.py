"""The C that is the same for every cell. `kernel.h` includes all of it, in order."""

import re
from functools import cache
from pathlib import Path

__all__ = ["header_text"]


@cache
def header_text(name: str) -> str:
    """Return a header as a kernel holds it: without the lines that include the others."""
    text = Path(__file__).with_name(f"{name}.h").read_text(encoding="utf-8")
    return re.sub(r'^#include "[^"]*"\n', "", text, flags=re.MULTILINE)
