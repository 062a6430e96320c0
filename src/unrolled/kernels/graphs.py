"""From a function of tensors to two graphs of pointwise operations: itself, and its gradient.

PyTorch's own AOTAutograd does the tracing and the differentiation. Here it is made sure that the
graphs say all that the function does, for any number of rows and units: that it reads no sizes and
no values, and no tensors but those that it is given. What the tensors mean is not known here.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unrolled.errors import OptionError, UnrolledError

__all__ = ["Graphs", "Step", "UntraceableError", "pointwise_graphs"]

_ATEN = torch.ops.aten
_PLAIN: Any = {"dtype": torch.float32, "device": "cpu"}
_ROWS, _UNITS = 2, 3  # B and H while tracing: not 1, and not each other
_LIFTS = (_ATEN.lift.default, _ATEN.lift_fresh.default, _ATEN.lift_fresh_copy.default)
_COPIES = (_ATEN.alias.default, _ATEN.detach.default, _ATEN.clone.default, *_LIFTS)
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
_FILLED = {  # which argument the constant is
    _ATEN.full.default: 1,
    _ATEN.full_like.default: 1,
    _ATEN.scalar_tensor.default: 0,
}
# Mistakes that do not depend on the tensors: the caller is to see them as they are.
_MISTAKES = (AttributeError, NameError, OptionError, TypeError)

# Takes (B, H) tensors, then (H,) vectors; returns results (B, H) to differentiate, and records,
# which may be anything.
Step = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


class UntraceableError(UnrolledError):
    """The equations hold something that is no pointwise operation on named values."""


class Graphs(NamedTuple):
    """The two graphs of a step, as AOTAutograd lays them out.

    forward: the inputs -> the results, the records, and what `backward` needs besides.
    backward: the latter, and a gradient by each result -> a gradient by each input, or None.
    records: The names of the records in `forward`: those that are (B, H), in float32 or bool.
    """

    forward: fx.Graph
    backward: fx.Graph
    records: list[str]


def pointwise_graphs(where: str, step: Step, num_inputs: int, num_vectors: int) -> Graphs:
    """Return the graphs of `step` on `num_inputs` (B, H) tensors and `num_vectors` vectors (H,).

    Args:
        where: The beginning of what errors say.
        step: The function.
        num_inputs: How many of its arguments are (B, H), at least one.
        num_vectors: How many are (H,), after these.

    Raises:
        UntraceableError: `step` branches on values, reads sizes, uses a tensor from outside,
            changes what it is given, or calls what torch cannot trace.
    """
    from functorch.compile import (  # type: ignore[import-untyped]  # slow to import
        aot_function,
        make_boxed_func,
    )
    from torch._decomp import core_aten_decompositions

    shapes = _shapes(num_inputs, num_vectors)
    num_results, records = _require_tensors(where, step, num_inputs, num_vectors)
    _require_no_sizes(where, step, shapes)
    graphs: dict[str, fx.Graph] = {}

    def keep(name: str) -> Any:
        def compiler(module: fx.GraphModule, _: Any) -> Any:
            graphs[name] = module.graph
            return make_boxed_func(module.forward)

        return compiler

    def outputs_of(*flat: Tensor) -> list[Tensor]:
        results, found = step(*flat)
        return [
            *(_differentiable(value, flat[0]) for value in results.values()),
            *(found[name].detach() for name in records),
        ]

    traced = aot_function(
        outputs_of, keep("forward"), keep("backward"), decompositions=core_aten_decompositions()
    )
    try:
        outputs = traced(*_tensors(shapes, requires_grad=True))[:num_results]
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])
    except Exception as error:  # whatever torch says to a user's equations
        raise UntraceableError(_why(where, error)) from error
    found = Graphs(graphs["forward"], graphs["backward"], records)
    _check_layout(found, len(shapes), num_results)
    for graph in found[:2]:
        _make_pointwise(where, graph, is_gradient=graph is found.backward)
    return found


def _shapes(
    num_inputs: int, num_vectors: int, rows: int = _ROWS, units: int = _UNITS
) -> list[tuple[int, ...]]:
    return [(rows, units)] * num_inputs + [(units,)] * num_vectors


def _tensors(shapes: Sequence[tuple[int, ...]], *, requires_grad: bool = False) -> list[Tensor]:
    return [torch.full(shape, 0.5, **_PLAIN, requires_grad=requires_grad) for shape in shapes]


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, source: Tensor) -> Tensor:  # noqa: ARG004
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return gradient, None


def _differentiable(value: Tensor, source: Tensor) -> Tensor:
    """Return a copy of `value` that counts as computed from `source`, be it a constant."""
    result: Tensor = _Differentiable.apply(value, source)  # type: ignore[no-untyped-call]
    return result


def _why(where: str, error: Exception) -> str:
    from torch._subclasses.fake_tensor import DataDependentOutputException
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    if isinstance(error, GuardOnDataDependentSymNode | DataDependentOutputException):
        return f"{where}: cannot be traced: its equations read values"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{where}: cannot be traced: {reason}"


# ---- What a step may read ------------------------------------------------------------------------


class _Watch(TorchDispatchMode):
    """Sees every operation, and that it reads known tensors and changes none that was given."""

    def __init__(self, where: str, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, ...]] = []
        self._where = where
        self._seen = list(given)  # kept, so that their memory is never another tensor's
        self._known = {_memory(tensor): index for index, tensor in enumerate(given)}
        self._given = set(self._known)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _LIFTS:  # those make a tensor of numbers in the equations
            for tensor in _tensors_in((args, kwargs)):
                if _memory(tensor) not in self._known:
                    shape = tuple(tensor.shape)
                    raise UntraceableError(
                        f"{self._where}: {func} reads a tensor from outside the cell, {shape}"
                    )
        named = dict(zip((each.name for each in func._schema.arguments), args, strict=False))
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                written = _tensors_in((named | kwargs).get(argument.name))
                if any(_memory(tensor) in self._given for tensor in written):
                    raise UntraceableError(f"{self._where}: {func} changes what it is given")
        result = func(*args, **kwargs)
        for tensor in _tensors_in(result):
            self._seen.append(tensor)
            self._known.setdefault(_memory(tensor), len(self._known))
        self.calls.append((func, *map(self.which, (*args, *kwargs.values(), result))))
        return result

    def which(self, value: Any) -> object:
        """Return what `value` is, but for its sizes: a number, or a tensor seen before."""
        if isinstance(value, Tensor):
            return self._known.get(_memory(value)), value.dim()
        return repr(value) if isinstance(value, int | float) else None


def _tensors_in(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _memory(tensor: Tensor) -> int:
    address: int = tensor.untyped_storage()._cdata
    return address


def _require_tensors(
    where: str, step: Step, num_inputs: int, num_vectors: int
) -> tuple[int, list[str]]:
    """Run `step` as it is. Return how many results it has, and the names of its (B, H) records."""
    calls = []
    for rows, units in ((1, 1), (_ROWS, _UNITS)):  # branches on 1 escape symbolic sizes
        given = _tensors(_shapes(num_inputs, num_vectors, rows, units))
        try:
            with torch.no_grad(), _Watch(where, given) as watch:
                results, records = step(*given)
        except (UntraceableError, *_MISTAKES):
            raise
        except Exception as error:
            raise UntraceableError(_why(where, error)) from error
        calls.append([*watch.calls, *map(watch.which, results.values())])
    if calls[0] != calls[1]:
        raise UntraceableError(_reads_sizes(where))
    for name, value in results.items():
        if not _has_rows(value, torch.float32):
            raise UntraceableError(f"{where}: the new {name} must be (B, H) in float32")
    leaves = _tensors(_shapes(num_inputs, num_vectors), requires_grad=True)
    try:  # here, because under tracing torch would warn as well
        outputs = [_differentiable(value, leaves[0]) for value in step(*leaves)[0].values()]
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])
    except Exception as error:
        raise UntraceableError(_why(where, error)) from error
    kept = [name for name, v in records.items() if _has_rows(v, torch.float32, torch.bool)]
    return len(results), kept


def _has_rows(value: Any, *dtypes: torch.dtype) -> bool:
    """Whether `value` is a (B, H) tensor of one of `dtypes`."""
    if not isinstance(value, Tensor):
        return False
    return value.dtype in dtypes and tuple(value.shape) == (_ROWS, _UNITS)


def _require_no_sizes(where: str, step: Step, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise `UntraceableError` if `step` reads sizes, but to make constants of its own size."""
    from torch.fx.experimental.proxy_tensor import make_fx

    def results_of(*flat: Tensor) -> list[Tensor]:
        return list(step(*flat)[0].values())

    try:
        with torch.no_grad():
            module = make_fx(results_of, tracing_mode="symbolic")(*_tensors(shapes))
    except Exception as error:
        raise UntraceableError(_why(where, error)) from error
    sizes = [node for node in module.graph.nodes if _is_number(node)]
    used = [each for node in module.graph.nodes for each in _direct(node) if each in sizes]
    if any(node.target is _ATEN._local_scalar_dense.default for node in used):
        raise UntraceableError(f"{where}: cannot be traced: its equations read values")
    if used or module.shape_env is None or module.shape_env.guards:
        raise UntraceableError(_reads_sizes(where))


def _is_number(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), torch.SymInt | torch.SymFloat | torch.SymBool)


def _direct(node: fx.Node) -> list[Any]:
    """Return what `node` computes with: its arguments but for the sizes of a tensor, in lists."""
    if _is_number(node) or node.op == "output":
        return []
    return [*node.args, *node.kwargs.values()]


def _reads_sizes(where: str) -> str:
    return f"{where}: its equations depend on the number of units or rows"


# ---- What the graphs are -------------------------------------------------------------------------


def _check_layout(found: Graphs, num_inputs: int, num_results: int) -> None:
    """Assert that the graphs' inputs and outputs are those that `Graphs` says."""
    given, received = _placeholders(found.forward), _placeholders(found.backward)
    kept = _outputs(found.forward)[num_results + len(found.records) :]
    assert len(given) == num_inputs, (given, num_inputs)
    assert len(received) == len(kept) + num_results, (received, kept)
    assert len(_outputs(found.backward)) == num_inputs, found.backward
    for node, source in zip(received[: len(kept)], kept, strict=True):
        assert node.name == source.name, (node, source)
    for node in received[len(kept) :]:
        assert node.name.startswith("tangents"), node


def _make_pointwise(where: str, graph: fx.Graph, *, is_gradient: bool) -> None:
    """Rewrite `graph` to what it does in each place of (B, H).

    Copies and reshapings of values that are the same for all rows become nothing; so do the
    gradient's sums over rows, which are the caller's to take (a gradient is linear, so that summing
    later is the same). All constants become `full` of size ().
    """
    for node in list(graph.nodes):
        if node.op == "get_attr":
            _replace_constant(where, graph, node)
        elif node.op == "call_function" and not _replace(graph, node, is_gradient):
            _require_extent(where, node)
    graph.eliminate_dead_code()


def _replace(graph: fx.Graph, node: fx.Node, is_gradient: bool) -> bool:
    """Replace `node` by something simpler, if there is anything."""
    target: Any = node.target
    if target in _FILLED:
        _replace_by_full(graph, node, node.args[_FILLED[target]])
        return True
    if target is _ATEN._efficientzerotensor.default:
        _replace_by_full(graph, node, 0.0)
        return True
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node):
        return False
    before, after = _extent(source), _extent(node)
    if before is None or after is None:
        return False
    same = target in _COPIES
    reshaped = target in _RESHAPES and before <= after
    summed = is_gradient and target in (*_RESHAPES, *_SUMS) and after <= before
    if same or reshaped or summed:
        node.replace_all_uses_with(source)
        return True
    return False


def _replace_by_full(graph: fx.Graph, node: fx.Node, value: Any) -> None:
    with graph.inserting_before(node):
        full = graph.call_function(_ATEN.full.default, ([], value), {})
    full.meta = dict(node.meta)
    node.replace_all_uses_with(full)


def _replace_constant(where: str, graph: fx.Graph, node: fx.Node) -> None:
    """Replace a tensor that the equations made of a number: torch.tensor(0.5)."""
    module = graph.owning_module
    value = getattr(module, str(node.target), None)
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise UntraceableError(f"{where}: uses a tensor of several numbers of its own")
    node.meta["val"] = value
    _replace_by_full(graph, node, value.item())


def _extent(node: fx.Node) -> set[str] | None:
    """Return along what the value of `node` varies, rows or units; None: no tensor of (B, H)."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or value.dim() > 2:
        return None
    found = set()
    for name, size, given in zip(
        ("units", "rows"), reversed(value.shape), (_UNITS, _ROWS), strict=False
    ):
        if size == given:
            found.add(name)
        elif size != 1:
            return None
    return found


def _require_extent(where: str, node: fx.Node) -> None:
    if node.users and _extent(node) is None:
        raise UntraceableError(f"{where}: no kernel has the operation {node.target}")


def _placeholders(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op == "placeholder"]


def _outputs(graph: fx.Graph) -> list[Any]:
    return list(graph.output_node().args[0])  # type: ignore[arg-type]  # always a tuple here
