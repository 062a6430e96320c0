"""Options: each is written once, as a field, with all that there is to say of it.

    @options
    class ModelOptions(Options):
        panel = "Model"
        hidden_size: Annotated[int, Option("Units of each layer.", within="[1, inf)")] = 128

From the field come the argument in Python, the command's option, its help, the table in the
documentation, the check, and the name in messages. What several commands share is a base class;
`@options(hidden_size=64)` gives a class that inherits the field another default.

Not here: any option. Those are in the room that they belong to. This file imports no torch, so that
`unrolled train lm --help` need not wait for it.
"""

import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, dataclass_transform, overload

from unrolled.errors import render, require

__all__ = [
    "Interval",
    "Option",
    "OptionField",
    "Options",
    "absolute",
    "option_fields",
    "options",
]

T = TypeVar("T", bound=type)

_NOUNS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    tuple: "a list of texts",
}
_MOST = 2**63 - 1
"""Whole numbers have 64 bits in torch."""


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`, ends included or not.

    Example:
        >>> interval = Interval.parse("[0, 1)")
        >>> 0 in interval, 1 in interval, math.nan in interval
        (True, False, False)
        >>> print(interval, Interval.parse("[1, inf)"), Interval.parse("(0, inf)"), sep="; ")
        in [0, 1); at least 1; a number above 0
    """

    low: float
    high: float
    has_low: bool
    has_high: bool

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Return the interval that mathematicians write as `text`, such as "[0, 1)"."""
        low, high = text[1:-1].split(",")
        return cls(float(low), float(high), text[0] == "[", text[-1] == "]")

    def __contains__(self, number: float) -> bool:
        above = self.low <= number if self.has_low else self.low < number
        below = number <= self.high if self.has_high else number < self.high
        return above and below

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"at least {self.low:g}" if self.has_low else f"a number above {self.low:g}"
        ends = "[" if self.has_low else "(", "]" if self.has_high else ")"
        return f"in {ends[0]}{self.low:g}, {self.high:g}{ends[1]}"


@dataclass(frozen=True)
class Option:
    """What there is to say of an option beside its name, type and default.

    Args:
        help: A noun phrase or a sentence, for people who do not know this package.
        within: The interval that a number must lie in.
        choices: What a text may be.
        metavar: What a value is called in help; by default its type.
        absent: What holds where no value is given, for options that may be None; or what says it
            when told the class that the option is of. It and the help name options by `field`.
        flag: The name on the command line, if that is not the field's own; of a switch both names,
            "--lowercase/--keep-case".
        positional: Whether it stands on the command line without a name.
        convert: Makes of a value, whose type is right, the one that is kept.
        kind: The type on the command line, where the field takes more than can be typed.
        kept: Whether a run keeps it, to be trained on and loaded with; a file that a model only
            begins with is not.
        decided_by: The option that decides this one where it is given; not both can be typed.
        decides_vocabulary: Of data: whether what is fitted to them depends on it, so that a run can
            only start from one with the same.
    """

    help: str
    within: str | None = None
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    absent: str | Callable[[Any], str] = ""
    flag: str | None = None
    positional: bool = False
    convert: Callable[[Any], Any] | None = None
    kind: type | None = None
    kept: bool = True
    decided_by: str | None = None
    decides_vocabulary: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise `OptionError` unless `value` is legal."""
        if self.within is not None:
            interval = Interval.parse(self.within)
            require(value in interval, name, str(interval), value)
        if self.choices:
            require(value in self.choices, name, f"one of {', '.join(self.choices)}", repr(value))


@dataclass(frozen=True)
class OptionField:
    """A field of an options class that is an option.

    Args:
        name: The field's.
        option: What there is to say of it.
        type: int, float, bool, str or tuple (of texts); `object` for anything else.
        is_optional: Whether None is legal.
        default: The default of this class; `dataclasses.MISSING` if there is none.
        absent: What holds for None.
        panel: The heading that it stands under.
    """

    name: str
    option: Option
    type: type
    is_optional: bool
    default: Any
    absent: str
    panel: str

    @property
    def flag(self) -> str:
        """The name on the command line; for a positional one its metavar."""
        if self.option.positional:
            return self.option.metavar or self.name.upper()
        return self.option.flag or f"--{self.name.replace('_', '-')}"

    def checked(self, value: Any) -> Any:
        """Return the value that is kept of `value`.

        Raises:
            OptionError: A value of the wrong type, or out of its range.
        """
        if value is None and self.is_optional:
            return None
        if self.type is tuple and isinstance(value, list):  # as JSON has it
            value = tuple(value)
        if self.type is object:
            return value
        require(self._has_type(value), self.name, _NOUNS[self.type], repr(value))
        if self.type is int:
            require(abs(value) <= _MOST, self.name, f"at most {_MOST:,}", value)
        if self.option.convert is not None:
            value = self.option.convert(value)
        self.option.check(self.name, value)
        return value

    def _has_type(self, value: Any) -> bool:
        if self.type is tuple:
            return isinstance(value, tuple) and all(isinstance(each, str) for each in value)
        accepted = (int, float) if self.type is float else self.type
        return isinstance(value, accepted) and (self.type is bool) == isinstance(value, bool)


class Options:
    """The base of all options classes, which `@options` completes: frozen, by keyword, checked.

    A derived class may define `check`, for what concerns several options at once.

    Raises:
        OptionError: A value of the wrong type, or out of its range.
    """

    panel: ClassVar[str] = "Options"
    """The heading that the options stand under in help and documentation."""
    before: ClassVar[Mapping[str, Any]] = {}
    """Of options that older versions lacked, what held then, where that is not the default."""

    def __post_init__(self) -> None:
        for each in option_fields(type(self)):
            object.__setattr__(self, each.name, each.checked(getattr(self, each.name)))
        self.check()

    def check(self) -> None:
        """Raise `OptionError` if options exclude each other."""

    def to_dict(self) -> dict[str, Any]:
        """Return the options by name, their values as they are."""
        return {each.name: getattr(self, each.name) for each in option_fields(type(self))}

    def to_run(self) -> dict[str, Any]:
        """Return what a run keeps of the options, by name."""
        fields = [each for each in option_fields(type(self)) if each.option.kept]
        return {each.name: getattr(self, each.name) for each in fields}


@overload
def options(cls: T, /) -> T: ...
@overload
def options(**defaults: Any) -> Callable[[T], T]: ...
@dataclass_transform(kw_only_default=True, frozen_default=True)
def options(cls: Any = None, /, **defaults: Any) -> Any:
    """Make a class of options: a frozen dataclass whose docstring lists them.

    Args:
        cls: A class derived from `Options`.
        defaults: Other defaults for fields that it inherits, by name.
    """

    def complete(cls: Any) -> Any:
        bases = [base for base in cls.__mro__[:0:-1] if is_dataclass(base)]
        inherited = {each.name: each.type for base in bases for each in fields(base)}
        for name, default in defaults.items():
            cls.__annotations__[name] = inherited[name]
            setattr(cls, name, default)
        text = cls.__doc__
        cls = dataclass(frozen=True, kw_only=True)(cls)
        cls.__doc__ = _documented(text or cls.__name__, cls)
        return cls

    return complete if cls is None else complete(cls)


def option_fields(cls: type[Any]) -> list[OptionField]:
    """Return the options of a class made by `@options`, in order."""
    return list(_option_fields(cls))


def _option_fields(cls: type[Any]) -> Iterator[OptionField]:
    for each in fields(cls):
        if typing.get_origin(each.type) is not Annotated:
            continue
        annotation, *notes = typing.get_args(each.type)
        option = next((note for note in notes if isinstance(note, Option)), None)
        if option is None:
            continue
        kinds = set(typing.get_args(annotation)) or {annotation}
        if typing.get_origin(annotation) is tuple:
            kinds = {tuple}
        elif not isinstance(annotation, types.UnionType):
            kinds = {annotation}
        is_optional = types.NoneType in kinds
        (kind, *others) = sorted(kinds - {types.NoneType}, key=str)
        known = kind in (int, float, bool, str, tuple) and not others
        kind = kind if known else object
        absent = option.absent if isinstance(option.absent, str) else option.absent(cls)
        panel: str = cls.panel
        yield OptionField(each.name, option, kind, is_optional, each.default, absent, panel)


def absolute(paths: Any) -> Any:
    """Return paths that mean the same in any folder: a run may be resumed from another one.

    Args:
        paths: A text, or a tuple of texts.
    """
    if isinstance(paths, tuple):
        return tuple(map(absolute, paths))
    try:
        return str(Path(paths).resolve())
    except (OSError, RuntimeError):  # a link to itself: who reads it says so
        return str(Path(paths).absolute())


def _documented(text: str, cls: type[Any]) -> str:
    """Return a class's docstring with a line for each option, and what may be raised."""
    lines = [text.rstrip(), "", "Args:"]
    for each in option_fields(cls):
        option = each.option
        legal = f"One of {', '.join(option.choices)}." if option.choices else ""
        if option.within is not None:
            legal = f"{_capitalized(str(Interval.parse(option.within)))}."
        absent = f"None: {each.absent}." if each.is_optional and each.absent else ""
        words = " ".join(part for part in (option.help, legal, absent) if part)
        lines.append(f"    {each.name}: {render(words)}")
    if each_required := [e.name for e in option_fields(cls) if e.default is MISSING]:
        lines += ["", f"Without a default: {', '.join(each_required)}."]
    return "\n".join(lines)


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]
