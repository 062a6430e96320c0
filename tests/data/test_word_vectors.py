"""Vectors of words as word2vec, GloVe and fastText write them, and files that are none."""

import gzip
from pathlib import Path

import pytest
import torch

from unrolled.data.word_vectors import read_vectors, vectors_width
from unrolled.errors import DataError

ROWS = "casa 0.5 -1 2e-1\nRio 1 2 3\nmar 0 0 1\n"


@pytest.mark.parametrize(
    "content",
    [
        ROWS,  # GloVe
        f"3 3\n{ROWS}",  # word2vec
        "3 3\n" + ROWS.replace("\n", " \n"),  # fastText ends lines with a blank
        ROWS.replace(" ", "\t"),
        ROWS.replace("\n", "\r\n"),
        f"\ufeff3 3\n{ROWS}\n",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_gives_the_same_vectors(content: str, packed: bool, tmp_path: Path) -> None:
    data = content.encode()
    path = tmp_path / "vectors"  # what it is, its content says
    path.write_bytes(gzip.compress(data) if packed else data)
    assert vectors_width(path) == 3
    vectors = read_vectors(path, ["casa", "sol", "Rio"])
    assert vectors.width == 3
    assert vectors.num_by_case == 0
    assert {word: row.tolist() for word, row in vectors.rows.items()} == {
        "casa": pytest.approx([0.5, -1, 0.2]),
        "Rio": [1, 2, 3],
    }
    assert vectors.rows["casa"].dtype == torch.float32


def test_a_word_as_it_is_written_comes_before_other_capitals(tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_text("Casa 1\nCASA 2\ncasa 3\nRIO 4\nRio 5\n")
    vectors = read_vectors(path, ["casa", "Casa", "rio", "cASA"])
    rows = {word: row.item() for word, row in vectors.rows.items()}
    assert rows == {"casa": 3, "Casa": 1, "rio": 4, "cASA": 2}
    assert vectors.num_by_case == 2


def test_words_with_blanks_or_of_numbers_are_words(tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_text(". . . 1 2\n1999 3 4\na b 5 6\n\u00a0 7 8\ncasa 9 9\n")
    assert vectors_width(path) == 2
    assert read_vectors(path, ["1999", "casa"]).rows["1999"].tolist() == [3, 4]


WRONG = {
    "two widths": (b"casa 1 2 3\nrio 1 2\n", "line 2: a vector of 2, 3 expected"),
    "a longer one": (b"casa 1 2\nrio 1 2 3\n", "line 2: a vector of 3, 2 expected"),
    "a wrong width": (b"2 3\ncasa 1 2\nrio 1 2\n", "line 2: a vector of 2, 3 expected"),
    "a wrong count": (b"3 2\ncasa 1 2\nrio 1 2\n", "its header says 3 vectors, it has 2"),
    "more than said": (b"1 2\ncasa 1 2\nrio 1 2\n", "its header says 1 vectors, it has 2"),
    "nothing said": (b"0 0\ncasa 1 2\n", "its header says 0 vectors of 0 numbers"),
    "only a header": (b"2 2\n", "its header says 2 vectors of 2 numbers, and there is none"),
    "a wide header": (b"1 999999999999\ncasa 1 2\n", "line 2: a vector of 2, 999999999999 expec"),
    "a long header": (b"9" * 5000 + b" 2\ncasa 1 2\n", "line 2: a vector of 2, 1 expected"),
    "latin-1": ("casa 1 2\nfaç 1 2\n".encode("latin-1"), r"line 2: not utf-8 text: 'fa\\xe7'"),
    "utf-16": ("casa 1 2\nrio 1 2\n".encode("utf-16"), "line 1: utf-16 text, utf-8 expected"),
    "nan": (b"casa 1 2\nrio nan 2\n", "line 2: no finite number: 'nan'"),
    "nan of another word": (b"casa 1 2\nsol 1 NaN\n", "line 2: no finite number: 'NaN'"),
    "infinite": (b"casa 1e999 2\nrio 1 2\n", "line 1: no finite number: '1e999'"),
    "no number": (b"casa 1 2\nrio 1 x\n", "line 2: no finite number: 'x'"),
    "a broken number": (b"casa 1 2\nrio 1 2e\n", "line 2: no finite number: '2e'"),
    "empty": (b"", "the file is empty"),
    "blank lines": (b"\n\n", "the file is empty"),
    "a text": (b"It was a dark night.\nAnd so on.\n", "line 1: a word and its numbers expected"),
    "twice": (b"casa 1 2\nsol 1 2\ncasa 3 4\n", "line 3: 'casa' has a vector in line 1"),
    "another language": (b"house 1 2\nsea 1 2\n", "none of its 2 words is one of the 2 words"),
    "binary": (b"2 2\ncasa \x00\x01\x02\x03\n", "line 2: binary, not text"),
    "cut": (gzip.compress(b"casa 1 2\nrio 1 2\n")[:-9], "a packed file that is damaged"),
    "not packed": (b"\x1f\x8bcasa 1 2\n", "a packed file that is damaged"),
    "no line ends": (b"casa " + b"1 " * 2**20, "line 1: binary, not text"),
}


def test_a_width_that_only_a_header_says_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_text("1 99999999\ncasa 1 2\n")
    with pytest.raises(DataError, match="line 2: a vector of 2, 99999999 expected"):
        vectors_width(path)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_file_of_vectors_is_one_line(name: str, tmp_path: Path) -> None:
    content, expected = WRONG[name]
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=expected) as caught:
        read_vectors(path, ["casa", "rio"])
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for path, expected in ((tmp_path, "is a folder"), (tmp_path / "none", "no such file")):
        for read in (vectors_width, lambda path: read_vectors(path, ["a"])):
            with pytest.raises(DataError, match=expected):
                read(path)
