"""What makes of a picture the steps of a sequence, as it is run."""

from dataclasses import dataclass

__all__ = ["Grid"]


@dataclass(frozen=True)
class Grid:
    """What makes of a picture a vector for each place.

    Args:
        side: S, pixels of each side.
        num_places: P.
        room: Floats that it needs.
        lines: Its calls, from `in`, [3][S][S] of uint8, to `out`, [P][M], in `room`.
    """

    side: int
    num_places: int
    room: int
    lines: tuple[str, ...]
