"""What every part of a model in C is: a function of one step, and where it is written."""

import re
from dataclasses import dataclass

from unrolled.export.c.source import Source

__all__ = ["Body", "Given", "Stage", "Writer", "add_one_hot"]


@dataclass(frozen=True)
class Stage:
    """A step of a model's parts: the name of its function, and of what reads from the end.

    Args:
        ahead: The function.
        back: That of the other direction; None where there is one direction.
        size: Features that it gives, of one direction.
        state: Where that of the first direction has its states, one after the other; empty of what
            is not recurrent.
    """

    ahead: str
    back: str | None
    size: int
    state: str = ""

    @property
    def output_size(self) -> int:
        """Features that it gives."""
        return self.size * (1 if self.back is None else 2)


class Body:
    """The statements of one part's function."""

    def __init__(self, source: Source, model: str, name: str) -> None:
        self.source, self._model, self.name = source, model, name
        self.lines: list[str] = []

    def end(self) -> str:
        """Add the function to the file, and return its name."""
        body = "\n".join(f"  {line}" for line in self.lines)
        self.source.bodies[self.name] = tuple(self.lines)
        unused = [each for each in ("m", "in", "out") if not re.search(rf"\b{each}\b", body)]
        quiet = "".join(f"  (void){each};\n" for each in unused)
        head = f"static void {self.name}({self._model} *m, const float *in, float *out) {{"
        self.source.functions.append(f"{head}\n{quiet}{body}\n}}\n")
        return self.name


@dataclass(frozen=True)
class Given:
    """Inputs of a step, which lie behind x in what a step is given, and which each layer reads.

    Args:
        after: Numbers of x.
        count: How many there are.
        address: Where they are while the step is made.
    """

    after: int
    count: int
    address: str


class Writer:
    """Adds modules to a file.

    Args:
        source: The file.
        model: What an instance is called.

    Attributes:
        given: Inputs of a step, if its first layer has any.
    """

    def __init__(self, source: Source, model: str) -> None:
        self.source, self._model = source, model
        self._num_parts = 0
        self.given: Given | None = None

    def give(self, after: int, count: int) -> None:
        """Have a step read `count` numbers that lie behind x, which has `after`."""
        self.given = Given(after, count, self.source.state(count))

    @property
    def has_begun(self) -> bool:
        """Whether there is a part already."""
        return self._num_parts > 0

    def body(self) -> Body:
        """Return the function of another part."""
        self._num_parts += 1
        return Body(self.source, self._model, f"part{self._num_parts}")


def add_one_hot(writer: Writer, size: int) -> Stage:
    """Add what lays a token out as a one among zeros."""
    body = writer.body()
    body.lines.append(f"one_at({size}, m->token, out);")
    return Stage(body.end(), None, size)
