"""Where a cell was published. Not for what it computes: that is the cell's equations."""

from dataclasses import dataclass

__all__ = ["Publication"]


@dataclass(frozen=True)
class Publication:
    """The paper that a cell comes from.

    Args:
        authors: As a reference list has them: all, or the first and "et al.".
        year: Of publication.
        title: Of the paper.
        where: Where to find it: an arXiv number, a journal with its volume, a conference.
        equations: Which equations of the paper the cell is; "" where they have no numbers.

    Example:
        >>> print(Publication("J. L. Elman", 1990, "Finding structure in time", "Cogn. Sci. 14"))
        J. L. Elman (1990), "Finding structure in time", Cogn. Sci. 14
    """

    authors: str
    year: int
    title: str
    where: str
    equations: str = ""

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.where, self.equations) if part)
        return f'{self.authors} ({self.year}), "{self.title}", {place}'
