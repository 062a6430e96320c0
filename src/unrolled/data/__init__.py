"""From a user's files to what a model reads. Knows nothing of models or training."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
