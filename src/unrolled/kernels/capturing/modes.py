"""What the modes that watch operations have in common, and what they ask of one."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Mode", "changed_tensors", "memory_of", "tensors_in"]


class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
    """A mode that does not import all of torch._dynamo only to be skipped by it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


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
