"""A fair comparison of cells: every one trained as often, on the same data, at the same budget.

    options.py      what can be chosen
    plan.py         what is to be trained, and the commands that train it
    origin.py       what each training was made from
    claims.py       who trains what, where several computers share the work
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

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
