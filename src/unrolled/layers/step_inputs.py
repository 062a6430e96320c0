"""The inputs of every step that a cell declares beside x: checked, and laid behind x in its rows.

A row of what a recurrence reads is (I + E * H): x_t, then H numbers of each of the E inputs of its
step. So all that is done to x - padding dropped, rows sorted, read backwards, kept for a gradient,
given to an operator of torch or to a stream's kernel - is done to them in the same stroke.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.cells import RAW_INPUT, Cell
from unrolled.errors import OptionError, ShapeError
from unrolled.kernels import check_memory
from unrolled.layers.arguments import autocast_dtype

__all__ = ["StepInputs", "check_raw_input"]


class StepInputs:
    """The inputs of a step of one layer.

    Args:
        where: The layer, or its stream.
        names: What its cell calls them; none of a layer without a cell.
        hidden_size: H.
        defaults: What those are that are not given.
    """

    def __init__(
        self,
        where: str,
        names: tuple[str, ...] = (),
        hidden_size: int = 0,
        defaults: Mapping[str, float] | None = None,
    ) -> None:
        self._where, self.names, self._hidden_size = where, names, hidden_size
        self._defaults = defaults or {}
        self.width = len(names) * hidden_size

    def beside(self, x: Any, given: Mapping[str, Any]) -> Any:
        """Return x with the inputs behind it in each row, (..., I + E * H).

        Args:
            x: (..., I), a tensor or an array; its width is not looked at.
            given: By name, of the kind of `x` each: a number for each row, (...) or (..., 1), or H
                numbers, (..., H).

        Raises:
            OptionError: One is missing, or is none of the cell's.
            ShapeError: Another kind, shape, type or device.
        """
        self._check_names(given)
        if not self.names:
            return x
        values = [
            self._default(name, x)
            if given.get(name) is None
            else self._checked(name, given[name], x)
            for name in self.names
        ]
        if isinstance(x, np.ndarray):
            rows = [np.broadcast_to(v, (*x.shape[:-1], self._hidden_size)) for v in values]
            return np.concatenate([x, *rows], axis=-1)
        if not torch.compiler.is_compiling():
            for tensor in (x, *values):  # torch reads them here
                check_memory(self._where, tensor)
        shape = (*x.shape[:-1], self._hidden_size)
        return torch.cat([x, *(value.expand(shape) for value in values)], dim=-1)

    def beside_any(self, x: Any, given: Mapping[str, Any]) -> Any:
        """Return what `beside` does, without a gradient; x may be whatever numpy takes."""
        with torch.no_grad():
            return self.beside(x if isinstance(x, Tensor) else np.asarray(x), given)

    def apart(self, rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x and the inputs by name, (..., H) each, of what `beside` returned."""
        if not self.names:
            return rows, {}
        input_size = rows.shape[-1] - self.width
        inputs = rows[..., input_size:].chunk(len(self.names), dim=-1)
        return rows[..., :input_size], dict(zip(self.names, inputs, strict=True))

    def _check_names(self, given: Mapping[str, Any]) -> None:
        declared = ", ".join(self.names) or "none"
        for name in given:
            if name not in self.names:
                hint = f"inputs beside x that its cell declares: {declared}"
                if name == RAW_INPUT:
                    hint = "x_t is the input itself, and not given beside it"
                raise OptionError(f"{self._where}: takes no input {name!r}", hint)
        for name in self.names:
            if given.get(name) is None and name not in self._defaults:
                raise OptionError(
                    f"{self._where}: the input {name!r} is missing: the cell reads it at all steps",
                    f"give {name}=, one number or {self._hidden_size} for each step and row",
                )

    def _default(self, name: str, x: Any) -> Any:
        shape, value = (*x.shape[:-1], 1), self._defaults[name]
        return (
            np.full(shape, value, x.dtype)
            if isinstance(x, np.ndarray)
            else x.new_full(shape, value)
        )

    def _checked(self, name: str, value: Any, x: Any) -> Any:
        """Return one input as (..., 1) or (..., H)."""
        kind = np.ndarray if isinstance(x, np.ndarray) else Tensor
        if not isinstance(value, kind):
            raise ShapeError(
                f"{self._where}: {name} must be a {_name_of(kind)} as the input is, got a "
                f"{_name_of(type(value))}",
                "one number, or one for each unit, for each step and row",
            )
        lead, shape = tuple(x.shape[:-1]), tuple(value.shape)
        # number by number: to torch.compile a tuple of free sizes equals none of fixed ones
        leads = len(lead) <= len(shape) and all(map(operator.eq, lead, shape))
        if not leads or shape[len(lead) :] not in ((), (1,), (self._hidden_size,)):
            allowed = f"{lead}, {(*lead, 1)} or {(*lead, self._hidden_size)}"
            raise ShapeError(
                f"{self._where}: {name} must be {allowed}, got {shape}",
                f"a number or {self._hidden_size} numbers for each row of the input",
            )
        self._check_type(name, value, x)
        return value[..., None] if len(shape) == len(lead) else value

    def _check_type(self, name: str, value: Any, x: Any) -> None:
        if isinstance(x, Tensor) and value.device != x.device:
            raise ShapeError(
                f"{self._where}: {name} is on {value.device}, the input is on {x.device}",
                f"convert: {name}.to({str(x.device)!r})",
            )
        if value.dtype == x.dtype:
            return
        lower = autocast_dtype(x.device) if isinstance(x, Tensor) else None
        if lower is None or not value.is_floating_point():
            convert = f"{name}.to({x.dtype})" if isinstance(x, Tensor) else f"{name}.astype('f4')"
            raise ShapeError(
                f"{self._where}: {name} is {value.dtype}, the input is {x.dtype}",
                f"convert: {convert}",
            )


def check_raw_input(
    where: str, cell: Cell, input_size: int, hidden_size: int, *, output_size: int, num_layers: int
) -> None:
    """Raise `OptionError` if the equations read x_t, and a layer reads more or less than H."""
    widths: Sequence[int] = [input_size, *([output_size] if num_layers > 1 else [])]
    for layer, width in enumerate(widths if cell.reads_raw_input else ()):
        if width != hidden_size:
            what = f"layer {layer} reads" if layer else "input_size is"
            hint = "of one direction, or one layer" if layer else "project it first: nn.Linear"
            raise OptionError(
                f"{where}: cell {cell.name} reads x_t, a number for each of its {hidden_size} "
                f"units, and {what} {width}",
                f"{hint}, or give it hidden_size={width}",
            )


def _name_of(kind: type) -> str:
    return {Tensor: "tensor", np.ndarray: "numpy array"}.get(kind, kind.__name__)
