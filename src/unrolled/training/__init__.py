"""Training: from an objective and a model to a run's folder, exactly resumable."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
