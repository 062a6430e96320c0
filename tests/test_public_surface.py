"""What users can rely on: the names in `__all__`, and that an import does nothing but import."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import unrolled

FOLDER = Path(unrolled.__path__[0])
PACKAGES = ["unrolled"] + [
    module.name
    for module in pkgutil.walk_packages(unrolled.__path__, "unrolled.")
    if module.ispkg and module.name != "unrolled.cli"  # its surface is its commands
]
STUBS = sorted(FOLDER.rglob("*.pyi"))
LATE = [".".join(stub.relative_to(FOLDER.parent).parent.parts) for stub in STUBS]
TASKS = [path.parent.name for path in sorted(FOLDER.glob("tasks/*/options.py"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_exist_and_are_documented(package):
    module = importlib.import_module(package)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert value.__doc__, f"{package}.{name} has no docstring"


def test_every_task_and_what_is_loaded_late_is_looked_at():
    assert len(TASKS) >= 6
    assert {f"unrolled.tasks.{task}" for task in TASKS} < set(LATE) < set(PACKAGES)


@pytest.mark.parametrize("package", LATE)
def test_the_names_that_are_loaded_late_are_the_public_ones(package):
    module = importlib.import_module(package)
    stub = STUBS[LATE.index(package)]
    (listed,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.Assign)
    )
    assert sorted(listed) == sorted(module.__all__) == sorted(dir(module))
    with pytest.raises(AttributeError, match=r"No .* attribute LTSM"):
        _ = module.LTSM
    with pytest.raises(ImportError):
        exec(f"from {package} import LTSM")


@pytest.mark.parametrize("stub", STUBS, ids=LATE)
def test_every_name_of_a_stub_is_where_it_says(stub):
    """Type checkers believe the stub, and Python takes the name from the module beside it."""
    package = ".".join(stub.relative_to(FOLDER.parent).parent.parts)
    for node in ast.parse(stub.read_text()).body:
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            name = alias.name if node.module is None else node.module
            home = importlib.import_module(f"{package}.{name}")
            value = home if node.module is None else getattr(home, alias.name)
            assert getattr(importlib.import_module(package), alias.name) is value
            exported = alias.name in home.__all__ or inspect.ismodule(value)
            assert exported, f"{home.__name__} does not export {alias.name}"


IMPORT_ALL = """
import random, sys
import numpy, torch

def world():
    return [
        random.getstate(),
        repr(numpy.random.get_state()),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.get_num_interop_threads(),
        torch.get_default_dtype(),
        torch.get_default_device(),
    ]

before, loaded = world(), set(sys.modules)
import importlib
for module in sys.argv[1:]:
    importlib.import_module(module)
assert world() == before, "the world has changed"
new = sys.modules.keys() - loaded
heavy = {"rich", "tensorboard", "tokenizers", "typer", "unrolled.cli"}
assert not heavy & new, heavy & new
"""


def run(program: str, *arguments: str) -> str:
    """Run a program in a fresh process, and return all that it says."""
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_importing_costs_nothing():
    """No module prints, seeds, configures or loads what only some commands need."""
    files = [path.relative_to(FOLDER.parent).with_suffix("") for path in FOLDER.rglob("*.py")]
    modules = sorted(".".join(file.parts).removesuffix(".__init__") for file in files)
    modules = [name for name in modules if not name.startswith(("unrolled.cli", "unrolled.__"))]
    assert run(IMPORT_ALL, *modules) == ""


IMPORT_OPTIONS = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    heavy = {"torch", "numpy", "safetensors", "filelock", "rich", "typer"} & sys.modules.keys()
    assert not heavy, f"{module} loads {heavy}"
"""


def test_options_are_read_without_loading_torch():
    """Help, and the answer to a wrong option, must not wait for it."""
    modules = [f"unrolled.tasks.{task}.options" for task in TASKS]
    shared = ["unrolled", "unrolled.options", "unrolled.errors", "unrolled.tasks.registry"]
    assert run(IMPORT_OPTIONS, *shared, *modules) == ""


USE_LATE = """
import sys
import unrolled
assert "torch" not in sys.modules
assert issubclass(unrolled.UnrolledError, Exception)
assert "torch" not in sys.modules
from unrolled import LSTM
assert "torch" in sys.modules
assert not any(name.startswith("unrolled.tasks") for name in sys.modules)
"""


def test_a_name_is_loaded_when_it_is_used_and_no_sooner():
    assert run(USE_LATE) == ""


def imported_at_once(tree: ast.Module) -> set[str]:
    """The libraries that are imported when a module is."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).partition(".")[0])
    return names


def test_what_is_imported_at_once_is_what_installing_brings():
    """What an extra brings is imported where it is needed."""
    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["project"]
    brought = {re.split(r"[<>=]", each)[0].replace("-", "_") for each in project["dependencies"]}
    extras = ["benchmark", "serving", "sklearn"]  # rooms that nobody enters without their libraries
    for path in FOLDER.rglob("*.py"):
        if path.relative_to(FOLDER).parts[0] not in extras:
            names = imported_at_once(ast.parse(path.read_text()))
            others = names - set(sys.stdlib_module_names) - {"unrolled"} - brought
            assert not others, f"{path}: {others}"


def test_no_program_that_this_one_starts_runs_modules_of_the_current_folder():
    """As `python -m` and `python -c` do: a json.py in a folder of data would be run."""
    commands = []
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            words = getattr(node, "elts", [])
            if words and ast.unparse(words[0]) == "sys.executable":
                commands.append([path.name, *(ast.unparse(word) for word in words[1:])])
    assert len(commands) >= 4
    for name, *words in commands:
        assert words[0] in ("'-P'", "'-I'"), f"{name}: {words}"
