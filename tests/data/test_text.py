import gzip
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unrolled.data import python_library_text, read_text
from unrolled.data import text as text_module
from unrolled.data.text import lines_of_file, pieces_of_file, split_lines
from unrolled.errors import DataError, OptionError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "book.txt"


def test_text_is_kept_to_the_character(path):
    text = "line\r\nold Mac\rtab\t\x0c end  \n\n\u2028é𝄞 no last line end"
    path.write_bytes(text.encode())
    assert read_text([path]) == text


def test_files_are_joined_in_the_order_given(tmp_path):
    first, second = tmp_path / "z", tmp_path / "a"
    first.write_text("one")
    second.write_text("two")
    assert read_text([first, second]) == "onetwo"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16"])
def test_a_byte_order_mark_is_no_text(path, encoding):
    path.write_bytes("\ufeffcafé \ufeff".encode(encoding))
    assert read_text([path, path], encoding) == "café \ufeffcafé \ufeff"


def test_other_encodings_are_read_when_asked_for(path):
    path.write_bytes("café".encode("latin-1"))
    assert read_text([path], "latin-1") == "café"


@pytest.mark.parametrize("content", [b"", "\ufeff".encode()], ids=["nothing", "only a mark"])
def test_an_empty_file_is_named(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"book\.txt: the file is empty"):
        read_text([path])


def test_one_bad_file_among_many_is_named(path, tmp_path):
    path.write_text("good")
    with pytest.raises(DataError, match=r"missing\.txt: no such file"):
        read_text([path, tmp_path / "missing.txt", path])


def test_a_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path.name}: is a folder"):
        read_text([tmp_path])


def test_no_files_at_all_is_an_error():
    with pytest.raises(DataError, match="list of files is empty"):
        read_text([])


def test_an_unreadable_file_is_named_with_the_reason(path, monkeypatch):
    def refused(self):
        raise PermissionError(13, "Permission denied")

    path.touch()
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(DataError, match=r"book\.txt: cannot be read: Permission denied"):
        read_text([path])


@pytest.mark.parametrize(
    ("content", "encoding", "offset"),
    [
        ("é".encode() + b"ab\xff", "utf-8", 4),
        (b"\xef\xbb\xbfab\xff", "utf-8", 5),  # the mark counts: the offset is into the file
        (b"abc\xc3", "utf-8", 3),
        ("é".encode() + b"a\0b", "utf-8", 3),
        (b"\x89PNG\r\n\x1a\n\0", "utf-8", 0),
        (b"\x89PNG\r\n\x1a\n\0", "latin-1", 8),
    ],
)
def test_binary_files_are_named_with_the_offset_of_the_first_bad_byte(
    path, content, encoding, offset
):
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"book\.txt: .*{encoding}.* byte {offset} "):
        read_text([path], encoding)


@pytest.mark.parametrize("encoding", ["utf8000", "hex"])
def test_an_unknown_encoding_is_named(path, encoding):
    path.write_text("text")
    with pytest.raises(OptionError, match=f"unknown encoding '{encoding}'"):
        read_text([path], encoding)


@pytest.mark.parametrize("fault", ["missing", "empty", "binary"])
def test_messages_are_one_line(path, fault):
    if fault != "missing":
        path.write_bytes(b"" if fault == "empty" else b"\0\n")
    with pytest.raises(DataError) as caught:
        read_text([path])
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_the_standard_library_is_text_to_train_on():
    files = python_library_text()
    assert files == sorted(files) == python_library_text()
    text = read_text(files)
    assert text.isascii()
    assert len(text) > 1_000_000
    assert "def " in text


def test_lines_end_where_an_editor_ends_them():
    text = "one\r\n\u2028 two\x0b\x85\r\rthree\n\n"
    assert split_lines(text) == ["one", "\u2028 two\x0b\x85", "", "three", ""]
    assert split_lines("") == []
    assert split_lines("no end") == ["no end"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_is_no_text_is_found_in_its_line(path, encoding):
    path.write_bytes(b"one\r\ntwo\nthr\xe9e")
    with pytest.raises(DataError, match=f"not {encoding} text in line 3, at byte 12 of"):
        read_text([path], encoding)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"it\x92s a \x93good\x94 film\n" * 9, "--encoding cp1252"),
        ("ação\n".encode("latin-1"), "cp1252, cp1251, latin-1"),
        ("とても良い映画でした\n".encode("cp932"), "cp932"),
        ("とても良い映画でした\n".encode("euc_jp"), "euc_jp"),
        ("这是一部好电影\n".encode("gb18030"), "gb18030"),
        ("хороший фильм\n".encode("cp1251"), "cp1251"),
        ("né\n".encode("utf-16"), "utf-16"),
    ],
)
def test_a_hint_names_the_encoding_that_a_file_looks_like(tmp_path, content, hint):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_text([path])
    assert hint in caught.value.render(lambda name: f"--{name}")[1]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "koi8-r", "mac-roman", "gbk", "euc-kr"])
def test_utf8_is_not_read_as_another_encoding(tmp_path, encoding):
    path = tmp_path / "text.txt"
    path.write_text("“né”, à la ação, über œuvres façade\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"(is UTF-8 text, and would be read as|not) {encoding}"):
        read_text([path], encoding)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "iso8859-15", "utf-16"])
def test_text_in_another_encoding_is_read_as_it_is(tmp_path, encoding):
    path = tmp_path / "text.txt"
    path.write_text("CAFÉ, ação «Übung»\n", encoding=encoding)
    assert read_text([path], encoding) == "CAFÉ, ação «Übung»\n"


def test_two_characters_of_gbk_that_are_utf8_by_chance_are_read(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("联通".encode("gbk"))  # which an editor once took for UTF-8
    assert read_text([path], "gbk") == "联通"


def test_a_gzip_file_is_read_as_what_it_holds(tmp_path):
    path = tmp_path / "text.txt.gz"
    path.write_bytes(gzip.compress("né\n".encode()))
    assert read_text([path]) == "né\n"
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataError, match=f"^{path}: not a whole gzip file") as caught:
        read_text([path])
    assert caught.value.hint == "get the file again"
    path.write_bytes(b"unpacked on the way")
    with pytest.raises(DataError, match="and not packed by gzip"):
        read_text([path])


def test_a_text_may_begin_as_a_kind_of_file_is_called(tmp_path):
    path = tmp_path / "parts.csv"
    path.write_text("PAR1,PAR2\n1,2\n")
    assert read_text([path]) == "PAR1,PAR2\n1,2\n"


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        (b"PK\3\4\x14\0", "a workbook, such as .xlsx, not text"),
        (b"%PDF-1.4\n%\xe2\xe3\xcf\xd3", "a PDF document, not text"),
        (b"PAR1\x15\4", "a table in Parquet, not text"),
    ],
)
def test_what_is_no_text_whatever_it_is_called_is_named(begin, kind, tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_bytes(begin + bytes(9))
    with pytest.raises(DataError, match=kind):
        read_text([path])


def test_a_gzip_file_that_unpacks_to_more_than_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_module, "_MOST_UNPACKED", 1000)
    path = tmp_path / "text.txt.gz"
    path.write_bytes(gzip.compress(b"a" * 10**6))
    with pytest.raises(DataError, match="unpacks to more than"):
        read_text([path])


@given(
    st.lists(
        st.sampled_from(["a", "é", "𝄞", "\ufeff", "\u2028", "\r", "\n", "\r\n"]), min_size=1
    ).map("".join),
    st.integers(1, 9),
)
@example("a\r\nb", 2)  # between \r and \n
@example("a\rb", 2)
@example("\ufeffé", 1)
def test_pieces_are_the_text_cut_where_lines_end(tmp_path_factory, text, size):
    path = tmp_path_factory.mktemp("pieces") / "book.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_module, "_PIECE", size)
        if text == "\ufeff":
            with pytest.raises(DataError, match="is empty"):
                [*pieces_of_file(path)]
            return
        pieces, whole = [*pieces_of_file(path)], read_text([path])
        assert "".join(pieces) == whole
        assert [line for piece in pieces for line in split_lines(piece)] == split_lines(whole)
        assert [*lines_of_file(path)] == split_lines(whole)


def test_a_long_file_is_never_whole_in_memory(path, monkeypatch):
    path.write_bytes(b"one line\n" * 100)
    monkeypatch.setattr(text_module, "_PIECE", 64)
    monkeypatch.setattr(text_module, "_read_file", None)  # which reads all of it
    assert max(map(len, pieces_of_file(path))) < 2 * 64


@pytest.mark.parametrize("name", ["book.txt", "book.txt.gz"])
@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"good\n" * 30 + b"caf\xe9\n", "utf-8"),
        (b"good\n" * 30 + b"caf\xc3", "utf-8"),
        (b"good\n" * 30 + b"\0\n", "utf-8"),
        (b"PK\x03\x04" + b"good\n" * 30, "utf-8"),
        (b"good\n" * 30 + "café\n".encode(), "cp1252"),
        (gzip.compress(b"good\n" * 30)[:-4], "utf-8"),
    ],
    ids=["latin-1", "cut", "NUL", "ZIP", "another encoding", "half of gzip"],
)
def test_pieces_are_refused_as_the_whole_is(tmp_path, monkeypatch, name, content, encoding):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as whole:
        read_text([path], encoding)
    monkeypatch.setattr(text_module, "_PIECE", 8)
    with pytest.raises(DataError) as pieces:
        [*pieces_of_file(path, encoding)]
    assert str(pieces.value) == str(whole.value)


def test_a_file_that_is_mended_while_it_is_read_has_changed(path, monkeypatch):
    monkeypatch.setattr(text_module, "_PIECE", 8)
    path.write_bytes(b"good\n" * 5 + b"\xff")
    monkeypatch.setattr(text_module, "_read_file", lambda *_: "good")
    with pytest.raises(DataError, match="has changed while it was read"):
        [*pieces_of_file(path)]
