from . import weights
from .onnx import OnnxFile, to_onnx
from .programs import plain

__all__ = ["OnnxFile", "plain", "to_onnx", "weights"]
