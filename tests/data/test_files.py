import errno
import io
import os
import socket
from pathlib import Path

import pytest

from unrolled.data.files import (
    open_plain,
    parse_json,
    read_json,
    read_plain,
    to_json,
    write_atomically,
    write_first,
)


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "file"
    with write_atomically(path) as file:
        file.write(b"content")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted():
        with write_atomically(path) as file:
            file.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), write_atomically(path) as file:
        file.write(b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_content_and_folder_reach_the_disk_around_the_rename(tmp_path, monkeypatch):
    path = tmp_path / "file"
    synced = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.exists()))
    with write_atomically(path) as file:
        file.write(b"content")
    assert synced == [False, True]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with write_atomically(tmp_path / "file"):
        pass
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_of_several_that_write_at_once_each_writes_a_whole_file(tmp_path):
    """Processes of two computers can have the same number; here it is one process."""
    path = tmp_path / "file"
    with write_atomically(path) as slow:
        slow.write(b"slow ")
        with write_atomically(path) as fast:
            fast.write(b"fast and whole")
        assert path.read_bytes() == b"fast and whole"
        slow.write(b"and whole")
    assert path.read_bytes() == b"slow and whole"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("links", [True, False])
def test_only_the_first_one_writes_a_file_that_is_not_there_yet(tmp_path, monkeypatch, links):
    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")  # as FAT does

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refused)
    assert write_first(tmp_path / "file", b"first")
    assert not write_first(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert not write_first(tmp_path / "link", b"first")
    assert not (tmp_path / "nowhere").exists()


def test_a_file_of_which_a_part_was_written_without_links_is_not_left(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    class Full(io.BytesIO):
        def write(self, _content):
            raise OSError(errno.ENOSPC, "No space left on device")

    def opened(path, *mode, whole=Path.open):
        file = whole(path, *mode)
        if path.name != "file":
            return file
        file.close()
        return Full()

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(OSError, match="No space left"):
        write_first(tmp_path / "file", b"content")
    assert [*tmp_path.iterdir()] == []


def test_a_file_planted_where_the_unfinished_one_goes_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "file").symlink_to(victim)
    (tmp_path / ".file.17").symlink_to(victim)
    with monkeypatch.context() as guessed:
        guessed.setattr("secrets.randbits", lambda _: 17)
        with pytest.raises(FileExistsError), write_atomically(tmp_path / "file"):
            pass
    with write_atomically(tmp_path / "file") as file:
        file.write(b"new")
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


NOT_PLAIN = {
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "link to itself": lambda path: path.symlink_to(path),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", NOT_PLAIN)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_APPEND])
def test_what_is_not_a_plain_file_is_refused_at_once(tmp_path, kind, flags):
    path = tmp_path / "file"
    NOT_PLAIN[kind](path)
    link = "it is a link, which is not followed"
    expected = link if path.is_symlink() else "it is not a plain file"
    with pytest.raises(OSError, match="it is ") as error:
        open_plain(path, flags)
    assert error.value.strerror == expected
    with pytest.raises(OSError, match=expected):
        read_json(path)


def test_a_link_that_takes_the_place_of_a_file_meanwhile_is_refused(tmp_path, monkeypatch):
    path, victim = tmp_path / "file", tmp_path / "victim"
    path.write_bytes(b"")
    victim.write_bytes(b"precious")
    lstat = Path.lstat

    def late(self):
        status = lstat(self)
        path.unlink()
        path.symlink_to(victim)
        return status

    monkeypatch.setattr(Path, "lstat", late)
    with pytest.raises(OSError, match="symbolic links"):
        open_plain(path)


def test_a_plain_file_is_read_and_written_at_its_end(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one ")
    with open_plain(path, os.O_WRONLY | os.O_APPEND) as file:
        file.write(b"two")
    assert read_plain(path) == b"one two"
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "other")


def test_a_name_that_is_not_utf_8_comes_back(tmp_path):
    name = os.fsdecode(b'cora\xe7\xe3o \\ \xc3\xa7 "x".txt')
    written = to_json({"path": name, "é": "\\udce7"})
    written.decode("utf-8")
    assert "é".encode() in written
    assert parse_json(written) == {"path": name, "é": "\\udce7"}


@pytest.mark.parametrize("text", [b"", b"[" * 200_000, b'{"a": ' * 200_000, b"\xff", b"9" * 5000])
def test_what_is_not_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=" "):
        parse_json(text)
