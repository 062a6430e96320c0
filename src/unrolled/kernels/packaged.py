"""The C texts that wheels hold compiled: of every published cell, and of what surrounds kernels.

Of cells that have a layer of their own, the kernels of streams with smaller weights and those of
mixed precision too.

Not here: how they are compiled (`building.write_archive`).
"""

from unrolled.cells import CELLS, Cell
from unrolled.kernels.convolving.library import network_source
from unrolled.kernels.emitting import PRODUCT_FORMATS, kernel_source
from unrolled.kernels.running.crossing import crossing_source
from unrolled.kernels.running.writer import writer_source

__all__ = ["cell_sources", "packaged_sources"]


def packaged_sources() -> list[str]:
    """Return the C texts."""
    from unrolled.cells.catalogue import CATALOGUE  # loaded when it is asked for

    sources = [crossing_source(), writer_source(), network_source()]
    for cell in CATALOGUE.values():
        is_built_in = cell in CELLS.values()
        sources += cell_sources(cell) if is_built_in else [kernel_source(cell)]
    return sources


def cell_sources(cell: Cell) -> list[str]:
    """Return the C texts of a cell's kernels, one for each way to multiply.

    Raises:
        EquationsError: No kernel can do what the equations hold.
    """
    return [kernel_source(cell, products=products) for products in PRODUCT_FORMATS]
