"""From C to loaded libraries: the compiler, and the cache of what it has made.

The third station of the pipeline, after emitting.
"""

from unrolled.kernels.building.cache import (
    CacheEntry,
    CacheFolder,
    cache_entries,
    cache_folder,
    clear_cache,
    load_library,
)
from unrolled.kernels.building.cell_library import cell_library
from unrolled.kernels.building.compiler import Compiler, KernelError, find_compiler

__all__ = [
    "CacheEntry",
    "CacheFolder",
    "Compiler",
    "KernelError",
    "cache_entries",
    "cache_folder",
    "cell_library",
    "clear_cache",
    "find_compiler",
    "load_library",
]
