"""Models for those who run no torch: ONNX, plain C, programs without operators of ours.

And the weights of others.

What torch's own exporters need to know of our layers is in `kernels`: they find it as soon as
`unrolled` is imported. Here is what goes beyond: a run's model whole and step by step, and the
proof that what was written computes the same.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
