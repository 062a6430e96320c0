"""What the modes that watch operations have in common, and what they ask of one."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unrolled.cells.origins import line_of_equations
from unrolled.errors import OptionError

__all__ = [
    "CHANGE_HINT",
    "ChangeWatch",
    "Mode",
    "changed_tensors",
    "memory_of",
    "refuse_changes",
    "tensors_in",
    "without_profiler",
]


class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
    """A mode that gives each operation to `see`, out of sight of the modes that see functions."""

    def see(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do an operation, and return its result."""
        raise NotImplementedError

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with torch._C.DisableTorchFunction(), without_profiler():
            return self.see(func, args, kwargs or {})

    # so as not to import all of torch._dynamo only to be skipped by it
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class ChangeWatch(Mode):
    """Refuses operations that change what equations are given.

    Args:
        where: The beginning of what the error says.
        given: The tensors that they are given.
    """

    def __init__(self, where: str, given: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self._where, self._memory = where, set(map(memory_of, given))

    def see(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do an operation, unless it changes what is given."""
        refuse_changes(self._where, func, args, kwargs, self._memory)
        return func(*args, **kwargs)


def refuse_changes(
    where: str, operation: Any, args: Any, kwargs: dict[str, Any], memory: set[int]
) -> None:
    """Raise `OptionError` if `operation` would change tensors in `memory`, that of `memory_of`."""
    changed = changed_tensors(operation, args, kwargs)
    if any(memory_of(tensor) in memory for tensor in changed):
        raise OptionError(
            f"{where}: {operation} changes what the equations are given{line_of_equations()}",
            CHANGE_HINT,
        )


CHANGE_HINT = "write h = h * 0.5 for h.mul_(0.5): it would change the state of the caller"


@contextmanager
def without_profiler() -> Iterator[None]:
    """Do what no profiler of this thread sees: what is done for the equations is not theirs."""
    profiler = sys.getprofile()
    sys.setprofile(None)
    try:
        yield
    finally:
        sys.setprofile(profiler)


def tensors_in(tree: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dicts."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def changed_tensors(operation: Any, args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the tensors that `operation` changes in place."""
    arguments = operation._schema.arguments
    values = dict(zip((argument.name for argument in arguments), args, strict=False)) | kwargs
    return tensors_in(
        [
            values.get(argument.name)
            for argument in arguments
            if argument.alias_info and argument.alias_info.is_write
        ]
    )


def memory_of(tensor: Tensor) -> int:
    """Return what tells memory apart: the same for a tensor and its views."""
    address: int = tensor.untyped_storage()._cdata
    return address
