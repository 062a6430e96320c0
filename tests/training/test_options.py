import itertools
import math
from typing import ClassVar

import pytest

from unrolled.errors import OptionError
from unrolled.options import options
from unrolled.tasks.registry import TASKS, options_of
from unrolled.training import Budget, TrainingOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", math.nan),
        ("minutes", -1),
        ("learning_rate", 0.0),
        ("learning_rate", math.inf),
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("weight_decay", -1.0),
        ("clip_norm", 0.0),
        ("evaluate_every", 0),
        ("patience", 0),
        ("seed", -1),
        ("seed", 2**63),  # which torch's generators do not take
        ("log_every", 0),
        ("checkpoint_every_seconds", 0.0),
        ("batch_size", 0),
    ],
)
def test_options_out_of_range_are_named(name, value):
    with pytest.raises(OptionError, match=f"{name} must be .*, got {value}"):
        TrainingOptions(**{name: value})


@pytest.mark.parametrize("names", [*itertools.combinations(("epochs", "updates", "minutes"), 2)])
def test_one_option_says_how_long_to_train(names):
    with pytest.raises(OptionError, match=r"one of epochs, updates or minutes .*, got 1 and 2"):
        TrainingOptions(**dict(zip(names, (1, 2), strict=True)))


@options
class ByNumber(TrainingOptions):
    budget: ClassVar[Budget] = Budget(None, least_updates=300)


@options
class ByUpdates(TrainingOptions):
    budget: ClassVar[Budget] = Budget(epochs=5, least_updates=600)


@options
class AtMost(TrainingOptions):
    budget: ClassVar[Budget] = Budget(epochs=5, least_updates=600, most_epochs=12)


@pytest.mark.parametrize(
    ("cls", "given", "updates_per_epoch", "expected"),
    [
        (TrainingOptions, {}, 7, {"epochs": 10}),
        (TrainingOptions, {"epochs": 0.5}, 7, {"epochs": 0.5}),
        (TrainingOptions, {"minutes": 2}, 7, {"minutes": 2}),
        (TrainingOptions, {"updates": 2}, 7, {"updates": 2}),
        (ByNumber, {}, 7, {"updates": 300}),
        (ByNumber, {"epochs": 2}, 7, {"epochs": 2}),
        (ByUpdates, {}, 1000, {"epochs": 5}),
        (ByUpdates, {}, 120, {"epochs": 5}),
        (ByUpdates, {}, 10, {"epochs": 60}),  # 600 updates
        (AtMost, {}, 10, {"epochs": 12}),
        (AtMost, {}, 100, {"epochs": 6}),
        (AtMost, {}, 1000, {"epochs": 5}),
        (ByUpdates, {"epochs": 1}, 10, {"epochs": 1}),
        (ByUpdates, {"minutes": 1}, 10, {"minutes": 1}),
    ],
)
def test_where_nobody_says_how_long_the_budget_of_the_class_does(
    cls, given, updates_per_epoch, expected
):
    settled = cls(**given).settled(updates_per_epoch)
    assert {name: x for name, x in settled.length.items() if x is not None} == expected
    assert type(settled) is cls
    assert cls(**settled.to_dict()).settled(3) == settled


def test_no_task_trains_by_the_clock_where_nobody_says_so():
    for task in TASKS:
        settled = options_of(task).TrainingOptions().settled(10)
        assert settled.minutes is None
        assert settled.epochs or settled.updates


def test_the_docstring_says_what_the_budget_is():
    def absent(cls):
        lines = [line.strip() for line in cls.__doc__.splitlines()]
        return [line.partition("None: ")[2] for line in lines if line[:7] in ("epochs:", "updates")]

    unless_others = "unless updates or minutes is given."
    assert absent(TrainingOptions) == [f"10, {unless_others}", ""]
    assert absent(ByNumber) == ["updates decides.", "300, unless epochs or minutes is given."]
    assert absent(ByUpdates) == [f"5, or as many as make 600 updates, {unless_others}", ""]
