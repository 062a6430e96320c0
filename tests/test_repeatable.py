"""The default run is the same for everybody; exploring is not, and says how to have it again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path):
    """Run Python in a project that has our configuration of pytest and the given tests."""
    for name in ("pyproject.toml", "conftest.py", "tests/explore.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def run(*command, **files):
        for name, text in files.items():
            (tmp_path / "tests" / f"{name}.py").write_text(text)
        return subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    run.folder = tmp_path
    return run


DRAWING = """
import random, zlib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

def say(what, value):
    print(f"\\n> {what} {zlib.crc32(repr(value).encode())}")

def numbers():
    return random.random(), np.random.rand(), torch.rand(1).item()

@pytest.fixture(scope="module")
def shared():
    return numbers()

@pytest.fixture
def own():
    return numbers()

def test_first(shared):
    pass

def test_numbers(own, shared):
    say("shared", shared)
    say("own", own)
    say("the test's", numbers())

drawn = []

@given(st.integers(0, 2**31), st.text())
def test_drawn(number, text):
    drawn.append((number, text))

def test_what_was_drawn():
    say("drawn", drawn)
"""
OTHER = """
import random
import torch
import unrolled.kernels.building.cache  # where there are numbers to read

def test_other():
    random.random(), torch.rand(1)
"""


def test_what_a_test_is_given_and_draws_does_not_hang_on_what_ran_before(project):
    def said(*which):
        done = project("-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *which)
        assert done.returncode == 0, done.stdout + done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith("> ")]

    project("-c", "", test_a_other=OTHER, test_drawing=DRAWING)
    everything, part = said("tests"), said("tests/test_drawing.py", "-k", "not first")
    assert len(everything) == 4
    assert everything == part


FAILING = """
import pytest
from hypothesis import given
from hypothesis import strategies as st

@pytest.mark.parametrize("most", [3])
@given(st.lists(st.booleans()), st.integers(0, 5))
def test_drawn(most, values, count):
    assert len(values) + count < most

def test_other():
    assert False
"""


def test_exploring_says_what_failed_and_how_to_keep_it(project):
    def files():
        return {path for path in project.folder.rglob("*") if path.is_file()}

    project("-c", "", test_failing=FAILING)
    before = files()
    done = project("tests/explore.py", "--rounds", "1", "--seed", "7")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 deselected" in done.stdout  # the one that draws nothing
    again = ".venv/bin/pytest 'tests/test_failing.py::test_drawn[3]' --hypothesis-profile=explore"
    assert f"{again} --randomly-seed=7 --hypothesis-seed=7" in done.stdout
    assert "@example(values=[" in done.stdout
    assert done.stdout.endswith("seeds 7 to 7: failures with 7\n")
    assert files() == before


def test_exploring_ends_well_where_nothing_fails(project):
    project("-c", "", test_right=DRAWING)
    done = project("tests/explore.py", "--rounds", "2", "--seed", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("seeds 3 to 4: nothing failed\n")
