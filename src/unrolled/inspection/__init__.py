"""Looking inside: gates, states and candidates of recurrent layers, by name."""

from unrolled.inspection.record import trace
from unrolled.layers.recording import Record

__all__ = ["Record", "trace"]
