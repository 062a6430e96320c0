"""Recurrent layers in C: the step of the cell, and the products around it."""

import re
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from unrolled.errors import OptionError
from unrolled.export.c.stage import Stage, Writer, add_one_hot
from unrolled.kernels import EquationsError, PlainStep, Weights, plain_step
from unrolled.layers import RecurrentLayer

__all__ = ["add_recurrent", "require_first"]


def require_first(writer: Writer, layer: RecurrentLayer, one_hot: bool) -> None:
    """Raise `OptionError` where a layer reads inputs of a step, and something comes before it."""
    if layer.cell.inputs and (writer.has_begun or one_hot):
        names = ", ".join(layer.cell.inputs)
        message = f"export: cell {layer.cell.name} reads {names} beside x at every step"
        raise OptionError(f"{message}, so that nothing can come before it", "put it first")


def add_recurrent(writer: Writer, layer: RecurrentLayer, one_hot: bool) -> list[Stage]:
    """Add a recurrent layer; return a stage for each of its layers.

    Args:
        writer: Of the file.
        layer: What is added.
        one_hot: Whether it reads a token.

    Raises:
        OptionError: No C can do what its equations hold.
    """
    cell = layer.cell
    stages = []
    if one_hot and cell.reads_raw_input:
        stages.append(add_one_hot(writer, layer.input_size))
        one_hot = False
    if cell.inputs:
        writer.give(layer.input_size, len(cell.inputs) * layer.hidden_size)
    suffixes = iter(layer.suffixes)
    for number in range(layer.num_layers):
        parts = []
        for suffix in [next(suffixes) for _ in range(1 + layer.bidirectional)]:
            weights = layer.weights_of(suffix)
            parts.append(_add_direction(writer, layer, weights, one_hot and not number))
        size = layer.proj_size or layer.hidden_size
        (ahead, state), *back = parts
        stages.append(Stage(ahead, back[0][0] if back else None, size, state))
    return stages


def _add_direction(
    writer: Writer, layer: RecurrentLayer, weights: Weights, one_hot: bool
) -> tuple[str, str]:
    """Add a direction of a layer; return the name of its function, and where its states are."""
    cell, units = layer.cell, layer.hidden_size
    function = re.sub(r"\W", "_", cell.name, flags=re.ASCII)
    try:
        step = writer.source.step(f"cell_{function}", partial(plain_step, cell))
    except EquationsError as error:
        raise OptionError(f"export: {error.message}", error.hint) from error
    if layer.proj_size and step.reads_h:
        message = f"export: cell {cell.name} reads h, which proj_size makes narrower"
        raise OptionError(message, "export without proj_size")
    body = writer.body()
    source, name, lines = body.source, body.name, body.lines
    state = source.state(len(cell.states) * units)
    h = source.state(layer.proj_size) if layer.proj_size else state

    def rows(weight: Tensor, gates: Sequence[int]) -> Tensor:
        blocks = [weight[gate * units : (gate + 1) * units] for gate in gates]
        return torch.cat(blocks).detach()

    def multiply(label: str, weight: Tensor, vector: str, to: str) -> None:
        """Add the lines of a recurrent product: of heads, of one block after another."""
        size = weight.shape[1]
        if layer.heads == 1:
            lines.append(f"product({source.matrix(label, weight)}, {vector}, {to});")
            return
        for row in range(0, len(weight), size):
            matrix = source.matrix(f"{label}_{row // size}", weight[row : row + size])
            lines.append(f"product({matrix}, {vector} + {row % units}, {to} + {row});")

    work = source.work(0)
    sums = f"{work} + {step.num_slots * units}" if step.recurrent_gates else "0"
    vectors_at = f"{work} + {(step.num_slots + len(step.recurrent_gates)) * units}"
    num_applied = sum(map(len, step.applied_gates))
    more = len(step.recurrent_gates) + 2 * num_applied
    source.work((step.num_slots + more) * units)
    matrix = source.matrix(f"{name}_input", rows(weights.weight_ih, step.input_gates))
    reads = f"lookup({matrix}, m->token, {work});" if one_hot else f"product({matrix}, in, {work});"
    lines.append(reads)
    if weights.weight_hh is not None and step.recurrent_gates:
        multiply(f"{name}_recurrent", rows(weights.weight_hh, step.recurrent_gates), h, sums)
    bias = source.vector(f"{name}_bias", _bias(weights, step, units))
    vectors = "0"
    if weights.parameters:
        vectors = source.vector(f"{name}_vectors", torch.cat([*weights.parameters]).detach())
    given = f"{bias}, {vectors}, {state}"
    if cell.step_inputs:
        beside = writer.given.address if writer.given and cell.inputs else "0"
        given += f", {beside}, {'in' if cell.reads_raw_input else '0'}"
    place = 0
    for phase, gates in enumerate(step.applied_gates):
        assert weights.weight_hh is not None
        apply = f"{step.function}_apply{phase + 1 if phase else ''}"
        lines.append(f"{apply}({units}, {work}, {sums}, {given}, {vectors_at});")
        sums = f"{vectors_at} + {(num_applied + place) * units}"
        for number, gate in enumerate(gates):
            vector, to = f"{vectors_at} + {place * units}", f"{sums} + {number * units}"
            multiply(f"{name}_applied{place}", rows(weights.weight_hh, [gate]), vector, to)
            place += 1
    lines.append(f"{step.function}_units({units}, {work}, {sums}, {given});")
    if weights.weight_hr is not None:
        matrix = source.matrix(f"{name}_projection", weights.weight_hr.detach())
        lines.append(f"product({matrix}, {state}, {h});")
    lines.append(f"copy({layer.proj_size or units}, {h}, out);")
    return body.end(), state


def _bias(weights: Weights, step: PlainStep, units: int) -> Tensor:
    """Return the bias of each column, the sum of the two that torch has, as kernels make it."""
    bias = torch.zeros(step.num_columns, units)
    if weights.bias_ih is not None:
        for column, gate in enumerate(step.input_gates):
            bias[column] += weights.bias_ih.detach()[gate * units : (gate + 1) * units]
    if weights.bias_hh is not None:
        applied = [gate for gates in step.applied_gates for gate in gates]
        placed = ((step.recurrent_at, step.recurrent_gates), (step.applied_at, applied))
        for first, gates in placed:
            for column, gate in enumerate(gates, start=first):
                bias[column] += weights.bias_hh.detach()[gate * units : (gate + 1) * units]
    return bias
