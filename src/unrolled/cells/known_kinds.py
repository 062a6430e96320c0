"""The kinds of objects that equations may read, and the names by which Python's code reads them.

A closed list: where attributes and contents of each come from is known in `surroundings.py`.
"""

import operator
import re
import types
from collections import OrderedDict, defaultdict, deque
from typing import Any

import torch
from torch import nn

__all__ = [
    "ASK_THE_CLASS",
    "BASES",
    "CONSTANTS",
    "CONSTANTS_OF_TORCH",
    "CONSTRUCTORS",
    "CONTAINERS",
    "C_FUNCTIONS",
    "DESCRIPTIONS",
    "DESCRIPTORS",
    "FOLLOWED_OF_TORCH",
    "GENERIC",
    "HOOKS_OF_ALL_MODULES",
    "MAKE_ANOTHER",
    "NAMED_IN_C",
    "OF_CLASSES",
    "OF_ENUMS",
    "OF_FUNCTIONS",
    "OF_TORCH",
    "PLUMBING",
    "PURE_CLASSES",
    "READ_ANY",
    "READ_BY_NAME",
    "READ_FIELDS",
    "REFUSED",
    "TABLES",
    "is_dunder",
    "is_special",
    "is_written_in_c",
]

# Code with one of these may read any attribute, under names that do not stand in it.
READ_ANY = {
    *("getattr", "hasattr", "__getattribute__", "__getattr__", "__dict__", "attrgetter"),
    *("methodcaller", "asdict", "astuple", "fields", "format", "format_map"),
}
# Code with one of these looks at what is guarded nowhere, or what differs from call to call.
REFUSED = {
    *("__globals__", "__builtins__", "__closure__", "cell_contents", "__subclasses__"),
    *("f_globals", "f_locals", "f_builtins", "gi_frame", "ag_frame", "cr_frame", "tb_frame"),
    *("needs_input_grad", "set_materialize_grads"),
}
MAKE_ANOTHER = {"type", "__class__", "copy", "deepcopy", "replace"}  # object of the same class
READ_FIELDS = {"fields", "asdict", "astuple"}  # of a dataclass
ASK_THE_CLASS = {"isinstance", "issubclass", "__instancecheck__", "__subclasscheck__"}
# What Python keeps of a function or a class, but not in its `__dict__`.
OF_FUNCTIONS = ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__")
OF_CLASSES = ("__name__", "__qualname__", "__bases__")
CONSTRUCTORS = {"__init__", "__new__", "__post_init__"}
# What a class has that no operation of Python's reads by itself.
DESCRIPTIONS = {
    *("__module__", "__qualname__", "__name__", "__doc__", "__dict__", "__weakref__", "__slots__"),
    *("__annotations__", "__orig_bases__", "__parameters__", "__abstractmethods__", "__bases__"),
    *("__dataclass_fields__", "__dataclass_params__", "__static_attributes__", "__firstlineno__"),
    *("__classcell__", "__type_params__", "__annotate__", "__annotations_cache__"),
    *("__init_subclass__", "__set_name__", "__del__"),
}
OF_ENUMS = {"_member_map_", "_value2member_map_", "_member_names_"}
# By what torch calls a module or a gradient of the user's.
OF_TORCH = {
    *("forward", "backward", "setup_context", "apply", "__call__", "_call_impl"),
    *("_wrapped_call_impl", "_compiled_call_impl"),
}
READ_BY_NAME = {"SimpleNamespace", "Namespace", "Logger"}  # objects of Python's library

CONTAINERS = (list, tuple, dict, set, frozenset, deque, types.MappingProxyType)
TABLES = (OrderedDict, dict, types.MappingProxyType)
BASES = (
    *(object, list, tuple, dict, set, frozenset, OrderedDict, defaultdict, types.SimpleNamespace),
    *(int, float, complex, str, bytes),
)  # written in C, and known
CONSTANTS = (re.Pattern, types.GenericAlias, types.UnionType, torch.Size, torch.finfo, torch.iinfo)
CONSTANTS_OF_TORCH = {"OpOverload", "OpOverloadPacket", "ScriptFunction"}
DESCRIPTORS = {"member_descriptor", "getset_descriptor", "_tuplegetter"}
C_FUNCTIONS = {
    *("builtin_function_or_method", "method_descriptor", "wrapper_descriptor", "method-wrapper"),
    *("classmethod_descriptor", "cython_function_or_method", "ufunc", "_ArrayFunctionDispatcher"),
}
NAMED_IN_C = (operator.attrgetter, operator.itemgetter, operator.methodcaller)
# Packages whose classes keep nothing that may differ from call to call.
PURE_CLASSES = {
    *("builtins", "types", "typing", "collections", "enum", "abc", "functools", "itertools"),
    *("operator", "numbers", "fractions", "dataclasses", "contextlib", "string", "re", "copy"),
    *("argparse", "statistics", "logging", "warnings", "torch", "numpy", "unrolled"),
}
# Torch's code that is followed, but for how it asks whether somebody wants to see its functions.
FOLLOWED_OF_TORCH = ("torch.nn.functional", "torch.nn.modules.")
PLUMBING = {
    *("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"),
    *("handle_torch_function", "warnings", "__class__"),
}
HOOKS_OF_ALL_MODULES = {name for name in vars(nn.modules.module) if name.startswith("_global_")}
GENERIC: set[Any] = {kind.__getattribute__ for kind in BASES}


def is_dunder(key: str) -> bool:
    """Whether Python has a meaning of its own for names like this one."""
    return key.startswith("__") and key.endswith("__")


def is_special(key: str) -> bool:
    """Whether Python itself may read an attribute of a class."""
    return is_dunder(key) and key not in DESCRIPTIONS


def is_written_in_c(kind: type) -> bool:
    """Whether objects of a class may hold what cannot be seen from Python."""
    return any(
        getattr(value, "__objclass__", None) is kind
        and type(value).__name__ in ("wrapper_descriptor", "method_descriptor")
        for value in vars(kind).values()
    )
