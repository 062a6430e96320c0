"""A model as one file of plain C and its header, for machines that run nothing else.

`source.py` holds what a file is made of, `parts.py` what modules become in it, `interface.py` what
others see of it. `chain.py`, `words.py`, `decoder.py` and `forecaster.py` say in which order parts
run, `program.py` which of these it is, and `proof.py` what is computed by it.
"""

from unrolled.export.c.files import CModel, to_c

__all__ = ["CModel", "to_c"]
