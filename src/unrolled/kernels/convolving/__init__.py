"""Stacks of causal convolutions by a kernel of their own: the temporal convolutional network.

Beside the stations that a cell passes: `network.c` is written by hand, and built, proved and cached
as the kernel of a cell is. What its blocks compute is in `reference.py`.
"""

from unrolled.kernels.convolving.choice import convolve_blocks, network_or_reason
from unrolled.kernels.convolving.piecewise import run_pieces
from unrolled.kernels.convolving.problem import BlockShape, BlockWeights, NetworkProblem
from unrolled.kernels.convolving.reference import window_and_past
from unrolled.kernels.convolving.stepper import NetworkStepper, network_stepper

__all__ = [
    "BlockShape",
    "BlockWeights",
    "NetworkProblem",
    "NetworkStepper",
    "convolve_blocks",
    "network_or_reason",
    "network_stepper",
    "run_pieces",
    "window_and_past",
]
