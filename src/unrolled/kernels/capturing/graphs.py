"""From a function of tensors to two graphs of pointwise operations: itself, and its gradient.

The function is run on small tensors, and differentiated, while every operation is written down.
Here it is made sure that the graphs say all that the function does, for any number of rows and
units: that it reads neither sizes nor values, and no tensors but its arguments. So it is run three
times, on other sizes and values, and must do the same each time. What the tensors mean is not known
here. PyTorch's own tracers, which do much more, take seconds to import.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import zip_longest
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch._dispatch.python import enable_python_dispatcher
from torch.autograd.graph import _engine_run_backward

from unrolled.errors import OptionError
from unrolled.kernels.capturing.errors import EquationsError, as_equations_error
from unrolled.kernels.capturing.graph_writer import ROWS, UNITS, GraphWriter, require_pointwise
from unrolled.kernels.capturing.reads import SIZES, OperationWatch, QuestionWatch

__all__ = ["Graphs", "Step", "pointwise_graphs"]

# Mistakes that do not depend on the tensors: the caller is to see them as they are.
_MISTAKES = (AttributeError, NameError, OptionError, TypeError)

# Takes (B, H) tensors, then (H,) vectors; returns results (B, H) to differentiate, and other values
# worth seeing, which may be anything.
Step = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


class Graphs(NamedTuple):
    """The two graphs of a step.

    forward: the arguments -> the results, the values, and what `backward` needs besides.
    backward: a gradient of each result, and the latter -> a gradient of each argument, or None.
    value_names: Those of the values: what else `step` returned, if (B, H) in float32 or bool.
    """

    forward: fx.Graph
    backward: fx.Graph
    value_names: list[str]


def pointwise_graphs(
    where: str,
    step: Step,
    num_inputs: int,
    num_vectors: int,
    visit: Callable[[FrameType], None] = lambda _: None,
) -> Graphs:
    """Return the graphs of `step` on `num_inputs` (B, H) tensors and `num_vectors` vectors (H,).

    Args:
        where: The beginning of what errors say.
        step: The function.
        num_inputs: How many of its arguments are (B, H), at least one.
        num_vectors: How many are (H,), after these.
        visit: Called with the frame of each Python function that `step` calls, as it begins.

    Raises:
        EquationsError: `step` branches on values, reads sizes, uses a tensor from outside,
            or calls what torch cannot differentiate; or its gradient does.
        OptionError: `step` changes its arguments.
    """
    shapes = [
        [size] * num_inputs + [size[1:]] * num_vectors
        for size in ((1, 1), (ROWS + 2, UNITS + 4), (ROWS, UNITS))
    ]
    # on other values each time, in memory of their own
    arguments = [
        [_tensor(shape, 0.5 - 0.25 * number) for shape in each]
        for number, each in enumerate(shapes)
    ]
    writer = GraphWriter(where, arguments[-1])
    single, other, run = (
        _Run(where, step, each, mode, visit)
        for each, mode in zip(arguments, (None, None, writer), strict=True)
    )
    _require_equal(where, single.watch, run.watch)
    values = {
        name: value
        for name, value in run.others.items()
        if _is_tensor(value, (ROWS, UNITS), torch.float32, torch.bool)
    }
    outputs = [writer.node_of(value) for value in (*run.results.values(), *values.values())]
    require_pointwise(where, outputs, of_step=True)
    forward, backward = writer.graph, writer.begin_gradient(run.tangents)
    other.differentiate()
    gradients = run.differentiate()
    _require_equal(where, other.watch, run.watch)
    for one, two, line in zip(other.watch.shapes, run.watch.shapes, run.watch.lines, strict=True):
        if one != two:  # a sum over what has three places, by chance
            raise EquationsError(f"{where}: its equations {SIZES}{line}")
    for gradient in gradients[num_inputs:]:
        if gradient is not None:
            writer.require_sum(gradient)
    nodes = [g if g is None else writer.node_of(g) for g in gradients]
    require_pointwise(where, nodes, of_step=False)
    backward.output(tuple(nodes))
    backward.eliminate_dead_code()
    forward.output((*outputs, *writer.saved()))
    forward.eliminate_dead_code()
    return Graphs(forward, backward, list(values))


class _Run:
    """A step on tensors of one size, and its gradient, with all that they do.

    Args:
        where: The beginning of what errors say.
        step: The function.
        arguments: What it is given.
        writer: What writes its operations down, if anything does.
        visit: Called with the frame of each Python function that it calls.
    """

    def __init__(
        self,
        where: str,
        step: Step,
        arguments: list[Tensor],
        writer: GraphWriter | None,
        visit: Callable[[FrameType], None],
    ) -> None:
        self._where, self._writer = where, writer
        self.arguments = arguments
        self.watch = OperationWatch(where, arguments)
        self._questions = QuestionWatch(where, self.watch.knows, visit)
        with as_equations_error(where, *_MISTAKES), self._watching():
            self.results, self.others = step(*arguments)
        size = tuple(arguments[0].shape)
        for name, value in self.results.items():
            if not _is_tensor(value, size, torch.float32):
                raise EquationsError(f"{where}: the new {name} must be (B, H) in float32")
        self.watch.calls.append(tuple(map(self.watch.identity_of, self.results.values())))
        self.tangents = [_tensor(size) for _ in self.results]

    def differentiate(self) -> Sequence[Tensor | None]:
        """Return the gradients of the arguments, from `tangents`, those of the results."""
        self.watch.know(self.tangents)
        pairs = zip(self.results.values(), self.tangents, strict=True)
        roots = [(result, tangent) for result, tangent in pairs if result.requires_grad]
        if not roots:  # the results are constants
            return [None] * len(self.arguments)
        with as_equations_error(self._where), self._watching():
            # torch.autograd.grad would import symbolic sizes, which is slow, and hide from modes
            return _engine_run_backward(
                *zip(*roots, strict=True),
                False,  # keeps no graph
                False,  # makes none
                tuple(self.arguments),
                allow_unreachable=True,
                accumulate_grad=False,
            )

    @contextmanager
    def _watching(self) -> Iterator[None]:
        writer = self._writer or nullcontext()
        with _undisturbed(), enable_python_dispatcher(), writer, self.watch, self._questions:
            try:
                yield
            except TypeError as error:
                if "_Size" in str(error):  # torch's C takes sizes as shapes, not as numbers
                    self._questions.size_used()
                else:
                    raise
        if problem := self._questions.problem:
            raise EquationsError(f"{self._where}: its equations {problem}")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep from the equations what the process does beside them.

    The collector runs finalizers of anything, in any thread; and torch's search for anomalies
    looks at the numbers of each gradient.
    """
    collects = gc.isenabled()
    searches, checks_nan = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    gc.disable()
    if searches:
        torch.autograd.set_detect_anomaly(False)
    try:
        yield
    finally:
        if searches:
            torch.autograd.set_detect_anomaly(True, checks_nan)
        if collects:
            gc.enable()


def _require_equal(where: str, first: OperationWatch, second: OperationWatch) -> None:
    """Raise `EquationsError` unless two runs on other sizes have done the same."""
    if first.calls != second.calls:
        pairs = zip_longest(first.calls, second.calls)
        place = next(place for place, (a, b) in enumerate(pairs) if a != b)
        line = next((line for line in [*first.lines, ""][place:] if line), "")
        raise EquationsError(f"{where}: its equations {SIZES}{line}")


def _tensor(shape: tuple[int, ...], value: float = 0.5) -> Tensor:
    full = torch.full(shape, value, dtype=torch.float32, device="cpu", requires_grad=True)
    return full.clone()


def _is_tensor(value: Any, shape: tuple[int, ...], *dtypes: torch.dtype) -> bool:
    return isinstance(value, Tensor) and tuple(value.shape) == shape and value.dtype in dtypes
