import math
from typing import ClassVar

import pytest

from unrolled.errors import OptionError
from unrolled.options import options
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


def test_epochs_or_minutes_say_how_long_to_train_and_not_both():
    with pytest.raises(OptionError, match=r"either epochs or minutes .*, got 1 and 2"):
        TrainingOptions(epochs=1, minutes=2)


@options
class ByMinutes(TrainingOptions):
    budget: ClassVar[Budget] = Budget(minutes=3)


@options
class ByUpdates(TrainingOptions):
    budget: ClassVar[Budget] = Budget(epochs=5, least_updates=600)


@pytest.mark.parametrize(
    ("cls", "given", "updates_per_epoch", "expected"),
    [
        (TrainingOptions, {}, 7, (10, None)),
        (TrainingOptions, {"epochs": 0.5}, 7, (0.5, None)),
        (TrainingOptions, {"minutes": 2}, 7, (None, 2)),
        (ByMinutes, {}, 7, (None, 3)),
        (ByMinutes, {"epochs": 2}, 7, (2, None)),
        (ByUpdates, {}, 1000, (5, None)),
        (ByUpdates, {}, 120, (5, None)),
        (ByUpdates, {}, 10, (60, None)),  # 600 updates
        (ByUpdates, {"epochs": 1}, 10, (1, None)),
        (ByUpdates, {"minutes": 1}, 10, (None, 1)),
    ],
)
def test_where_nobody_says_how_long_the_budget_of_the_class_does(
    cls, given, updates_per_epoch, expected
):
    settled = cls(**given).settled(updates_per_epoch)
    assert (settled.epochs, settled.minutes) == expected
    assert type(settled) is cls
    assert cls(**settled.to_dict()).settled(3) == settled


LENGTHS = ("epochs", "minutes")


def test_the_docstring_says_what_the_budget_is():
    def absent(cls):
        lines = [line.strip() for line in cls.__doc__.splitlines()]
        return [
            line.rpartition("None: ")[2] for line in lines if line[:7] in ("epochs:", "minutes")
        ]

    unless_minutes, unless_epochs = "unless minutes is given.", "unless epochs is given."
    assert absent(TrainingOptions) == [f"10, {unless_minutes}", "epochs decides."]
    assert absent(ByMinutes) == ["minutes decides.", f"3, {unless_epochs}"]
    more = "5, or as many as make 600 updates"
    assert absent(ByUpdates) == [f"{more}, {unless_minutes}", "epochs decides."]
