"""Where the output goes may lack characters, or room: that is one line, and no traceback."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unrolled.cli.main import main
from unrolled.cli.terminal import write_any_character


def unrolled(*arguments, stdout, **environment):
    return subprocess.run(
        [sys.executable, "-m", "unrolled", *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_output_is_one_line(trained):
    with Path("/dev/full").open("w") as full:
        done = unrolled("generate", trained, "--length", 60, stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "unrolled: error: the standard output: No space left on device"
    ]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_character_that_the_output_lacks_is_written_as_its_number(monkeypatch, encoding):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding=encoding))
    write_any_character()
    print("漢 \ud83d", end="", flush=True)  # noqa: T201
    expected = "漢 \\ud83d" if encoding == "utf-8" else "\\u6f22 \\ud83d"
    assert buffer.getvalue().decode(encoding) == expected


def test_a_file_that_cannot_be_opened_is_named(monkeypatch, capsys, tmp_path):
    def fail(*_arguments, **_options):
        raise PermissionError(13, "Permission denied", str(tmp_path / "x"))

    monkeypatch.setattr("unrolled.tasks.load", fail)
    with pytest.raises(SystemExit, match="1"):
        main(["evaluate", str(tmp_path), "x"])
    assert capsys.readouterr().err == f"unrolled: error: {tmp_path / 'x'}: Permission denied\n"
