"""What a step's values are called in C: f_t for the equations' f, c_prev for the state before."""

import re
from itertools import count

from torch import fx

from unrolled.kernels.capturing import CapturedStep

__all__ = ["NodeNames"]

# Of the names that a node could have, those that C or the headers have.
_TAKEN = {"d_h", "d_v", "d_states", "size_t", "wchar_t", "float_t", "double_t", "off_t"}
_TAKEN |= {f"{kind}{size}_t" for kind in ("int", "uint") for size in (8, 16, 32, 64, "ptr", "max")}
_TAKEN |= {"ptrdiff_t"}


class NodeNames:
    """The name of each node of a step: no two have the same, and none has one that C has.

    A saved value has one name in the graph of the step and in that of the gradient.
    """

    def __init__(self, step: CapturedStep) -> None:
        self._names: dict[fx.Node, str] = {}
        self._taken = set(_TAKEN)
        for name, node in zip(step.cell.states, step.states_in, strict=True):
            self._add(node, f"{name}_prev")
        for name, node in zip(step.cell.parameters, step.parameters, strict=True):
            self._add(node, f"{name}_w")
        for name, node in zip(step.cell.step_inputs, step.step_inputs, strict=True):
            self._add(node, f"{name}_in")
        for column in step.columns:
            part = "" if column.input and column.recurrent else ("x_", "u_")[column.recurrent]
            self._add(column.node, f"a_{part}{column.gate}")
        for name, node in step.named.items():
            self._add(node, f"{name}_t")
        received = (*step.state_gradients_out, *step.applied_gradients)
        for node in (*step.forward, *step.backward, *received):
            prefix = "v_" if node.graph is step.states_in[0].graph else "d_"
            self._add(node, f"{prefix}{node.name}")
        self._saved = step.saved

    def _add(self, node: fx.Node, name: str) -> None:
        """Give `node` a name like `name`, unless it has one."""
        if node not in self._names:
            plain = re.sub(r"\W", "_", name, flags=re.ASCII)
            plain = plain if plain[0].isalpha() else f"v_{plain}"
            tries = (f"{plain}{number or ''}" for number in count())
            self._names[node] = next(name for name in tries if name not in self._taken)
            self._taken.add(self._names[node])

    def __getitem__(self, node: fx.Node) -> str:
        return self._names[self._saved.get(node, node)]
