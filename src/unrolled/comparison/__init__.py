"""A fair comparison of cells: every one trained as often, on the same data, at the same budget.

    plan.py         what is to be trained, and the commands that train it
    runner.py       the trainings, each a process of its own, several side by side
    gather.py       what came out, from the runs' folders
    metrics.py      which number decides
    statistics.py   what can be told from chance
    verdict.py      the same in plain sentences
    figures.py      learning curves
    page.py         all of it as one HTML page

The trainings are the command line's own (`unrolled train`, `unrolled resume`): of models nothing is
known here but the names of layers.
"""

from unrolled.comparison.gather import Comparison, gather
from unrolled.comparison.page import page, save_page, table
from unrolled.comparison.plan import Contestant, Plan, Trial, parse_contestants
from unrolled.comparison.runner import Failure, Runner
from unrolled.comparison.verdict import verdict

__all__ = [
    "Comparison",
    "Contestant",
    "Failure",
    "Plan",
    "Runner",
    "Trial",
    "gather",
    "page",
    "parse_contestants",
    "save_page",
    "table",
    "verdict",
]
