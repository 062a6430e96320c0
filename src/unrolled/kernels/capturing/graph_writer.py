"""Writes the operations of a step down as a graph, in which every value is (B, H) or constant.

A value may be the same for all units of a row: (B, 1), or (B,).
"""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._decomp import _core_aten_decompositions_post_autograd
from torch.utils._pytree import tree_map

from unrolled.cells.origins import line_of_equations
from unrolled.kernels.capturing.errors import (
    EquationsError,
    as_equations_error,
    reads_foreign,
    reads_values,
)
from unrolled.kernels.capturing.reads import LIFTS
from unrolled.kernels.capturing.reductions import (
    HINTS,
    OWN,
    REDUCTIONS,
    RUNNING_SUMS,
    reversed_cumsum,
)
from unrolled.kernels.modes import Mode, changed_tensors, memory_of, tensors_in

__all__ = ["ROWS", "UNITS", "GraphWriter", "require_pointwise"]

ROWS, UNITS = 2, 3  # B and H while a graph is written: not 1, and not each other

_ATEN = torch.ops.aten
_COPIES = (_ATEN.alias.default, _ATEN.detach.default, _ATEN.clone.default, *LIFTS)
_RESHAPES = (
    _ATEN.expand.default,
    _ATEN.view.default,
    _ATEN._unsafe_view.default,
    _ATEN.unsqueeze.default,
    _ATEN.squeeze.default,
    _ATEN.squeeze.dim,
    _ATEN.squeeze.dims,
)
_SUMS = (_ATEN.sum.dim_IntList, _ATEN.sum.default)
_CONSTANT_ARGUMENT = {
    _ATEN.full.default: 1,
    _ATEN.full_like.default: 1,
    _ATEN.scalar_tensor.default: 0,
}


def _gelu_backward(gradient: Tensor, x: Tensor, approximate: str = "none") -> Tensor:
    """Torch's own has 1 + erf and 1 + tanh, of which little is left below zero."""
    if approximate == "tanh":
        slope = 1.5957691216 * (1 + 3 * 0.044715 * (x * x))
        share = torch.sigmoid(1.5957691216 * (x + 0.044715 * (x * x * x)))
        return gradient * (share * (1 + x * (1 - share) * slope))
    density = 0.3989422804 * torch.exp(x * x * -0.5)
    return gradient * (0.5 * torch.erfc(x * -math.sqrt(0.5)) + x * density)


_OWN: dict[Any, Callable[..., Tensor]] = {
    _ATEN.sigmoid_backward.default: lambda gradient, y: gradient * (y * (1 - y)),  # for torch's
    _ATEN.tanh_backward.default: lambda gradient, y: gradient * (1 - y * y),  # import sympy
    _ATEN.gelu_backward.default: _gelu_backward,
    **OWN,
}


class GraphWriter(Mode):
    """Writes every operation down: what it does in each place of (B, H).

    Operations that torch can express by simpler ones are decomposed, and those in place become what
    they compute. Copies and reshapings of values that are the same for all rows are left out; so
    are the gradient's sums over rows, which are the caller's to take: what is done with such a sum
    must be linear, so that summing later is the same. All constants become `full` of size ().

    Args:
        where: The beginning of what errors say.
        arguments: The tensors that the step is given, the placeholders of the graph.
    """

    def __init__(self, where: str, arguments: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self._where = where
        self._decompositions = _core_aten_decompositions_post_autograd() | _OWN
        self._alive: list[Tensor] = []  # so that their memory is never another tensor's
        self._nodes: dict[int, dict[object, fx.Node]] = {}  # by memory, then by place in it
        self._saved: dict[fx.Node, fx.Node] = {}  # of the step's graph, its place in the gradient's
        self._sums: set[int] = set()  # memory of what stands for its sum over rows
        self._is_gradient = False
        self.graph = fx.Graph()
        self._add_placeholders(arguments, "given")

    def begin_gradient(self, tangents: Sequence[Tensor]) -> fx.Graph:
        """Go on in a new graph, that of the gradient, and return it."""
        self._is_gradient = True
        self.graph = fx.Graph()
        self._add_placeholders(tangents, "tangents")
        return self.graph

    def _add_placeholders(self, tensors: Sequence[Tensor], name: str) -> None:
        for tensor in tensors:
            self._bind(tensor, self.graph.placeholder(name))

    def saved(self) -> list[fx.Node]:
        """Return what the gradient needs of the step, in the order of its placeholders there."""
        for source, placeholder in list(self._saved.items()):
            if not placeholder.users:
                self.graph.erase_node(placeholder)
                del self._saved[source]
        return list(self._saved)

    def node_of(self, tensor: Tensor, reader: object = "the result") -> fx.Node:
        """Return the node that computes `tensor`, which `reader` reads, in the present graph."""
        places = self._nodes.get(memory_of(tensor))
        if places is None:
            raise reads_foreign(self._where, reader, tensor)
        node = places.get(_place_of(tensor))
        if node is None:
            problem = f"{reader} reads what was changed in part or whole"
            raise EquationsError(f"{self._where}: {problem}{line_of_equations()}")
        if node.graph is self.graph:
            return node
        if node not in self._saved:
            self._saved[node] = self.graph.placeholder(node.name)
            self._saved[node].meta = dict(node.meta)
        return self._saved[node]

    def _bind(self, tensor: Tensor, node: fx.Node) -> None:
        node.meta.setdefault("val", tensor)
        self._alive.append(tensor)
        self._nodes.setdefault(memory_of(tensor), {})[_place_of(tensor)] = node

    def see(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do an operation, write it down."""
        with as_equations_error(self._where), self:
            decomposition = self._decompositions.get(func, func.decompose)
            result = decomposition(*args, **kwargs)
        if result is not NotImplemented:
            return result
        if changed := changed_tensors(func, args, kwargs):
            return self._change(func, changed, args, kwargs)
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            if self._is_gradient:
                self._follow_sums(func, args, kwargs, result)
            self._bind(result, self._node_for(func, args, kwargs, result))
        elif not tensors_in(result):
            raise reads_values(self._where)
        else:
            node = self._add_call(func, args, kwargs)
            for index, part in enumerate(result):
                if isinstance(part, Tensor):
                    self._bind(part, self._add_call(operator.getitem, (node, index), {}))
        return result

    def _follow_sums(self, func: Any, args: Any, kwargs: dict[str, Any], result: Tensor) -> None:
        """Note what stands for its sum over rows; raise if taking that later would be wrong."""
        axes = _axes_of(result)
        if axes is None or func in _CONSTANT_ARGUMENT:  # the former is refused if it is needed
            return
        if func in _SUMS and (before := _axes_of(args[0])) is not None:
            if "rows" in before - axes:
                self._sums.add(memory_of(result))
                return
        tensors = tensors_in((args, kwargs))
        if any(memory_of(tensor) in self._sums for tensor in tensors):
            if "rows" in axes or not self._is_linear(func, args, tensors):
                problem = f"the gradient of its equations has {func} of a sum over rows"
                raise EquationsError(f"{self._where}: {problem}{line_of_equations()}")
            self._sums.add(memory_of(result))

    def _is_linear(self, func: Any, args: Any, tensors: list[Tensor]) -> bool:
        """Whether an operation is linear in those of its arguments that stand for sums."""

        def is_sum(value: Any) -> bool:
            return isinstance(value, Tensor) and memory_of(value) in self._sums

        num_sums = sum(map(is_sum, tensors))
        if func is _ATEN.where.self:
            return not is_sum(args[0]) and all(is_sum(v) or self._is_zero(v) for v in args[1:])
        if func in (_ATEN.add.Tensor, _ATEN.sub.Tensor):
            return num_sums == 2
        if func in (_ATEN.mul.Scalar, _ATEN.div.Scalar):
            return True
        if func in (_ATEN.mul.Tensor, _ATEN.div.Tensor):
            return num_sums == 1 and (func is _ATEN.mul.Tensor or is_sum(args[0]))
        linear = (_ATEN.neg.default, _ATEN.flip.default, _ATEN.cumsum.default)
        return func in (*linear, *_COPIES, *_RESHAPES, *_SUMS)

    def _is_zero(self, tensor: Tensor) -> bool:
        node = self.node_of(tensor)
        return node.target is _ATEN.full.default and bool(node.args[1] == 0)

    def require_sum(self, gradient: Tensor) -> None:
        """Raise unless the gradient of a weight vector is a sum over rows, or zero."""
        if memory_of(gradient) not in self._sums and not self._is_zero(gradient):
            problem = "the gradient of a weight vector is no sum over rows"
            raise EquationsError(f"{self._where}: {problem}")

    def _change(self, func: Any, changed: list[Tensor], args: Any, kwargs: dict[str, Any]) -> Any:
        """Do an operation in place, and write down what it computes, as a new value."""
        packet = getattr(_ATEN, func.overloadpacket.__name__.removesuffix("_"), None)
        compute = getattr(packet, func._overloadname, None)
        if compute is None or len(changed) != 1 or changed[0] is not args[0]:
            problem = f"no kernel has the operation {func}"
            raise EquationsError(f"{self._where}: {problem}{line_of_equations()}")
        with self:
            value = args[1] if func is _ATEN.copy_.default else compute(*args, **kwargs)
            value = value.to(args[0].dtype)
            node = self.node_of(value, func)
        result = func(*args, **kwargs)
        if memory_of(value) in self._sums:
            self._sums.add(memory_of(result))
        self._nodes[memory_of(result)].clear()  # its views have changed, too
        self._bind(result, node)
        return result

    def _node_for(self, func: Any, args: Any, kwargs: dict[str, Any], result: Tensor) -> fx.Node:
        """Return the node of `result`, which is new unless the operation only copies."""
        if func in LIFTS and memory_of(args[0]) not in self._nodes:  # torch.tensor(0.5)
            if args[0].numel() != 1:
                problem = "uses a tensor of several numbers of its own"
                raise EquationsError(f"{self._where}: {problem}{line_of_equations()}")
            return self._add_constant(args[0].item())
        if func in _CONSTANT_ARGUMENT:
            return self._add_constant(args[_CONSTANT_ARGUMENT[func]])
        if func is _ATEN._efficientzerotensor.default:
            return self._add_constant(0.0)
        if self._is_copy(func, args, result):
            return self.node_of(args[0], func)
        if func in (_ATEN.cumsum.default, _ATEN.flip.default) and _is_along_units(args):
            return self._add_along_units(func, args[0])
        return self._add_call(func, args, kwargs)

    def _add_along_units(self, func: Any, x: Tensor) -> fx.Node:
        """Return the node of a running sum, or of values in the opposite order.

        The order is turned and turned back: a running sum of what is turned is one from the end.
        """
        node = self.node_of(x, func)
        is_turned = node.target is _ATEN.flip.default
        if is_turned and func is _ATEN.flip.default:
            return node.args[0]  # type: ignore[return-value]  # a node
        if is_turned:
            running = self._new_node(reversed_cumsum, (node.args[0], -1), {})
            running.meta["val"] = x
            return self._new_node(_ATEN.flip.default, (running, [-1]), {})
        return self._new_node(func, (node, [-1] if func is _ATEN.flip.default else -1), {})

    def _add_constant(self, number: Any) -> fx.Node:
        return self._add_call(_ATEN.full.default, ([], number), {})

    def _add_call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        def as_node(value: Any) -> Any:
            return self.node_of(value, func) if isinstance(value, Tensor) else value

        return self._new_node(func, *tree_map(as_node, (tuple(args), kwargs)))

    def _new_node(self, func: Any, positional: Any, keywords: Any) -> fx.Node:
        name = getattr(func, "overloadpacket", func).__name__
        node = self.graph.create_node("call_function", func, positional, keywords, name=name)
        node.meta["line"] = line_of_equations()
        return node

    def _is_copy(self, func: Any, args: Any, result: Tensor) -> bool:
        """Whether `result` is what the operation is given, in each place of (B, H)."""
        if not args or not isinstance(args[0], Tensor):
            return False
        before, after = _axes_of(args[0]), _axes_of(result)
        if before is None or after is None:
            return False
        reshaped = func in _RESHAPES and before <= after
        summed = self._is_gradient and func in _SUMS and before - after <= {"rows"}
        alone = before == after and func in REDUCTIONS  # of one number
        alone |= func in (_ATEN.cumsum.default, _ATEN.flip.default) and _of_one_number(args)
        return func in _COPIES or reshaped or summed or alone


def require_pointwise(where: str, results: Iterable[fx.Node | None], *, of_step: bool) -> None:
    """Raise `EquationsError` if what `results` are computed by is not pointwise on (B, H).

    Args:
        where: The beginning of what the error says.
        results: Nodes of one graph.
        of_step: Whether that is the graph of a step, in which nothing is summed over rows.
    """
    todo = [node for node in results if node is not None]
    nodes = set(todo)
    for node in todo:
        todo += [argument for argument in node.all_input_nodes if argument not in nodes]
        nodes.update(node.all_input_nodes)
    for node in todo[0].graph.nodes if todo else ():
        if node not in nodes or node.target is operator.getitem:
            continue
        if problem := _problem_of(node, of_step=of_step):
            raise EquationsError(f"{where}: {problem}{node.meta.get('line', '')}")


def _problem_of(node: fx.Node, *, of_step: bool) -> str | None:
    """Return why a node is neither pointwise nor over the units of a row; None if it is."""
    if node.target in RUNNING_SUMS:
        return None if node.args[1] == -1 else _refused(node, "over the rows of the batch")
    axes = _axes_of(node.meta.get("val"))
    if axes is None or node.target is _ATEN.flip.default:
        return _refused(node)
    sources = [_axes_of(each.meta.get("val")) or set() for each in node.all_input_nodes]
    lost = set().union(*sources) - axes if of_step else set()
    if "rows" in lost and node.target in REDUCTIONS:
        return _refused(node, "over the rows of the batch")
    return _refused(node) if lost and node.target not in REDUCTIONS else None


def _refused(node: fx.Node, over: str = "") -> str:
    """Return that no kernel has an operation, and the nearest thing that one has."""
    name = str(node.target).removeprefix("aten.")
    hint = next((HINTS[each] for each in HINTS if name.startswith(each)), "")
    if over:
        hint = "the same over units, as by sum(-1, keepdim=True)"
    parts = [f"no kernel has the operation {node.target}", over, hint and f"(it has {hint})"]
    return " ".join(filter(None, parts))


def _is_along_units(args: Sequence[Any]) -> bool:
    """Whether the last dim of the first argument, which the second names, is that of the units."""
    dims = args[1] if isinstance(args[1], list | tuple) else [args[1]]
    axes = _axes_of(args[0])
    return [dim % args[0].dim() for dim in dims] == [args[0].dim() - 1] and "units" in (axes or ())


def _of_one_number(args: Sequence[Any]) -> bool:
    dims = args[1] if isinstance(args[1], list | tuple) else [args[1]]
    return all(args[0].shape[dim] == 1 for dim in dims)


def _place_of(tensor: Tensor) -> object:
    return tensor.storage_offset(), tuple(tensor.shape), tensor.stride()


def _axes_of(value: Any) -> set[str] | None:
    """Return the axes along which `value` varies; None if it does not fit into (B, H)."""
    if not isinstance(value, Tensor) or value.dim() > 2:
        return None
    if tuple(value.shape) == (ROWS,):  # one number for each row
        return {"rows"}
    axes = set()
    for axis, size, full_size in zip(
        ("units", "rows"), reversed(value.shape), (UNITS, ROWS), strict=False
    ):
        if size == full_size:
            axes.add(axis)
        elif size != 1:
            return None
    return axes
