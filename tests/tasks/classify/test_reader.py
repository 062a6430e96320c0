"""What a classifier reads: every format, and nothing is left out without a word."""

import gzip
import json
import math
import shutil
from pathlib import Path

import polars
import pytest

from unrolled.data import Source
from unrolled.errors import DataError, OptionError, render
from unrolled.tasks.classify import ClassifyTask, DataOptions, reader
from unrolled.tasks.classify.reader import read_examples, read_unlabelled

TABLE = {"input": ("text",), "target": "label"}
HEADER = "@classLabel true a b\n@data\n"


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
    with pytest.raises(DataError, match="the class of its lines is not known"):
        read_examples(both, path)


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
        (("t.csv", "u.ts"), TABLE, "tables and .ts files are not read together"),
        (("a=t.csv", "u.csv"), TABLE, "a class is named for a text file, and these are tables"),
        (("t.csv",), {**TABLE, "id": "case", "wide": True}, "a row for each step, wide for each"),
        (("t.ts",), {"wide": True}, "wide names a column"),
        (("t.ts",), {"target": "y"}, "target names a column, and a .ts file has none"),
        (("t.ts",), {"tokens": "char"}, "tokens is for text"),
        (("c.csv",), {"id": "case", "target": "y", "tokens": "char"}, "tokens is for text"),
        (("a",), {}, "has the texts of one class"),
        (("a", "a=b"), {}, "two files are of the class 'a'"),
        (("a", "b"), {"test_file": "c"}, "test_file is for tables"),
        (("a", "b"), {"input": ("text",)}, "input is for tables"),
        ((), {}, "no file to read"),
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


# ---- several tables, folders, tables without a header or of another name ----------------------


def test_several_tables_are_one(write):
    first, second = write("a.csv", table(many(20))), write("b.csv.gz", gzip.compress(b""))
    second.write_bytes(gzip.compress(table([("new", "a")] * 3).encode()))
    splits = read_splits(DataOptions(files=(str(first), str(second)), **TABLE))
    assert sum(map(len, (splits.training, splits.held_out, splits.test))) == 23


@pytest.mark.parametrize("name", ["spam", "spam.txt", "spam.csv"])
def test_a_table_without_a_header_is_read_by_numbers_and_that_is_said(write, name):
    separator = "," if name == "spam.csv" else "\t"
    rows = "".join(f"{label}{separator}{text}\n" for text, label in many())
    path = write(name, rows)
    chosen = options(path, input=("2",), target="1")
    examples, notes = read_examples(chosen, path)
    assert contents(examples) == many()
    assert notes == [f"{path}: columns by their numbers: line 1 is an example, and no header"]
    assert [e.content for e in read_unlabelled(chosen, Source.file(path), ())] == [
        text for text, _ in many()
    ]
    lines = write("lines.txt", "good\nand bad\n")
    assert len(list(read_unlabelled(chosen, Source.file(lines), ()))) == 2


@pytest.fixture
def folders(tmp_path):
    """A folder with a folder of texts for each class, as people have them."""
    for text, label in many():
        below = tmp_path / "train" / label / "more"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{text}.txt").write_text(f"{text}\nand a second line\n")
    (tmp_path / "train" / "urls.txt").write_text("nothing")
    (tmp_path / "train" / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "train" / "a" / ".hidden").write_bytes(b"\0")
    (tmp_path / "train" / "a" / "empty.txt").touch()
    return tmp_path / "train"


def test_a_folder_has_a_folder_of_texts_for_each_class(folders):
    chosen = options(folders)
    examples, notes = read_examples(chosen, folders)
    expected = [(f"{text}\nand a second line", label) for text, label in many()]
    assert sorted(contents(examples)) == sorted(expected)
    assert "left out for lack of content or class: 1 of 41 examples" in notes[0]
    assert notes[1] == f"{folders}: 1 file beside the folders of the classes not read"
    assert len(ClassifyTask.files(chosen)) == 42
    assert len(list(read_unlabelled(chosen, Source.file(folders / "b"), ()))) == 20
    parts = read_splits(options(folders, test_file=str(folders)))
    assert len(parts.test) == 40


def test_a_folder_may_have_the_texts_of_one_class(folders):
    chosen = DataOptions(files=(f"no={folders / 'a'}", f"yes={folders / 'b'}"))
    splits = read_splits(chosen)
    assert {example.label for example in splits.training} == {"no", "yes"}


def test_a_run_on_folders_is_loaded_without_them(folders):
    content = options(folders).to_dict()
    shutil.rmtree(folders)
    assert DataOptions(**content).of_folders


@pytest.mark.parametrize(
    ("name", "header"), [("t.tsv", False), ("t.txt", False), ("t.csv", True), ("t.parquet", True)]
)
def test_a_wide_table_has_a_series_in_each_row(tmp_path, name, header):
    cases = {(1.0, 2.5, 3.0): "1", (-1.0, 0.0): "2", (4.0, math.nan, 5.0): "1"}
    path = tmp_path / name
    if name == "t.parquet":
        columns = {f"x{n}": [c[n] if n < len(c) else None for c in cases] for n in range(3)}
        polars.DataFrame({"y": [1.0, 2.0, 1.0], **columns}).write_parquet(path)
    else:
        separator = "," if name == "t.csv" else "\t"
        rows = [("y", "x0", "x1", "x2")] if header else []
        rows += [(f"{y}.0", *c, *["NaN"] * (3 - len(c))) for c, y in cases.items()]
        path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))
    chosen = options(path, wide=True, target="y" if header else "1")
    examples, notes = read_examples(chosen, path)
    assert [example.label for example in examples] == ["1", "2", "1"]
    assert repr([tuple(x for (x,) in e.content) for e in examples]) == repr(list(cases))
    assert notes == [
        f"{path}: 1 of 8 numbers are missing; each is taken for the mean of its feature"
    ]
    again = [e.content for e in read_unlabelled(chosen, Source.file(path), ("1",))]
    assert repr(again) == repr([e.content for e in examples])


# ---- what is a class --------------------------------------------------------------------------


def labelled(tmp_path, labels, suffix):
    rows = [{"text": f"text {n}", "label": label} for n, label in enumerate(labels)]
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        polars.DataFrame(rows, strict=False).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_what_is_missing_is_no_class_and_one_number_is_one_class(tmp_path, suffix):
    path = labelled(tmp_path, [1.0, 0.0, math.nan, None, 1.0], suffix)
    examples, notes = read_examples(options(path, **TABLE), path)
    assert [example.label for example in examples] == ["1", "0", "1"]
    assert "2 of 5 examples" in notes[0]


@pytest.mark.parametrize(
    ("labels", "notes"),
    [
        (("yes", "no"), []),
        (("yes", "NA"), ["the class 'NA' is how programs write"]),
        (("1", "None", "nan"), ["the classes 'None', 'nan' are how programs write"]),
        (("True", "TRUE", "0", "00"), ["written in several ways: '0' and '00'; 'TRUE' and 'True'"]),
        (("cafe\u0301", "caf\u00e9"), ["written in several ways"]),
    ],
)
def test_classes_that_may_be_none_or_one_are_named(write, labels, notes):
    path = write("t.csv", table([(f"text {n}", labels[n % len(labels)]) for n in range(40)]))
    _, *others = read_splits(options(path, **TABLE)).notes
    assert [note in text for note, text in zip(notes, others, strict=True)] == [True] * len(notes)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
@pytest.mark.parametrize("value", [["a", "b"], {"a": 1}, [], math.inf])
def test_a_list_is_no_class(tmp_path, suffix, value):
    path = labelled(tmp_path, [value] * 4, suffix)
    with pytest.raises(DataError, match=r"(line|row) 1: 'label' is not one label"):
        read_examples(options(path, **TABLE), path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([str(1000 + 7 * n) for n in range(106)], "a number, not a class: 106 different values"),
        ([f"{n % 30}.{n % 7}" for n in range(106)], "a number, not a class: 10. different values"),
        ([f"{n // 2}" for n in range(100)], "50 different values in 100 examples, 0 of them once"),
        ([f"name {n}" for n in range(60)], "is no class: 60 different values"),
    ],
)
def test_a_column_with_hardly_a_repeated_value_has_no_classes(write, labels, message):
    path = write("t.csv", table([(f"text {n}", label) for n, label in enumerate(labels)]))
    with pytest.raises(DataError, match=message):
        read_splits(options(path, **TABLE))


@pytest.mark.parametrize(
    "labels",
    [
        [str(n % 10) for n in range(20)],
        [f"{n % 9 / 2}" for n in range(30)],
        [str(n % 25) for n in range(200)],
        [f"class {n % 20}" for n in range(60)],
    ],
)
def test_a_few_numbers_and_names_are_classes(write, labels):
    path = write("t.csv", table([(f"text {n}", label) for n, label in enumerate(labels)]))
    assert read_splits(options(path, **TABLE)).training


# ---- whatever the training was on, a file is read as what it is -------------------------------


@pytest.mark.parametrize("trained_on", ["table", "classes", "folder"])
def test_texts_with_a_class_are_read_whatever_the_training_was_on(write, folders, trained_on):
    lines = write("good.txt", "one\ntwo\n")
    chosen = {
        "table": lambda: options("t.csv", **TABLE),
        "classes": lambda: DataOptions(files=("a=x.txt", "b=y.txt")),
        "folder": lambda: options(folders),
    }[trained_on]()
    assert contents(read_examples(chosen, Path(f"a={lines}"))[0]) == [("one", "a"), ("two", "a")]
    assert len(read_examples(chosen, folders)[0]) == 40
    assert len(list(read_unlabelled(chosen, Source.file(folders / "b"), ()))) == 20


@pytest.mark.parametrize("trained_on", ["classes", "folder", "series"])
def test_a_table_is_not_read_as_lines_where_the_training_had_no_columns(write, folders, trained_on):
    path = write("new.csv", table(many(3)))
    chosen, names = {
        "classes": (DataOptions(files=("a=x.txt", "b=y.txt")), ()),
        "folder": (options(folders), ()),
        "series": (options("a.ts"), ("1",)),
    }[trained_on]
    with pytest.raises(DataError, match="the training data had no columns to find in it"):
        list(read_unlabelled(chosen, Source.file(path), names))
    with pytest.raises(DataError, match="the training data had no columns to find in it"):
        read_examples(chosen, path, names)


def test_a_table_is_no_file_of_one_class(write):
    path = write("good.csv", table(many(3)))
    with pytest.raises(DataError, match="a file of one class has a text in each line"):
        read_splits(DataOptions(files=(f"a={path}", f"b={path}")))


def test_a_table_of_another_name_is_known_by_its_header(write):
    path = write("new.txt", table([("one", "a"), ("two", "b")]))
    found = read_unlabelled(options("t.csv", **TABLE), Source.file(path), ())
    assert [example.content for example in found] == ["one", "two"]


def test_ts_files_are_read_by_a_run_that_was_trained_on_a_table(write):
    path = write("new.ts", f"{HEADER}1,2:3,4:a\n5:6:b\n")
    chosen = options("long.csv", id="case", target="label")
    expected = [((1, 3), (2, 4)), ((5, 6),)]
    assert [e.content for e in read_examples(chosen, path, ("x", "y"))[0]] == expected
    found = read_unlabelled(chosen, Source.file(path), ("x", "y"))
    assert [example.content for example in found] == expected


def test_a_table_that_is_no_file_is_not_read_line_by_line():
    chosen = options("t.csv", **TABLE)
    with pytest.raises(DataError, match="the input: begins with the header of a table"):
        list(read_unlabelled(chosen, Source.text("id,text\n1,good\n"), ()))
    assert len(list(read_unlabelled(chosen, Source.text("a text of mine\nmore\n"), ()))) == 2
