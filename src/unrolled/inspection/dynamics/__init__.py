"""A recurrent layer as a map of its state: where it stands still, and how fast states part.

s_t = F(s_{t-1}, x_t)      s: all states of all layers of a stack, side by side, D numbers
"""

from unrolled.inspection.dynamics.lyapunov import Lyapunov, lyapunov_exponents
from unrolled.inspection.dynamics.stationary import FixedPoints, fixed_points

__all__ = ["FixedPoints", "Lyapunov", "fixed_points", "lyapunov_exponents"]
