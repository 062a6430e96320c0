"""The examples run as their docstrings say, and reach what they show."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
LAST_LINES = {
    "hello": "reads 'hell', says 'ello'",
    "min_gru": "asked after 1 to 40 steps: 100.0% right",
    "own_cell": "recorded at every step: h, f, g",
    "peephole_lstm": "streamed, step by step: 100.0% of the answers are right",
}
WITH_OTHERS = {
    "with_skorch": ("skorch", "LSTM(4, 16, batch_first=True), pickled: 100.0% right"),
    "with_lightning": ("lightning", "GRU(4, 16), from its checkpoint: 100.0% right"),
}


def test_every_example_is_tested():
    tested = {*LAST_LINES, *WITH_OTHERS, "keyword_spotting"}
    assert tested == {path.stem for path in EXAMPLES.glob("*.py")}


def run(name, *arguments, warnings="error"):
    command = [sys.executable, "-W", warnings, EXAMPLES / f"{name}.py", *arguments]
    command = [*map(str, command)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", LAST_LINES)
def test_an_example_reaches_what_it_shows(name):
    result = run(name)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == LAST_LINES[name]


@pytest.mark.parametrize("name", WITH_OTHERS)
def test_an_example_with_another_package_reaches_what_it_shows(name):
    package, last = WITH_OTHERS[name]
    if find_spec(package) is None:
        pytest.skip(f"pip install {package}")
    result = run(name, warnings="default")  # what the package warns of is its own
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == last


def test_keywords_are_spotted_in_pieces_as_in_the_whole(shared_data, tmp_path):
    """Whether they are spotted at all takes a training of minutes."""
    folder, figure = tmp_path / "recordings", tmp_path / "latency.html"
    folder.mkdir()
    for path in (shared_data / "audio" / "fsdd" / "recordings").glob("[0-2]_theo_?.wav"):
        (folder / path.name).symlink_to(path)
    options = ["--updates", 2, "--words", 3, "--fast", "--figure", figure]
    result = run("keyword_spotting", folder, *options)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "one stream: 80 samples a frame, each 255 samples late"
    assert float(re.match(r"pieces against the whole: (\S+) apart", lines[1])[1]) < 1e-4
    assert lines[-1].split(" words")[0].endswith("of 3")
    assert "milliseconds of a frame" in figure.read_text()


def test_a_folder_without_recordings_is_one_line(tmp_path):
    result = run("keyword_spotting", tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "has no recordings" in result.stderr
