"""What may change between the capture of a cell and its use, in many ways of Python.

Each case declares a cell and says how to change what it reads. Either the change is seen, so that
the equations are captured again, or they had no kernel in the first place. That a cell then is
right, `test_what_a_cell_says` shows.
"""

import abc
import array
import builtins
import collections
import contextlib
import contextvars
import copy
import ctypes
import dataclasses
import decimal
import enum
import fractions
import functools
import importlib
import inspect
import logging
import math
import operator
import platform
import sys
import threading
import types
import typing
import warnings
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as f

import unrolled
from unrolled.cells.surroundings import Surroundings
from unrolled.kernels import using_path
from unrolled.kernels.capturing import EquationsError, capture

SEEN, LOOP = "seen", "loop"
CASES = {}


def case(expected):
    """Add a function to the cases: of `patch`, it returns an equation and how to change it."""

    def add(function):
        CASES[function.__name__] = (function, expected)
        return function

    return add


def cell_of(equation):
    """Return a cell whose new state is tanh of `equation` of (a, h), where a = x.a + u.a."""

    @unrolled.cell(gates="a")
    def cell(x, u, h):
        return dict(h=torch.tanh(equation(x.a + u.a, h)))

    return cell


def captured(cell):
    """Return what a cell reads, once it was captured; why it was not, if it was not."""
    surroundings = Surroundings(cell.equations)
    try:
        capture(cell, surroundings)
    except EquationsError as error:
        return str(error)
    return surroundings


def results_of(cell, needs_input=True):
    """Return output and gradients, as written."""
    torch.manual_seed(0)
    layer = unrolled.Recurrent(cell, 3, 4)
    x = torch.randn(3, 2, 3, requires_grad=needs_input)
    with using_path("reference"):
        output, _ = layer(x)
    sources = [*([x] if needs_input else []), *layer.parameters()]
    return [output, *torch.autograd.grad(output.sum(), sources, allow_unused=True)]


def are_equal(first, second):
    pairs = zip(first, second, strict=True)
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


# ---- Attributes ----------------------------------------------------------------------------------


class Base:
    factor = 0.5

    @classmethod
    def scaled(cls, y):
        return y * cls.factor

    def of_self(self, y):
        return y * self.factor


@case(SEEN)
def subclass_that_inherited(patch):
    class Sub(Base):
        pass

    return lambda a, h: a * Sub.factor, lambda: setattr(Sub, "factor", 2.0)


@case(SEEN)
def subclass_by_a_classmethod(patch):
    class Sub(Base):
        pass

    return lambda a, h: Sub.scaled(a), lambda: setattr(Sub, "factor", 2.0)


@case(SEEN)
def subclass_by_an_object(patch):
    class Sub(Base):
        pass

    thing = Sub()
    return lambda a, h: thing.of_self(a), lambda: setattr(Sub, "factor", 2.0)


@case(SEEN)
def class_between(patch):
    class Middle(Base):
        pass

    class Sub(Middle):
        pass

    return lambda a, h: a * Sub.factor, lambda: setattr(Middle, "factor", 2.0)


@case(SEEN)
def bases(patch):
    class Other:
        factor = 2.0

    class First:
        factor = 0.5

    class Sub(First):
        pass

    return lambda a, h: a * Sub.factor, lambda: setattr(Sub, "__bases__", (Other,))


@case(SEEN)
def attribute_of_a_function(patch):
    def helper(y):
        return y * helper.factor

    helper.factor = 0.5
    return lambda a, h: helper(a), lambda: setattr(helper, "factor", 2.0)


@case(SEEN)
def attributes_of_a_function_replaced(patch):
    def helper(y):
        return y * helper.factor

    helper.factor = 0.5
    return lambda a, h: helper(a), lambda: setattr(helper, "__dict__", {"factor": 2.0})


@case(SEEN)
def attribute_of_a_function_that_was_missing(patch):
    def helper(y):
        return y * getattr(helper, "factor", 0.5)

    return lambda a, h: helper(a), lambda: setattr(helper, "factor", 2.0)


@case(SEEN)
def attribute_that_was_missing_by_try(patch):
    space = SimpleNamespace()

    def helper(y):
        try:
            return y * space.factor
        except AttributeError:
            return y

    return lambda a, h: helper(a), lambda: setattr(space, "factor", 2.0)


@case(SEEN)
def name_of_a_function(patch):
    table = {"first": 0.5, "second": 2.0}

    def first():
        pass

    return lambda a, h: a * table[first.__name__], lambda: setattr(first, "__name__", "second")


@case(SEEN)
def annotation_of_a_function(patch):
    def helper(scale: 0.5):
        pass

    def change():
        helper.__annotations__["scale"] = 2.0

    return lambda a, h: a * helper.__annotations__["scale"], change


@case(SEEN)
def default_in_a_keyword(patch):
    def helper(y, *, scale=0.5):
        return y * scale

    return lambda a, h: helper(a), lambda: helper.__kwdefaults__.update(scale=2.0)


@case(SEEN)
def class_of_an_object(patch):
    class One:
        factor = 0.5

    class Two:
        factor = 2.0

    thing = One()
    return lambda a, h: a * thing.factor, lambda: setattr(thing, "__class__", Two)


@case(SEEN)
def attributes_of_an_object_replaced(patch):
    thing = Base()
    thing.scale = 0.5
    return lambda a, h: a * thing.scale, lambda: setattr(thing, "__dict__", {"scale": 2.0})


@case(SEEN)
def mangled_slot(patch):
    class Slots:
        __slots__ = ("__factor",)

        def __init__(self, factor):
            self.__factor = factor

        def apply(self, y):
            return y * self.__factor

    thing = Slots(0.5)
    return lambda a, h: thing.apply(a), lambda: thing.__init__(2.0)


@case(SEEN)
def slot_of_a_base(patch):
    class Slots:
        __slots__ = ("factor",)

    class Sub(Slots):
        pass

    thing = Sub()
    thing.factor = 0.5
    return lambda a, h: a * thing.factor, lambda: setattr(thing, "factor", 2.0)


@case(SEEN)
def metaclass_property(patch):
    class Meta(type):
        scale = 0.5

        @property
        def factor(cls):
            return cls.scale

    class Sub(metaclass=Meta):
        pass

    return lambda a, h: a * Sub.factor, lambda: setattr(Meta, "scale", 2.0)


@case(SEEN)
def metaclass_attribute_of_an_objects_class(patch):
    class Meta(type):
        scale = 0.5

    class Sub(metaclass=Meta):
        pass

    thing = Sub()
    return lambda a, h: a * type(thing).scale, lambda: setattr(Meta, "scale", 2.0)


@case(SEEN)
def operator_of_a_class(patch):
    class Number:
        def __rmul__(self, y):
            return y * 0.5

    number = Number()
    return lambda a, h: a * number, lambda: setattr(Number, "__rmul__", lambda self, y: y * 2)


@case(SEEN)
def truth_of_an_object(patch):
    class Flag:
        pass

    flag = Flag()
    return (
        lambda a, h: a if flag else a * 2,
        lambda: setattr(Flag, "__bool__", lambda self: False),
    )


@case(SEEN)
def getattr_of_a_class(patch):
    class Settings:
        def __getattr__(self, name):
            return 0.5

    settings = Settings()
    return lambda a, h: a * settings.factor, lambda: setattr(settings, "factor", 2.0)


@case(SEEN)
def descriptor(patch):
    class Descriptor:
        scale = 0.5

        def __get__(self, thing, kind):
            return self.scale

    class Owner:
        factor = Descriptor()

    return lambda a, h: a * Owner.factor, lambda: setattr(Descriptor, "scale", 2.0)


@case(SEEN)
def cached_property(patch):
    class Owner:
        @functools.cached_property
        def factor(self):
            return 0.5

    thing = Owner()
    return lambda a, h: a * thing.factor, lambda: setattr(thing, "factor", 2.0)


@case(SEEN)
def attribute_of_a_tensor(patch):
    tensor = torch.zeros(())
    tensor.factor = 0.5
    return lambda a, h: a * tensor.factor, lambda: setattr(tensor, "factor", 2.0)


@case(LOOP)
def type_of_a_foreign_tensor(patch):
    tensor = torch.zeros((), dtype=torch.float32)

    def change():
        tensor.data = torch.zeros((), dtype=torch.bfloat16)

    return lambda a, h: a.to(tensor.dtype).float() * 0.3, change


@case(SEEN)
def getattribute_that_comes_later(patch):
    class Owner:
        factor = 0.5

    thing = Owner()
    return (
        lambda a, h: a * thing.factor,
        lambda: setattr(Owner, "__getattribute__", lambda self, name: 2.0),
    )


@case(LOOP)
def getattribute(patch):
    table = [0.5]

    class Owner:
        def __getattribute__(self, name):
            return table[0]

    thing = Owner()
    return lambda a, h: a * thing.factor, lambda: table.__setitem__(0, 2.0)


# ---- Enumerations, tuples, tables ----------------------------------------------------------------


@case(SEEN)
def attribute_of_an_enums_member(patch):
    class Choice(enum.Enum):
        FIRST = 1

    Choice.FIRST.factor = 0.5
    return lambda a, h: a * Choice.FIRST.factor, lambda: setattr(Choice.FIRST, "factor", 2.0)


@case(SEEN)
def value_of_an_enums_member(patch):
    class Choice(enum.Enum):
        FIRST = 0.5

    return lambda a, h: a * Choice.FIRST.value, lambda: setattr(Choice.FIRST, "_value_", 2.0)


@case(SEEN)
def list_in_an_enum(patch):
    class Choice(enum.Enum):
        FIRST = [0.5]  # noqa: RUF012

    return (
        lambda a, h: a * Choice("x" and Choice.FIRST).value[0],
        lambda: Choice.FIRST.value.__setitem__(0, 2.0),
    )


@case(SEEN)
def enum_as_a_key(patch):
    class Choice(enum.Enum):
        FIRST = 1

    table = {Choice.FIRST: 0.5}
    return lambda a, h: a * table[Choice.FIRST], lambda: table.update({Choice.FIRST: 2.0})


@case(SEEN)
def number_that_is_an_enum(patch):
    class Choice(enum.IntEnum):
        FIRST = 1
        SECOND = 2

    chosen = [Choice.FIRST]
    return lambda a, h: a * chosen[0], lambda: chosen.__setitem__(0, Choice.SECOND)


@case(SEEN)
def field_of_a_namedtuple(patch):
    pair = collections.namedtuple("pair", "first second")
    table = [pair(0.5, 1)]
    return lambda a, h: a * table[0].first, lambda: table.__setitem__(0, pair(2.0, 1))


@case(SEEN)
def namedtuples_class(patch):
    class Pair(typing.NamedTuple):
        first: float

        def half(self):
            return self.first / 2

    pair = Pair(0.5)
    return lambda a, h: a * pair.half(), lambda: setattr(Pair, "half", lambda self: 2.0)


@case(SEEN)
def defaultdict(patch):
    table = collections.defaultdict(lambda: 0.5)
    return lambda a, h: a * table["first"], lambda: table.update(first=2.0)


@case(SEEN)
def factory_of_a_defaultdict(patch):
    table = collections.defaultdict(lambda: 0.5)

    def change():
        table.default_factory = lambda: 2.0
        table.clear()

    return lambda a, h: a * table["first"], change


@case(SEEN)
def missing_of_a_dict(patch):
    class Table(dict):
        scale = 0.5

        def __missing__(self, key):
            return self.scale

    table = Table()
    return lambda a, h: a * table["first"], lambda: setattr(table, "scale", 2.0)


@case(SEEN)
def view_of_a_dict(patch):
    table = {"factor": 0.5}
    view = types.MappingProxyType(table)
    return lambda a, h: a * view["factor"], lambda: table.update(factor=2.0)


@case(SEEN)
def deque(patch):
    queue = collections.deque([0.5])
    return lambda a, h: a * queue[0], lambda: queue.appendleft(2.0)


@case(SEEN)
def chain_map(patch):
    table = {}
    chain = collections.ChainMap(table, {"factor": 0.5})
    return lambda a, h: a * chain["factor"], lambda: table.update(factor=2.0)


@case(SEEN)
def set_of_names(patch):
    names = {"first"}
    return lambda a, h: a * (0.5 if "second" in names else 2.0), lambda: names.add("second")


@case(LOOP)
def bytearray_of_numbers(patch):
    numbers_ = bytearray(b"\x01")
    return lambda a, h: a * numbers_[0], lambda: numbers_.__setitem__(0, 2)


@case(SEEN)
def keywords_of_a_partial(patch):
    def helper(y, scale):
        return y * scale

    half = functools.partial(helper, scale=0.5)
    return lambda a, h: half(a), lambda: half.keywords.update(scale=2.0)


@case(SEEN)
def state_of_a_partial(patch):
    def helper(y, scale):
        return y * scale

    half = functools.partial(helper, scale=0.5)
    return (
        lambda a, h: half(a),
        lambda: half.__setstate__((helper, (), {"scale": 2.0}, None)),
    )


@case(SEEN)
def frozen_dataclass(patch):
    @dataclasses.dataclass(frozen=True)
    class Settings:
        factor: float = 0.5

    settings = Settings()
    return lambda a, h: a * settings.factor, lambda: object.__setattr__(settings, "factor", 2.0)


@case(SEEN)
def dataclass_as_a_key(patch):
    @dataclasses.dataclass(frozen=True)
    class Key:
        name: str = "first"

    key = Key()
    table = {Key("first"): 0.5, Key("second"): 2.0}
    return lambda a, h: a * table[key], lambda: object.__setattr__(key, "name", "second")


@case(SEEN)
def fields_of_a_dataclass(patch):
    @dataclasses.dataclass
    class Settings:
        factor: float = 0.5

    settings = Settings()
    return (
        lambda a, h: a * dataclasses.replace(settings).factor,
        lambda: setattr(settings, "factor", 2.0),
    )


# ---- Names of modules ----------------------------------------------------------------------------


@case(SEEN)
def name_put_into_builtins(patch):
    patch.setattr(builtins, "unrolled_factor", 0.5, raising=False)
    return (
        lambda a, h: a * unrolled_factor,  # noqa: F821
        lambda: patch.setattr(builtins, "unrolled_factor", 2.0),
    )


@case(SEEN)
def builtin_replaced(patch):
    return lambda a, h: a * max(0.5, 0.1), lambda: patch.setattr(builtins, "max", min)


@case(SEEN)
def builtin_shadowed(patch):
    space = {"torch": torch}
    exec("def helper(a, h): return a * min(0.5, 2.0)", space)
    return space["helper"], lambda: space.update(min=max)


@case(SEEN)
def torch_function(patch):
    return lambda a, h: torch.sigmoid(a), lambda: patch.setattr(torch, "sigmoid", torch.sin)


@case(SEEN)
def torch_function_written_in_python(patch):
    return lambda a, h: f.silu(a), lambda: patch.setattr(f, "silu", torch.sin)


@case(SEEN)
def what_a_torch_function_calls(patch):
    return lambda a, h: f.silu(a), lambda: patch.setattr(torch._C._nn, "silu", torch.sin)


@case(SEEN)
def what_a_torch_module_calls(patch):
    module = nn.ReLU()
    return lambda a, h: module(a), lambda: patch.setattr(f, "relu", lambda y, **_: torch.sin(y))


@case(SEEN)
def method_of_tensors(patch):
    def change():
        patch.setattr(torch.Tensor, "sigmoid", torch.Tensor.sin)

    return lambda a, h: a.sigmoid(), change


@case(SEEN)
def operator_of_tensors(patch):
    def change():
        patch.setattr(torch.Tensor, "__mul__", torch.Tensor.add)

    return lambda a, h: a * 0.5, change


@case(SEEN)
def operator_of_tensors_in_python(patch):
    def change():
        patch.setattr(torch.Tensor, "__rsub__", torch.Tensor.add)

    return lambda a, h: 0.5 - a, change


@case(SEEN)
def function_of_math(patch):
    return lambda a, h: a * math.sqrt(2), lambda: patch.setattr(math, "sqrt", lambda y: y)


def package(patch, tmp_path, **texts):
    """Make a package of these modules, of a name of its own, and return its name."""
    name = f"package_of_{tmp_path.name}".replace("-", "_")
    folder = tmp_path / name
    folder.mkdir()
    for module, text in texts.items():
        (folder / f"{module}.py").write_text(text)
    (folder / "__init__.py").touch()
    patch.syspath_prepend(str(tmp_path))
    return name


@case(SEEN)
def relative_import(patch, tmp_path):
    name = package(
        patch,
        tmp_path,
        constants="FACTOR = 0.5",
        cells="def helper(a, h):\n    from .constants import FACTOR\n    return a * FACTOR",
    )
    helper = importlib.import_module(f"{name}.cells").helper
    constants = importlib.import_module(f"{name}.constants")
    return lambda a, h: helper(a, h), lambda: setattr(constants, "FACTOR", 2.0)


@case(SEEN)
def relative_import_of_a_module(patch, tmp_path):
    name = package(
        patch,
        tmp_path,
        constants="FACTOR = 0.5",
        cells="def helper(a, h):\n    from . import constants as c\n    return a * c.FACTOR",
    )
    helper = importlib.import_module(f"{name}.cells").helper
    constants = importlib.import_module(f"{name}.constants")
    return lambda a, h: helper(a, h), lambda: setattr(constants, "FACTOR", 2.0)


@case(SEEN)
def import_of_a_module_that_is_new(patch, tmp_path):
    name = package(patch, tmp_path, constants="FACTOR = 0.5")
    space = {}
    exec(f"def helper(a, h):\n    import {name}.constants as c\n    return a * c.FACTOR", space)

    def change():
        sys.modules[f"{name}.constants"].FACTOR = 2.0

    return space["helper"], change


@case(SEEN)
def module_replaced(patch, tmp_path):
    name = package(patch, tmp_path, constants="FACTOR = 0.5")
    importlib.import_module(f"{name}.constants")
    space = {}
    exec(
        f"def helper(a, h):\n    from {name}.constants import FACTOR\n    return a * FACTOR", space
    )
    other = types.ModuleType("other")
    other.FACTOR = 2.0
    return space["helper"], lambda: patch.setitem(sys.modules, f"{name}.constants", other)


@case(LOOP)
def import_module(patch, tmp_path):
    name = package(patch, tmp_path, constants="FACTOR = 0.5")
    constants = importlib.import_module(f"{name}.constants")
    return (
        lambda a, h: a * importlib.import_module(f"{name}.constants").FACTOR,
        lambda: setattr(constants, "FACTOR", 2.0),
    )


@case(SEEN)
def getattr_of_a_module(patch):
    module = types.ModuleType("settings")
    table = [0.5]
    module.__getattr__ = lambda name: table[0]
    return lambda a, h: a * module.FACTOR, lambda: table.__setitem__(0, 2.0)


@case(SEEN)
def class_of_a_module(patch):
    class Module(types.ModuleType):
        factor = 0.5

    module = Module("settings")
    return lambda a, h: a * module.factor, lambda: setattr(Module, "factor", 2.0)


@case(SEEN)
def computed_name_in_a_module(patch):
    module = types.ModuleType("settings")
    module.factor = 0.5
    return (
        lambda a, h: a * getattr(module, "".join(["fac", "tor"])),
        lambda: setattr(module, "factor", 2.0),
    )


@case(SEEN)
def computed_name_in_a_class(patch):
    class Settings:
        factor = 0.5

    return (
        lambda a, h: a * getattr(Settings, "".join(["fac", "tor"])),
        lambda: setattr(Settings, "factor", 2.0),
    )


@case(SEEN)
def getattr_by_another_name(patch):
    space = SimpleNamespace(factor=0.5)
    get = getattr
    return (
        lambda a, h: a * get(space, "".join(["fac", "tor"])),
        lambda: setattr(space, "factor", 2.0),
    )


@case(SEEN)
def attrgetter(patch):
    inner = SimpleNamespace(factor=0.5)
    space = SimpleNamespace(inner=inner)
    get = operator.attrgetter("inner.factor")
    return lambda a, h: a * get(space), lambda: setattr(inner, "factor", 2.0)


@case(SEEN)
def field_of_a_format(patch):
    space = SimpleNamespace(name="first")
    table = {"first": 0.5, "second": 2.0}
    return (
        lambda a, h: a * table["{.name}".format(space)],  # noqa: UP032
        lambda: setattr(space, "name", "second"),
    )


# ---- How functions are found ---------------------------------------------------------------------


@case(SEEN)
def singledispatch(patch):
    @functools.singledispatch
    def helper(y):
        return y * 0.5

    return (
        lambda a, h: helper(a),
        lambda: helper.register(torch.Tensor, lambda y: y * 2),
    )


@case(SEEN)
def what_a_dispatched_function_reads(patch):
    table = [0.5]

    @functools.singledispatch
    def helper(y):
        return y

    @helper.register
    def _(y: torch.Tensor):
        return y * table[0]

    return lambda a, h: helper(a), lambda: table.__setitem__(0, 2.0)


@case(LOOP)
def lru_cache(patch):
    table = [0.5]

    @functools.lru_cache
    def factor():
        return table[0]

    def change():
        table[0] = 2.0
        factor.cache_clear()

    return lambda a, h: a * factor(), change


@case(LOOP)
def cleared_cache(patch):
    table = [0.5]

    @functools.cache
    def factor():
        return table[0]

    factor()
    table[0] = 2.0
    return lambda a, h: a * factor(), factor.cache_clear


@case(SEEN)
def wrapped_function(patch):
    def helper(y):
        return y * 0.5

    @functools.wraps(helper)
    def outer(y):
        return outer.__wrapped__(y)

    return lambda a, h: outer(a), lambda: setattr(outer, "__wrapped__", lambda y: y * 2)


@case(LOOP)
def globals_of_a_function(patch):
    space = {"factor": 0.5}
    exec("def helper(): pass", space)
    helper = space["helper"]
    return lambda a, h: a * helper.__globals__["factor"], lambda: space.update(factor=2.0)


@case(LOOP)
def contents_of_a_closure(patch):
    def make(factor):
        def change(value):
            nonlocal factor
            factor = value

        return (lambda: factor), change

    helper, change = make(0.5)
    return lambda a, h: a * helper.__closure__[0].cell_contents, lambda: change(2.0)


@case(LOOP)
def subclasses(patch):
    class Parent:
        factor = 0.5

    class Child(Parent):
        pass

    return (
        lambda a, h: a * Parent.__subclasses__()[0].factor,
        lambda: setattr(Child, "factor", 2.0),
    )


@case(LOOP)
def evaluated_text(patch):
    space = {"factor": 0.5}
    return lambda a, h: a * eval("factor", space), lambda: space.update(factor=2.0)


@case(SEEN)
def evaluated_code(patch):
    space, code = {"factor": 0.5}, compile("factor * 1", "made", "eval")
    return lambda a, h: a * eval(code, space), lambda: space.update(factor=2.0)


@case(LOOP)
def evaluated_code_on_globals(patch):
    space = {"code": compile("factor * 1", "made", "eval"), "factor": 0.5}
    exec("def helper(a, h): return a * eval(code)", space)
    return space["helper"], lambda: space.update(factor=2.0)


@case(SEEN)
def function_made_of_code(patch):
    space = {"factor": 0.5}
    code = compile("def helper(y): return y * factor", "made", "exec").co_consts[0]
    return (
        lambda a, h: types.FunctionType(code, space)(a),
        lambda: space.update(factor=2.0),
    )


@case(LOOP)
def weak_reference(patch):
    thing = Base()
    reference = weakref.ref(thing)
    return lambda a, h: a * reference().factor, lambda: setattr(thing, "factor", 2.0)


@case(LOOP)
def generator(patch):
    def numbers_():
        while True:
            yield table[0]

    table, iterator = [0.5], numbers_()
    return lambda a, h: a * next(iterator), lambda: table.__setitem__(0, 2.0)


@case(LOOP)
def thread_local(patch):
    local = threading.local()
    local.factor = 0.5
    return lambda a, h: a * getattr(local, "factor", 0.5), lambda: setattr(local, "factor", 2.0)


@case(LOOP)
def decimal_context(patch):
    third = decimal.Decimal(1) / 3
    context = decimal.getcontext()
    patch.setattr(context, "prec", context.prec)
    return lambda a, h: a * float(third * 1), lambda: setattr(context, "prec", 1)


@case(LOOP)
def decimal_made_by_the_equations(patch):
    context = decimal.getcontext()
    patch.setattr(context, "prec", context.prec)
    return (
        lambda a, h: a * float(decimal.Decimal(1) / decimal.Decimal(3)),
        lambda: setattr(context, "prec", 1),
    )


@case(SEEN)
def fraction(patch):
    table = [fractions.Fraction(1, 2)]
    return lambda a, h: a * float(table[0]), lambda: table.__setitem__(0, fractions.Fraction(2))


@case(SEEN)
def abstract_class(patch):
    class Kind(abc.ABC):  # noqa: B024
        pass

    return (
        lambda a, h: a if isinstance(a, Kind) else a * 2,
        lambda: Kind.register(torch.Tensor),
    )


@case(SEEN)
def abstract_class_by_match(patch):
    class Kind(abc.ABC):  # noqa: B024
        pass

    def helper(y):
        match y:
            case Kind():
                return y
        return y * 2

    return lambda a, h: helper(a), lambda: Kind.register(torch.Tensor)


@case(LOOP)
def file_that_is_there(patch, tmp_path):
    import os.path

    return (
        lambda a, h: a if os.path.exists(tmp_path / "flag") else a * 2,  # noqa: PTH110
        lambda: (tmp_path / "flag").touch(),
    )


@case(LOOP)
def environment_by_getenv(patch):
    import os

    patch.setenv("UNROLLED_TEST_FACTOR", "0.5")
    return (
        lambda a, h: a * float(os.getenv("UNROLLED_TEST_FACTOR")),
        lambda: patch.setenv("UNROLLED_TEST_FACTOR", "2"),
    )


@case(LOOP)
def options_of_numpy(patch, stack):
    before = np.get_printoptions()["precision"]
    stack.callback(np.set_printoptions, precision=before)
    return (
        lambda a, h: a * np.get_printoptions()["precision"],
        lambda: np.set_printoptions(precision=before + 1),
    )


@case(SEEN)
def level_of_a_logger(patch):
    logger = logging.getLogger("unrolled.test.level")
    logger.setLevel(10)
    return lambda a, h: a * logger.level, lambda: logger.setLevel(20)


@case(LOOP)
def level_of_a_logger_by_a_question(patch):
    logger = logging.getLogger("unrolled.test.question")
    logger.setLevel(10)
    return (
        lambda a, h: a if logger.isEnabledFor(10) else a * 2,
        lambda: logger.setLevel(20),
    )


# ---- Modules and gradients of torch --------------------------------------------------------------


class Doubled(nn.Module):
    def forward(self, y):
        return y * 2


@case(SEEN)
def forward_of_a_module(patch):
    module = Doubled()
    return lambda a, h: module(a), lambda: setattr(module, "forward", lambda y: y * 3)


@case(SEEN)
def forward_of_a_module_of_torch(patch):
    module = nn.Tanh()
    return lambda a, h: module(a), lambda: setattr(module, "forward", torch.sin)


@case(SEEN)
def forward_of_a_class_of_torch(patch):
    module = nn.Tanh()
    return (
        lambda a, h: module(a),
        lambda: patch.setattr(nn.Tanh, "forward", lambda self, y: torch.sin(y)),
    )


@case(SEEN)
def hook_of_a_module(patch):
    module = Doubled()
    return (
        lambda a, h: module(a),
        lambda: module.register_forward_hook(lambda module, given, y: y * 2),
    )


@case(SEEN)
def hook_of_all_modules(patch, stack):
    module = Doubled()

    def change():
        hook = nn.modules.module.register_module_forward_hook(lambda module, given, y: y * 2)
        stack.callback(hook.remove)

    return lambda a, h: module(a), change


@case(SEEN)
def module_in_a_module(patch):
    module = nn.Sequential(Doubled(), nn.Identity())
    return lambda a, h: module(a), lambda: module.__setitem__(1, Doubled())


@case(LOOP)
def needs_input_grad(patch):
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(_, y):
            return y * 1.0

        @staticmethod
        def backward(ctx, gradient):
            return gradient * (0.5 if ctx.needs_input_grad[0] else 2.0)

    return lambda a, h: Own.apply(a), None


@case(SEEN)
def own_gradient_with_its_context_set_up(patch):
    table = [0.5]

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(y):
            return y * 1.0

        @staticmethod
        def setup_context(ctx, inputs, _):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, gradient):
            (y,) = ctx.saved_tensors
            return gradient * y * table[0]

    return lambda a, h: Own.apply(a), lambda: table.__setitem__(0, 2.0)


@case(SEEN)
def backward_of_an_own_gradient(patch):
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(_, y):
            return y * 1.0

        @staticmethod
        def backward(_, gradient):
            return gradient * 0.5

    return (
        lambda a, h: Own.apply(a),
        lambda: setattr(Own, "backward", staticmethod(lambda ctx, gradient: gradient * 2)),
    )


# ---- Further ways --------------------------------------------------------------------------------


def simple(name, expected, make):
    """Add a case without fixtures: `make` returns an equation and how to change it."""
    make.__name__ = name
    CASES[name] = (make, expected)


def with_class(**attributes):
    """Return an object of a new class, and the class."""
    kind = type("Kind", (), attributes)
    return kind(), kind


def further():
    thing, kind = with_class(__getitem__=lambda self, key: 0.5)
    yield (
        "getitem of a class",
        SEEN,
        (
            lambda a, h: a * thing["factor"],
            lambda: setattr(kind, "__getitem__", lambda self, key: 2.0),
        ),
    )
    contained, container = with_class(__contains__=lambda self, key: True)
    yield (
        "contains of a class",
        SEEN,
        (
            lambda a, h: a if 1 in contained else a * 2,
            lambda: setattr(container, "__contains__", lambda self, key: False),
        ),
    )
    sized, size = with_class(__len__=lambda self: 1)
    yield (
        "len of a class",
        SEEN,
        (lambda a, h: a * len(sized), lambda: setattr(size, "__len__", lambda self: 2)),
    )
    numbers_, iterable = with_class(__iter__=lambda self: iter([0.5]))
    yield (
        "iter of a class",
        SEEN,
        (
            lambda a, h: a * sum(numbers_),
            lambda: setattr(iterable, "__iter__", lambda self: iter([2.0])),
        ),
    )
    text, written = with_class(__str__=lambda self: "first")
    table = {"first": 0.5, "second": 2.0}
    yield (
        "text of an object",
        SEEN,
        (
            lambda a, h: a * table[str(text)],
            lambda: setattr(written, "__str__", lambda self: "second"),
        ),
    )
    entered, manager = with_class(__enter__=lambda self: 0.5, __exit__=lambda self, *error: None)

    def use(y):
        with entered as factor:
            return y * factor

    yield (
        "context manager",
        SEEN,
        (lambda a, h: use(a), lambda: setattr(manager, "__enter__", lambda self: 2.0)),
    )
    generic = type("Generic", (), {"__class_getitem__": classmethod(lambda cls, key: 0.5)})
    yield (
        "class with an index",
        SEEN,
        (
            lambda a, h: a * generic[1],
            lambda: setattr(generic, "__class_getitem__", classmethod(lambda cls, key: 2.0)),
        ),
    )
    ordered = collections.OrderedDict(first=0.5, second=2.0)
    yield (
        "order of a dict",
        SEEN,
        (lambda a, h: a * next(iter(ordered.values())), lambda: ordered.move_to_end("first")),
    )
    user_dict = collections.UserDict(factor=0.5)
    yield (
        "dict in Python",
        SEEN,
        (lambda a, h: a * user_dict["factor"], lambda: user_dict.update(factor=2.0)),
    )
    counter = collections.Counter(factor=1)
    yield (
        "counter",
        SEEN,
        (lambda a, h: a * counter["factor"], lambda: counter.update(factor=1)),
    )
    shadowed, _ = with_class(apply=lambda self, y: y * 0.5)
    yield (
        "method of one object",
        SEEN,
        (lambda a, h: shadowed.apply(a), lambda: setattr(shadowed, "apply", lambda y: y * 2)),
    )
    settable, _ = with_class(factor=2.0)
    settable.factor = 0.5
    yield (
        "deleted attribute",
        SEEN,
        (lambda a, h: a * settable.factor, lambda: delattr(settable, "factor")),
    )
    called, _ = with_class(scale=lambda self, factor=0.5: factor)
    call = operator.methodcaller("scale")
    yield (
        "methodcaller",
        SEEN,
        (lambda a, h: a * call(called), lambda: setattr(called, "scale", lambda: 2.0)),
    )
    copied, _ = with_class()
    copied.factor = 0.5
    yield (
        "copy of an object",
        SEEN,
        (lambda a, h: a * copy.copy(copied).factor, lambda: setattr(copied, "factor", 2.0)),
    )
    yield (
        "deep copy of an object",
        SEEN,
        (lambda a, h: a * copy.deepcopy(copied).factor, lambda: setattr(copied, "factor", 3.0)),
    )

    class Real(float):
        pass

    real = Real(0.25)
    real.factor = 0.5
    yield (
        "attribute of a number",
        SEEN,
        (lambda a, h: a * real.factor, lambda: setattr(real, "factor", 2.0)),
    )

    class Steep(float):
        def __rmul__(self, other):
            return other * 0.5

    steep = Steep(1.0)
    yield (
        "operator of a number",
        SEEN,
        (lambda a, h: a * (2 * steep), lambda: setattr(Steep, "__rmul__", lambda self, y: y * 3)),
    )

    def defaults(y, scale=0.5):
        return y

    yield (
        "defaults as values",
        SEEN,
        (
            lambda a, h: a * defaults.__defaults__[0],
            lambda: setattr(defaults, "__defaults__", (2.0,)),
        ),
    )

    def documented():
        "0.5"

    yield (
        "documentation",
        SEEN,
        (
            lambda a, h: a * float(documented.__doc__),
            lambda: setattr(documented, "__doc__", "2.0"),
        ),
    )

    class Hinted:
        factor: 0.5

    yield (
        "annotation of a class",
        SEEN,
        (
            lambda a, h: a * Hinted.__annotations__["factor"],
            lambda: Hinted.__annotations__.update(factor=2.0),
        ),
    )
    yield (
        "type hints",
        LOOP,
        (
            lambda a, h: a * typing.get_type_hints(Hinted, include_extras=True)["factor"],
            None,
        ),
    )
    yield ("signature", LOOP, (lambda a, h: a * len(inspect.signature(defaults).parameters), None))

    @dataclasses.dataclass
    class Fields:
        factor: float = 0.5

    yield (
        "default of a field",
        SEEN,
        (
            lambda a, h: a * dataclasses.fields(Fields)[0].default,
            lambda: setattr(Fields.__dataclass_fields__["factor"], "default", 2.0),
        ),
    )
    fields = Fields()
    yield (
        "dataclass as a dict",
        SEEN,
        (
            lambda a, h: a * dataclasses.asdict(fields)["factor"],
            lambda: setattr(fields, "factor", 2.0),
        ),
    )

    class Dispatched:
        @functools.singledispatchmethod
        def apply(self, y):
            return y * 0.5

    dispatched = Dispatched()

    def register():
        vars(Dispatched)["apply"].register(torch.Tensor, lambda self, y: y * 2)

    yield ("singledispatchmethod", SEEN, (lambda a, h: dispatched.apply(a), register))

    class Partial:
        def scale(self, y, factor):
            return y * factor

        half = functools.partialmethod(scale, factor=0.5)

    partial = Partial()
    yield (
        "partialmethod",
        SEEN,
        (
            lambda a, h: partial.half(a),
            lambda: vars(Partial)["half"].keywords.update(factor=2.0),
        ),
    )
    scale = [0.5]

    @contextlib.contextmanager
    def scaling():
        yield scale[0]

    def use_scaling(y):
        with scaling() as factor:
            return y * factor

    yield (
        "contextmanager",
        SEEN,
        (lambda a, h: use_scaling(a), lambda: scale.__setitem__(0, 2.0)),
    )
    variable = contextvars.ContextVar("variable", default=0.5)
    yield ("context variable", LOOP, (lambda a, h: a * variable.get(), lambda: variable.set(2.0)))
    number = ctypes.c_float(0.5)
    yield (
        "number of C",
        LOOP,
        (lambda a, h: a * number.value, lambda: setattr(number, "value", 2.0)),
    )
    values = {"factor": 0.5}.values()
    yield ("view of values", LOOP, (lambda a, h: a * sum(values), None))
    array_ = array.array("f", [0.5])
    yield ("array", LOOP, (lambda a, h: a * array_[0], lambda: array_.__setitem__(0, 2.0)))
    scalar = [np.float32(0.5)]
    yield (
        "number of numpy",
        SEEN,
        (lambda a, h: a * float(scalar[0]), lambda: scalar.__setitem__(0, np.float32(2))),
    )
    many = np.array([0.5, 1.0])
    view = many[:1]
    yield (
        "view of an array",
        SEEN,
        (lambda a, h: a * float(view[0]), lambda: many.__setitem__(0, 2.0)),
    )

    class Choice(enum.Enum):
        FIRST = 1

        @classmethod
        def _missing_(cls, _):
            return cls.FIRST

        @property
        def factor(self):
            return 0.5

    yield (
        "property of an enum",
        SEEN,
        (lambda a, h: a * Choice.FIRST.factor, lambda: setattr(Choice, "factor", 2.0)),
    )

    class Flags(enum.Flag):
        FIRST = 1
        SECOND = 2

    flags = SimpleNamespace(now=Flags.FIRST | Flags.SECOND)
    yield (
        "flags",
        SEEN,
        (
            lambda a, h: a if Flags.SECOND in flags.now else a * 2,
            lambda: setattr(flags, "now", Flags.FIRST),
        ),
    )
    reduced = [0.5, 0.5]
    yield (
        "reduce",
        SEEN,
        (lambda a, h: a * functools.reduce(operator.mul, reduced), lambda: reduced.append(8.0)),
    )
    module = nn.Hardtanh()
    yield (
        "option of a module of torch",
        SEEN,
        (lambda a, h: module(a), lambda: setattr(module, "max_val", 0.1)),
    )
    identity = nn.Identity()
    yield (
        "class of a module",
        SEEN,
        (lambda a, h: identity(a), lambda: setattr(identity, "__class__", Doubled)),
    )
    inner = nn.Identity()
    inner.factor = 0.5
    yield (
        "attribute of a module",
        SEEN,
        (lambda a, h: a * inner.factor, lambda: inner.__dict__.update(factor=2.0)),
    )
    deep = Base()
    deep.inner = Base()
    deep.inner.inner = {"factors": (Base(),)}
    yield (
        "deep inside",
        SEEN,
        (
            lambda a, h: a * deep.inner.inner["factors"][0].factor,
            lambda: setattr(deep.inner.inner["factors"][0], "factor", 2.0),
        ),
    )

    class Counting:
        made = 0

        def __init__(self):
            self.factor = Counting.made

    yield (
        "what a constructor reads",
        SEEN,
        (lambda a, h: a * (Counting().factor + 1), lambda: setattr(Counting, "made", 1)),
    )

    class Borrowed:
        def __get__(self, thing, kind):
            return 0.5

    class Borrower:
        factor = 2.0

    borrower = Borrower()
    yield (
        "descriptor that comes later",
        SEEN,
        (lambda a, h: a * borrower.factor, lambda: setattr(Borrower, "factor", Borrowed())),
    )
    nowhere = {}
    exec("class Nowhere:\n    factor = 0.5\nclass Sub(Nowhere): pass", nowhere)
    sub = nowhere["Sub"]
    yield (
        "class without a module",
        SEEN,
        (lambda a, h: a * sub.factor, lambda: setattr(sub, "factor", 2.0)),
    )
    named = type("Named", (Base,), {"__module__": "collections", "of": lambda self, y: y})
    yield (
        "class that names another module",
        SEEN,
        (lambda a, h: a * named.factor, lambda: setattr(named, "factor", 2.0)),
    )

    class Hiding(dict):
        def values(self):
            return []

    hiding = Hiding(factor=0.5)
    yield (
        "dict that hides its values",
        SEEN,
        (lambda a, h: a * hiding["factor"], lambda: hiding.update(factor=2.0)),
    )
    objects = np.array([Base()], dtype=object)
    yield (
        "array of objects",
        LOOP,
        (lambda a, h: a * objects[0].factor, lambda: setattr(objects[0], "factor", 2.0)),
    )
    polynomial = np.poly1d([0.5])
    yield (
        "polynomial",
        SEEN,
        (
            lambda a, h: a * float(polynomial.coeffs[0]),
            lambda: vars(polynomial).update(coeffs=np.array([2.0])),
        ),
    )
    decorated = [0.5]

    @torch.no_grad()
    def without(y):
        return y * decorated[0]

    yield (
        "function without gradients",
        SEEN,
        (lambda a, h: a + without(h), lambda: decorated.__setitem__(0, 2.0)),
    )
    once = [0.5]

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(_, y):
            return y * 1.0

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(_, gradient):
            return gradient * once[0]

    yield (
        "gradient that is differentiated once",
        SEEN,
        (lambda a, h: Once.apply(a), lambda: once.__setitem__(0, 2.0)),
    )
    hidden = torch.func.vmap(lambda y: y * decorated[0])
    yield ("function that torch.func holds", LOOP, (lambda a, h: hidden(a), None))
    yield (
        "platform",
        LOOP,
        (lambda a, h: a if platform.system() else a * 2, None),
    )
    yield (
        "name of a thread",
        LOOP,
        (lambda a, h: a if threading.current_thread().name else a * 2, None),
    )


for _name, _expected, _made in further():
    simple(_name, _expected, lambda made=_made: made)


@pytest.mark.parametrize("name", CASES)
def test_no_change_goes_unseen(name, monkeypatch, tmp_path):
    function, expected = CASES[name]
    with contextlib.ExitStack() as stack:
        fixtures = {"patch": monkeypatch, "tmp_path": tmp_path, "stack": stack}
        wanted = inspect.signature(function).parameters
        equation, change = function(**{k: fixtures[k] for k in wanted if k in fixtures})
        cell = cell_of(equation)
        surroundings = captured(cell)
        before = results_of(cell)
        if expected == LOOP:
            assert isinstance(surroundings, str)
        else:
            assert not isinstance(surroundings, str), surroundings
            assert surroundings.unchanged()
        if change is None:
            return
        change()
        after = None
        with contextlib.suppress(Exception):  # what was changed may not run at all any more
            after = results_of(cell)
        assert after is None or not are_equal(before, after), "the change does not matter"
        if expected == SEEN:
            assert not surroundings.unchanged()
            assert surroundings.changed_name()
        monkeypatch.undo()


# ---- What needs no refusal -----------------------------------------------------------------------

LOGGER = logging.getLogger("unrolled.test")
PAIR = collections.namedtuple("PAIR", "first second")(0.5, 2.0)


@functools.cache
def half_of(number):
    return math.sqrt(number) / 2


def warn(y):
    warnings.warn("said at each step", UserWarning, stacklevel=2)
    return y


HARMLESS = {
    "logger that is quiet": lambda a, h: (LOGGER.debug("%s", h), a)[1],
    "logger that writes": lambda a, h: (LOGGER.error("%s", h), a)[1],
    "module that logs": lambda a, h: (logging.debug("at a step"), a)[1],
    "print": lambda a, h: (print("at a step", h), a)[1],  # noqa: T201
    "warning": lambda a, h: warn(a),
    "cache of what reads nothing": lambda a, h: a * half_of(4),
    "namedtuple": lambda a, h: a * PAIR.first + PAIR._replace(first=1.0).first,
    "dataclass": lambda a, h: a * Plain(0.5).twice(),
    "getattr of torch": lambda a, h: getattr(torch, "".join(["ta", "nh"]))(a),
    "sum and max": lambda a, h: sum([a, h, max(1, 2) * a]),
    "isinstance": lambda a, h: a if isinstance(a, torch.Tensor) else h,
    "finfo": lambda a, h: a + torch.finfo(torch.float32).eps + torch.finfo(h.dtype).tiny,
    "numbers of modules": lambda a, h: a * (math.pi + np.pi + torch.pi),
    "cast": lambda a, h: typing.cast(torch.Tensor, a) * 0.5,
    "module of torch": lambda a, h: SOFTPLUS(a) + f.hardtanh(h) + f.gelu(h),
    "try": lambda a, h: with_try(a),
    "match": lambda a, h: with_match(a, Plain(0.5)),
    "f-string": lambda a, h: {"1.0 x": a, "2.0 x": h}[f"{Plain(0.5).twice()!r} x"],
    "walrus and comprehension": lambda a, h: (b := a * 2) + sum(c * b for c in (0.5, 0.25)),
    "class in the step": lambda a, h: with_class_inside(a),
    "import in the step": lambda a, h: with_import(a),
    "no_grad": lambda a, h: a + without_gradient(h),
}


@dataclasses.dataclass
class Plain:
    factor: float

    def twice(self):
        return self.factor * 2


SOFTPLUS = nn.Softplus(beta=2)


def with_try(y):
    try:
        return y * FACTORS["missing"]
    except KeyError:
        return y * FACTORS["factor"]


FACTORS = {"factor": 0.5}


def with_match(y, plain):
    match plain:
        case Plain(factor=0.5):
            return y * 2
        case _:
            return y


def with_class_inside(y):
    class Inside:
        factor = 0.5

        def apply(self, y):
            return y * self.factor

    return Inside().apply(y)


def with_import(y):
    from torch.nn.functional import softsign

    return softsign(y)


def without_gradient(y):
    with torch.no_grad():
        return y * 2


@pytest.mark.filterwarnings("ignore:said at each step")
@pytest.mark.parametrize("name", HARMLESS)
def test_what_cannot_change_or_only_writes_keeps_its_kernel(name, capsys):
    surroundings = captured(cell_of(HARMLESS[name]))
    assert isinstance(surroundings, Surroundings), surroundings
    assert surroundings.unchanged()
    capsys.readouterr()


def test_code_that_was_not_found_by_its_names_has_no_kernel():
    def hidden(y):
        return y * 0.5

    cell = cell_of(lambda a, h: hidden(a))
    surroundings = Surroundings(cell.equations)
    surroundings.look_again = lambda: None
    surroundings._codes = {pair for pair in surroundings._codes if pair[0].co_name != "hidden"}
    with pytest.raises(EquationsError, match="read hidden, which was found in a way"):
        capture(cell, surroundings)
