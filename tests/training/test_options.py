import math

import pytest

from unrolled.errors import OptionError
from unrolled.tasks.lm.task import TextOptions
from unrolled.training.options import TrainingOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", math.nan),
        ("learning_rate", 0.0),
        ("learning_rate", math.inf),
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("weight_decay", -1.0),
        ("clip_norm", 0.0),
        ("evaluate_every", 0),
        ("patience", 0),
        ("seed", -1),
        ("log_every", 0),
        ("checkpoint_every_seconds", 0.0),
    ],
)
def test_training_options_out_of_range_are_named(name, value):
    with pytest.raises(OptionError, match=f"{name} must be .*, got {value}"):
        TrainingOptions(**({"epochs": 1} | {name: value}))


@pytest.mark.parametrize("length", [{}, {"epochs": 1, "minutes": 1}])
def test_training_is_limited_either_by_epochs_or_by_minutes(length):
    with pytest.raises(OptionError, match="either epochs or minutes"):
        TrainingOptions(**length)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": "word"}, "tokens must be one of char, byte, bpe, got 'word'"),
        ({"bpe_size": 300}, r"bpe_size \(the size of the vocabulary\) is for bpe"),
        ({"held_out_fraction": 0.0}, "held_out_fraction must be"),
        ({"held_out_fraction": 1.0}, "held_out_fraction must be"),
        ({"num_columns": 0}, r"num_columns \(columns side by side\) must be at least 1"),
        ({"k1": 0}, r"k1 \(steps forward\) must be at least 1"),
        (
            {"k1": 8, "k2": 7},
            r"k2 \(steps backward\) must be at least k1 \(steps forward\), 8, got",
        ),
    ],
)
def test_text_options_out_of_range_are_named(options, message):
    with pytest.raises(OptionError, match=message):
        TextOptions(**options)
