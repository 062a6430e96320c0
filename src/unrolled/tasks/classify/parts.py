"""What the parts of the data hold: which classes, or which numbers."""

from collections import Counter
from pathlib import Path

from unrolled.errors import DataError
from unrolled.tasks.classify.examples import Labelled
from unrolled.tasks.classify.labels import doubtful_labels
from unrolled.tasks.classify.options import DataOptions
from unrolled.tasks.classify.series import number_label
from unrolled.tasks.task import Splits

__all__ = ["about_parts"]


def about_parts(options: DataOptions, splits: Splits[Labelled]) -> list[str]:
    """Return what there is to be learned in the training part, and what others have beside it.

    Raises:
        DataError: There is nothing to learn, or nothing to measure on.
    """
    return (_about_numbers if options.number else _about_classes)(options.paths[0], splits)


def _about_numbers(where: Path, splits: Splits[Labelled]) -> list[str]:
    """Refuse numbers that are all the same; return what they are."""
    numbers = [number_label(str(example.label)) for example in splits.training]
    low, high, mean = min(numbers), max(numbers), sum(numbers) / len(numbers)
    if low == high:
        message = f"{where}: all {len(numbers):,} training examples are {low:g}"
        raise DataError(message, "there is nothing to learn: is it the right column?")
    return [f"numbers in the training part: from {low:g} to {high:g}, mean {mean:g}"]


def _about_classes(where: Path, splits: Splits[Labelled]) -> list[str]:
    """Refuse data without two classes; return what there is of each, and what is unknown."""
    known = Counter(str(example.label) for example in splits.training)
    if len(known) < 2:
        (label,) = known
        message = f"{where}: all {len(splits.training)} training examples are {label!r}"
        raise DataError(message, "a classifier needs at least two classes")
    shown = [f"{label} {count:,}" for label, count in known.most_common(10)]
    more = f" and {len(known) - 10} more" if len(known) > 10 else ""
    notes = [f"{len(known)} classes in the training part: {', '.join(shown)}{more}"]
    notes += doubtful_labels(known)
    for name, part in (("held-out", splits.held_out), ("test", splits.test)):
        unknown = [example for example in part if example.label not in known]
        if unknown:
            notes.append(
                f"{len(unknown):,} of {len(part):,} {name} examples have a class that the training "
                f"part lacks, and count as wrong; the first: {unknown[0].where}, "
                f"{unknown[0].label!r}"
            )
        if part and len(unknown) == len(part):
            raise DataError(f"{notes[-1]}: nothing is left to measure on")
        missing = known.keys() - {each.label for each in part}
        if part and missing:
            names = ", ".join(sorted(missing)[:10]) + (" ..." if len(missing) > 10 else "")
            notes.append(
                f"the {name} part, {len(part):,} examples, has none of {len(missing):,} of the "
                f"{len(known):,} classes: {names}"
            )
    return notes
