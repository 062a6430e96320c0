"""From a captured step to one C file that can be read: its equations, among the headers.

What differs from cell to cell is written here (the sizes) and in `step_functions` (one step). The
matrix products, the loop over time and the threads are in headers/, the same for every cell.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping
from operator import sub
from typing import Literal, get_args

from unrolled.cells import Cell
from unrolled.cells.surroundings import Surroundings
from unrolled.kernels.capturing import CapturedStep, EquationsError, capture
from unrolled.kernels.emitting.absence import gradient_flow
from unrolled.kernels.emitting.call import MOST_PARAMETERS, MOST_STATES, layout_assertions
from unrolled.kernels.emitting.gate_row import GateRow, gate_row_of
from unrolled.kernels.emitting.headers import header_text
from unrolled.kernels.emitting.names import NodeNames
from unrolled.kernels.emitting.row_functions import row_functions
from unrolled.kernels.emitting.step_functions import states_read, step_functions

__all__ = [
    "PRODUCT_FORMATS",
    "WEIGHT_FORMATS",
    "ProductFormat",
    "WeightFormat",
    "call_text",
    "emit",
    "kernel_source",
]

WeightFormat = Literal["f32", "bf16", "int8"]
"""How a kernel stores the weights that it multiplies with: headers/words.h."""
WEIGHT_FORMATS: tuple[WeightFormat, ...] = get_args(WeightFormat)

ProductFormat = Literal[WeightFormat, "mixed"]
"""How a kernel multiplies: with weights stored so, or both factors in bfloat16."""
PRODUCT_FORMATS: tuple[ProductFormat, ...] = get_args(ProductFormat)

MOST_PRODUCTS = 64 - 2 - MOST_PARAMETERS  # a bit for each factor of a gradient: gradient.h

_BITS = {"f32": 32, "bf16": 16, "int8": 8, "mixed": 32}


def kernel_source(
    cell: Cell, surroundings: Surroundings | None = None, products: ProductFormat = "f32"
) -> str:
    """Return the C file of a cell's kernel.

    Args:
        cell: The cell.
        surroundings: What its equations read from outside.
        products: How it multiplies; only kernels of "f32" and "mixed" have a backward pass.

    Raises:
        EquationsError: No kernel can do what the equations hold, which is named.
    """
    return emit(capture(cell, surroundings), products)


def emit(step: CapturedStep, products: ProductFormat = "f32") -> str:
    """Return the C file of the kernel of a captured step.

    Raises:
        EquationsError: The equations use an operation that no kernel has, which is named, or
            more states, weight vectors or applied products than a kernel has room for.
    """
    cell = step.cell
    if len(cell.states) > MOST_STATES or len(cell.parameters) > MOST_PARAMETERS:
        raise EquationsError(
            f"cell {cell.name}: a kernel has at most {MOST_STATES} states, delays among them, and "
            f"{MOST_PARAMETERS} weight vectors, these are {len(cell.states)} and "
            f"{len(cell.parameters)}"
        )
    if len(step.applied) > MOST_PRODUCTS:
        raise EquationsError(
            f"cell {cell.name}: a kernel applies at most {MOST_PRODUCTS} products to vectors, "
            f"these are {len(step.applied)}"
        )
    names, row, trains = NodeNames(step), gate_row_of(step), products in ("f32", "mixed")
    num_temporary = 0
    if step.reduces:
        functions, num_temporary = row_functions(step, names, row, backward=trains)
    else:
        functions = step_functions(step, names, row, backward=trains)
    parts = [
        _comment(step, row, names),
        _sizes(step, row, products),
        _defines(
            {"REDUCES": int(step.reduces), "TEMPORARY": num_temporary, "ROW_SLOTS": row.slots}
        ),
        _blocks(step),
        _description(step, row, trains),
        *map(header_text, ("vector", "words", "tile", "call")),
        layout_assertions(),
        *map(header_text, ("reduce",) if step.reduces else ()),
        *functions,
        *map(header_text, ("pack", "forward")),
        *map(header_text, ("backward", "gradient") if trains else ()),
        header_text("entry"),
    ]
    return "\n".join(parts)


def call_text() -> str:
    """Return C that declares what a kernel is called with, for those who call it from C."""
    headers = map(header_text, ("vector", "words", "tile", "call"))
    numbers = _BOUNDS | {"WEIGHT_BITS": _BITS["f32"], "MIXED": 0}
    return "\n".join([_defines(numbers), *headers, layout_assertions()])


def _comment(step: CapturedStep, row: GateRow, names: NodeNames) -> str:
    cell = step.cell
    equations = (cell.equations.__doc__ or "").strip().splitlines()
    kinds = {(True, False): "x", (True, True): "x + u", (False, True): "u"}
    columns = ", ".join(
        f"{column.gate} ({kinds[column.input, column.recurrent]})" for column in step.columns
    )
    saved = ", ".join(names[node] for node in row.saved) or "nothing"
    lines = [
        f"Kernel of the cell {cell.name}, written by unrolled.kernels.emitting.",
        *(f"  {line.strip()}".rstrip() for line in equations),
        f"States: {', '.join(cell.states)}. Columns: {columns}.",
        *([f"Inputs of a step: {', '.join(cell.step_inputs)}."] if cell.step_inputs else []),
        f"Kept for the backward pass: {saved}.",
    ]
    text = "\n".join(f" * {line}".rstrip() for line in lines)
    text = text.replace("*/", "* /").encode(errors="replace").decode()  # what C and a file can hold
    return f"/*\n{text}\n */"


def _sizes(step: CapturedStep, row: GateRow, products: ProductFormat) -> str:
    """Return the macros that headers/cell.h explains."""
    recurrent = [n for n, c in enumerate(step.columns) if c.recurrent and not c.applied]
    applied = [n for n, c in enumerate(step.columns) if c.applied]
    begins = _phase_begins(step)
    numbers = {
        "COLUMNS": len(step.columns),
        "INPUT_COLUMNS": _num_input_columns(step),
        "FIRST_RECURRENT": recurrent[0] if recurrent else 0,
        "RECURRENT_COLUMNS": len(recurrent),
        "FIRST_APPLIED": applied[0] if applied else 0,
        "APPLIED_COLUMNS": len(applied),
        "LAST_PHASE": len(begins) - 2,
        "MOST_APPLIED": max(map(sub, begins[1:], begins)),
        "FIRST_VECTOR": row.first_vector,
        "STATES": len(step.cell.states),
        "FORMER_STATES": len(step.former) - 1,
        "PARAMETERS": len(step.cell.parameters),
        "STEP_INPUTS": len(step.cell.inputs),
        "RAW_INPUT": int(step.cell.reads_raw_input),
        "RECORDS": len(step.named),
        "DIRECT": int(bool(applied) or step.reduces or step.state_gradients_in[0] is not None),
        "WEIGHT_BITS": _BITS[products],
        "MIXED": int(products == "mixed"),
    } | _BOUNDS
    return _defines(numbers)


_BOUNDS = {"MOST_STATES": MOST_STATES, "MOST_PARAMETERS": MOST_PARAMETERS}


def _defines(numbers: Mapping[str, int]) -> str:
    return "\n".join([*(f"#define {name} {number}" for name, number in numbers.items()), ""])


def _blocks(step: CapturedStep) -> str:
    """Return the arrays that headers/cell.h explains."""
    cell, columns = step.cell, step.columns
    blocks = {
        "INPUT": [cell.feedforward.index(c.gate) for c in columns if c.input],
        "RECURRENT": [
            cell.recurrent.index(c.gate) for c in columns if c.recurrent and not c.applied
        ],
        "APPLIED": [cell.recurrent.index(c.gate) for c in columns if c.applied],
    }
    numbers_of = {f"{name}_BLOCKS": numbers or [0] for name, numbers in blocks.items()}
    numbers_of["FORMER"] = list(step.former)
    numbers_of["STEPS_BACK"] = [
        step.former.index(s) if s in step.former else 0 for s in range(len(cell.states))
    ]
    numbers_of["READ"] = list(map(int, states_read(step)))
    numbers_of["PHASE_BEGINS"] = _phase_begins(step)
    numbers_of["GRADIENT_OF"] = gradient_flow(step)
    arrays = {name: ", ".join(map(str, numbers)) for name, numbers in numbers_of.items()}
    lines = [
        f"static const int64_t {name}[] __attribute__((unused)) = {{{numbers}}};"
        for name, numbers in arrays.items()
    ]
    return "\n".join(["#include <stdint.h>", "", *lines, ""])


def _phase_begins(step: CapturedStep) -> list[int]:
    """Return for each phase its first applied product, and where the last phase ends."""
    products = [column.phase for column in step.columns if column.applied]
    last = max(products, default=0)
    return [bisect_left(products, phase) for phase in range(last + 2)]


def _description(step: CapturedStep, row: GateRow, trains: bool) -> str:
    description = {
        "slots": row.slots,
        "scratch_slots": row.slots if step.applied or step.reduces else _num_input_columns(step),
        "numbers": len(row.numbers),
        "records": list(step.named),
        "trains": trains,
    }
    comment = "For the caller: vectors of H in a row of gates, kept or not, and what is recorded."
    quoted = json.dumps(json.dumps(description))
    return f"/* {comment} */\nconst char unrolled_description[] = {quoted};"


def _num_input_columns(step: CapturedStep) -> int:
    return sum(column.input for column in step.columns)
