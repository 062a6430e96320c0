"""What a prediction is worth: what a figure means, and the measures that tasks share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
