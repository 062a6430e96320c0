"""What is put around a layer and leaves it on its kernel: stacks, ways around, starts, dropout."""

from unrolled.wrappers.dropout import LockedDropout, drop_recurrent_weights
from unrolled.wrappers.stacked import Stacked
from unrolled.wrappers.start import LearnedState
from unrolled.wrappers.ways_around import Highway, Residual
from unrolled.wrappers.zoneout import Zoneout

__all__ = [
    "Highway",
    "LearnedState",
    "LockedDropout",
    "Residual",
    "Stacked",
    "Zoneout",
    "drop_recurrent_weights",
]
