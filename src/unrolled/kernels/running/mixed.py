"""What kernels of mixed precision compute, by torch's operations: for their proof.

Every factor of a product is the nearest bfloat16, forwards and backwards; sums are not rounded.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

__all__ = ["MixedProducts"]


class MixedProducts(TorchFunctionMode):
    """While it is active, the products of the reference loop are those of mixed precision.

    Of first derivatives: a second one would be that of the rounded numbers.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call `function`, or in the place of `linear` what rounds its factors."""
        if function is linear:
            x, weight, bias = (*args, None)[:3]
            product: Any = _Product.apply(x, weight)  # type: ignore[no-untyped-call]
            return product if bias is None else product + bias
        return function(*args, **kwargs or {})


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _rounded(x) @ _rounded(weight).T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        d = _rounded(gradients[0])
        return d @ _rounded(weight), d.T @ _rounded(x)


def _rounded(tensor: Tensor) -> Tensor:
    """Return the nearest bfloat16s, in the type of `tensor`."""
    return tensor.float().bfloat16().to(tensor.dtype)
