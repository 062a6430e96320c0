"""Cells in files of somebody's own: found by name, kept as text, run only by `load` and once."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

import unrolled
from unrolled import cells
from unrolled.cells import CellSource
from unrolled.errors import OptionError

TEXT = """
import unrolled

@unrolled.cell(gates="f g", keeps="f")
def leaky(x, u, h):
    f = (x.f + u.f).sigmoid()
    return dict(h=f * h + (1 - f) * (x.g + u.g).tanh())

SLOPE = 2
another = leaky
"""
MARKED = "from pathlib import Path\nwith Path({marker!r}).open('a') as f: f.write('run;')\n"


@pytest.fixture
def marker(tmp_path) -> Path:
    """A file that `write` makes each run of its text add to."""
    return tmp_path / "marker"


@pytest.fixture
def write(tmp_path, marker):
    def write(name="mine.py", text=TEXT, folder=None):
        path = (folder or tmp_path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MARKED.format(marker=str(marker)) + text, encoding="utf-8")
        return path

    return write


@pytest.fixture(autouse=True)
def modules_as_they_were():
    """Tests import modules by names that others may have."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if not name.startswith(("unrolled.", "torch.")):
            del sys.modules[name]


def test_a_cell_is_found_by_its_file_and_its_name_and_nothing_is_run(write, marker):
    path = write()
    source = CellSource.find(f"{path}:leaky")
    assert (source.text, source.name, source.path) == (path.read_text(), "leaky", str(path))
    assert not marker.exists()
    cell = source.load()
    assert isinstance(cell, unrolled.Cell)
    assert (cell.name, cell.gates, cell.keeps) == ("leaky", ("f", "g"), "f")
    assert marker.read_text() == "run;"


def test_a_path_starts_in_the_current_folder(write, tmp_path, monkeypatch):
    write("models/mine.py")
    monkeypatch.chdir(tmp_path)
    source = CellSource.find("models/mine.py:leaky")
    assert source.path == str(tmp_path / "models" / "mine.py")
    assert source.load().name == "leaky"


def test_a_cell_is_found_by_its_module_in_the_current_folder_or_installed(
    write, tmp_path, monkeypatch, marker
):
    write("my_own_cells.py")
    write("my_package/__init__.py", "", folder=tmp_path / "site")
    write("my_package/inner.py", folder=tmp_path / "site")
    write("my_own_cells.py", folder=tmp_path / "site")  # which the current folder comes before
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert CellSource.find("my_own_cells:leaky").path == str(tmp_path / "my_own_cells.py")
    assert not marker.exists()
    assert sys.path == path
    inner = tmp_path / "site" / "my_package" / "inner.py"
    assert CellSource.find("my_package.inner:leaky").path == str(inner)
    assert (
        CellSource.find("unrolled.cells.lstm:lstm").path
        == cells.lstm.equations.__code__.co_filename
    )


def test_looking_for_a_module_runs_no_package_and_finds_none_by_chance(
    write, tmp_path, monkeypatch, marker
):
    write("my_models/__init__.py")
    inner = write("my_models/inner.py")
    write("torch.py")  # which no import of the package is to meet
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    assert CellSource.find("my_models.inner:leaky").path == str(inner)
    with pytest.raises(OptionError, match=r"my_models\.other"):
        CellSource.find("my_models.other:leaky")
    assert not marker.exists()
    assert sys.path == path
    assert sys.modules.keys() <= modules


def test_the_same_text_is_run_once_whoever_has_it(write, marker, tmp_path):
    path = write()
    first = CellSource.find(f"{path}:leaky").load()
    copy = tmp_path / "copy.py"
    copy.write_text(path.read_text())
    assert CellSource.find(f"{copy}:leaky").load() is first
    assert CellSource(path.read_text(), "another", "elsewhere.py").load() is first
    assert marker.read_text() == "run;"
    other = write("mine.py", TEXT + "# changed\n")
    assert CellSource.find(f"{other}:leaky").load() is not first
    assert marker.read_text() == "run;run;"


def test_a_cell_from_a_file_is_as_good_as_any(write):
    cell = CellSource.find(f"{write()}:leaky").load()
    layer = unrolled.Recurrent(cell, 2, 3, num_layers=2, bidirectional=True)
    output, state = layer(torch.randn(4, 2, 2), lengths=[4, 2])
    (output.sum() + state.sum()).backward()
    assert all(weight.grad is not None for weight in layer.parameters())


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("leeky", "cell leeky of .*mine.py: does not exist", "mine.py declares leaky, another"),
        ("SLOPE", "cell SLOPE of .*mine.py: is not a cell", "mine.py declares leaky, another"),
        ("unrolled", "is not a cell", "mine.py declares leaky, another"),
        ("", "does not exist", "mine.py declares leaky, another"),
    ],
)
def test_a_name_that_is_no_cell_is_answered_with_those_that_are(write, name, message, hint):
    with pytest.raises(OptionError, match=message) as caught:
        CellSource.find(f"{write()}:{name}").load()
    assert caught.value.hint == hint


def test_a_file_without_a_cell_says_so(write):
    with pytest.raises(OptionError, match="does not exist") as caught:
        CellSource.find(f"{write(text='x = 1')}:leaky").load()
    assert caught.value.hint == "mine.py declares no cell"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"nowhere\.py: cannot be read: No such file"):
        CellSource.find(f"{tmp_path}/nowhere.py:leaky")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(OptionError, match=r"folder\.py: cannot be read: Is a directory"):
        CellSource.find(f"{tmp_path}/folder.py:leaky")
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\n")
    with pytest.raises(OptionError, match=r"latin\.py: cannot be read: not UTF-8 text"):
        CellSource.find(f"{tmp_path}/latin.py:leaky")


@pytest.mark.parametrize("module", ["", "no_such_module", "no.such.module", "..up", "sys", "a b"])
def test_a_module_that_there_is_not_or_has_no_source_is_named(module):
    with pytest.raises(OptionError) as caught:
        CellSource.find(f"{module}:leaky")
    assert module.partition(".")[0] in caught.value.message


@pytest.mark.parametrize(
    ("equations", "reason"),
    [
        ("dict(h=undefined * h)", "line 7: NameError: name 'undefined' is not defined"),
        ("dict(h=x.g + h)", "line 7: AttributeError: cell mine: x: no gate 'g'"),
        ("dict(h=h + torch.ones(7, 3, 2))", None),
        ("dict(h=h.cuda(1, 2, 3))", "line 7: TypeError"),
        ("h", "returns a Tensor, and no dict"),
    ],
)
def test_equations_that_cannot_be_computed_are_refused_with_their_line(write, equations, reason):
    text = "import torch, unrolled\n\n@unrolled.cell(gates='f')\ndef mine(x, u, h):\n"
    source = CellSource.find(f"{write(text=f'{text}    return {equations}')}:mine")
    if reason is None:  # a step of a state that has another shape is found by the layer
        source.load()
        return
    with pytest.raises(OptionError, match=reason):
        source.load()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import a_library_that_nobody_has", "ModuleNotFoundError: .*a_library_that_nobody_has"),
        ("from . import neighbour", "ImportError: .*relative import"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def leaky(:", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import unrolled\n@unrolled.cell(gates='')\ndef f(x, u): ...", "OptionError: .*gate"),
    ],
)
def test_a_file_that_cannot_be_run_is_named_with_the_reason_each_time(write, text, reason):
    path = write(text=text)
    for _ in range(2):
        with pytest.raises(OptionError, match=rf"cannot run .*mine\.py: {reason}") as caught:
            CellSource.find(f"{path}:leaky").load()
        assert "must stand alone" in caught.value.hint


def test_what_is_interrupted_is_not_taken_for_run(write, monkeypatch):
    path = write(text="import builtins\nbuiltins.interrupt()\n" + TEXT)
    source = CellSource.find(f"{path}:leaky")

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.interrupt", interrupt, raising=False)
    with pytest.raises(KeyboardInterrupt):
        source.load()
    monkeypatch.setattr("builtins.interrupt", lambda: None)
    assert source.load().name == "leaky"


# ---- the source of a cell -----------------------------------------------------------------------


def test_the_source_of_an_imported_cell_is_its_module(write, tmp_path, monkeypatch):
    path = write("imported_cells.py")
    monkeypatch.syspath_prepend(tmp_path)
    cell = importlib.import_module("imported_cells").another
    source = CellSource.of(cell)
    assert (source.text, source.name, source.path) == (path.read_text(), "leaky", str(path))
    again = source.load()
    assert again is not cell
    assert (again.name, again.gates) == (cell.name, cell.gates)


def test_the_source_of_a_cell_from_a_file_is_what_was_run_whatever_became_of_it(write):
    path = write()
    text = path.read_text()
    cell = CellSource.find(f"{path}:leaky").load()
    path.write_text("raise SystemExit")
    assert CellSource.of(cell).text == text
    path.unlink()
    assert CellSource.of(cell).text == text
    assert CellSource.of(cell).load() is cell


def test_a_cell_has_the_name_by_which_its_file_knows_it(write):
    """A function may be made into cells of other names than its own."""
    text = """
import unrolled

def step(x, u, h):
    return dict(h=(x.a + u.a).tanh())

plain = unrolled.cell(gates="a")(step)
wide = unrolled.cell(gates="a b")(step)
"""
    path = write(text=text)
    for name, gates in (("plain", ("a",)), ("wide", ("a", "b"))):
        cell = CellSource.find(f"{path}:{name}").load()
        assert (cell.name, cell.gates) == ("step", gates)
        assert CellSource.of(cell).name == name
        assert CellSource.of(cell).load() is cell


def inside():
    @unrolled.cell(gates="a")
    def inner(x, u, h):
        return dict(h=(x.a + u.a).tanh())

    return inner


def typed():
    names = {"unrolled": unrolled, "__name__": "__main__"}
    text = "@unrolled.cell(gates='a')\ndef typed(x, u, h): return dict(h=x.a + u.a)"
    exec(compile(text, "<stdin>", "exec"), names)
    return names["typed"]


@pytest.mark.parametrize("make", [inside, typed])
def test_a_cell_without_a_place_at_the_top_of_a_file_has_no_source(make):
    with pytest.raises(OptionError, match="has no file that a run could keep") as caught:
        CellSource.of(make())
    assert caught.value.hint == "declare it at the top of a .py file, and import it from there"


def test_a_cell_of_the_program_itself_has_no_source(write, monkeypatch, tmp_path):
    write("program.py")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("program")
    monkeypatch.setattr(module, "__name__", "__main__")  # as if it had been started
    with pytest.raises(OptionError, match="has no file that a run could keep"):
        CellSource.of(module.leaky)
