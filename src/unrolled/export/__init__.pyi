from . import weights
from .c import CModel, to_c
from .onnx import OnnxFile, to_onnx
from .programs import plain

__all__ = ["CModel", "OnnxFile", "plain", "to_c", "to_onnx", "weights"]
