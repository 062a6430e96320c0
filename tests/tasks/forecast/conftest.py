"""Tables and runs of forecasters."""

import math
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from unrolled.tasks import Prepared, prepare
from unrolled.tasks.forecast import DataOptions, ForecastTask, ModelOptions, TrainingOptions

Write = Callable[..., Path]
SMALL = {"hidden_size": 4}


@pytest.fixture
def write_table(tmp_path: Path) -> Write:
    """Write a table of a header and rows, and return its path."""

    def write(*rows: str, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(rows) + "\n")
        return path

    return write


@pytest.fixture
def wave_table(write_table: Write) -> Write:
    """Write a daily table with a cycle of a week."""

    def write(num: int = 80, *, name: str = "waves.csv") -> Path:
        return write_table(*waves(num), name=name)

    return write


def waves(num: int = 80, season: int = 7) -> list[str]:
    """Rows of a daily table with a cycle."""
    first = date(2024, 1, 1)
    return [
        "day,y",
        *(
            f"{first + timedelta(n)},{3 + math.sin(2 * math.pi * n / season) + n / 100:.5f}"
            for n in range(num)
        ),
    ]


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Prepared]:
    """Make a run of a table: options of the data, and "model" and "training" of those."""

    def make(path: Path, *, run: str = "run", model: Any = None, **data: Any) -> Prepared:
        training = {"epochs": 2, **data.pop("training", {})}
        data = {"file": str(path), "time": "day", "target": ("y",), "horizon": 3} | data
        return prepare(
            ForecastTask,
            DataOptions(**data),
            tmp_path / run,
            model=ModelOptions(**SMALL | (model or {})),
            training=TrainingOptions(**training),
        )

    return make
