"""`Call` of headers/call.h as Python has it: what a caller hands to a kernel.

Both are written by hand, so every kernel holds `layout_assertions()`: C that does not compile where
a field lies elsewhere. call.h explains the fields.
"""

import ctypes

__all__ = ["MOST_PARAMETERS", "MOST_STATES", "Call", "layout_assertions"]

MOST_STATES, MOST_PARAMETERS = 32, 24  # of a cell that a kernel can have

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64


class Call(ctypes.Structure):
    """`Call` of headers/call.h."""

    _fields_ = [
        *((name, _integer) for name in ("num_steps", "num_rows", "input_size", "hidden_size")),
        *((name, _integer) for name in ("head_size", "reverse", "train", "gate_stride")),
        *((name, _integer) for name in ("num_parts", "num_threads", "given")),
        *((name, _integer) for name in ("kept", "starts_wanted")),
        *((name, _integer) for name in ("x_stride", "inputs_stride")),
        *((name, _pointer) for name in ("batch_sizes", "starts", "parts", "x", "inputs")),
        *((name, _pointer) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        ("parameters", _pointer * MOST_PARAMETERS),
        *((name, _pointer) for name in ("packed", "workspace", "gates", "records")),
        ("initial", _pointer * MOST_STATES),
        ("states", _pointer * MOST_STATES),
        ("d_output", _pointer),
        ("d_states", _pointer * MOST_STATES),
        *((name, _pointer) for name in ("d_x", "d_weight_ih", "d_weight_hh")),
        *((name, _pointer) for name in ("d_bias_ih", "d_bias_hh")),
        ("d_parameters", _pointer * MOST_PARAMETERS),
    ]


def layout_assertions() -> str:
    """Return C that compiles only where every field of `Call` lies where it lies in Python."""
    lines = ["/* Call, as kernels/emitting/call.py has it. */"]
    for name, *_ in Call._fields_:
        offset = getattr(Call, name).offset
        lines.append(f'_Static_assert(offsetof(Call, {name}) == {offset}, "Call: {name}");')
    lines.append(f'_Static_assert(sizeof(Call) == {ctypes.sizeof(Call)}, "Call");')
    return "\n".join([*lines, ""])
