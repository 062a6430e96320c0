"""Pairs of sentences: what is read, what is counted, what is refused with its line."""

import gzip
import json
from pathlib import Path

import pytest

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks.translate.pairs import Pair, counterpart, read_pairs, sources_of


@pytest.fixture
def write(tmp_path):
    def write(content, encoding="utf-8"):
        path = tmp_path / "pairs.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def test_columns_are_taken_by_number(write):
    path = write("Go.\tVa !\tdjango\nHi.\tSalut.\tspyder\n")
    assert read_pairs(path) == ([Pair("Go.", "Va !"), Pair("Hi.", "Salut.")], [])
    pairs, _ = read_pairs(path, source_column="3", target_column="1")
    assert pairs == [Pair("django", "Go."), Pair("spyder", "Hi.")]


def test_columns_are_taken_by_name_or_one_by_name_and_one_by_number(write):
    path = write("en\tx\tfr\nGo.\t1\tVa !\n")
    for target in ("fr", "3"):
        pairs, _ = read_pairs(path, source_column="en", target_column=target)
        assert pairs == [Pair("Go.", "Va !")]


def test_blanks_at_the_ends_and_doubled_ones_go_and_other_line_ends_stay_inside(write):
    path = write("\ufeff Go\u00a0 on. \tVa\u2028là\u0085!\r\nA\tB\rC\tD")
    pairs, _ = read_pairs(path)
    assert pairs == [Pair("Go on.", "Va là !"), Pair("A", "B"), Pair("C", "D")]


def test_quotes_mean_nothing(write):
    assert read_pairs(write('"Go.\tVa "!\n'))[0] == [Pair('"Go.', 'Va "!')]


def test_a_first_line_that_says_tabs_is_no_pair(write):
    path = write("sep=\t\nen\tfr\nGo.\tVa !\n")
    assert read_pairs(path, source_column="en", target_column="fr")[0] == [Pair("Go.", "Va !")]
    assert read_pairs(path)[0] == [Pair("en", "fr"), Pair("Go.", "Va !")]
    assert [*sources_of(Source.file(path), "en")] == ["Go."]
    with pytest.raises(DataError, match="no pair"):
        read_pairs(write("sep=\t\n"))
    with pytest.raises(DataError, match="line 1: says that ';' is between columns"):
        read_pairs(write("sep=;\nGo.;Va !\n"))


def test_empty_sides_and_long_ones_are_counted(write):
    content = f"Go.\tVa !\n\tVide\nEmpty\t \n\n   \nLong\t{'x' * 100_000}\nAs long\t{'y' * 20}\n"
    pairs, notes = read_pairs(write(content), max_characters=20)
    assert pairs == [Pair("Go.", "Va !"), Pair("As long", "y" * 20)]
    assert notes == [
        "4 pairs have an empty side and are left out",
        "1 pair has a side of more than 20 characters and is left out",
    ]
    assert len(read_pairs(write(content))[0]) == 3


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("Go.\tVa !\nHi. Salut.\n", r"pairs.tsv, line 2: .* columns 1 and 2, got no tab"),
        ("\nGo.\tVa !\nHi.\n", "pairs.tsv, line 3: "),
        (b"Go.\tVa !\nCaf\xe9\tCaf\xe9\n", r"pairs.tsv: not utf-8 text .*line 2"),
        ("", "pairs.tsv: the file is empty"),
        ("\t\n \t\n", "pairs.tsv: no pair of sentences .*2 pairs have an empty side"),
        (b"Go.\0\tVa !", "NUL at byte 3"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place(write, content, complaint):
    with pytest.raises(DataError, match=complaint):
        read_pairs(write(content))


def test_too_few_columns_for_those_asked_for_are_refused(write):
    with pytest.raises(DataError, match=r"line 1: .* columns 1 and 4, got 2 columns"):
        read_pairs(write("a\tb\n"), target_column="4")
    with pytest.raises(DataError, match="line 1: no column 'de', the first line has: en, fr"):
        read_pairs(write("en\tfr\na\tb\n"), source_column="en", target_column="de")
    with pytest.raises(DataError, match="no such file"):
        read_pairs(write("").with_name("none.tsv"))


def test_other_encodings_are_read_when_they_are_named(write):
    path = write("Coffee\tCafé\n", encoding="latin-1")
    assert read_pairs(path, encoding="latin-1")[0] == [Pair("Coffee", "Café")]
    path = write("Coffee\tCafé\n", encoding="utf-16")
    assert read_pairs(path, encoding="utf-16")[0] == [Pair("Coffee", "Café")]
    with pytest.raises(OptionError, match="unknown encoding 'latin-99'"):
        read_pairs(path, encoding="latin-99")


@pytest.mark.parametrize("columns", [("1", "1"), ("en", "1"), ("0", "1"), ("fr", "fr")])
def test_columns_that_are_one_and_the_same_or_none_are_refused(write, columns):
    source, target = columns
    with pytest.raises(OptionError, match=r"both in column|counted from 1"):
        read_pairs(write("en\tfr\na\tb\n"), source_column=source, target_column=target)


def test_real_pairs_are_read(shared_data):
    folder = shared_data / "translation"
    pairs, notes = read_pairs(folder / "eng-fra-tatoeba" / "fra.txt")
    assert (len(pairs), notes) == (60000, [])
    assert len({pair.source for pair in pairs}) == 38520
    pairs, _ = read_pairs(folder / "gettext-en-ptbr" / "pairs.tsv")
    assert len(pairs) == 4427


PAIRS = [Pair("Go.", "Va !"), Pair("Hi, you.", "Salut.")]


def test_pairs_come_from_every_table(tmp_path):
    rows = [{"id": n, "en": pair.source, "fr": pair.target} for n, pair in enumerate(PAIRS)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    csv = 'id,en,fr\n0,Go.,Va !\n1,"Hi, you.",Salut.\n'
    for name, content in {"p.csv": csv, "p.jsonl": lines, "p.json": json.dumps(rows)}.items():
        path, packed = tmp_path / name, tmp_path / f"{name}.gz"
        path.write_text(content)
        packed.write_bytes(gzip.compress(content.encode()))
        for each in (path, packed):
            columns = {"source_column": "en", "target_column": "fr"}
            assert read_pairs(each, **columns) == (PAIRS, [])
            assert list(sources_of(Source.file(each), "en")) == [pair.source for pair in PAIRS]
    for name in ("p.csv", "p.jsonl"):
        pairs, _ = read_pairs(tmp_path / name, source_column="en", target_column="3")
        assert pairs == PAIRS
    pairs, _ = read_pairs(tmp_path / "p.jsonl", source_column="2", target_column="3")
    assert pairs == PAIRS


def test_csv_by_numbers_has_no_header_and_that_is_said(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text('Go.,Va !\n"Hi, you.",Salut.\n')
    pairs, notes = read_pairs(path)
    assert pairs == PAIRS
    assert notes == [f"{path}: columns by their numbers: line 1 is a pair, and no header"]


def test_two_files_stand_side_by_side(tmp_path):
    (tmp_path / "t.en").write_text("Go.\n\nHi, you.\n")
    (tmp_path / "t.fr").write_text("Va !\nVide\nSalut.\n")
    pairs, notes = read_pairs(tmp_path / "t.en", targets=tmp_path / "t.fr")
    assert (pairs, notes) == (PAIRS, ["1 pair has an empty side and is left out"])
    (tmp_path / "t.fr").write_text("Va !\n")
    with pytest.raises(DataError, match=r"t\.en: 3 lines, but .*t\.fr has 1"):
        read_pairs(tmp_path / "t.en", targets=tmp_path / "t.fr")


@pytest.mark.parametrize(
    ("path", "source", "target", "expected"),
    [
        ("test.en", "train.en", "train.fr", "test.fr"),
        ("test.en", "train.en", "train.es", "test.es"),
        ("test.en.gz", "train.en.gz", "train.fr.gz", "test.fr.gz"),
        ("src-test.txt", "src-train.txt", "tgt-train.txt", "tgt-test.txt"),
        ("english-test.txt", "english.txt", "french.txt", "french-test.txt"),
        ("data-en.test", "data-en.train", "data-fr.train", "data-fr.test"),
    ],
)
def test_the_targets_of_another_file_are_known_by_its_name(path, source, target, expected):
    assert counterpart(Path("a", path), Path(source), Path(target)) == Path("a", expected)
    with pytest.raises(OptionError, match="is not known by the names"):
        counterpart(Path("other.xy"), Path(source), Path(target))


@pytest.mark.parametrize("value", [1, ["a"], {"a": 1}, True])
def test_a_value_that_is_no_text_is_refused_with_its_place(tmp_path, value):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"en": "a", "fr": value}))
    with pytest.raises(DataError, match="line 1: 'fr' is not text but"):
        read_pairs(path, source_column="en", target_column="fr")


@pytest.mark.parametrize("name", ["new.tsv", "new.txt"])
@pytest.mark.parametrize(("header", "column"), [("", "1"), ("en\tfr\n", "en"), ("", "2")])
def test_columns_with_tabs_are_no_sentences(tmp_path, name, header, column):
    path = tmp_path / name
    path.write_text(f"{header}Go.\tVa !\n\nHi.\tSalut.\n")
    expected = ["Va !", "", "Salut."] if column == "2" else ["Go.", "", "Hi."]
    assert list(sources_of(Source.file(path), column)) == expected
    assert list(sources_of(Source.text(path.read_text()), column)) == expected


def test_lines_are_sentences_where_a_tab_is_not_in_each(tmp_path):
    path = tmp_path / "new.txt"
    path.write_text("Go.\tnow\nHi.\n")
    assert list(sources_of(Source.file(path), "1")) == ["Go.\tnow", "Hi."]
    path.write_text("Go.\tnow\nHi.\tand\n" * 200 + "Hi.\n")
    with pytest.raises(DataError, match=r"line 401: the source is in column 2, got 1 columns"):
        list(sources_of(Source.file(path), "2"))


def test_a_table_that_is_no_file_is_not_translated_line_by_line():
    with pytest.raises(DataError, match="the input: begins with the header of a table"):
        list(sources_of(Source.text("en,fr\nGo.,Va !\n"), "en"))
