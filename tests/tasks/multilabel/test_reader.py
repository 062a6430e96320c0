"""Files of label sets: the same sequences from each format, in their parts, and their mistakes."""

import json
import pickle
import re
import sys
from itertools import chain

import numpy as np
import pytest
from scipy.io import savemat

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks.multilabel import DataOptions
from unrolled.tasks.multilabel.reader import labels_of, read_others, read_parts, sequences_of

SEQUENCES = [[["21", "23"], [], ["22"]], [["22"], ["21", "22"]]] * 10
PARTS = {"train": SEQUENCES[:2], "valid": SEQUENCES[1:2], "test": SEQUENCES[:1]}


def as_lines(sequences):
    return "".join(" | ".join(" ".join(step) for step in each) + "\n" for each in sequences)


def as_long_table(sequences):
    rows = [f"{number},{' '.join(step)}" for number, each in enumerate(sequences) for step in each]
    return "\n".join(["piece,notes", *rows]) + "\n"


FORMATS = {
    "lines.txt": (as_lines, {}),
    "lines.jsonl": (lambda s: "".join(json.dumps(each) + "\n" for each in s), {}),
    "whole.json": (json.dumps, {}),
    "long.csv": (as_long_table, {"input": "notes", "id": "piece"}),
    "rows.csv": (lambda s: "notes\n" + as_lines(s), {"input": "notes"}),
    "rows.jsonl": (
        lambda s: "".join(json.dumps({"x": each}) + "\n" for each in s),
        {"input": "x"},
    ),
    "long.jsonl": (
        lambda s: "".join(
            json.dumps({"n": n, "x": step}) + "\n" for n, each in enumerate(s) for step in each
        ),
        {"input": "x", "id": "n"},
    ),
}


def read(path, seed=0, **options):
    return read_parts(DataOptions(file=str(path), **options), seed)


def steps_of(part):
    return [[list(step) for step in each.steps] for each in part]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_the_same_sequences(name, tmp_path):
    write, options = FORMATS[name]
    (tmp_path / name).write_text(write(SEQUENCES))
    splits = read(tmp_path / name, **options, held_out=0.0, test=0.0)
    assert steps_of(splits.training) == SEQUENCES
    assert splits.notes == []
    found = sequences_of(Source.file(tmp_path / name), DataOptions(file="x", **options))
    assert [[list(step) for step in steps] for _, steps, _ in found] == SEQUENCES


def roll(sequence, width=88, dtype=np.uint8):
    matrix = np.zeros((len(sequence), width), dtype)
    for row, step in enumerate(sequence):
        for label in step:
            matrix[row, int(label) - 21] = 1
    return matrix


def cells(sequences, **how):
    array = np.empty((1, len(sequences)), dtype=object)
    for number, sequence in enumerate(sequences):
        array[0, number] = roll(sequence, **how)
    return array


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, bool])
def test_piano_rolls_are_read_in_their_own_parts(dtype, tmp_path):
    names = {"train": "traindata", "valid": "validdata", "test": "testdata"}
    variables = {names[part]: cells(own, dtype=dtype) for part, own in PARTS.items()}
    savemat(tmp_path / "rolls.mat", variables)
    (tmp_path / "parts.json").write_text(json.dumps(PARTS))
    rolls, lists = (read(tmp_path / name) for name in ("rolls.mat", "parts.json"))
    for splits in (rolls, lists):
        assert steps_of(splits.training) == PARTS["train"]
        assert steps_of(splits.held_out) == PARTS["valid"]
        assert steps_of(splits.test) == PARTS["test"]
    assert labels_of(rolls.training) == [str(key) for key in range(21, 109)]
    assert labels_of(lists.training) == ["21", "22", "23"]
    others, (note,) = read_others(tmp_path / "rolls.mat", DataOptions(file="x"))
    assert steps_of(others) == PARTS["test"]
    assert note.endswith("its test part")


def test_of_rolls_of_another_width_the_columns_are_the_labels(tmp_path):
    savemat(tmp_path / "rolls.mat", {"sequences": cells(SEQUENCES, width=5)})
    splits = read(tmp_path / "rolls.mat", held_out=0.0, test=0.0)
    assert splits.training[0].steps == (("1", "3"), (), ("2",))
    assert labels_of(splits.training) == ["1", "2", "3", "4", "5"]


def test_equal_sequences_are_in_one_part(tmp_path):
    (tmp_path / "s.txt").write_text("".join(f"{n % 12} | a\n" for n in range(120)))
    splits = read(tmp_path / "s.txt", seed=3)
    parts = [
        {each.steps for each in part} for part in (splits.training, splits.held_out, splits.test)
    ]
    assert all(parts)
    assert len(set(chain(*parts))) == sum(map(len, parts)) == 12


def test_sequences_of_one_step_are_left_out_and_counted(tmp_path):
    (tmp_path / "s.txt").write_text("a\na | b\n\nb | a\n")
    splits = read(tmp_path / "s.txt", held_out=0.0, test=0.0)
    assert len(splits.training) == 2
    assert splits.notes == [
        f"{tmp_path}/s.txt: 2 sequences of one step left out: nothing follows it"
    ]


def test_labels_that_training_lacks_are_counted_unless_they_are_named(tmp_path):
    (tmp_path / "s.txt").write_text("1 | 2\n2 | 1\n")
    (tmp_path / "t.txt").write_text("1 | 9 2\n9 | 1\n")
    options = {"held_out": 0.0, "test_file": str(tmp_path / "t.txt")}
    (note,) = read(tmp_path / "s.txt", **options).notes
    assert "test part: 2 times a label that is not known (9)" in note
    assert read(tmp_path / "s.txt", **options, labels="1-9").notes == []
    with pytest.raises(DataError, match="training part: none of its labels is known: 1, 2"):
        read(tmp_path / "s.txt", **options, labels="21-108")


def test_labels_stand_in_the_order_of_their_numbers(tmp_path):
    (tmp_path / "s.txt").write_text("10 9 b | a -1\n")
    splits = read(tmp_path / "s.txt", held_out=0.0, test=0.0)
    assert labels_of(splits.training) == ["-1", "9", "10", "a", "b"]


def write_wrong_roll(path):
    matrix = roll(SEQUENCES[0])
    matrix[2, 7] = 3
    array = np.empty((1, 1), dtype=object)
    array[0, 0] = matrix
    savemat(path, {"traindata": array})


def two_widths(path):
    array = np.empty((1, 2), dtype=object)
    array[0, 0], array[0, 1] = np.zeros((3, 4)), np.zeros((3, 5))
    savemat(path, {"traindata": array})


@pytest.mark.parametrize(
    ("name", "write", "options", "message"),
    [
        ("a.mat", write_wrong_roll, {}, "a.mat, traindata, cell 1: 3 in row 3, column 8"),
        ("a.mat", two_widths, {}, "matrices of one width are expected, got widths 4, 5"),
        ("a.mat", lambda p: savemat(p, {"x": np.zeros((2, 2))}), {}, "no cell array in it"),
        ("a.mat", b"not one", {}, "a.mat: cannot be read as a MATLAB file"),
        ("a.mat", b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", {}, "of version 7.3"),
        ("a.pkl", pickle.dumps({}), {}, "a pickle, which can run any program"),
        ("a.json", b"[[[1], [2]], [3]]", {}, "a.json, sequence 2, step 1: not a set but 3"),
        ("a.json", b"[[[1], [2]], ", {}, "a.json, line 1: not JSON"),
        ("a.json", b'{"train": [], "other": []}', {}, "which part is 'other'? there are train"),
        ("a.json", b'{"valid": [[[1], [2]]], "test": []}', {}, "no sequences to learn from"),
        ("a.json", b"7", {}, "a.json: not a list of sequences"),
        ("a.csv", b"x\n1\n", {}, "which column of the table holds the labels?"),
        ("a.csv", b"x,y\n1,2\n", {"input": "z"}, "no column 'z'; there are 'x', 'y'"),
        ("a.csv", b"x,n\n1 | 2,1\n", {"input": "x", "id": "n"}, "line 2: 2 steps, but with id"),
        ("a.csv", b"x,n\n1,\n", {"input": "x", "id": "n"}, "line 2: no 'n', so its sequence"),
        ("a.txt", b"1 | 2\n", {"input": "x"}, "a.txt is not a table, so it has no column 'x'"),
        ("a.mat", write_wrong_roll, {"input": "x"}, "a.mat is not a table, so it has no column"),
        ("a.txt", b"1 | 2\n3 \"4\n", {}, "a.txt, line 2: a quote is not closed"),
        ("a.txt", b"1\n2\n", {}, "a.txt: no sequence of at least 2 steps"),
        ("a.txt", b"", {}, "no sequence of at least 2 steps"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(name, write, options, message, tmp_path):
    path = tmp_path / name
    if callable(write):
        write(path)
    else:
        path.write_bytes(write)
    with pytest.raises((DataError, OptionError), match=re.escape(message)):
        read(path, **options)


@pytest.mark.parametrize("name", ["gone.mat", "gone.json", "gone.txt", "gone.jsonl"])
def test_a_file_that_is_not_there_is_said_to_be_missing(name, tmp_path):
    with pytest.raises(DataError, match=f"{name}.*[Nn]o such file"):
        read(tmp_path / name)


@pytest.mark.parametrize("part", ["held_out", "test"])
def test_of_a_file_in_parts_no_other_part_is_taken(part, tmp_path):
    (tmp_path / "parts.json").write_text(json.dumps(PARTS))
    with pytest.raises(OptionError, match=f"is in parts already, so {part} is not needed"):
        read(tmp_path / "parts.json", **{part: 0.2})


@pytest.mark.parametrize("labels", ["88", "21-", "108-21", "a-b", "0-200000", ""])
def test_labels_that_are_no_range_are_refused(labels):
    with pytest.raises(OptionError, match="labels must be a range of whole numbers"):
        DataOptions(file="x", labels=labels)


def test_a_column_of_names_needs_one_of_labels():
    with pytest.raises(OptionError, match="id is for tables"):
        DataOptions(file="x", id="n")


def test_without_scipy_rolls_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(OptionError, match="need the library scipy"):
        read(tmp_path / "a.mat")
