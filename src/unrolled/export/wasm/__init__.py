"""A model as WebAssembly, for a page that needs no server, and for node.

It is the C of `unrolled.export.c` by other means: a module holds its functions, one for all models
of its cells, and `linking.py` makes numbers of the calls and lays out the memory. `web` has what
runs in a page.
"""

from unrolled.export.wasm.files import WasmModel, described, to_wasm

__all__ = ["WasmModel", "described", "to_wasm"]
