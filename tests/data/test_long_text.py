import gzip
import hashlib
import os

import pytest

from unrolled.data import LongText, fingerprint, read_text
from unrolled.data import long_text as module
from unrolled.data.long_text import is_long
from unrolled.errors import DataError, OptionError


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Borders everywhere: of chunks inside characters and lines, of blocks inside chunks."""
    monkeypatch.setattr(module, "_CHUNK", 16)
    monkeypatch.setattr(module, "_BLOCK", 50)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "book.txt"


TEXTS = {
    "lines": "one two\r\nthree\rfour\n\nfive six seven eight nine ten eleven twelve\n" * 9,
    "no lines": "a€é𝄞" * 60,
    "ends": "é" * 7 + "\n" + "x" * 40 + "\nlast 𝄞",
    "one": "x",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-32-be", "gb18030"])
@pytest.mark.parametrize("name", TEXTS)
def test_it_is_the_text_that_is_read_at_once(path, name, encoding):
    path.write_bytes(TEXTS[name].encode(encoding))
    whole = read_text([path, path], encoding)
    text = LongText.open([path, path], encoding)
    assert text.num_characters == len(whole)
    assert text.num_bytes == len(whole.encode())
    assert text.characters == "".join(sorted(set(whole)))
    assert "".join(map(text.chunk, range(text.num_chunks))) == whole
    assert text.first_characters[-1] == len(whole)
    assert text.fingerprints == [fingerprint(path)] * 2
    for start in range(0, len(whole), 7):
        assert text.read(start, start + 45) == whole[start : start + 45]


def test_a_chunk_ends_with_a_line_where_it_has_one(path):
    path.write_text("12345 789\nabc def ghi\n" * 5 + "y" * 40 + "\nend")
    chunks = LongText.open([path])
    lines = [chunks.chunk(number) for number in range(chunks.num_chunks)]
    assert max(map(len, lines)) <= 16
    assert all(line.endswith("\n") or "\n" not in line for line in lines[:-1])


def test_a_byte_order_mark_is_no_text(path):
    path.write_bytes("\ufeffcafé \ufeff".encode())
    assert LongText.open([path, path]).read(0, 99) == "café \ufeffcafé \ufeff"
    path.write_bytes("\ufeff".encode())
    with pytest.raises(DataError, match="the file is empty"):
        LongText.open([path])


def test_a_beginning_has_the_sizes_of_what_it_holds(path):
    path.write_text(TEXTS["no lines"])
    text = LongText.open([path])
    for size in (1, 3, 4, 5, 100, 240, 300):
        part, expected = text.until(size), TEXTS["no lines"][:size]
        assert part.num_characters == len(expected)
        assert part.num_bytes == len(expected.encode())
        assert "".join(map(part.chunk, range(part.num_chunks))) == expected
        assert "".join(part.pieces()) == expected
    assert text.num_characters == 240  # it is as it was


def test_it_is_measured_in_pieces_without_what_is_to_be_left_out(path, monkeypatch):
    monkeypatch.setattr(module, "_PIECE", 50)
    path.write_text(TEXTS["lines"])
    pieces = list(LongText.open([path]).without(["e", "\r"]).pieces())
    assert "".join(pieces) == TEXTS["lines"].replace("e", "").replace("\r", "")
    assert len(pieces) == -(-len(TEXTS["lines"]) // 50)


def test_a_sample_is_from_all_over_the_text(path):
    path.write_text("".join(f"line {number:03}\n" for number in range(200)))
    sample = LongText.open([path]).sample(160).splitlines()
    assert 8 <= len(sample) <= 20
    numbers = [int(line[-3:]) for line in sample]
    assert numbers == sorted(numbers)
    assert numbers[0] < 20
    assert numbers[-1] > 150
    assert LongText.open([path]).sample(10**6) == path.read_text()


@pytest.mark.parametrize(
    ("content", "encoding", "said"),
    [
        (b"line\n" * 40 + b"ab\xffc", "utf-8", r"not utf-8 text in line 41, at byte 202 of"),
        ("é".encode() * 30 + b"\xc3", "utf-8", r"not utf-8 text in line 1, at byte 60 of"),
        ("né\n".encode() * 40 + b"ab\xffc", "utf-8", r"not utf-8 text in line 41, at byte 162 of"),
        ("né\n".encode("utf-16-le") * 40 + b"\0\xdc", "utf-16-le", r"in line 41, at byte 240 of"),
        ("né\n\0".encode("gb18030") * 40, "gb18030", r"NUL at byte 4 in line 2"),
        (b"line\n" * 40 + b"a\0b", "utf-8", r"NUL at byte 201 in line 41"),
        ("résumé naïve\n".encode() * 20, "latin-1", "is UTF-8 text, and would be read as latin-1"),
        (b"", "utf-8", "the file is empty"),
    ],
)
def test_what_is_not_text_is_named_with_its_place_wherever_it_stands(path, content, encoding, said):
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"book\.txt: .*{said}"):
        LongText.open([path], encoding)


def test_a_chunk_that_is_utf_8_by_chance_is_what_it_is_in_the_whole_file(path):
    content = "clichÃ© quoted\n" * 2 + "plain text\n" * 9 + "déjà vu\n"
    path.write_bytes(content.encode("cp1252"))
    assert read_text([path], "cp1252") == LongText.open([path], "cp1252").read(0, 999) == content


@pytest.mark.parametrize("encoding", ["utf-16", "iso2022_jp"])
def test_an_encoding_that_cannot_be_read_from_the_middle_is_refused(path, encoding):
    path.write_bytes("日本語 kana かな".encode(encoding) * 9)
    with pytest.raises(OptionError, match="cannot be read from the middle"):
        LongText.open([path], encoding)


def test_packed_missing_and_other_files_are_named(path, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        LongText.open([path])
    with pytest.raises(DataError, match="is a folder"):
        LongText.open([tmp_path])
    path.write_bytes(gzip.compress(b"text"))
    with pytest.raises(DataError, match="a packed text"):
        LongText.open([path])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe cannot be read from the middle"):
        LongText.open([tmp_path / "pipe"])


def test_what_is_long_is_plain_and_over_the_bound_together(path, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LONG", 30)
    path.write_bytes(b"x" * 20)
    assert not is_long([path])
    assert is_long([path, path])
    packed = tmp_path / "text.gz"
    packed.write_bytes(gzip.compress(os.urandom(50)))
    assert not is_long([packed])
    assert not is_long([tmp_path / "missing"])


def grown(path):
    with path.open("ab") as file:
        file.write(b"x")


def rewritten(path):
    path.write_bytes(path.read_bytes().replace(b"t", b"T"))


def replaced(path):
    """By a file of the same size and time."""
    status, other = path.stat(), path.with_name("other")
    other.write_bytes(path.read_bytes().replace(b"t", b"T"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def removed(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("change", [grown, rewritten, replaced, removed, cut])
def test_a_file_that_changes_underneath_is_noticed(path, change):
    path.write_text(TEXTS["lines"])
    os.utime(path, (1, 1))
    text = LongText.open([path])
    assert text.chunk(0)
    change(path)
    with pytest.raises(DataError, match=r"book\.txt: (has changed|cannot be read any more)"):
        text.chunk(0)


def test_a_file_that_changes_during_the_pass_is_noticed(path, monkeypatch):
    path.write_text(TEXTS["lines"])
    os.utime(path, (1, 1))
    digest = hashlib.sha256

    def meanwhile():
        grown(path)
        return digest()

    monkeypatch.setattr(hashlib, "sha256", meanwhile)
    with pytest.raises(DataError, match="has changed while it was read"):
        LongText.open([path])
