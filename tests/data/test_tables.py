"""Tables of every format: the same rows, and for every mistake the line it is in."""

import csv
import gzip
import json
import re
from datetime import datetime

import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.tables import TABLE_SUFFIXES, Row, has_columns, is_header, read_table
from unrolled.errors import DataError, OptionError

ROWS = [{"text": "olá, você", "stars": "5"}, {"text": 'say "no"', "stars": "1"}]


def values(table):
    return [row.values for row in table.rows]


def test_the_same_rows_come_from_every_format(tmp_path, write):
    parquet = tmp_path / "t.parquet", tmp_path / "t.pq"
    for path in parquet:
        polars.DataFrame(ROWS).write_parquet(path)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    tabs = 'text\tstars\r\nolá, você\t5\r\nsay "no"\t1\r\n'
    paths = [
        write("t.csv", 'text,stars\n"olá, você",5\n"say ""no""",1\n'),
        write("semicolons.csv", 'text;stars\nolá, você;5\n"say ""no""";1\n'),
        write("t.TSV", tabs),
        write("t.tab", tabs),
        write("t.jsonl", lines),
        write("t.ndjson", lines),
        write("t.json", json.dumps(ROWS)),
        write("lines.json", lines),
        *parquet,
    ]
    assert {path.suffix.lower() for path in paths} == {*TABLE_SUFFIXES}
    for path in paths:
        assert values(read_table(path, ["text", "stars"])) == ROWS, path
        assert values(read_table(path)) == ROWS, path
        assert values(read_table(path, ["stars"])) == [{"stars": "5"}, {"stars": "1"}], path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'sep=;\r\ntext;stars\r\n"a, b; c";5\r\n'),
        ("bom.csv", '\ufeff"sep=;"\ntext;stars\n"a, b; c";5\n'),
        ("other.csv", "sep=~\ntext~stars\na, b; c~5\n"),  # none of those that are looked for
        ("t.tsv", "SEP=;\rtext;stars\r'a, b; c';5\r".replace("'", '"')),
        ("tab.csv", "sep=\t\ntext\tstars\na, b; c\t5\n"),
        ("tab.txt", "sep=\t\ntext\tstars\na, b; c\t5\n"),
        ("resaved.csv", 'sep=,,\ntext,stars\n"a, b; c",5\n'),
    ],
)
def test_a_first_line_that_says_the_delimiter_is_no_header(name, content, write):
    """As Excel writes it."""
    path = write(name, content)
    table = read_table(path, ["text", "stars"])
    assert values(table) == [{"text": "a, b; c", "stars": "5"}]
    assert table.rows[0].line == 3
    assert has_columns(path, ["text"], "utf-8")
    assert is_header(content, ["text"])
    path = write("wide.csv", "sep=;\na;b\n1;2\n1;2;3\n")
    with pytest.raises(DataError, match="line 4: 3 fields, but the header has 2"):
        read_table(path)


def test_rows_know_the_line_they_begin_in(write):
    table = read_table(write("t.csv", 'a,b\r\n"1\r\n2\r\n",3\r\n\r\n4,5\r\n'))
    assert [(row.line, row.values["a"]) for row in table.rows] == [(2, "1\r\n2\r\n"), (6, "4")]
    assert table.num_blank == 1
    assert table.where(table.rows[1]) == f"{table.path}, line 6"
    lines = read_table(write("t.jsonl", '{"a": 1}\n\n{"a": null, "b": [1, 2]}\n'))
    assert [*lines.rows] == [Row(1, {"a": 1, "b": None}), Row(3, {"a": None, "b": [1, 2]})]


def test_a_row_of_empty_fields_is_a_row_and_a_blank_line_is_none(write):
    for name, row in (("t.csv", ","), ("t.tsv", "\t")):
        table = read_table(write(name, f"a{row}b\n{row}\n\n  \n1{row}2\n"))
        assert values(table) == [{"a": "", "b": ""}, {"a": "1", "b": "2"}]
        assert (table.num_blank, table.rows[1].line) == (2, 5)


def test_a_byte_order_mark_and_spaces_are_no_part_of_a_name(write):
    path = write("t.csv", "\ufefftext, label\nx,y\n")
    assert values(read_table(path, ["text", "label"])) == [{"text": "x", "label": "y"}]


FIELDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(FIELDS, FIELDS), min_size=1))
def test_what_csv_writes_is_read_unchanged(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("a", "b"), *[(f"_{a}", b) for a, b in rows]])
    assert [tuple(row.values()) for row in values(read_table(path))] == [
        (f"_{a}", b) for a, b in rows
    ]


def test_a_book_in_a_field_is_read(write):
    book = "word " * 100_000
    limit = csv.field_size_limit()
    assert values(read_table(write("t.csv", f"text\n{book}\n"))) == [{"text": book}]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl"])
def test_a_missing_column_is_answered_with_the_nearest_name(write, name):
    content = '{"text": 1, "label": 2}\n' if name == "t.jsonl" else "text\tlabel\n1\t2\n"
    with pytest.raises(DataError, match="no column 'lable'; there are 'text', 'label'") as caught:
        read_table(write(name, content), ["text", "lable"])
    assert caught.value.hint == "did you mean 'label'?"


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("t.csv", "# of 2024\na,b\n1,2\n", "is '# of 2024' the header? leave out what stands"),
        ("t.tsv", "Films\n\na\tb\n1\t2\n", "is 'Films' the header? leave out what stands"),
        ("t.csv", "a,b\n1\n", "is a field missing, or a line end inside a text without quotes"),
        ("t.csv", "a,b\n1,2,3\n", "is a text with the delimiter not inside quotes"),
        ("t.csv", "\n \n", "a table has a header and at least one row"),
        ("t.csv", "sep=;\n", "a table has a header and at least one row"),
        ("t.csv", "sep=;\na,b\n1,2\n", "correct the mark in line 1, or leave that line out"),
        ("t.tsv", "sep=;\na\tb\n1\t2\n", "correct the mark in line 1, or leave that line out"),
        ("t.json", "[]", "a table has a header and at least one row"),
    ],
)
def test_a_hint_says_what_such_a_table_lacks(name, content, hint, write):
    with pytest.raises(DataError, match=re.escape(hint)):
        read_table(write(name, content), ["a", "b"])


def test_dates_of_parquet_keep_their_nanoseconds(tmp_path):
    path, begin = tmp_path / "t.parquet", datetime(2024, 1, 1, 12)
    coarse = polars.Series("coarse", [begin, None], polars.Datetime("ns"))
    fine = (polars.col("coarse") + polars.duration(nanoseconds=5)).alias("fine")
    frame = polars.DataFrame({"coarse": coarse}).with_columns(fine)
    zoned = polars.col("fine").dt.replace_time_zone("UTC").alias("zoned")
    frame.with_columns(zoned).write_parquet(path)
    first, second = values(read_table(path))
    written = "2024-01-01 12:00:00.000000005"
    assert first == {"coarse": begin, "fine": written, "zoned": f"{written}+00:00"}
    assert set(second.values()) == {None}


def test_a_missing_column_of_parquet_is_answered_too(tmp_path):
    path = tmp_path / "t.parquet"
    polars.DataFrame(ROWS).write_parquet(path)
    with pytest.raises(DataError, match="no column 'star'") as caught:
        read_table(path, ["star"])
    assert caught.value.hint == "did you mean 'stars'?"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.tsv", "a\tb\n1\t2\n3 4\n", r"line 3: 1 field, but the header has 2"),
        ("t.tsv", "a\tb\n1\t2\t3\n", r"line 2: 3 fields, but the header has 2"),
        ("t.csv", "a,b\n1,2\n\n3,4,5\n", r"line 4: 3 fields, but the header has 2"),
        ("t.csv", 'a,b\n1,2\n"x"y,3\n', r"line 3: not CSV"),
        ("t.csv", 'a,b\n1,2\n3,"never closed\n4,5\n', r"line 3: not CSV: unexpected end of data"),
        ("t.csv", "a,b,a\n1,2,3\n", r"two columns are called 'a'"),
        ("t.csv", "a,b\n\n", r"no rows"),
        ("t.jsonl", "\n", r"no rows"),
        ("t.jsonl", '{"a": 1}\n{"a": }\n', r"line 2: not JSON: Expecting value, at character 7"),
        ("t.jsonl", '[{"a": 1}]\n', r"line 1: not a JSON object but '\[\{\"a\": 1\}\]'"),
        ("t.csv", b"a,b\nok,1\ncaf\xe9,2\n", r"not utf-8 text in line 3, at byte 12 of"),
        ("t.csv", "", r"the file is empty"),
        ("t.xlsx", "PK", r"not a table by its name"),
        ("t.parquet", "no Parquet", r"cannot be read as Parquet"),
    ],
)
def test_a_mistake_is_named_with_its_place(write, name, content, message):
    path = write(name, content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / name)


def test_without_polars_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(OptionError, match=r"unrolled\[tables\]"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    "content",
    ['{"text": ' + "[" * 100_000 + "]" * 100_000 + "}", '{"text": ' + "9" * 5_000 + "}"],
    ids=["deep", "many digits"],
)
def test_json_that_python_refuses_is_told_with_its_line(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n' + content + "\n")
    with pytest.raises(DataError, match=r"rows.jsonl, line 2: nested too deep"):
        read_table(path)


def test_nan_is_a_value_that_is_missing_in_every_format(tmp_path):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"text": ["a", "b"], "stars": [5.0, float("nan")]})
    frame.write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text(
        '{"text": "a", "stars": 5.0}\n{"text": "b", "stars": NaN}\n'
    )
    for name in ("rows.parquet", "rows.jsonl"):
        values = [row.values["stars"] for row in read_table(tmp_path / name).rows]
        assert values == [5.0, None]


def test_only_the_wanted_columns_are_checked(write):
    path = write("spam.csv", "v1,v2,,,\nham,hello,,,\nspam,win,,,\n")
    assert values(read_table(path, ["v2", "v1"])) == [
        {"v2": "hello", "v1": "ham"},
        {"v2": "win", "v1": "spam"},
    ]
    assert read_table(path).columns == ("v1", "v2")
    path = write("dup.csv", "id,id,text,label\n1,2,a,x\n")
    assert values(read_table(path, ["text", "label"])) == [{"text": "a", "label": "x"}]
    with pytest.raises(DataError, match="two columns are called 'id'"):
        read_table(path, ["id", "text"])
    with pytest.raises(DataError, match="several columns have no name"):
        read_table(write("none.csv", ",,a\n1,2,3\n"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "ham,hello\nspam,win\n"),
        ("t.tsv", "ham\thello\nspam\twin\n"),
        ("SMSSpamCollection", "ham\thello\nspam\twin\n"),
        ("t.txt", "ham;hello\nspam;win\n"),
        ("t.data", "ham|hello\nspam|win\n"),
    ],
)
def test_a_table_without_a_header_is_read_by_numbers(write, name, content):
    table = read_table(write(name, content), ["2", "1"])
    assert values(table) == [{"2": "hello", "1": "ham"}, {"2": "win", "1": "spam"}]
    assert not table.has_header
    assert table.rows[0].line == 1
    with pytest.raises(DataError, match="no column '3'"):
        read_table(table.path, ["3", "1"])


@pytest.mark.parametrize("header", ["1,2", "0,1,2", "id,1,2"])
def test_numbers_that_are_names_of_columns_are_names(write, header):
    table = read_table(write("t.csv", f"{header}\n{header.replace('2', 'b')}\n"), ["2"])
    assert (table.has_header, values(table)) == (True, [{"2": "b"}])


@pytest.mark.parametrize("row", ["1\t-0.5\t2.5", "1\t2\t2", "2\t7\t1", "1\tNaN\t3", "1\tup\t0.25"])
def test_a_first_row_of_numbers_is_not_taken_for_a_header(write, row):
    table = read_table(write("Gun_TRAIN.tsv", f"{row}\n2\t0\t0\n"), ["1"], others=True)
    assert (table.has_header, len(table.rows)) == (False, 2)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.CSV.GZ", "t.txt.gz", "t.jsonl.gz"])
def test_packed_tables_are_read(write, name):
    content = '{"a": "x"}\n' if "json" in name else "a,b\nx,y\n"
    path = write(name, gzip.compress(content.encode()))
    assert values(read_table(path, ["a"])) == [{"a": "x"}]


def test_a_list_of_objects_is_a_table(write):
    table = read_table(write("t.json", '[{"a": 1},\n {"b": null}]'))
    assert values(table) == [{"a": 1, "b": None}, {"a": None, "b": None}]
    assert table.where(table.rows[1]).endswith("t.json, row 2")
    for content, message in (
        ("[1]", "row 1: not a JSON object"),
        ("[{}, {]", "line 1: not JSON"),
        ("[" * 100_000, "nested too deep"),
    ):
        with pytest.raises(DataError, match=message):
            read_table(write("t.json", content))


def test_a_table_is_told_from_a_text_a_line(write):
    assert has_columns(write("a.txt", "text\tlabel\nx\ty\n"), ["text"], "utf-8")
    assert has_columns(write("b.txt", "ham\tx\nspam\ty\n"), ["2"], "utf-8")
    assert not has_columns(write("c.txt", "good, bad\nand ugly\n"), ["2"], "utf-8")
    assert not has_columns(write("d.txt", "one line\nanother\n"), ["text"], "utf-8")


def test_further_fields_that_are_empty_are_nobodys_business(write):
    assert values(read_table(write("t.csv", "a,b\n1,2,,\n"))) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("as_list", [False, True])
def test_rows_with_half_a_surrogate_pair_are_counted_in_one_warning(write, as_list):
    whole = json.dumps({"text": "\U0001f44d", "other": "x"})  # of two escapes, and a character
    half, unwanted = ('{"text": "a\\ud83d"}', '{"text": "b", "other": "\\udc4d"}')
    nested = '{"text": ["good", "a\\udc4d"]}'
    rows = [whole, half, unwanted, nested]
    path = write("t.json", f"[{','.join(rows)}]" if as_list else "\n".join(rows))
    with pytest.warns(UserWarning, match="2 rows have half a surrogate pair") as told:
        table = read_table(path, ["text"])
    (message,) = (str(each.message) for each in told)
    assert message.endswith("see row 2" if as_list else "see line 2")
    assert [row.values["text"] for row in table.rows][:2] == ["\U0001f44d", "a\ud83d"]
    assert told[0].filename == __file__  # the line that reads


@pytest.mark.parametrize("as_list", [False, True])
def test_a_wanted_name_that_an_object_has_twice_is_refused(write, as_list):
    rows = ['{"text": "a", "x": 1, "x": 2, "in": {"text": 1, "text": 2}}', '{"text": 1, "text": 2}']
    path = write("t.json", f"[{','.join(rows)}]" if as_list else "\n".join(rows))
    where = "row 2" if as_list else "line 2"
    with pytest.raises(DataError, match=f"{where}: 'text' is there twice"):
        read_table(path, ["text"])
    with pytest.raises(DataError, match="1: 'x' is there twice"):
        read_table(path)
