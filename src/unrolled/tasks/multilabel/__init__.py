"""Sequences of sets of labels, such as the notes that sound together, and which set comes next."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
