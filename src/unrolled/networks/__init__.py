"""What models share: a sequence layer between what is read and what is predicted, and parts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
