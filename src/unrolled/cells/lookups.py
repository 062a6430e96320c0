"""Where attributes of an object are looked for, and which of them code may read.

What they are is followed in `surroundings.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from unrolled.cells.known_kinds import (
    CONSTRUCTORS,
    MAKE_ANOTHER,
    READ_ANY,
    READ_FIELDS,
    is_dunder,
    is_special,
)

__all__ = ["Lookup", "MayRead", "Names"]


class Names(NamedTuple):
    """Where an attribute may be found: a mapping, and of whose names it is.

    A `mapping` of a class is made anew each time, so that its `owner` tells it apart.
    """

    mapping: Mapping[str, Any]
    owner: object
    is_users: bool  # else it is of a library, to which one adds no names
    is_class: bool = False


@dataclass
class Lookup:
    """An object whose attributes may be read.

    Args:
        name: Its name, for messages.
        places: Where Python looks for one.
        always: Those that are read under names which do not stand in the code.
        reads_all: Whether any of its own may be.
        elsewhere: What Python keeps in no mapping, and how to guard it.
    """

    name: str
    places: list[Names]
    always: set[str] = field(default_factory=set)
    reads_all: bool = False
    elsewhere: dict[str, Callable[[], object]] = field(default_factory=dict)
    followed: set[str] = field(default_factory=set)
    is_watched: bool = False


@dataclass
class MayRead:
    """The attributes that code may read, by their names.

    Args:
        names: Those that stand in it.
        operators: Those that its operators read.
        called: What may be called, by the name that it has itself.
        may_miss: Whether the code goes on where there is no such attribute.
    """

    names: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    may_miss: bool = False

    @property
    def any_name(self) -> bool:
        """Whether attributes may be read whose names do not stand in the code."""
        return bool((self.names | self.called) & READ_ANY)

    @property
    def how_many(self) -> tuple[int, int]:
        """How many names there are, and how many of what may be called: both only grow."""
        return len(self.names), len(self.called)

    def names_in(self, lookup: Lookup) -> set[str]:
        """Return which attributes of an object may be read; also some that it lacks."""
        names, any_name = self.names | lookup.always, self.any_name
        if self.called & READ_FIELDS:
            names.add("__dataclass_fields__")
        makes_others = bool((self.names | self.called) & MAKE_ANOTHER)
        for place in lookup.places:
            if place.is_class and place.is_users:
                special = {*filter(is_special, place.mapping)}
                names |= special if makes_others else special - CONSTRUCTORS
            if place.is_users and (any_name or (lookup.reads_all and not place.is_class)):
                names |= {key for key in place.mapping if not is_dunder(key)}
        if lookup.reads_all or any_name:
            names |= {key for key in lookup.elsewhere if not is_dunder(key)}
        may_miss = (
            self.may_miss
            or any_name
            or any("__getattr__" in p.mapping and (p.is_users or p.is_class) for p in lookup.places)
        )
        if may_miss:
            return names
        is_there = set().union(*(place.mapping for place in lookup.places))
        return names & (is_there | lookup.elsewhere.keys())
