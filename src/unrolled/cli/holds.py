"""Values to hold as they are typed: `f=1`, `c:3,7-9=0`, `h@40-=0`."""

import re

from unrolled.errors import OptionError, field
from unrolled.layers import Hold

__all__ = ["holds_of"]

_FORM = re.compile(
    r"(?P<name>\w+)(?::(?P<units>[\d,\-]+))?(?:@(?P<steps>\d+(?:-\d*)?))?=(?P<to>.+)"
)

_MOST_UNITS = 1_000_000  # more than any layer has: they are listed


def holds_of(texts: list[str]) -> dict[str, list[Hold]]:
    """Return what is to be held, by name.

    Args:
        texts: NAME[:UNITS][@STEPS]=NUMBER each; units "3,7-9", steps "40", "40-" or "40-50".

    Raises:
        OptionError: One of them means nothing.
    """
    holds: dict[str, list[Hold]] = {}
    for text in texts:
        match = _FORM.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            units = None if match["units"] is None else _units(match["units"])
            hold = Hold(float(match["to"]), units=units, steps=_steps(match["steps"]))
        except ValueError:
            raise OptionError(
                f"{field('hold')} must be NAME[:UNITS][@STEPS]=NUMBER, got {text!r}",
                "f=1 holds a gate open, c:3,7-9=0 silences units, h@40-=0 from step 40 on",
            ) from None
        holds.setdefault(match["name"], []).append(hold)
    return holds


def _units(text: str) -> list[int]:
    units: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if int(last if dash else first) >= _MOST_UNITS:
            raise ValueError
        units |= dict.fromkeys(range(int(first), int(last if dash else first) + 1))
    if not units:
        raise ValueError
    return [*units]


def _steps(text: str | None) -> slice | None:
    """Return the steps of "40", "40-" or "40-50", the last of which counts too."""
    if text is None:
        return None
    first, dash, last = text.partition("-")
    stop = int(first) + 1 if not dash else int(last) + 1 if last else None
    return slice(int(first), stop)
