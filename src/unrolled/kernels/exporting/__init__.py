"""The recurrence without any operator of ours: for exported programs, and for ONNX.

`plain` has it in torch's own operations, a scan over one step; `onnx_nodes` in the operators that
ONNX has for it, where they fit. `legacy` writes either for the older exporter of ONNX, the one that
reads TorchScript. `running` tells torch of them when this package is imported.
"""

from unrolled.kernels.exporting.plain import decomposed
from unrolled.kernels.exporting.registering import prepare_legacy_export, register

__all__ = ["decomposed", "prepare_legacy_export", "register"]
