"""What equations read from outside: globals, closures, objects, and what their helpers read.

A kernel or an exported program holds such values as constants. So everything that the code can
reach is followed from name to value, and each place that a value was found in is guarded: the
kernel is used as long as all hold what they held. It is an estimate from above, from the code and
what its names mean: whatever an attribute of a name that is read may be. What equations do is not
known here; `kernels.capturing` sees that they run no code but what was found here.

It is a closed list: of each kind of object below it is known where its attributes and contents
come from. An object of another kind is `unknown`, and so is code that looks into Python's own
workings (`__globals__`): such equations get no kernel, and run as they are written.
"""

import abc
import builtins
import enum
import functools
import hashlib
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.util import resolve_name
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.bytecode import all_codes, code_text, reads_of, words_in
from unrolled.cells.guards import MISSING, PLAIN, Absent, Contents, Guards, Keys
from unrolled.cells.known_kinds import (
    ASK_THE_CLASS,
    BASES,
    C_FUNCTIONS,
    CONSTANTS,
    CONSTANTS_OF_TORCH,
    CONSTRUCTORS,
    CONTAINERS,
    DESCRIPTIONS,
    DESCRIPTORS,
    FOLLOWED_OF_TORCH,
    GENERIC,
    HOOKS_OF_ALL_MODULES,
    NAMED_IN_C,
    OF_CLASSES,
    OF_ENUMS,
    OF_FUNCTIONS,
    OF_TORCH,
    PLUMBING,
    PURE_CLASSES,
    READ_BY_NAME,
    REFUSED,
    TABLES,
    is_special,
    is_written_in_c,
)
from unrolled.cells.lookups import Lookup, MayRead, Names
from unrolled.cells.origins import (
    BUILT_IN_FILES,
    is_changeable,
    is_library,
    is_library_class,
    is_of_equations,
    is_standard,
    package_of,
)

__all__ = ["Surroundings"]

_MOST_VALUES = 1000


class Surroundings:
    """The values that a function reads from outside, and those that its helpers read.

    Args:
        function: The equations.

    Attributes:
        unknown: What is read whose changes cannot be seen, such as an iterator; by name.
        is_complete: Whether `digest` tells all of it: no tensor, and nothing that is changed in
            place.
        unchanged: Says whether all is as it was; in less than a microsecond, for it is asked at
            every call of a layer.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._equations = function
        self.look_again()

    def look_again(self) -> None:
        """Find everything anew, as it is now."""
        self.unknown: list[str] = []
        self.is_complete = True
        self._guards = Guards()
        self._codes: set[tuple[CodeType, int]] = set()  # with the id of its globals
        self._may_read = MayRead()
        self._globals: set[int] = set()  # ids of those that functions have
        self._loose_codes: set[CodeType] = set()  # of no function, with variables of a dict
        self._lookups: list[Lookup] = []
        self._texts: list[str] = []
        self._visited: dict[int, object] = {}  # alive, so that an id stays its own
        self._bases: dict[int, type] = {}
        self._visit("its equations", self._equations)
        self._follow_names()
        if refused := sorted(self._may_read.names & REFUSED):
            self.unknown.append(refused[0])
        if (self._may_read.names | self._may_read.called) & ASK_THE_CLASS and any(
            isinstance(value, abc.ABCMeta) for value in self._visited.values()
        ):
            what = "what counts as one of an abstract class"
            self._guards.add_contents(Contents(what, lambda: (abc.get_cache_token(),)))
        self.unchanged: Callable[[], bool] = self._guards.written_out()

    def changed_name(self) -> str | None:
        """Return the name of something that is not as it was, None if all is."""
        return self._guards.changed_name()

    def digest(self, other: str = "") -> str:
        """Return what differs if code, a value or `other` does, 16 letters; of one Python."""
        text = "\0".join([str(sys.implementation.cache_tag), other, *self._texts])
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]

    def visit_frame(self, frame: FrameType) -> None:
        """Note code that runs although it was not found: what it reads is not guarded."""
        code, variables = frame.f_code, id(frame.f_globals)
        is_loose = code in self._loose_codes and variables not in self._globals
        if (code, variables) not in self._codes and not is_loose:
            self.unknown.append(f"{code.co_name}, which was found in a way that is not followed")

    def _reads_values(self) -> bool:
        """Whether it reads anything but functions, classes and modules."""
        return not self.is_complete or bool(self.unknown) or self._guards.hold_values()

    # ---- Code ------------------------------------------------------------------------------------

    def _visit_function(self, name: str, function: FunctionType) -> None:
        code, module = function.__code__, function.__module__ or ""
        self._texts.append(f"{name}={module}.{function.__qualname__}")
        is_theirs = is_of_equations(code.co_filename)
        if "__wrapped__" in vars(function):  # by torch.no_grad() or once_differentiable, too
            self._visit(f"{name}.__wrapped__", vars(function)["__wrapped__"])
        if is_theirs or is_standard(code.co_filename):
            self._visit_made_function(name, function)
        if is_theirs:
            self._guards.add_attribute(name, function, "__code__")
            if function is not self._equations:  # which are given all of their arguments
                for defaults in ("__defaults__", "__kwdefaults__"):
                    value = self._guards.add_attribute(name, function, defaults)
                    self._visit(f"a default of {name}", value)
            self._visit_code(name, code, function.__globals__, _builtins_of(function))
        elif module.startswith(FOLLOWED_OF_TORCH) and module != nn.modules.module.__name__:
            self._visit_code(name, code, function.__globals__, {}, but=PLUMBING)

    def _visit_made_function(self, name: str, function: FunctionType) -> None:
        """Visit what a function has besides its code; of Python's own, one made for the user."""
        attributes = vars(function)
        if "registry" in attributes and is_standard(function.__code__.co_filename):
            # of functools.singledispatch, which keeps the results of its lookups in its closure
            self._visit(f"{name}.registry", attributes["registry"])
            return
        if attributes:
            self._guards.add_attribute(name, function, "__dict__")
        place = Names(attributes, attributes, is_users=True)
        elsewhere = self._kept(name, function, OF_FUNCTIONS)
        self._lookups.append(Lookup(name, [place], elsewhere=elsewhere))
        variables = function.__code__.co_freevars
        for variable, cell in zip(variables, function.__closure__ or (), strict=True):
            if id(cell) not in self._visited:
                self._visited[id(cell)] = cell
                self._visit(variable, self._guards.add_attribute(variable, cell, "cell_contents"))

    def _visit_code(
        self,
        name: str,
        code: CodeType,
        variables: dict[str, Any],
        more: Mapping[str, Any],
        but: Collection[str] = (),
    ) -> None:
        """Visit the global `variables` that code reads, or `more`, and note its names."""
        self._texts.append(f"{name}: {code_text(code)}")
        self._globals.add(id(variables))
        self._codes.update((each, id(variables)) for each in all_codes(code))
        reads = reads_of(code, but)
        self._may_read.names |= reads.names
        self._may_read.operators |= reads.operators
        self._may_read.may_miss |= reads.may_miss
        for module, level in reads.imports:
            self._visit_import(module, level, variables, more)
        for key in reads.variables:
            if code.co_filename in BUILT_IN_FILES and hasattr(builtins, key):
                continue
            value = self._guards.add_item(key, variables, key, variables)
            if value is MISSING:
                value = self._guards.add_item(key, more, key, more)
            self._visit(key, value)

    def _visit_import(
        self, name: str, level: int, variables: dict[str, Any], more: Mapping[str, Any]
    ) -> None:
        """Visit the modules that an import statement gives."""
        if level:
            package = variables.get("__package__") or variables.get("__name__", "")
            try:
                name = resolve_name("." * level + name, package)
            except ImportError:  # as the statement itself will find
                return
        self._guards.add_item("__import__", more, "__import__", more)
        parts = name.split(".")
        self._may_read.names.update(parts)
        for count in range(1, len(parts) + 1):
            module = ".".join(parts[:count])
            self._visit(module, self._guards.add_item(module, sys.modules, module, sys.modules))

    # ---- What there is ---------------------------------------------------------------------------

    def _visit(self, name: str, value: Any) -> None:
        if value is MISSING:
            return
        if type(value) in PLAIN:
            self._texts.append(f"{name}={value!r}")
            self._may_read.names |= words_in(value)
            return
        if id(value) in self._visited:
            return
        self._visited[id(value)] = value
        if isinstance(value, type | FunctionType | BuiltinFunctionType):
            self._may_read.called.add(value.__name__)
        if len(self._visited) > _MOST_VALUES:
            self.unknown = [f"more than {_MOST_VALUES} values"]
        elif isinstance(value, FunctionType):
            self._visit_function(name, value)
        elif isinstance(value, ModuleType):
            self._visit_module(name, value)
        elif isinstance(value, type):
            self._visit_class(name, value, is_called=True)
        elif isinstance(value, CodeType):  # whose variables are in a dict, or made by what runs it
            self._visit_code(name, value, {}, vars(builtins))
            self._loose_codes.update(all_codes(value))
        elif isinstance(value, Tensor):
            self.is_complete = False  # an operation that reads it is refused
            self._look_up_in(name, value, [])
        elif not self._visit_parts(name, value):
            self._visit_instance(name, value)

    def _visit_module(self, name: str, module: ModuleType) -> None:
        is_users = not is_library(module.__name__)
        places = [Names(vars(module), module, is_users=is_users)]
        if not is_library_class(type(module)) and type(module) is not ModuleType:
            self._guards.add_type(name, module)
            places += self._places_in_class(type(module))
        always = {"__getattr__"} if is_users else set()
        self._lookups.append(Lookup(name, places, always=always))

    def _visit_class(self, name: str, kind: type, *, is_called: bool) -> None:
        self._texts.append(f"{name}={kind.__module__}.{kind.__qualname__}")
        is_users = not is_library_class(kind)
        if is_called and not is_users and package_of(kind.__module__) not in PURE_CLASSES:
            self.unknown.append(f"{name}, the class {kind.__qualname__}")
            return
        always = set(CONSTRUCTORS) if is_called and is_users else set()
        if issubclass(kind, nn.Module | torch.autograd.Function):
            always |= OF_TORCH
        if isinstance(kind, enum.EnumType):
            always |= OF_ENUMS
        places = self._places_in_class(kind)
        if is_users:
            self._guards.add_attribute(name, kind, "__mro__")
            self._guards.add_type(name, kind)
            if not is_library_class(type(kind)):
                places += self._places_in_class(type(kind))
        elsewhere = self._kept(name, kind, OF_CLASSES) if is_users else {}
        self._lookups.append(Lookup(name, places, always, elsewhere=elsewhere))

    def _kept(
        self, name: str, holder: object, attributes: Iterable[str]
    ) -> dict[str, Callable[[], object]]:
        """Return how to guard what Python keeps of `holder` in no mapping."""
        add = self._guards.add_attribute
        return {key: functools.partial(add, f"{name}.{key}", holder, key) for key in attributes}

    def _places_in_class(self, kind: type) -> list[Names]:
        """Return where attributes of a class are found: in it and its bases."""
        places = []
        for base in kind.__mro__:
            if is_changeable(base):
                is_users = not is_library_class(base)
                places.append(Names(vars(base), base, is_users, is_class=True))
                if is_users and id(base) not in self._bases:
                    self._bases[id(base)] = base
                    name = f"the methods of {base.__qualname__}"
                    self._guards.add_contents(Keys(name, vars(base), self._is_relevant))
        return places

    def _visit_parts(self, name: str, value: Any) -> bool:
        """Visit what makes up a value of a type of Python's own, and return whether it is one."""
        kind = type(value)
        if isinstance(value, CONTAINERS):
            self._visit_container(name, value)
        elif kind is functools.partial:
            parts = value.func, value.args, value.keywords
            self._guards.add_contents(
                Contents(name, lambda: (value.func, value.args, value.keywords))
            )
            self._visit(name, parts)
            self._look_up_in(name, value, [])
        elif kind is MethodType:
            self._visit(name, (value.__func__, value.__self__))
        elif isinstance(value, property | types.DynamicClassAttribute):
            self._visit(name, value.fget)
        elif isinstance(value, functools.cached_property):
            self._visit(name, value.func)
        elif isinstance(value, classmethod | staticmethod):
            self._visit(name, value.__func__)
        elif kind.__name__ == "_lru_cache_wrapper":
            if Surroundings(value.__wrapped__)._reads_values():  # what it remembers may be old
                self.unknown.append(f"{name}, which remembers what it has returned")
            self._visit(name, value.__wrapped__)
        elif kind in NAMED_IN_C:
            self._visit(name, value.__reduce__()[1])
            self._may_read.names.add("attrgetter")
        elif kind in CONSTANTS or kind.__module__.startswith("typing"):
            self._texts.append(f"{name}={value!r}")
        elif kind.__name__ in DESCRIPTORS:
            pass
        elif kind.__name__ in C_FUNCTIONS and callable(value):
            self._texts.append(f"{name}={getattr(value, '__qualname__', value.__name__)}")
            owner = getattr(value, "__self__", None)
            is_known = isinstance(owner, type) and is_library_class(owner)
            if owner is not None and not isinstance(owner, ModuleType) and not is_known:
                self._visit(name, owner)  # `apply` of an autograd.Function, from torch 2.15 on
        elif kind.__module__ == "numpy" and any(map(is_written_in_c, kind.__mro__[:-1])):
            self._visit_numpy(name, value)
        else:
            return False
        return True

    def _visit_container(self, name: str, value: Any) -> None:
        if len(value) > _MOST_VALUES:
            self.unknown.append(f"{name}, of {len(value)} values")
        elif isinstance(value, dict | types.MappingProxyType):
            # by the methods of the plain type, for the user's own may leave something out
            of: Any = next(kind for kind in TABLES if isinstance(value, kind))
            self._guards.add_contents(Contents(name, lambda: (*of.keys(value), *of.values(value))))
            self.is_complete = False
            for key, part in of.items(value):
                if part is not vars(builtins):  # which `eval` adds to what it is given
                    self._visit(name, key)
                    self._visit(f"{name}[{key!r}]", part)
        else:
            plain = next(kind for kind in CONTAINERS if isinstance(value, kind))
            if not isinstance(value, tuple | frozenset):
                self._guards.add_contents(Contents(name, lambda: tuple(plain.__iter__(value))))
                self.is_complete = False
            parts = list(plain.__iter__(value))
            parts = sorted(parts, key=repr) if isinstance(value, set | frozenset) else parts
            for index, part in enumerate(parts):
                self._visit(f"{name}[{index}]", part)
        if isinstance(value, defaultdict):
            self._visit(name, self._guards.add_attribute(name, value, "default_factory"))
        if not any(type(value) is kind for kind in (*CONTAINERS, OrderedDict, defaultdict)):
            self._visit_instance(name, value)

    def _visit_numpy(self, name: str, value: Any) -> None:
        if isinstance(value, type) or not hasattr(value, "tobytes"):
            self._texts.append(f"{name}={type(value)}")  # a function
            return
        if value.dtype.hasobject:
            self.unknown.append(f"{name}, an array of objects")
            return
        self._guards.add_contents(
            Contents(name, lambda: (value.tobytes(), str(value.dtype), str(value.shape)))
        )
        self._texts.append(f"{name}={value.tobytes()!r} {value.dtype} {value.shape}")
        self.is_complete = False

    def _visit_instance(self, name: str, value: Any) -> None:
        kind = type(value)
        self._texts.append(f"{name}: {kind.__module__}.{kind.__qualname__}")
        if package_of(kind.__module__) == "unrolled" and "equations" in vars(value):  # a cell
            self._visit(name, value.equations)
            return
        if package_of(kind.__module__) == "torch" and kind.__name__ in CONSTANTS_OF_TORCH:
            return
        is_seen = all(base in BASES or not is_written_in_c(base) for base in kind.__mro__)
        if not is_seen or kind.__getattribute__ not in GENERIC:
            self.unknown.append(f"{name}, of the type {kind.__qualname__}")
            return
        self.is_complete = False
        self._visit_class(f"the type of {name}", kind, is_called=False)
        self._look_up_in(name, value, self._places_in_class(kind))
        if isinstance(value, nn.Module):
            hooks = Names(vars(nn.modules.module), nn.modules.module, is_users=False)
            self._lookups.append(Lookup("torch", [hooks], always=HOOKS_OF_ALL_MODULES))

    def _look_up_in(self, name: str, value: Any, places: list[Names]) -> None:
        """Let attributes of `value` be read, which may also be found in the `places` of a class."""
        kind = type(value)
        self._guards.add_type(name, value)
        is_of_library = is_library_class(kind) and kind.__name__ not in READ_BY_NAME
        reads_all = is_of_library or isinstance(value, nn.Module | enum.Enum)
        slots: dict[str, Callable[[], object]] = {}
        for place in places:
            for descriptor in list(place.mapping.values()):
                if isinstance(descriptor, types.MemberDescriptorType):
                    slot = descriptor.__name__
                    slots[slot] = functools.partial(
                        self._guards.add_slot, f"{name}.{slot}", value, descriptor
                    )
        attributes = getattr(value, "__dict__", None)
        if attributes is not None:
            self._guards.add_attribute(name, value, "__dict__")
            places = [Names(attributes, attributes, is_users=True), *places]
        always = OF_TORCH if isinstance(value, nn.Module) else ()
        self._lookups.append(Lookup(name, places, set(always), reads_all, slots))

    # ---- Names -----------------------------------------------------------------------------------

    def _follow_names(self) -> None:
        """Visit what the names mean that may be read, until there are no new ones."""
        on_tensors = Lookup("Tensor", [Names(vars(Tensor), Tensor, is_users=False, is_class=True)])
        while not self.unknown:
            before = self._may_read.how_many, len(self._lookups)
            for lookup in list(self._lookups):
                self._follow(lookup)
            names = (self._may_read.names | self._may_read.operators) - DESCRIPTIONS
            self._follow_each(on_tensors, names & vars(Tensor).keys())
            if before == (self._may_read.how_many, len(self._lookups)):
                break
        absent = Absent("torch.Tensor", vars(Tensor))
        absent.names = (self._may_read.names | self._may_read.operators) - vars(Tensor).keys()
        self._guards.add_contents(absent)

    def _follow(self, lookup: Lookup) -> None:
        self._follow_each(lookup, self._may_read.names_in(lookup))
        if self._may_read.any_name and not lookup.is_watched:  # also for what is not there yet
            lookup.is_watched = True
            for place in lookup.places:
                if place.is_users and not place.is_class:
                    self._guards.add_contents(Keys(lookup.name, place.mapping, lambda _: True))

    def _follow_each(self, lookup: Lookup, names: set[str]) -> None:
        """Guard and visit attributes of these names, wherever Python looks for them."""
        for key in sorted(names - lookup.followed):
            lookup.followed.add(key)
            name = f"{lookup.name}.{key}"
            if key in lookup.elsewhere:
                self._visit(name, lookup.elsewhere[key]())
            for place in lookup.places:
                if key in place.mapping or place.is_users or not place.is_class:
                    self._visit(name, self._guards.add_item(name, place.mapping, key, place.owner))

    def _is_relevant(self, key: str) -> bool:
        """Whether it matters that a class has an attribute of this name."""
        return is_special(key) or self._may_read.any_name


def _builtins_of(function: Any) -> dict[str, Any]:
    variables: dict[str, Any] = function.__builtins__
    return variables
