"""The tasks: a folder for each sequence configuration, and what runs any of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
