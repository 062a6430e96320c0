import io
import sys
from types import SimpleNamespace

import pytest

from unrolled.data import Source
from unrolled.errors import DataError, OptionError


def test_lines_of_a_file_come_without_their_ends(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes("\ufeffa b\r\n\nné".encode())
    assert list(Source.file(path).lines()) == ["a b", "", "né"]


def test_the_standard_input_is_read_as_it_comes(monkeypatch):
    stdin = io.BytesIO(b"one\ntwo\n")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin))
    lines = Source.stdin().lines()
    assert next(lines) == "one"
    assert stdin.tell() == 4
    assert list(lines) == ["two"]


def test_a_line_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes(b"good\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"in.txt, line 2: not UTF-8"):
        list(Source.file(path).lines())


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_what_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(DataError, match="cannot be read"):
        list(Source.file(tmp_path / name).lines())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_text_at_hand_has_the_lines_of_a_file(tmp_path, end):
    text = f"\ufeffa b{end}{end}né{end}"
    (tmp_path / "in.txt").write_text(text, encoding="utf-8", newline="")
    assert list(Source.text(text).lines()) == ["a b", "", "né"]
    assert list(Source.file(tmp_path / "in.txt").lines()) == ["a b", "", "né"]
    assert list(Source.text("").lines()) == []
    assert list(Source.text("one\x0btwo\u2028three").lines()) == ["one\x0btwo\u2028three"]


def test_a_text_at_hand_that_is_half_a_surrogate_pair_is_named():
    with pytest.raises(DataError, match="the input, line 2: not UTF-8 text"):
        list(Source.text("good\n\ud800").lines())


def test_what_has_no_path_is_called_by_what_it_is(tmp_path):
    sources = [Source.file(tmp_path), Source.stdin(), Source.text("a"), Source.of_bytes(b"a")]
    names = [str(tmp_path), "standard input", "the input", "the input"]
    assert [str(source) for source in sources] == [source.name for source in sources] == names
    assert [source.path for source in sources] == [tmp_path, None, None, None]


def test_somebody_waits_at_the_standard_input_alone(tmp_path):
    assert Source.stdin().is_interactive
    assert not any(s.is_interactive for s in (Source.file(tmp_path), Source.text("a")))


def test_bytes_at_hand_are_read_as_those_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"0123456789")
    for source in (Source.file(tmp_path / "x"), Source.of_bytes(b"0123456789")):
        assert source.head(4) == b"0123"
        content = source.for_library()
        assert (content.read_bytes() if content == source.path else content.read()) == b"0123456789"
    with pytest.raises(FileNotFoundError):
        Source.file(tmp_path / "nowhere").head(4)


def test_lines_are_read_in_the_encoding_that_is_named(tmp_path):
    path = tmp_path / "lines.txt"
    for encoding in ("latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig"):
        path.write_text("né\nà\n", encoding=encoding)
        assert list(Source.file(path, encoding).lines()) == ["né", "à"]
    path.write_text("né\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 1: is UTF-8 text, and would be read as latin-1"):
        list(Source.file(path, "latin-1").lines())
    with pytest.raises(OptionError, match="unknown encoding"):
        list(Source.file(path, "hex").lines())
