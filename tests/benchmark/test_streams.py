"""The scripts that measure streams run as they are written, at small sizes."""

import re
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    return runpy.run_path(str(FOLDER / name), run_name="__main__")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_the_soak_compares_every_sequence_and_finds_none_different(monkeypatch, capsys):
    with pytest.raises(SystemExit):  # its code says of memory too, which a short run fills
        run(monkeypatch, "soak_streams.py", "--steps", "4000", "--streams", "24")
    told = capsys.readouterr().out
    *_, compared = re.findall(r"(\d+) compared, (\d+) different", told)
    assert int(compared[0]) > 20
    assert compared[1] == "0"


def test_streams_that_keep_up_with_the_clock_are_held_against_those_alone(monkeypatch, capsys):
    arguments = ("bound", "clock", "--steps", "200", "--streams", "10", "--seconds", "0.1")
    run(monkeypatch, "bench_streams.py", *arguments)
    told = capsys.readouterr().out
    assert "bound, arrays" in told
    assert "0 of 10 streams differ" in told
