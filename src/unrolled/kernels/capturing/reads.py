"""What a step may read while it is captured: its arguments, but neither their sizes nor values.

`OperationWatch` sees what reaches torch's dispatcher, `SizeWatch` what the equations ask of a
tensor in Python.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from unrolled.errors import OptionError
from unrolled.kernels.capturing.errors import reads_foreign, reads_values
from unrolled.kernels.capturing.modes import Mode, changed_tensors, memory_of, tensors_in

__all__ = ["LIFTS", "OperationWatch", "SizeWatch"]

_ATEN = torch.ops.aten
LIFTS = (_ATEN.lift.default, _ATEN.lift_fresh.default, _ATEN.lift_fresh_copy.default)
"""Operations that make a tensor of numbers in the equations."""

_SIZES = (Tensor.size, Tensor.shape.__get__)  # type: ignore[attr-defined]  # a getset of C
_COUNTS = (Tensor.__len__, Tensor.numel, Tensor.nelement, Tensor.stride, torch.numel)
_VALUES = (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr)
_TEXTS = (Tensor.__repr__, Tensor.__format__)
_INT_METHODS = (  # what one can do with an int, but for handing it on
    *(
        f"__{name}__"
        for name in ("eq", "ne", "lt", "le", "gt", "ge", "hash", "bool", "int", "float")
    ),
    *(f"__{name}__" for name in ("neg", "pos", "abs", "invert", "trunc", "floor", "ceil", "round")),
    *(
        f"__{r}{name}__"
        for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow")
        for r in ("", "r")
    ),
)


class OperationWatch(Mode):
    """Sees every operation, and that it reads known tensors and changes none of the arguments.

    Args:
        where: The beginning of what errors say.
        arguments: The tensors that the step is given.

    Attributes:
        calls: Every operation with what it read and made, but for sizes: equal for two runs whose
            equations do not depend on these.
    """

    def __init__(self, where: str, arguments: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self.calls: list[tuple[Any, ...]] = []
        self._where = where
        self._alive = list(arguments)  # so that their memory is never another tensor's
        self._numbers = {memory_of(tensor): number for number, tensor in enumerate(arguments)}
        self._arguments = set(self._numbers)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in LIFTS:
            for tensor in tensors_in((args, kwargs)):
                if memory_of(tensor) not in self._numbers:
                    raise reads_foreign(self._where, func, tensor)
        changed = changed_tensors(func, args, kwargs)
        if any(memory_of(tensor) in self._arguments for tensor in changed):
            raise OptionError(
                f"{self._where}: {func} changes what the equations are given",
                "write h = h * 0.5 for h.mul_(0.5): it would change the state of the caller",
            )
        result = func(*args, **kwargs)
        for tensor in tensors_in(result):
            self._alive.append(tensor)
            self._numbers.setdefault(memory_of(tensor), len(self._numbers))
        self.calls.append((func, *map(self.identity_of, (*args, *kwargs.values(), result))))
        return result

    def identity_of(self, value: Any) -> object:
        """Return what `value` is, but for its sizes: a number, or a tensor seen before."""
        if isinstance(value, Tensor):
            return self._numbers.get(memory_of(value)), value.dim()
        return repr(value) if isinstance(value, int | float) else None


class SizeWatch(TorchFunctionMode):
    """Sees what the equations themselves, and not torch's own functions, ask of a tensor.

    Attributes:
        used: Whether they have computed with a size.
    """

    def __init__(self, where: str) -> None:
        super().__init__()
        self.used = False
        self._where = where

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _VALUES:
            raise reads_values(self._where)
        if func in _TEXTS:  # printing a tensor does not use its values
            with _disable_current_modes():
                return func(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        self.used |= func in _COUNTS
        if func not in _SIZES:
            return result
        if isinstance(result, tuple):
            return torch.Size(map(self._watched, result))
        return self._watched(result)

    def _watched(self, value: int) -> "_Size":
        size = _Size(value)
        size.watch = self
        return size


class _Size(int):
    """A size that says when it is computed with. It may be handed to torch, to make a constant."""

    watch: SizeWatch


def _watched_method(name: str) -> Callable[..., Any]:
    def method(size: _Size, *others: Any) -> Any:
        size.watch.used = True
        return getattr(int, name)(size, *others)

    return method


for _name in _INT_METHODS:
    setattr(_Size, _name, _watched_method(_name))
