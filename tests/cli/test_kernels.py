"""`unrolled kernels`: what the user sees of the compiled cells."""

import shutil
from typing import get_args

import pytest

from unrolled.kernels.emitting import ProductFormat

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)


def test_show_prints_the_source_of_a_cell(unrolled):
    result = unrolled("kernels", "show", "janet")
    assert result.code == 0
    assert "Kernel of the cell janet" in result.out
    assert "h_t" in result.out


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("ltsm", "no cell is called 'ltsm'", "did you mean lstm or "),
        ("dense", "dense is not a cell, but a layer without a recurrence", "rnn, rnn_relu, lstm,"),
        ("no_such_module:own", "no module 'no_such_module' with a source file", "FILE.py:NAME"),
        ("no_such.py:own", "cell no_such.py:own: no_such.py: cannot be read: No such file", ""),
        ("unrolled.cells:sigmoid", "cell sigmoid", "declares rnn_relu, rnn_tanh,"),
    ],
)
def test_what_is_not_a_cell_is_said_with_those_there_are(unrolled, name, said, hint):
    result = unrolled("kernels", "show", name)
    assert (result.code, result.out) == (1, "")
    assert said in result.err
    assert hint in result.err


def test_what_is_warmed_is_listed_until_it_is_cleared(unrolled, monkeypatch, tmp_path):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "kernels"))
    assert unrolled("kernels", "list").out == ""
    warmed = unrolled("kernels", "warm")
    assert warmed.code == 0
    assert "lstm" in warmed.err
    assert "tcn" in warmed.err
    assert "removed" in unrolled("kernels", "clear").err
    assert unrolled("kernels", "list").out == ""


CELL = """
import torch, unrolled

@unrolled.cell(gates="f")
def own(x, u, h):
    return dict(h=torch.tanh(x.{gate} + u.f) + 0 * h)
"""


def test_a_cell_in_the_current_folder_is_found(unrolled, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_cells.py").write_text(CELL.format(gate="f"))
    result = unrolled("kernels", "show", "own_cells:own")
    assert result.code == 0, result.err
    assert "Kernel of the cell own" in result.out


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("misspelt_gate:own", CELL.format(gate="ff"), "no gate 'ff'"),
        ("raising:own", "1 / 0", "ZeroDivisionError"),
        ("unfinished:own", "def", "SyntaxError"),
    ],
)
def test_mistakes_in_a_users_module_end_in_one_line(
    unrolled, monkeypatch, tmp_path, name, text, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name.partition(':')[0]}.py").write_text(text)
    result = unrolled("kernels", "show", name)
    assert result.code == 1
    assert said in result.err
    assert "Traceback" not in result.err


def test_warming_what_has_no_compiler_fails_and_says_so_once(unrolled, monkeypatch, tmp_path):
    from unrolled.kernels.running.paths import _outcomes

    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "kernels"))
    monkeypatch.setenv("CC", "/bin/true")
    _outcomes.clear()
    try:
        result = unrolled("kernels", "warm")
    finally:
        _outcomes.clear()
    assert result.code == 1
    assert result.err.count("/bin/true made no library") == 1


def test_a_cache_that_cannot_be_used_is_said(unrolled, monkeypatch, tmp_path):
    (tmp_path / "kernels").write_text("a file, where a folder should be")
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "kernels"))
    result = unrolled("kernels", "list")
    assert result.code == 0
    assert "the cache cannot be used" in result.err


def test_build_names_the_platforms_there_are(unrolled, tmp_path):
    result = unrolled("kernels", "build", "lstm", "--for", "plan9-vax", "--out", tmp_path)
    assert (result.code, result.out) == (1, "")
    assert "--for: nothing is built for 'plan9-vax'" in result.err
    assert "linux-x86_64" in result.err
    assert not list(tmp_path.iterdir())


def test_build_makes_a_file_to_take_along(unrolled, monkeypatch, tmp_path):
    """How it is compiled is in tests/kernels/test_prebuilt.py."""
    import unrolled.kernels as kernels

    written = []
    monkeypatch.setattr(kernels, "write_archive", lambda *arguments: written.append(arguments))
    (tmp_path / "own_cells.py").write_text(CELL.format(gate="f"))
    monkeypatch.chdir(tmp_path)
    own = ("kernels", "build", "own_cells.py:own")
    result = unrolled(*own, "--for", "linux-arm64", "--for", "windows-x86_64")
    assert result.code == 0, result.err
    assert result.out.split() == ["own-linux-arm64.kernels", "own-windows-x86_64.kernels"]
    assert "UNROLLED_KERNELS" in result.err
    assert [platform for _, platform, _ in written] == ["linux-arm64", "windows-x86_64"]
    texts = set(written[0][2])
    assert all("Kernel of the cell own" in text for text in texts)
    assert len(texts) == len(get_args(ProductFormat))
    assert "--out: nowhere is not a folder" in unrolled(*own, "--out", "nowhere").err
