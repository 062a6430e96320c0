"""The tables of digit sequences: one speaker a row, and no recording in two parts."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "digit_sequences.py"


@pytest.fixture
def tables(tmp_path, monkeypatch, capsys):
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for speaker in ("anna", "ben"):
        for digit in range(10):
            for number in range(50):
                (recordings / f"{digit}_{speaker}_{number}.wav").touch()
    monkeypatch.setattr(sys, "argv", ["digit_sequences.py", str(recordings), str(tmp_path / "out")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    parts = ("training", "held-out", "test")
    rows = {part: (tmp_path / "out" / f"{part}.tsv").read_text().splitlines() for part in parts}
    return {part: [row.split("\t") for row in lines[1:]] for part, lines in rows.items()}


def test_no_recording_is_in_two_parts(tables):
    used = [{f for _, files, _ in rows for f in files.split(";")} for rows in tables.values()]
    assert used[0].isdisjoint(used[1] | used[2])
    assert used[1].isdisjoint(used[2])
    assert {Path(name).stem.split("_")[2] for name in used[2]} == {"0", "1", "2", "3", "4"}


def test_every_row_is_of_one_speaker_and_its_words_are_its_digits(tables):
    words = "zero one two three four five six seven eight nine".split()
    for speaker, files, said in tables["test"]:
        names = [Path(name).stem.split("_") for name in files.split(";")]
        assert {name[1] for name in names} == {speaker}
        assert [words[int(name[0])] for name in names] == said.split()


def test_lengths_from_one_to_five_are_equally_many(tables):
    lengths = [len(said.split()) for _, _, said in tables["test"]]
    assert [lengths.count(length) for length in range(1, 6)] == [120] * 5
