"""Which sums of a step are one with a product, as gcc makes them of a kernel: in plain C by name.

A compiler of a kernel contracts what stands in one piece of code without a branch. Where plain C
is to give the same bits, its multiply-adds must be the same ones.
"""

from collections.abc import Iterable, Mapping, Set

import torch
from torch import fx

from unrolled.kernels.emitting.expressions import Names, expression, is_mask, operand

__all__ = ["fused_expression", "fused_sums"]

_ATEN = torch.ops.aten
_PRODUCTS = {_ATEN.mul.Tensor, _ATEN.mul.Scalar}
_DIFFERENCES = {_ATEN.sub.Tensor, _ATEN.sub.Scalar}
_SUMS = {_ATEN.add.Tensor, _ATEN.add.Scalar, *_DIFFERENCES}


def fused_sums(nodes: Iterable[fx.Node], barred: Set[fx.Node]) -> dict[fx.Node, fx.Node]:
    """Return the sums among `nodes` that are one with a product, and that product.

    A product is, in order, of which nothing but sums are made that are not one with another.

    Args:
        nodes: What is computed one after the other.
        barred: Products of which something else is made besides, elsewhere.
    """
    nodes = dict.fromkeys(nodes)
    fused: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        if not _is_product(node) or node in barred:
            continue
        uses = [each for each in node.users if each in nodes]
        if uses and all(_is_sum(each, node) and each not in fused for each in uses):
            fused |= dict.fromkeys(uses, node)
    return fused


def fused_expression(node: fx.Node, names: Names, fused: Mapping[fx.Node, fx.Node]) -> str:
    """Return the C expression of one operation, of those that are `fused` with its product."""
    product = fused.get(node)
    if product is None:
        return expression(node, names)
    left, right = node.args
    a, b = _factors(product, names)
    minus = node.target in _DIFFERENCES
    if left is product:
        other = operand(right, names)
        return f"MULTIPLY_ADD({a}, {b}, {f'-{other}' if minus else other})"
    return f"MULTIPLY_ADD({f'-{a}' if minus else a}, {b}, {operand(left, names)})"


def _is_product(node: fx.Node) -> bool:
    power = node.target is _ATEN.pow.Tensor_Scalar and node.args[1] in (2, 3)
    return power or (node.target in _PRODUCTS and not is_mask(node))


def _factors(product: fx.Node, names: Names) -> tuple[str, str]:
    left, right = product.args
    a = operand(left, names)
    if product.target in _PRODUCTS:
        return a, operand(right, names)
    return (a if right == 2 else f"({a} * {a})"), a


def _is_sum(node: fx.Node, product: fx.Node) -> bool:
    """Whether `node` is a product and something else, added or subtracted."""
    if node.target not in _SUMS or node.kwargs or len(node.args) != 2 or is_mask(node):
        return False
    return node.args.count(product) == 1
