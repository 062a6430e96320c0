"""What equations read that is not theirs: globals, closures, and what their helpers read.

A kernel or an exported program holds such values as constants. Here they are found, so that one can
ask later whether they are the same. It is an estimate from above, from the code and what its names
mean: whatever an attribute of a name that is read may be. What equations do is not known here.
"""

import builtins
import dis
import functools
import hashlib
import os
import sys
import sysconfig
from collections import ChainMap
from collections.abc import Callable, Iterable
from enum import Enum
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from traceback import walk_stack
from types import CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["BUILT_IN_FILES", "Surroundings", "is_of_equations", "line_in", "line_of_equations"]

_PACKAGE = Path(__file__).parents[1]
_FOREIGN = tuple(f"{folder}{os.sep}" for folder in (_PACKAGE, Path(torch.__file__).parent))
BUILT_IN_FILES = tuple(
    str(_PACKAGE / "cells" / f"{name}.py") for name in ("elman", "gru", "janet", "lstm")
)
"""The files of the cells of this package."""

_STANDARD = f"{sysconfig.get_path('stdlib')}{os.sep}"

_Get = Callable[[Any, object], object]  # a key and a default -> a value

_MISSING = object()
_MOST_VALUES = 1000
_PLAIN = (
    *(int, float, complex, bool, str, bytes, type(None), type(...), range, slice),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format),
)
_CONTAINERS = (list, tuple, dict, set, frozenset)
_READ_GLOBAL = {dis.opmap["LOAD_GLOBAL"], dis.opmap["LOAD_NAME"]}
_IMPORT = dis.opmap["IMPORT_NAME"]
# Code with one of these may read any attribute.
_READ_ANY = {"getattr", "hasattr", "vars", "__dict__", "attrgetter", "asdict", "fields"}
_CONSTRUCTORS = {"__init__", "__new__", "__post_init__"}
_NAMESPACES = ("SimpleNamespace", "Namespace")
_ALWAYS_READ = {"forward", "backward", "setup_context"}


def is_of_equations(file: str) -> bool:
    """Whether code of `file` may be that of equations: it is neither torch's nor ours."""
    return not file.startswith(("<frozen", *_FOREIGN)) or file in BUILT_IN_FILES


def is_standard(file: str) -> bool:
    """Whether `file` is of Python's own library."""
    return file.startswith(_STANDARD) and "site-packages" not in file


def line_of_equations() -> str:
    """Return " (cells.py, line 12)", the line of equations that runs now; "" outside of any."""
    return line_in(walk_stack(sys._getframe(1)))


def line_in(frames: Iterable[tuple[FrameType, int]]) -> str:
    """Return the line of equations in `frames`, the innermost first; "" if there is none."""
    for frame, line in frames:
        file = frame.f_code.co_filename
        if is_of_equations(file) and not is_standard(file):
            return f" ({Path(file).name}, line {line})"
    return ""


class Surroundings:
    """The values that a function reads from outside, and those that its helpers read.

    Args:
        function: The equations.

    Attributes:
        unknown: What is read whose changes cannot be seen, such as an iterator; by name.
        is_complete: Whether `digest` tells all of it: no tensor, and nothing that is changed in
            place.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.unknown: list[str] = []
        self.is_complete = True
        self._codes: dict[CodeType, bool] = {}  # and whether its globals are known
        self._names: set[str] = set()  # attributes that may be read
        self._spaces: list[_Space] = []
        self._reads: list[tuple[_Get, Any, object, str]] = []  # how, what, its value, its name
        self._contents: list[_Contents] = []
        self._texts: list[str] = []
        self._visited: dict[int, object] = {}  # alive, so that an id stays its own
        self._equations = function
        self._visit("its equations", function)
        self._follow_names()

    def unchanged(self) -> bool:
        """Whether all is as it was; a microsecond, for it is asked at every call of a layer."""
        for get, key, value, _ in self._reads:
            if get(key, _MISSING) is not value:
                break
        else:
            if not self._contents or all(map(_Contents.unchanged, self._contents)):
                return True
        return self.changed_name() is None

    def changed_name(self) -> str | None:
        """Return the name of something that is not as it was, None if all is."""
        for index, (get, key, before, name) in enumerate(self._reads):
            if not _is_equal(value := get(key, _MISSING), before):
                return name
            self._reads[index] = (get, key, value, name)
        return next((each.name for each in self._contents if not each.unchanged()), None)

    def digest(self, other: str = "") -> str:
        """Return what differs if code, a value or `other` does, 16 letters; of one Python."""
        text = "\0".join([str(sys.implementation.cache_tag), other, *self._texts])
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]

    def visit_frame(self, frame: FrameType) -> None:
        """Take in the code that runs in `frame`, if it was not found before."""
        code = frame.f_code
        if is_standard(code.co_filename) or self._codes.get(code):
            return
        if code.co_freevars and code not in self._codes:
            self.unknown.append(f"{code.co_name}, a function that was made elsewhere")
        self._visit_code(code.co_name, code, frame.f_globals)
        self._follow_names()

    # ---- What there is ---------------------------------------------------------------------------

    def _visit(self, name: str, value: object) -> None:
        if type(value) in _PLAIN or isinstance(value, Enum):
            self._texts.append(f"{name}={value!r}")
            if isinstance(value, str) and value.isidentifier():
                self._names.add(value)
            return
        if id(value) in self._visited:
            return
        self._visited[id(value)] = value
        if len(self._visited) > _MOST_VALUES:
            self.unknown = [f"more than {_MOST_VALUES} values"]
        elif isinstance(value, FunctionType):
            self._visit_function(name, value)
        elif isinstance(value, ModuleType):
            if value.__name__.partition(".")[0] != "torch":
                self._spaces.append(_Space(name, vars(value).get, vars(value), all_names=False))
        elif isinstance(value, type):
            self._visit_class(name, value, is_called=True)
        elif isinstance(value, CodeType):
            self._visit_code(name, value, {})  # its globals are known when it runs
        elif isinstance(value, Tensor):
            self.is_complete = False  # an operation that reads it is refused
        elif not self._visit_parts(name, value):
            self._visit_instance(name, value)

    def _visit_function(self, name: str, function: FunctionType) -> None:
        file = function.__code__.co_filename
        self._texts.append(f"{name}={function.__module__}.{function.__qualname__}")
        if (wrapped := getattr(function, "__wrapped__", None)) is not None:
            self._visit(f"{name}.__wrapped__", wrapped)
        if not is_of_equations(file) or is_standard(file):
            return
        own = functools.partial(getattr, function)
        self._read(name, own, ("__code__",), visit=False)
        if function is not self._equations:  # which are given all of their arguments
            self._read(name, own, ("__defaults__", "__kwdefaults__"), visit=False)
            self._visit(f"a default of {name}", function.__defaults__)
            defaults = function.__kwdefaults__ or {}
            self._read(f"a default of {name}", defaults.get, defaults)
        for variable, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            self._read("", functools.partial(_content, cell), (variable,))
        self._visit_code(name, function.__code__, function.__globals__)

    def _visit_code(self, name: str, code: CodeType, variables: dict[str, Any]) -> None:
        """Visit the global `variables` that the code reads; that inside of it, too."""
        self._texts.append(f"{name}: {_code_text(code)}")
        read: dict[str, None] = {}
        todo = [code]
        for each in todo:
            self._codes[each] = bool(variables)
            self._names.update(each.co_names)
            for constant in each.co_consts:
                if isinstance(constant, CodeType):
                    todo.append(constant)
                elif isinstance(constant, str) and constant.isidentifier():
                    self._names.add(constant)
            for instruction in dis.get_instructions(each):
                if instruction.opcode in _READ_GLOBAL and not (
                    each.co_filename in BUILT_IN_FILES and hasattr(builtins, instruction.argval)
                ):
                    read[instruction.argval] = None
                elif instruction.opcode == _IMPORT and instruction.argval in sys.modules:
                    self._visit(instruction.argval, sys.modules[instruction.argval])
        if read and variables:
            self._spaces.append(_Space("", variables.get, read, all_names=True))

    def _visit_class(self, name: str, value: type, *, is_called: bool) -> None:
        self._texts.append(f"{name}={value.__module__}.{value.__qualname__}")
        for base in value.__mro__:
            if not _is_library(base):
                methods = {
                    key
                    for key, attribute in vars(base).items()
                    if key.startswith("__")
                    and isinstance(attribute, FunctionType)
                    and (is_called or key not in _CONSTRUCTORS)
                }
                keys = (methods | _ALWAYS_READ) & vars(base).keys()
                space = _Space(name, vars(base).get, vars(base), all_names=False, always=keys)
                self._spaces.append(space)

    def _visit_parts(self, name: str, value: Any) -> bool:
        """Visit what makes up a value of a type of Python's own, and return whether it is one."""
        if isinstance(value, _CONTAINERS):
            self._visit_container(name, value)
        elif isinstance(value, functools.partial):
            self._visit(name, (value.func, value.args, value.keywords))
        elif isinstance(value, MethodType):
            self._visit(name, (value.__func__, value.__self__))
        elif isinstance(value, property):
            self._visit(name, value.fget)
        elif isinstance(value, classmethod | staticmethod):
            self._visit(name, value.__func__)
        elif isinstance(value, functools.cached_property):
            self._visit(name, value.func)
        elif _has(value, "__wrapped__"):
            self._visit(name, value.__wrapped__)
        elif type(value).__name__ in _DESCRIPTORS or type(value).__module__.startswith("typing"):
            pass
        elif callable(value) and type(value).__name__ in _C_FUNCTIONS:
            self._texts.append(f"{name}={getattr(value, '__qualname__', value.__name__)}")
            owner = getattr(value, "__self__", None)
            if owner is not None and not isinstance(owner, ModuleType | type):
                self._visit(name, owner)
        elif type(value).__module__ == "numpy":
            self._visit_numpy(name, value)
        else:
            return False
        return True

    def _visit_container(self, name: str, value: Any) -> None:
        if len(value) > _MOST_VALUES:
            self.unknown.append(f"{name}, of {len(value)} values")
        elif isinstance(value, dict):
            self._contents.append(_Contents(name, lambda: (*value.keys(), *value.values())))
            self.is_complete = False
            for key, part in value.items():
                self._visit(f"{name}[{key!r}]", part)
        else:
            if not isinstance(value, tuple | frozenset):
                self._contents.append(_Contents(name, lambda: tuple(value)))
                self.is_complete = False
            parts = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
            for index, part in enumerate(parts):
                self._visit(f"{name}[{index}]", part)
        if type(value) not in _CONTAINERS:
            self._visit_instance(name, value)

    def _visit_numpy(self, name: str, value: Any) -> None:
        if _has(value, "tobytes"):  # an array or a number
            self._contents.append(
                _Contents(name, lambda: (value.tobytes(), str(value.dtype), str(value.shape)))
            )
            self._texts.append(f"{name}={value.tobytes()!r} {value.dtype} {value.shape}")
            self.is_complete = False
        else:  # a function
            self._texts.append(f"{name}={value!r}")

    def _visit_instance(self, name: str, value: Any) -> None:
        kind = type(value)
        self._texts.append(f"{name}: {kind.__module__}.{kind.__qualname__}")
        package = kind.__module__.partition(".")[0]
        if package == "unrolled" and _has(value, "equations"):  # a cell
            self._visit(name, value.equations)
            return
        if package == "torch" and not isinstance(value, nn.Module):
            return
        is_plain = all(map(_is_of_python, kind.__mro__))
        attributes = getattr(value, "__dict__", None)
        slots = [slot for base in kind.__mro__ for slot in _slots_of(base)]
        if not is_plain or (attributes is None and not slots and _is_library(kind)):
            self.unknown.append(f"{name}, of the type {kind.__qualname__}")
            return
        self.is_complete = False
        self._visit_class(f"the type of {name}", kind, is_called=False)
        if attributes is not None:
            is_read_by_library = _is_library(kind) and kind.__name__ not in _NAMESPACES
            always = set(attributes) if is_read_by_library or isinstance(value, nn.Module) else ()
            of_class = {key for base in kind.__mro__ if not _is_library(base) for key in vars(base)}
            keys = ChainMap(attributes, dict.fromkeys(of_class))  # an object may get one of its own
            self._spaces.append(
                _Space(name, attributes.get, keys, all_names=False, always=always, is_object=True)
            )
        if slots:
            get = functools.partial(getattr, value)
            self._spaces.append(_Space(name, get, slots, all_names=False, is_object=True))

    # ---- Names -----------------------------------------------------------------------------------

    def _follow_names(self) -> None:
        """Visit what the names mean that may be read, until there are no new ones."""
        while not self.unknown:
            before = len(self._names), len(self._spaces)
            for space in list(self._spaces):
                self._follow_names_in(space)
            if before == (len(self._names), len(self._spaces)):
                break

    def _follow_names_in(self, space: "_Space") -> None:
        names = (
            {*space.keys} if space.all_names else {*space.always, *(self._names & {*space.keys})}
        )
        if self._names & _READ_ANY and not space.all_names:  # also what is not there yet
            names |= self._names | ({*space.keys} if space.is_object else set())
        new = sorted(names - space.followed)
        if not new:
            return
        space.followed.update(new)
        self._read(space.name, space.get, new)

    def _read(self, name: str, get: _Get, keys: Iterable[Any], *, visit: bool = True) -> None:
        """Note the values that `get` returns, and visit them."""
        for key in keys:
            value, value_name = get(key, _MISSING), f"{name}.{key}" if name else key
            self._reads.append((get, key, value, value_name))
            if visit and value is not _MISSING:
                self._visit(value_name, value)


class _Space:
    """A module, a class or an object: values by name, of which only those that are read count."""

    def __init__(
        self,
        name: str,
        get: Callable[..., object],
        keys: Iterable[str],
        *,
        all_names: bool,
        always: Iterable[str] = (),
        is_object: bool = False,
    ) -> None:
        self.name, self.get, self.keys, self.is_object = name, get, keys, is_object
        self.all_names, self.always = all_names, set(always)
        self.followed: set[str] = set()


class _Contents:
    """What an object holds that can be changed in place, and what that was."""

    def __init__(self, name: str, read: Callable[[], tuple[object, ...]]) -> None:
        self.name, self._read, self._values = name, read, read()

    def unchanged(self) -> bool:
        """Whether it is as it was."""
        now = self._read()
        return len(now) == len(self._values) and all(map(_is_equal, now, self._values))


_DESCRIPTORS = {"member_descriptor", "getset_descriptor"}
_C_FUNCTIONS = {
    *("builtin_function_or_method", "method_descriptor", "wrapper_descriptor", "method-wrapper"),
    *("classmethod_descriptor", "cython_function_or_method", "ufunc", "_ArrayFunctionDispatcher"),
}


def _content(cell: Any, _: str, default: object) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return default


def _is_equal(now: object, before: object) -> bool:
    """Whether two values are one object, or plain ones that are written the same way."""
    if now is before:
        return True
    return type(now) is type(before) and _is_plain(now) and repr(now) == repr(before)


def _is_plain(value: object) -> bool:
    if type(value) in (tuple, frozenset):
        return all(map(_is_plain, value))  # type: ignore[call-overload]  # it is iterable
    return type(value) in _PLAIN


def _has(value: object, name: str) -> bool:
    """Whether a value has an attribute; a `__getattr__` of a user's may raise anything."""
    try:
        return hasattr(value, name)
    except Exception:
        return False


def _is_library(kind: type) -> bool:
    """Whether a class is Python's, torch's, numpy's or ours."""
    package = kind.__module__.partition(".")[0]
    return package in sys.stdlib_module_names - {"__main__"} or package in (
        "torch",
        "numpy",
        "unrolled",
    )


def _is_of_python(kind: type) -> bool:
    """Whether all that an object of this class holds can be seen: it is not written in C."""
    if kind.__module__ in ("builtins", "types"):
        return kind in (object, *_CONTAINERS) or kind.__name__ == "SimpleNamespace"
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None) or ""
    return kind.__module__ not in sys.builtin_module_names and not file.endswith(
        tuple(EXTENSION_SUFFIXES)
    )


def _slots_of(kind: type) -> list[str]:
    slots = vars(kind).get("__slots__", ())
    slots = (slots,) if isinstance(slots, str) else slots
    return [slot for slot in slots if not slot.startswith("__")]


def _code_text(code: CodeType) -> str:
    """Return what code does, whatever the file that it stands in."""
    constants = [
        _code_text(constant)
        if isinstance(constant, CodeType)
        else repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)
        for constant in code.co_consts
    ]
    variables = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return f"{code.co_code.hex()} {constants} {variables}"
