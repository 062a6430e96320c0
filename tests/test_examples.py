"""The examples run as their docstrings say, and reach what they show."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
LAST_LINES = {
    "hello": "reads 'hell', says 'ello'",
    "min_gru": "asked after 1 to 40 steps: 100.0% right",
    "own_cell": "recorded at every step: h, f, g",
    "peephole_lstm": "streamed, step by step: 100.0% of the answers are right",
}


def test_every_example_is_tested():
    assert set(LAST_LINES) == {path.stem for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("name", LAST_LINES)
def test_an_example_reaches_what_it_shows(name):
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == LAST_LINES[name]
