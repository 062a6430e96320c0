import io
import sys
from types import SimpleNamespace

import pytest

from unrolled.data.source import Source
from unrolled.errors import DataError


def test_lines_of_a_file_come_without_their_ends(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes("\ufeffa b\r\n\nné".encode())
    assert list(Source(path).lines()) == ["a b", "", "né"]


def test_the_standard_input_is_read_as_it_comes(monkeypatch):
    stdin = io.BytesIO(b"one\ntwo\n")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin))
    lines = Source(None).lines()
    assert next(lines) == "one"
    assert stdin.tell() == 4
    assert list(lines) == ["two"]


def test_a_line_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes(b"good\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"in.txt, line 2: not UTF-8"):
        list(Source(path).lines())


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_what_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(DataError, match="cannot be read"):
        list(Source(tmp_path / name).lines())
