"""`unrolled kernels`: what the user sees of the compiled cells."""

import shutil

import pytest

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)


def test_show_prints_the_source_of_a_cell(unrolled):
    result = unrolled("kernels", "show", "janet")
    assert result.code == 0
    assert "Kernel of the cell janet" in result.out
    assert "h_t" in result.out


@pytest.mark.parametrize("name", ["ltsm", "no_such_module:cell", "unrolled.cells:sigmoid"])
def test_show_names_the_cells_there_are(unrolled, name):
    result = unrolled("kernels", "show", name)
    assert result.code == 1
    assert "no cell" in result.err or "cannot import" in result.err


def test_what_is_warmed_is_listed_until_it_is_cleared(unrolled, monkeypatch, tmp_path):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "kernels"))
    assert unrolled("kernels", "list").out == ""
    warmed = unrolled("kernels", "warm")
    assert warmed.code == 0
    assert "lstm" in warmed.err
    assert "removed" in unrolled("kernels", "clear").err
    assert unrolled("kernels", "list").out == ""
