"""`unrolled bench`: the layers against their peers, on this machine.

What is measured is in `grid.py`, what is hoped for in `targets.py`; each contestant runs in a
worker process (`worker.py`), and `lines.py` gives them their turns. The files that a worker
reads before it knows its contestant import neither torch nor anything that brings it: two
libraries' thread pools in one process get in each other's way.
"""

from unrolled.benchmark.grid import Work, all_works
from unrolled.benchmark.lines import Line, Settings, measure
from unrolled.benchmark.report import as_markdown

__all__ = ["Line", "Settings", "Work", "all_works", "as_markdown", "measure"]
