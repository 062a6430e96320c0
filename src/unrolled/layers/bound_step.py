"""A step of a stream from and to the same memory each time; made by `stream.bind(x, out)`."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unrolled.errors import ShapeError
from unrolled.kernels import check_memory

__all__ = ["BoundStep"]

Array = NDArray[np.float32]


class _Steps(Protocol):
    batch_size: int

    def step(self, x: Any, *, out: Any) -> Any: ...
    def _bound_step(self, x: Array, y: Array, out: Any) -> Callable[[], bool] | None: ...


class BoundStep:
    """A stream's step with an input and an output that were looked at once.

    It is the stream's: who steps that one in another way steps this one too. Weights that change
    are seen as there. Not copied nor pickled: bind again.

    Args:
        stream: The stream.
        x: What each step reads, (B, I).
        out: Where its output goes, (B, H).
        sizes: I and H.

    Raises:
        ShapeError: They are not float32 of these shapes on CPU, with numbers one after the other.
    """

    def __init__(self, stream: Any, x: Any, out: Any, sizes: tuple[int, int]) -> None:
        self._stream: _Steps = stream
        self._x, self._out = x, out
        # arrays on the same memory, which keep it as it is: it cannot be resized then
        rows = stream.batch_size
        where = f"{type(stream._layer).__name__}.stream"
        self._from = _array(f"{where}: x", x, (rows, sizes[0]))
        self._to = _array(f"{where}: out", out, (rows, sizes[1]), written=True)
        self._run: Callable[[], bool] | None = None

    def step(self) -> Any:
        """Read what `x` holds now, write to `out` and return it."""
        run = self._run
        if run is None or not run():
            self._stream.step(self._x, out=self._out)
            self._run = self._stream._bound_step(self._from, self._to, self._out)
        return self._out

    def __reduce__(self) -> Any:
        raise TypeError("a bound step cannot be copied: bind the copy of its stream")


def _array(where: str, memory: Any, shape: tuple[int, int], *, written: bool = False) -> Array:
    """Return the memory of a tensor or an array as an array."""
    got = f"{type(memory).__name__}"
    if isinstance(memory, (Tensor, np.ndarray)):
        device = memory.device if isinstance(memory, Tensor) else "cpu"
        got = f"{memory.dtype} {tuple(memory.shape)} on {device}"
        fits = tuple(memory.shape) == shape and str(memory.dtype).endswith("float32")
        if fits and str(device) == "cpu":
            if isinstance(memory, Tensor):
                check_memory(where, memory)
            try:
                array: Array = memory.detach().numpy() if isinstance(memory, Tensor) else memory[:]
            except RuntimeError as error:  # of torch: it is no plain memory
                raise ShapeError(f"{where}: {error}") from error
            fixed = written and (
                not array.flags.writeable or (isinstance(memory, Tensor) and memory.requires_grad)
            )
            if array.flags.c_contiguous and array.flags.aligned and not fixed:
                return array
            got += ", read-only" if fixed else ", of another layout"
    raise ShapeError(
        f"{where} must be float32 {shape} on cpu, its numbers one after the other, got {got}",
        "step(x, out=...) takes any layout",
    )
