"""Pairs of sentences: what is read, what is counted, what is refused with its line."""

import pytest

from unrolled.errors import DataError, OptionError
from unrolled.tasks.translate.pairs import Pair, read_pairs


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
