"""What a classifier reads: every format, and nothing is left out without a word."""

import json
from pathlib import Path

import polars
import pytest

from unrolled.data import Source
from unrolled.errors import DataError, OptionError, render
from unrolled.tasks.classify import DataOptions, reader
from unrolled.tasks.classify.reader import read_examples, read_unlabelled

TABLE = {"input": ("text",), "target": "label"}
HEADER = "@classLabel true a b\n@data\n"


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def options(path, **changes):
    return DataOptions(files=(str(path),), **changes)


def read_splits(options):
    return reader.read_splits(options, seed=0)


def table(rows):
    return "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows)


def many(count=40):
    return [(f"text {index}", "ab"[index % 2]) for index in range(count)]


def contents(examples):
    return [(example.content, example.label) for example in examples]


def test_the_same_examples_come_from_tables_and_files_of_one_class(write, tmp_path):
    rows = [{"text": text, "label": label} for text, label in many()]
    polars.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    files = [
        write("t.csv", table(many())),
        write("t.tsv", "label\ttext\n" + "".join(f"{y}\t{x}\n" for x, y in many())),
        write("t.jsonl", "\n".join(map(json.dumps, rows))),
        tmp_path / "t.parquet",
    ]
    for path in files:
        examples, notes = read_examples(options(path, **TABLE), path)
        assert (contents(examples), notes) == (many(), []), path
    for label in "ab":
        write(label, "".join(f"{x}\r\n" for x, y in many() if y == label))
    splits = read_splits(DataOptions(files=(str(tmp_path / "a"), f"b={tmp_path / 'b'}")))
    every = contents([*splits.training, *splits.held_out, *splits.test])
    assert sorted(every) == sorted(many())
    assert [len(splits.training), len(splits.held_out), len(splits.test)] == [32, 4, 4]


def test_one_file_of_a_class_says_which(write):
    path = write("a", "one\n")
    both = DataOptions(files=(f"a={path}", "b"))
    assert contents(read_examples(both, Path(f"b={path}"))[0]) == [("one", "b")]
    for wrong in (path, Path(f"c={path}")):
        with pytest.raises(DataError, match="the class of its lines is not known"):
            read_examples(both, wrong)


def test_equal_texts_are_in_one_part(write):
    path = write("t.csv", table(many(20) * 3))
    splits = read_splits(options(path, **TABLE, held_out=0.2, test=0.2))
    parts = [{e.content for e in p} for p in (splits.training, splits.held_out, splits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 20


def test_files_of_their_own_take_the_place_of_parts(write):
    path = write("t.csv", table(many()))
    test = write("test.csv", table([("new", "a")]))
    splits = read_splits(options(path, **TABLE, test_file=str(test)))
    assert contents(splits.test) == [("new", "a")]
    assert len(splits.training) + len(splits.held_out) == 40


def test_what_is_left_out_or_cut_is_counted_and_its_first_place_named(write):
    path = write("t.csv", table([*many(), ("  ", "a"), ("no class", ""), ("word " * 100_000, "b")]))
    examples, notes = read_examples(options(path, **TABLE, max_length=1000), path)
    assert len(examples) == 41
    assert examples[-1].content == "word " * 200
    lacking, long = notes
    assert "left out for lack of content or class: 2 of 43 examples" in lacking
    assert lacking.endswith("t.csv, line 42")
    assert "only the first 1,000 characters (max_length) are read of 1 of 41" in render(long)
    assert long.endswith("t.csv, line 44")


def test_missing_numbers_and_empty_cases_are_counted(write):
    path = write("t.ts", f"{HEADER}1,?:2,NaN:a\n::b\n1:2:b\n")
    examples, notes = read_examples(options(path), path)
    assert [example.label for example in examples] == ["a", "b"]
    assert "1 of 3 examples" in notes[0]
    assert "2 of 6 numbers are missing" in notes[1]


def test_a_class_that_training_lacks_is_told(write):
    path = write("t.csv", table(many()))
    test = write("test.csv", table([("new", "a"), ("newer", "c")]))
    splits = read_splits(options(path, **TABLE, test_file=str(test)))
    assert "2 classes in the training part: " in splits.notes[0]
    expected = "1 of 2 test examples have a class that the training part lacks, and count as wrong"
    assert splits.notes[1].startswith(expected)
    assert splits.notes[1].endswith("test.csv, line 3, 'c'")
    other = str(write("other.csv", table([("x", "c")])))
    for name in ("held_out_file", "test_file"):
        with pytest.raises(DataError, match="nothing is left to measure on"):
            read_splits(options(path, **TABLE | {name: other}))


@pytest.mark.parametrize(
    ("name", "content", "changes", "message"),
    [
        ("t.csv", table([(f"t {i}", "a") for i in range(20)]), TABLE, "all 16 training .* are 'a'"),
        ("t.csv", table([("x", "a"), ("y", "b")]), TABLE, "2 examples .* are too few"),
        ("t.csv", table([("", "a"), ("y", "")]), TABLE, "no example has content and a class"),
        ("t.csv", "txt,label\nx,a\n", TABLE, "no column 'text'"),
        ("t.jsonl", '{"text": 5, "label": "a"}', TABLE, "line 1: 'text' is not text but 5"),
        ("t.csv", b"text,label\nol\xc3\xa1,a\nol\xe1,b\n", TABLE, "not utf-8 text in line 3"),
        ("t.ts", f"{HEADER}1:2:a\n1:b\n", {}, "line 4: 1 dimensions, expected 2"),
    ],
)
def test_a_mistake_in_a_file_is_named(write, name, content, changes, message):
    path = write(name, content)
    with pytest.raises(DataError, match=message):
        read_splits(options(path, **changes))


def test_a_test_file_must_have_the_numbers_of_the_training_file(write):
    path = write("t.ts", HEADER + "".join(f"{i}:2:{'ab'[i % 2]}\n" for i in range(40)))
    test = write("test.ts", f"{HEADER}1:2:3:a\n")
    with pytest.raises(DataError, match="3 dimensions, but the training data have 2"):
        read_splits(options(path, test_file=str(test)))
    long = "case,x,y,label\n" + "".join(f"{i},{i},2,{'ab'[i % 2]}\n" for i in range(40))
    test = write("test.csv", "case,x,label\n1,1,a\n")
    changes = {"id": "case", "target": "label", "test_file": str(test)}
    with pytest.raises(DataError, match="no column 'y'"):
        read_splits(options(write("t.csv", long), **changes))


@pytest.mark.parametrize(
    ("files", "changes", "message"),
    [
        (("t.csv",), {"target": "y"}, "one column of text"),
        (("t.csv",), {"input": ("x",)}, "needs the column of the class .*target COLUMN"),
        (("t.csv",), {**TABLE, "time": "t"}, "time is for numbers"),
        (("t.csv",), {**TABLE, "input": ("a", "b")}, "one column of text"),
        (("t.csv", "u.csv"), TABLE, "one table or .ts file is read, got 2"),
        (("t.ts",), {"target": "y"}, "target names a column, and a .ts file has none"),
        (("t.ts",), {"tokens": "char"}, "tokens is for text"),
        (("c.csv",), {"id": "case", "target": "y", "tokens": "char"}, "tokens is for text"),
        (("a",), {}, "has the texts of one class"),
        (("a", "a=b"), {}, "two files are of the class 'a'"),
        (("a", "b"), {"test_file": "c"}, "test_file is for tables"),
        (("a", "b"), {"input": ("text",)}, "input is for tables"),
        ((), {}, "one table or .ts file is read, got 0"),
        (("t.csv",), {**TABLE, "vocabulary_size": 300}, "vocabulary_size is for bpe"),
        (("t.csv",), {**TABLE, "tokens": "letter"}, "tokens must be one of word, char, bpe"),
        (("t.csv",), {**TABLE, "held_out": 1.0}, "held_out must be"),
        (("t.csv",), {**TABLE, "test": 1.0}, "test must be"),
        (("t.csv",), {**TABLE, "test": 0.5, "test_file": "c"}, "test and test_file.* not both"),
        (("t.csv",), {**TABLE, "min_count": 0}, "min_count must be"),
        (("t.csv",), {**TABLE, "max_length": 0}, "max_length must be"),
    ],
)
def test_options_that_do_not_fit_are_refused(files, changes, message):
    with pytest.raises(OptionError, match=message):
        DataOptions(files=files, **changes)


def test_files_are_named_as_a_command_line_names_them(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a=b.txt", "x")
    table = DataOptions(files=("T.csv",), **TABLE)
    assert (table.paths, table.classes) == ((tmp_path / "T.csv",), ())
    assert DataOptions(files=("T.TS",)).classes == ()
    named = DataOptions(files=("a=b.txt", "pos=c.txt", "d"))
    assert named.files == (f"{tmp_path}/a=b.txt", f"pos={tmp_path}/c.txt", f"{tmp_path}/d")
    assert named.paths == (tmp_path / "a=b.txt", tmp_path / "c.txt", tmp_path / "d")
    assert named.classes == ("a=b.txt", "pos", "d")


def test_names_mean_the_same_in_another_folder_and_when_the_files_are_gone(
    write, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write("a=b.txt", "x")
    given = DataOptions(files=("a=b.txt", "pos=c=d.txt"))
    (tmp_path / "a=b.txt").unlink()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    again = DataOptions(**json.loads(json.dumps(given.to_dict())))
    assert again == given
    assert (again.paths, again.classes) == (given.paths, ("a=b.txt", "pos"))


def test_what_is_to_be_predicted_is_read_from_lines_and_tables(write):
    lines = write("new.txt", "one\n\ntwo\n")
    path = write("t.csv", table(many()))
    text = options(path, **TABLE, max_length=2)
    found = list(read_unlabelled(text, Source.file(lines), ()))
    assert [(e.content, e.cut) for e in found] == [("on", True), ("", False), ("tw", True)]
    found = list(read_unlabelled(text, Source.file(write("new.csv", "n,text\n1,x\n")), ()))
    assert contents(found) == [("x", None)]
    cases = write("new.ts", f"{HEADER}1,2:3,4:a\n5:6\n")
    found = list(read_unlabelled(options(cases), Source.file(cases), ("1", "2")))
    assert [e.content for e in found] == [((1, 3), (2, 4)), ((5, 6),)]
    long = write("long.csv", "case,y,x\n7,1,2\n7,3,4\n")
    found = list(
        read_unlabelled(options(long, id="case", target="label"), Source.file(long), ("x", "y"))
    )
    assert [(e.id, e.content) for e in found] == [("7", ((2, 1), (4, 3)))]
