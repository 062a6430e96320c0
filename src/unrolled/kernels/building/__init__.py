"""From C to loaded libraries: the compiler, what it made ahead of time, and the cache.

The third station of the pipeline, after emitting.
"""

from unrolled.kernels.building.archiving import write_archive
from unrolled.kernels.building.cache import (
    CacheEntry,
    CacheFolder,
    cache_entries,
    cache_folder,
    clear_cache,
    load_library,
    prebuilt_archives,
    prebuilt_problem,
)
from unrolled.kernels.building.cell_library import cell_library
from unrolled.kernels.building.compiler import Compiler, KernelError, find_compiler
from unrolled.kernels.building.platforms import PLATFORMS, this_platform

__all__ = [
    "PLATFORMS",
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
    "prebuilt_archives",
    "prebuilt_problem",
    "this_platform",
    "write_archive",
]
