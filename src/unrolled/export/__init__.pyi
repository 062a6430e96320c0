from . import weights
from .c import CModel, to_c
from .onnx import OnnxFile, to_onnx
from .programs import plain
from .wasm import WasmModel, to_wasm

__all__ = ["CModel", "OnnxFile", "WasmModel", "plain", "to_c", "to_onnx", "to_wasm", "weights"]
