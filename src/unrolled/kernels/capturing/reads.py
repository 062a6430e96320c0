"""What a step may read while it is captured: its arguments, but neither their sizes nor values.

`OperationWatch` sees what reaches torch's dispatcher, `QuestionWatch` what the equations ask of a
tensor in Python.
"""

import operator
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from unrolled.cells.origins import line_of_equations
from unrolled.kernels.capturing.calls import CallWatch, is_asked_by_equations
from unrolled.kernels.capturing.errors import (
    EquationsError,
    reads_foreign,
    reads_values,
)
from unrolled.kernels.capturing.reductions import COMPOSED
from unrolled.kernels.modes import (
    Mode,
    memory_of,
    refuse_changes,
    tensors_in,
    without_profiler,
)

__all__ = ["LIFTS", "SIZES", "OperationWatch", "QuestionWatch"]

_ATEN = torch.ops.aten
LIFTS = (_ATEN.lift.default, _ATEN.lift_fresh.default, _ATEN.lift_fresh_copy.default)
"""Operations that make a tensor of numbers in the equations."""

SIZES = "depend on the number of units or rows"
"""What is wrong with equations that are not the same for all sizes."""

_SIZES = (Tensor.size, Tensor.shape.__get__)  # type: ignore[attr-defined]  # a getset of C
_COUNTS = (
    *(Tensor.__len__, Tensor.numel, Tensor.nelement, Tensor.stride, torch.numel),
    Tensor.nbytes.__get__,  # type: ignore[attr-defined]
)
_VALUES = (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr)
_TEXTS = (Tensor.__repr__, Tensor.__format__)
_HOOKS = (
    Tensor.register_hook,
    Tensor.register_post_accumulate_grad_hook,
    Tensor.retain_grad,
    Tensor.grad_fn.__get__,  # type: ignore[union-attr]  # a getset of C; a hook may be there
)
# What is the same for every float32 tensor on a CPU, whatever its values, sizes and strides.
_KINDS = ("dim", "ndimension", "is_floating_point", "is_complex", "is_signed", "element_size")
_KINDS_READ = tuple(
    getattr(Tensor, name).__get__
    for name in (
        *("ndim", "dtype", "device", "layout", "itemsize", "is_cpu", "is_cuda", "is_sparse"),
        *("is_meta", "is_quantized", "is_nested"),
    )
)


class OperationWatch(Mode):
    """Sees every operation, and that it reads known tensors and changes none of the arguments.

    Args:
        where: The beginning of what errors say.
        arguments: The tensors that the step is given.

    Attributes:
        calls: Every operation with what it read and made, but for sizes: equal for two runs whose
            equations do not depend on these; and the line that it stands in.
        shapes: Of what each of them made, with the numbers of rows and units named.
    """

    def __init__(self, where: str, arguments: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self.calls: list[tuple[Any, ...]] = []
        self.lines: list[str] = []
        self.shapes: list[list[tuple[object, ...]]] = []
        self._names = dict(zip(arguments[0].shape, ("rows", "units"), strict=True))
        self._where = where
        self._alive: list[Tensor] = []  # so that their memory is never another tensor's
        self._numbers: dict[int, int] = {}
        self.know(arguments)
        self._arguments = set(self._numbers)

    def know(self, tensors: Sequence[Tensor]) -> None:
        """Let the operations read `tensors`, too."""
        for tensor in tensors:
            self._alive.append(tensor)
            self._numbers.setdefault(memory_of(tensor), len(self._numbers))

    def see(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do an operation, check and note what it reads and changes."""
        if func not in LIFTS:
            for tensor in tensors_in((args, kwargs)):
                if not self.knows(tensor):
                    raise reads_foreign(self._where, func, tensor)
        refuse_changes(self._where, func, args, kwargs, self._arguments)
        constants = [tensor.tolist() for tensor in tensors_in(args)] if func in LIFTS else []
        result = func(*args, **kwargs)
        if isinstance(result, list):  # as many tensors as there are rows or units
            problem = f"{func} makes a tensor for each row or unit"
            raise EquationsError(f"{self._where}: {problem}{line_of_equations()}")
        if not tensors_in(result):
            raise reads_values(self._where)
        self.know(tensors_in(result))
        read = map(self.identity_of, (*args, *kwargs.values(), result))
        self.calls.append((func, repr(constants), *read))
        self.lines.append(line_of_equations())
        made = tensors_in(result)
        self.shapes.append([tuple(self._names.get(n, n) for n in each.shape) for each in made])
        return result

    def knows(self, tensor: Tensor) -> bool:
        """Whether an operation may read `tensor`."""
        return memory_of(tensor) in self._numbers

    def identity_of(self, value: Any) -> object:
        """Return what `value` is, but for its sizes: a number, or a tensor seen before."""
        if isinstance(value, Tensor):
            return self._numbers.get(memory_of(value)), value.dim(), value.dtype
        return None if isinstance(value, list | tuple) else repr(value)  # a shape, or dimensions


class QuestionWatch(TorchFunctionMode):
    """Sees what the equations themselves, and not torch's own functions, ask of a tensor.

    Args:
        where: The beginning of what errors say.
        knows: Whether a tensor is one of theirs.
        visit: Called with the frame of each Python function of theirs, as it begins.

    Attributes:
        num_calls: How many functions of torch they have called.
        problem: What they have asked that may have another answer at another call, and where.
    """

    def __init__(
        self,
        where: str,
        knows: Callable[[Tensor], bool],
        visit: Callable[[FrameType], None],
    ) -> None:
        super().__init__()
        self.num_calls = 0
        self.problem: str | None = None
        self._where, self._knows = where, knows
        self._calls = CallWatch(self.note, lambda: self.num_calls, visit)

    def __enter__(self) -> "QuestionWatch":
        super().__enter__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self._calls.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._calls.__exit__()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not is_asked_by_equations():
            return func(*args, **(kwargs or {}))
        self.num_calls += 1
        with without_profiler():
            return self._see(func, args, kwargs or {})

    def _see(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if func in _VALUES:
            raise reads_values(self._where)
        if func in _HOOKS:
            problem = "registers a gradient hook, or reads grad_fn"
            raise EquationsError(f"{self._where}: {problem}{line_of_equations()}")
        if func in _TEXTS:  # printing a tensor does not use its values
            with _disable_current_modes():
                return func(*args, **kwargs)
        compute = COMPOSED.get(func, func)
        result = compute(*tree_map(_plain, args), **tree_map(_plain, kwargs))
        for tensor in tensors_in((args, kwargs)):  # that no operation has read
            if not self._knows(tensor):
                raise reads_foreign(self._where, _name_of(func), tensor)
        if func in _SIZES:
            sizes = result if isinstance(result, tuple) else (result,)
            watched = _Shape(_Size(size, self) for size in sizes)
            return watched if isinstance(result, tuple) else watched[0]
        if func in _COUNTS:
            self.size_used()
        elif not _is_made_of_tensors(result) and not _tells_the_kind(func):
            self.note(f"read {_name_of(func)} of a tensor")
        return result

    def note(self, problem: str) -> None:
        """Remember what the equations do, unless there is another problem already."""
        self.problem = self.problem or f"{problem}{line_of_equations()}"

    def size_used(self, name: str = "") -> None:
        """Note that the equations compute with a size, by a method of it."""
        if name != "__index__" or not self._calls.is_in_torch(sys._getframe(2)):
            self.note(SIZES)


def _is_made_of_tensors(result: Any) -> bool:
    """Whether a result of torch tells nothing that a graph does not hold."""
    plain = (Tensor, torch.dtype, torch.device, torch.layout)
    return all(leaf is None or isinstance(leaf, plain) for leaf in tree_leaves(result))


def _tells_the_kind(func: Any) -> bool:
    return func in _KINDS_READ or func.__name__ in _KINDS


def _name_of(func: Any) -> str:
    name: str = func.__self__.__name__ if func.__name__ == "__get__" else func.__name__
    return name


class _Shape(tuple["_Size", ...]):
    """The shape of a tensor, of sizes that are watched."""

    __slots__ = ()

    def numel(self) -> int:
        """Return the product of the sizes, which is a number and no shape."""
        for size in self[:1]:
            size.watch.size_used()
        return torch.Size(map(_plain, self)).numel()


class _Size:
    """A size that says when it is used. It may be handed to torch as a shape, to make a constant.

    It is not an `int`, whose number C code takes without asking.
    """

    __class__: Any = property(lambda _: int)  # what `isinstance` asks for

    def __init__(self, size: int, watch: QuestionWatch) -> None:
        self.size, self.watch = size, watch


def _plain(value: Any) -> Any:
    if type(value) is _Shape:
        return torch.Size(map(_plain, value))
    return value.size if type(value) is _Size else value


def _watched_method(name: str) -> Callable[..., Any]:
    reflected = name.startswith("__r") and f"__{name[3:]}" in dir(int)
    plain_name = f"__{name[3:]}" if reflected else name
    functions = {"__divmod__": divmod, **vars(operator)}
    compute = functions[plain_name] if plain_name in functions else getattr(int, name)

    def method(size: _Size, *others: Any) -> Any:
        size.watch.size_used(name)
        numbers = [size.size, *map(_plain, others)]
        return compute(*(numbers[::-1] if reflected else numbers))

    return method


_COMPARISONS = {f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge", "or", "ror")}
_TEXT_METHODS = {f"__{name}__" for name in ("hash", "repr", "str", "format")}
for _name in (set(dir(int)) - set(dir(type))) | _COMPARISONS | _TEXT_METHODS:
    setattr(_Size, _name, _watched_method(_name))
