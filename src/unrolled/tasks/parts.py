"""The parts of a data set: cut from one file, or each from a file of its own.

Not for what is cut in time: texts (`tasks/lm/task.py`) and series that go on
(`tasks/forecast/parts.py`).
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from unrolled.data.options import PartOptions
from unrolled.data.packed_examples import Selected
from unrolled.data.split import split
from unrolled.tasks.task import Example, Splits

__all__ = ["in_parts"]


def in_parts(
    examples: Sequence[Example],
    keys: Iterable[Hashable],
    options: PartOptions,
    seed: int,
    read_file: Callable[[Path, Sequence[Example]], tuple[Sequence[Example], list[str]]],
    classes: Sequence[Hashable] | None = None,
) -> Splits[Example]:
    """Return examples in random parts, and instead of a part the examples of its own file.

    Args:
        examples: Of the data, without those files.
        keys: One for each example; those with equal keys are in one part.
        options: How large the parts are, or which file each is.
        seed: Of the split.
        read_file: Returns the examples of such a file, and notes; it is told the training part.
        classes: As `split` has them.

    Raises:
        DataError: There are too few different keys.
        OptionError: Parts of the data that are all of it.
    """
    indices = split(
        keys,
        held_out=options.fraction("held_out"),
        test=options.fraction("test"),
        seed=seed,
        classes=classes,
    )
    training, *others = (Selected(examples, part) for part in indices)
    notes: list[str] = []
    parts: list[Sequence[Example]] = []
    for part, file in zip(others, (options.held_out_file, options.test_file), strict=True):
        if file is None:
            parts.append(part)
            continue
        own, own_notes = read_file(Path(file), training)
        parts.append(own)  # the part of the data is empty then
        notes += own_notes
    held_out, test = parts
    return Splits(training, held_out, test, notes)
