"""From a function of tensors to two graphs of pointwise operations: itself, and its gradient.

The function is run on small tensors, and differentiated, while every operation is written down.
Here it is made sure that the graphs say all that the function does, for any number of rows and
units: that it reads no sizes and no values, and no tensors but those that it is given. What the
tensors mean is not known here. PyTorch's own tracers, which do much more, take seconds to import.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch._decomp import _core_aten_decompositions_post_autograd
from torch._dispatch.python import enable_python_dispatcher
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

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
_SIMPLER: dict[Any, Callable[[Tensor, Tensor], Tensor]] = {  # torch's own import sympy
    _ATEN.sigmoid_backward.default: lambda gradient, y: gradient * (y * (1 - y)),
    _ATEN.tanh_backward.default: lambda gradient, y: gradient * (1 - y * y),
}
_SUMS = (_ATEN.sum.dim_IntList, _ATEN.sum.default)
_FILLED = {  # which argument the constant is
    _ATEN.full.default: 1,
    _ATEN.full_like.default: 1,
    _ATEN.scalar_tensor.default: 0,
}
_SIZES = (Tensor.size, Tensor.shape.__get__)  # type: ignore[attr-defined]  # a getset of C
_COUNTS = (Tensor.__len__, Tensor.numel, Tensor.nelement, Tensor.stride, torch.numel)
_VALUES = (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr)
_TEXTS = (Tensor.__repr__, Tensor.__format__)
_OF_NUMBERS = (  # what one can do with an int, but for handing it on
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
# Mistakes that do not depend on the tensors: the caller is to see them as they are.
_MISTAKES = (AttributeError, NameError, OptionError, TypeError)

# Takes (B, H) tensors, then (H,) vectors; returns results (B, H) to differentiate, and records,
# which may be anything.
Step = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


class UntraceableError(UnrolledError):
    """The equations hold something that is no pointwise operation on named values."""


class Graphs(NamedTuple):
    """The two graphs of a step.

    forward: the inputs -> the results, the records, and what `backward` needs besides.
    backward: a gradient by each result, and the latter -> a gradient by each input, or None.
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
            changes what it is given, or calls what torch cannot differentiate.
    """
    calls = []
    for rows, units in ((1, 1), (_ROWS, _UNITS)):
        shapes = [(rows, units)] * num_inputs + [(units,)] * num_vectors
        given = [_tensor(shape).requires_grad_().clone() for shape in shapes]  # may be changed
        recorder, watch, reads = _Recorder(where, given), _Watch(where, given), _Reads(where)
        with _as_untraceable(where, *_MISTAKES), enable_python_dispatcher(), recorder, watch, reads:
            results, records = step(*given)
        calls.append([*watch.calls, *map(watch.which, results.values())])
        if calls[0] != calls[-1] or reads.sizes:
            raise UntraceableError(f"{where}: its equations depend on the number of units or rows")
        for name, value in results.items():
            if not _is_tensor(value, (rows, units), torch.float32):
                raise UntraceableError(f"{where}: the new {name} must be (B, H) in float32")
    size, types = (_ROWS, _UNITS), (torch.float32, torch.bool)
    kept = {name: value for name, value in records.items() if _is_tensor(value, size, *types)}
    outputs = [recorder.node(value) for value in (*results.values(), *kept.values())]
    tangents = [_tensor(size) for _ in results]
    forward, backward = recorder.graph, recorder.begin(tangents, "tangents")
    with _as_untraceable(where), recorder:
        gradients = _gradients(list(results.values()), given, tangents)
    backward.output(tuple(g if g is None else recorder.node(g) for g in gradients))
    _require_pointwise(where, backward)
    forward.output((*outputs, *recorder.saved()))
    _require_pointwise(where, forward)
    return Graphs(forward, backward, list(kept))


def _tensor(shape: tuple[int, ...]) -> Tensor:
    return torch.full(shape, 0.5, **_PLAIN)


def _is_tensor(value: Any, shape: tuple[int, ...], *dtypes: torch.dtype) -> bool:
    return isinstance(value, Tensor) and tuple(value.shape) == shape and value.dtype in dtypes


class _Seed(torch.autograd.Function):
    """A number of which the gradients by `results` are `tangents`.

    To hand `tangents` to `torch.autograd.grad` would import its symbolic sizes, which is slow.
    """

    @staticmethod
    def forward(ctx: Any, tangents: list[Tensor], *results: Tensor) -> Tensor:
        ctx.tangents = tangents
        return results[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.tangents


def _gradients(
    results: list[Tensor], given: list[Tensor], tangents: list[Tensor]
) -> Sequence[Tensor | None]:
    differentiable: Any = _Seed.apply
    seed: Tensor = differentiable(tangents, *results)
    if not seed.requires_grad:  # the results are constants
        return [None] * len(given)
    return torch.autograd.grad(seed, given, allow_unused=True)


@contextmanager
def _as_untraceable(where: str, *but: type[Exception]) -> Iterator[None]:
    """Make an `UntraceableError` of whatever torch says to a user's equations."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (UntraceableError, *but)):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UntraceableError(f"{where}: cannot be traced: {reason}") from error


# ---- What a step may read ------------------------------------------------------------------------


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
    """A mode that does not import the whole of torch._dynamo, in order to be skipped by it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _Watch(_Mode):
    """Sees every operation, and that it reads known tensors and changes none that was given."""

    def __init__(self, where: str, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
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
                    raise UntraceableError(_is_foreign(self._where, func, tensor))
        if any(_memory(tensor) in self._given for tensor in _written(func, args, kwargs)):
            raise OptionError(
                f"{self._where}: {func} changes what the equations are given",
                "write h = h * 0.5 for h.mul_(0.5): it would change the state of the caller",
            )
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


class _Reads(TorchFunctionMode):
    """Sees what the equations themselves, and not torch's own functions, read of a tensor."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.sizes = False
        self._where = where

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _VALUES:
            raise UntraceableError(_reads_values(self._where))
        if func in _TEXTS:  # to print a tensor is no use of its values
            with _disable_current_modes():
                return func(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        self.sizes |= func in _COUNTS
        if func not in _SIZES:
            return result
        return (
            torch.Size(map(self._size, result)) if isinstance(result, tuple) else self._size(result)
        )

    def _size(self, value: int) -> "_Size":
        size = _Size(value)
        size.reader = self
        return size


class _Size(int):
    """A size that says when it is computed with. It may be handed to torch, to make a constant."""

    reader: _Reads


def _told(name: str) -> Callable[..., Any]:
    def method(size: _Size, *others: Any) -> Any:
        size.reader.sizes = True
        return getattr(int, name)(size, *others)

    return method


for _name in _OF_NUMBERS:
    setattr(_Size, _name, _told(_name))


def _tensors_in(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _written(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the tensors that an operation changes."""
    arguments = func._schema.arguments
    named = dict(zip((each.name for each in arguments), args, strict=False)) | kwargs
    changed = [each for each in arguments if each.alias_info and each.alias_info.is_write]
    return _tensors_in([named.get(each.name) for each in changed])


def _memory(tensor: Tensor) -> int:
    address: int = tensor.untyped_storage()._cdata
    return address


def _is_foreign(where: str, func: Any, tensor: Tensor) -> str:
    return f"{where}: {func} reads a tensor from outside the cell, {tuple(tensor.shape)}"


def _reads_values(where: str) -> str:
    return f"{where}: cannot be traced: its equations read values"


# ---- What the graphs are -------------------------------------------------------------------------


class _Recorder(_Mode):
    """Writes every operation down: what it does in each place of (B, H).

    Operations that torch can express by simpler ones are decomposed, and those in place become what
    they compute. Copies and reshapings of values that are the same for all rows are nothing; so are
    the gradient's sums over rows, which are the caller's to take (a gradient is linear, so that
    summing later is the same). All constants become `full` of size ().
    """

    def __init__(self, where: str, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self._where = where
        self._decompositions = _core_aten_decompositions_post_autograd() | _SIMPLER
        self._seen: list[Tensor] = []  # kept, so that their memory is never another tensor's
        self._nodes: dict[int, dict[object, fx.Node]] = {}  # by memory, then by place in it
        self._saved: dict[fx.Node, fx.Node] = {}  # of the graph before, and its place in this one
        self._is_gradient = False
        self.graph = fx.Graph()
        self._give(given, "given")

    def begin(self, given: Sequence[Tensor], name: str) -> fx.Graph:
        """Go on in a new graph, of the gradient, that is given tensors called `name`."""
        self._is_gradient = True
        self.graph = fx.Graph()
        self._give(given, name)
        return self.graph

    def _give(self, tensors: Sequence[Tensor], name: str) -> None:
        for tensor in tensors:
            self._bind(tensor, self.graph.placeholder(name))

    def saved(self) -> list[fx.Node]:
        """Return what the gradient needs of the graph before, in the order of its placeholders."""
        for source, placeholder in list(self._saved.items()):
            if not placeholder.users:
                self.graph.erase_node(placeholder)
                del self._saved[source]
        return list(self._saved)

    def node(self, tensor: Tensor, func: object = "the result") -> fx.Node:
        """Return the node that computes `tensor`, which `func` reads, in the graph of now."""
        places = self._nodes.get(_memory(tensor))
        if places is None:
            raise UntraceableError(_is_foreign(self._where, func, tensor))
        node = places.get(_place(tensor))
        if node is None:
            raise UntraceableError(f"{self._where}: {func} reads what was changed in part or whole")
        if node.graph is self.graph:
            return node
        if node not in self._saved:
            self._saved[node] = self.graph.placeholder(node.name)
            self._saved[node].meta = dict(node.meta)
        return self._saved[node]

    def _bind(self, tensor: Tensor, node: fx.Node) -> None:
        node.meta.setdefault("val", tensor)
        self._seen.append(tensor)
        self._nodes.setdefault(_memory(tensor), {})[_place(tensor)] = node

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with _as_untraceable(self._where), self:
            decomposition = self._decompositions.get(func, func.decompose)
            result = decomposition(*args, **kwargs)
        if result is not NotImplemented:
            return result
        if written := _written(func, args, kwargs):
            return self._change(func, written, args, kwargs)
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self._bind(result, self._recorded(func, args, kwargs, result))
        elif not _tensors_in(result):
            raise UntraceableError(_reads_values(self._where))
        else:
            node = self._call(func, args, kwargs)
            for index, part in enumerate(result):
                if isinstance(part, Tensor):
                    self._bind(part, self._call(operator.getitem, (node, index), {}))
        return result

    def _change(self, func: Any, written: list[Tensor], args: Any, kwargs: dict[str, Any]) -> Any:
        """Do an operation in place, and write down what it computes, as a new value."""
        packet = getattr(_ATEN, func.overloadpacket.__name__.removesuffix("_"), None)
        compute = getattr(packet, func._overloadname, None)
        if compute is None or written != [args[0]]:
            raise UntraceableError(f"{self._where}: no kernel has the operation {func}")
        with self:
            value = args[1] if func is _ATEN.copy_.default else compute(*args, **kwargs)
            node = self.node(value.to(args[0].dtype), func)
        result = func(*args, **kwargs)
        self._nodes[_memory(result)].clear()  # views of it are no more what they were
        self._bind(result, node)
        return result

    def _recorded(self, func: Any, args: Any, kwargs: dict[str, Any], result: Tensor) -> fx.Node:
        if func in _LIFTS and _memory(args[0]) not in self._nodes:  # torch.tensor(0.5)
            if args[0].numel() != 1:
                raise UntraceableError(
                    f"{self._where}: uses a tensor of several numbers of its own"
                )
            return self._call(_ATEN.full.default, ([], args[0].item()), {})
        if func in _FILLED:
            return self._call(_ATEN.full.default, ([], args[_FILLED[func]]), {})
        if func is _ATEN._efficientzerotensor.default:
            return self._call(_ATEN.full.default, ([], 0.0), {})
        if self._is_same(func, args, result):
            return self.node(args[0], func)
        return self._call(func, args, kwargs)

    def _call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> fx.Node:
        def known(value: Any) -> Any:
            return self.node(value, func) if isinstance(value, Tensor) else value

        name = getattr(func, "overloadpacket", func).__name__
        positional, named = tree_map(known, (tuple(args), kwargs))
        return self.graph.create_node("call_function", func, positional, named, name=name)

    def _is_same(self, func: Any, args: Any, result: Tensor) -> bool:
        """Whether `result` is what the operation is given, in each place of (B, H)."""
        if not args or not isinstance(args[0], Tensor):
            return False
        before, after = _extent(args[0]), _extent(result)
        if before is None or after is None:
            return False
        reshaped = func in _RESHAPES and before <= after
        summed = self._is_gradient and func in (*_RESHAPES, *_SUMS) and after <= before
        return func in _COPIES or reshaped or summed


def _place(tensor: Tensor) -> object:
    return tensor.storage_offset(), tuple(tensor.shape), tensor.stride()


def _extent(value: Any) -> set[str] | None:
    """Return along what `value` varies, rows or units; None: no tensor of (B, H)."""
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


def _require_pointwise(where: str, graph: fx.Graph) -> None:
    """Drop what `graph` has no use for, and raise `UntraceableError` if the rest is not (B, H)."""
    graph.eliminate_dead_code()
    for node in graph.nodes:
        if node.op == "call_function" and _extent(node.meta.get("val")) is None:
            raise UntraceableError(f"{where}: no kernel has the operation {node.target}")
