"""Values in places where others may change them, and whether they are still the same.

Asked at every call of a layer. So the question is written out as one Python function, which
compares by identity; only where that says no are plain values compared, and what a place holds now
is noted. What the places are, `surroundings` knows.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

__all__ = ["MISSING", "PLAIN", "Absent", "Contents", "Guards", "Keys", "is_same"]

MISSING = object()
"""What stands for a value that is not there."""

PLAIN = (
    *(int, float, complex, bool, str, bytes, range, slice),
    *(type(None), type(...), type(NotImplemented)),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format),
)
"""The types whose values cannot be changed, and are written differently if they are different."""


_ITEM = "{h}[{k}]"


class _Place(NamedTuple):
    """`read(holder, key)` gives the value; so does `expression`, of {h} and {k}, in less time."""

    name: str
    expression: str
    read: Callable[[Any, Any], object]
    holder: Any
    key: Any


class Guards:
    """Places with the values that they had when they were added."""

    def __init__(self) -> None:
        self._places: list[_Place] = []
        self._values: list[object] = []
        self._known: set[tuple[int, object]] = set()
        self._contents: list[Contents | Keys | Absent] = []

    def add_item(self, name: str, mapping: Mapping[str, Any], key: str, owner: object) -> object:
        """Guard `mapping[key]`, there or not, and return it; `owner` is whose names these are."""
        if (id(owner), key) not in self._known:
            self._known.add((id(owner), key))
            self._add(_Place(name, _ITEM, _item, mapping, key))
        return _item(mapping, key)

    def add_attribute(self, name: str, holder: Any, attribute: str) -> object:
        """Guard an attribute that Python itself keeps, and return it."""
        return self._add(_Place(name, f"{{h}}.{attribute}", _attribute, holder, attribute))

    def add_type(self, name: str, holder: Any) -> None:
        """Guard the class of an object."""
        self._add(_Place(name, "type({h})", lambda holder, _: type(holder), holder, None))

    def add_slot(self, name: str, holder: Any, descriptor: Any) -> object:
        """Guard the value in a slot of an object, and return it."""
        return self._add(_Place(name, "{h}({k})", _call, descriptor.__get__, holder))

    def add_contents(self, contents: "Contents | Keys | Absent") -> None:
        """Guard what something holds."""
        self._contents.append(contents)

    def hold_values(self) -> bool:
        """Whether a value is neither a function, a class nor a module, or something has parts."""
        return any(value is not None and _is_plain(value) for value in self._values) or any(
            isinstance(each, Contents) for each in self._contents
        )

    def changed_name(self) -> str | None:
        """Return the name of something that is not as it was, None if all is."""
        for index, (place, before) in enumerate(zip(self._places, self._values, strict=True)):
            value = place.read(place.holder, place.key)
            if not is_same(value, before):
                return place.name
            self._values[index] = value
        return next((each.name for each in self._contents if not each.unchanged()), None)

    def written_out(self) -> Callable[[], bool]:
        """Return a function that says whether all is as it was, for what was added so far."""
        scope: dict[str, Any] = {"v": self._values, "changed_name": self.changed_name}
        terms = []
        for i, (place, value) in enumerate(zip(self._places, self._values, strict=True)):
            scope[f"h{i}"], scope[f"k{i}"], scope[f"v{i}"] = place.holder, place.key, value
            key = repr(place.key) if type(place.key) is str else f"k{i}"
            if value is not MISSING:  # another value that is the same is noted in the list
                before = f"v[{i}]" if _is_plain(value) else f"v{i}"
                terms.append(f"{place.expression.format(h=f'h{i}', k=key)} is {before}")
            elif place.expression == _ITEM:
                terms.append(f"{key} not in h{i}")
            else:
                scope[f"r{i}"] = place.read
                terms.append(f"r{i}(h{i}, k{i}) is v{i}")
        for i, contents in enumerate(self._contents):
            scope[f"c{i}"] = contents
            terms.append(contents.expression.format(c=f"c{i}"))
        lines = [
            "def unchanged():",
            "    try:",
            f"        if {' and '.join(terms or ['True'])}:",
            "            return True",
            "    except Exception:",  # not there any more
            "        pass",
            "    return changed_name() is None",
        ]
        exec("\n".join(lines), scope)
        written_out: Callable[[], bool] = scope["unchanged"]
        return written_out

    def _add(self, place: _Place) -> object:
        self._places.append(place)
        self._values.append(place.read(place.holder, place.key))
        return self._values[-1]


class Contents:
    """What an object holds that can be changed in place, and what that was.

    Args:
        name: Its name, for messages.
        read: Returns it.
    """

    expression = "{c}.unchanged()"

    def __init__(self, name: str, read: Callable[[], tuple[object, ...]]) -> None:
        self.name, self._read, self._values = name, read, read()

    def unchanged(self) -> bool:
        """Whether it is as it was."""
        now, before = self._read(), self._values
        if len(now) != len(before):
            return False
        for value, old in zip(now, before, strict=True):
            if value is not old and not is_same(value, old):
                return False
        return True


class Keys:
    """The names in a class or an object, of which only a `relevant` one may come or go.

    Args:
        name: Its name, for messages.
        mapping: What has the names.
        relevant: Whether it matters that a name is there.
    """

    expression = "[*{c}.mapping] == {c}.keys"

    def __init__(
        self, name: str, mapping: Mapping[str, Any], relevant: Callable[[str], bool]
    ) -> None:
        self.name, self.mapping, self._relevant = name, mapping, relevant
        self.keys = [*mapping]

    def unchanged(self) -> bool:
        """Whether no relevant name has come or gone."""
        keys = [*self.mapping]
        if keys == self.keys:
            return True
        if any(map(self._relevant, set(keys) ^ set(self.keys))):
            return False
        self.keys = keys
        return True


class Absent:
    """Names that torch's class of tensors has not: nor has it any as long as it has as many names.

    Args:
        name: Its name, for messages.
        mapping: The attributes of the class, of which none is ever taken away.
    """

    expression = "len({c}.mapping) == {c}.count"

    def __init__(self, name: str, mapping: Mapping[str, Any]) -> None:
        self.name, self.mapping, self.count = name, mapping, len(mapping)
        self.names: set[str] = set()

    def unchanged(self) -> bool:
        """Whether none of the names has come."""
        if any(name in self.mapping for name in self.names):
            return False
        self.count = len(self.mapping)
        return True


def _item(holder: Any, key: Any) -> object:
    return holder.get(key, MISSING)


def _attribute(holder: Any, key: Any) -> object:
    try:
        return getattr(holder, key)
    except (AttributeError, ValueError):  # the latter of an empty cell
        return MISSING


def _call(function: Any, argument: Any) -> object:
    try:
        return function(argument)
    except AttributeError:  # an empty slot
        return MISSING


def is_same(now: object, before: object) -> bool:
    """Whether two values are one object, or plain ones that are written the same way."""
    if now is before:
        return True
    return type(now) is type(before) and _is_plain(now) and repr(now) == repr(before)


def _is_plain(value: object) -> bool:
    if type(value) in (tuple, frozenset):
        return all(map(_is_plain, value))  # type: ignore[call-overload]  # it is iterable
    return type(value) in PLAIN
