"""What a kernel may read: plain memory with float32 numbers, as many as the others ask for.

A kernel is given addresses, and C believes them. So whatever comes in is asked here first: the
tensors of a call, those that autograd kept, the gradients that it brings, the weights of a stream.
What is not plain, torch's own operations read, by the reference loop, where that is possible.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from unrolled.errors import ShapeError

__all__ = [
    "UNOBSERVED",
    "are_observed",
    "are_plain",
    "check_devices",
    "check_memory",
    "is_plain",
    "is_transformed",
    "materialised",
    "readable",
]

_TYPES = (Tensor, torch.nn.Parameter)
_FLOAT = torch.float32
_keys_of = torch._C._dispatch_keys
_keys_of_thread = torch._C._dispatch_tls_local_include_set


def _bits(*names: str) -> int:
    """Return the dispatch keys of these names as the bits of their set."""
    first, *others = (torch._C._dispatch_key_parse(name) for name in names)
    keys = torch._C.DispatchKeySet(first)
    for key in others:
        keys = keys.add(key)
    return keys.raw_repr()


_PLAIN = frozenset(
    {_bits("CPU", "AutocastCPU"), _bits("CPU", "AutocastCPU", "ADInplaceOrView", "AutogradCPU")}
)  # the first is a tensor of inference mode
UNOBSERVED = _bits("BackendSelect", "ADInplaceOrView")
"""The keys of a thread, as bits, that nobody has put there who wants to see operations."""
_BATCHED = torch._C._dispatch_key_parse("Batched")


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is nothing but numbers in memory that the CPU reads.

    Torch's dispatch keys tell: every other kind has one more, or others. Such are subclasses with
    operations of their own, sparse, nested, quantised and fake tensors, those that torch.func or
    batched gradients wrap, zeros without memory (the gradient of `torch.sgn`), and numbers whose
    sign is turned only when they are read (`x.conj().imag`).
    """
    return are_plain((tensor,))


def are_plain(tensors: Iterable[Tensor]) -> bool:
    """Whether each of them `is_plain`; asked at every call, so that it calls nothing itself."""
    for tensor in tensors:
        if type(tensor) not in _TYPES or _keys_of(tensor).raw_repr() not in _PLAIN:
            return False
    return True


def is_transformed(tensor: Tensor) -> bool:
    """Whether torch.func, batched gradients or functionalisation have wrapped a tensor."""
    wrapped: bool = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return wrapped or torch._is_functional_tensor(tensor) or _keys_of(tensor).has(_BATCHED)


def materialised(tensor: Tensor) -> Tensor:
    """Return a tensor with its numbers in memory, where torch stores something to make them of."""
    if is_plain(tensor) or type(tensor) not in _TYPES:
        return tensor
    if tensor.layout is not torch.strided:
        return tensor.to_dense()
    lazy = tensor._is_zerotensor() or tensor.is_neg()
    return tensor.resolve_neg().clone() if lazy else tensor


def are_observed() -> bool:
    """Whether somebody wants to see torch's operations: a tracer, a mode, forward gradients."""
    return (
        torch.compiler.is_compiling()
        or bool(_keys_of_thread().raw_repr() & ~UNOBSERVED)
        or forward_ad._current_level >= 0
    )


def readable(where: str, name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor as one whose numbers follow one another: itself, if they do.

    Zeros without memory and numbers with a lazy sign are made plain. Of all else that is not, torch
    refuses to give an address.

    Args:
        where: Who asks, for the message.
        name: What it is, for the message.
        tensor: It.
        shape: The shape that it must have.

    Raises:
        ShapeError: It has another shape, type or device, or its memory was given away.
    """
    if tensor.shape != shape or tensor.dtype is not _FLOAT or not tensor.is_cpu:
        shape = tuple(shape)
        raise ShapeError(
            f"{where}: {name} must be float32 {shape} on cpu, got "
            f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
        )
    if tensor.is_neg():
        return tensor.resolve_neg().contiguous()  # for that keeps the order of the strides
    if tensor.is_contiguous():
        end = 4 * (tensor.storage_offset() + tensor.numel())
        if end <= tensor.untyped_storage().nbytes() and tensor.data_ptr():
            return tensor  # in few words, for it is asked of every tensor of every call
    if tensor._is_zerotensor():
        return torch.zeros(tensor.shape, dtype=_FLOAT, device="cpu")
    if not _has_memory(tensor):
        raise _no_memory(f"{where}: {name}", tensor)
    return tensor.contiguous()


def check_devices(where: str, tensors: Iterable[Tensor]) -> None:
    """Raise `ShapeError` unless all tensors are on one device.

    Of a weight on meta and an input on cpu torch's products return what their memory held before.
    """
    if len(devices := {str(tensor.device) for tensor in tensors}) > 1:
        raise ShapeError(
            f"{where}: input, states and weights must be on the same device, "
            f"got {' and '.join(sorted(devices))}",
            "move the layer and all that it reads to one",
        )


def check_memory(name: str, tensor: Tensor) -> None:
    """Raise `ShapeError` if a plain tensor's storage is too small for it, or was taken away.

    Torch's own operations do not ask, and read what lies behind it.
    """
    if is_plain(tensor) and not _has_memory(tensor):
        raise _no_memory(name, tensor)


def _has_memory(tensor: Tensor) -> bool:
    count = tensor.numel()
    if count and not tensor.is_contiguous():
        pairs = zip(tensor.shape, tensor.stride(), strict=True)
        count = 1 + sum((size - 1) * stride for size, stride in pairs)
    end = tensor.itemsize * (tensor.storage_offset() + count)
    return not count or (end <= tensor.untyped_storage().nbytes() and tensor.data_ptr() != 0)


def _no_memory(name: str, tensor: Tensor) -> ShapeError:
    return ShapeError(
        f"{name} {tuple(tensor.shape)} has no memory for its numbers",
        "its storage was taken or made smaller, as FSDP does between calls",
    )
