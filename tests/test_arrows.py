"""Imports point left only: every part of the package can be read without those to its right.

What a package exports late is in its stub, `__init__.pyi`: those are imports as any other.
"""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

# Parts of one level do not know each other. The package itself, which re-exports, is to the right
# of what it shows, and the command line is to the right of that.
LEVELS = (
    ("errors",),
    ("options",),
    ("data", "languages", "metrics"),
    ("cells",),
    ("kernels",),
    ("layers",),
    ("acceleration", "networks", "streaming", "wrappers"),
    ("inspection", "training"),
    ("tasks",),
    ("export",),
    ("",),
    ("benchmark", "comparison", "sklearn"),
    ("serving",),
    ("cli",),
    ("__main__",),
)
# Parts whose own parts have an order, too.
LEVELS_INSIDE = {
    "unrolled": LEVELS,
    "unrolled.kernels": (
        ("memory",),
        ("holding",),
        ("modes", "observer", "rows", "weights"),
        ("reference",),
        ("exporting",),
        ("capturing",),
        ("emitting",),
        ("building",),
        ("running",),
        ("convolving",),
        ("packaged",),
        ("",),
    ),
}
LEVEL = {
    package: {part: level for level, parts in enumerate(levels) for part in parts}
    for package, levels in LEVELS_INSIDE.items()
}

# Parts that others see only as the package itself, and of it only what `__all__` names.
DOORS = ("kernels", "layers")


def part_of(module: str, package: str = "unrolled") -> str:
    """The part of `package` that `module` belongs to; the package itself is ''."""
    return module.removeprefix(package).lstrip(".").partition(".")[0]


def imported(source: str, package: str) -> Iterator[tuple[int, str, str]]:
    """Line, module and name of every import, those inside functions too; '' for a whole module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            module = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            yield from ((node.lineno, module, alias.name) for alias in node.names)


def imports(source: str, package: str, root: str = "unrolled") -> Iterator[tuple[int, str]]:
    """Line and target of every import of the package `root`."""
    for line, module, name in imported(source, package):
        # `from unrolled import cells` is the part cells, any other name the package itself.
        target = f"{module}.{name}" if module == root and name in LEVEL[root] else module
        if f"{target}.".startswith(f"{root}."):
            yield line, target


def arrows_to_the_right(
    source: str, module: str, package: str, root: str = "unrolled"
) -> list[str]:
    own, level = part_of(module, root), LEVEL[root]
    return [
        f"line {line}: {module} imports {target}"
        for line, target in imports(source, package, root)
        if part_of(target, root) != own and level[part_of(target, root)] >= level[own]
    ]


def modules(root: str = "unrolled") -> Iterator[tuple[str, str, str]]:
    """Text, name and package of every module of the package `root`."""
    for path in sorted(SOURCE.joinpath(*root.split(".")).rglob("*.py*")):
        if path.suffix not in (".py", ".pyi"):
            continue
        package = ".".join(path.relative_to(SOURCE).parent.parts)
        module = package if path.stem == "__init__" else f"{package}.{path.stem}"
        yield path.read_text(encoding="utf-8"), module, package


@pytest.mark.parametrize("root", LEVEL)
def test_imports_point_left(root):
    arrows = [arrow for module in modules(root) for arrow in arrows_to_the_right(*module, root)]
    assert not arrows, "\n".join(arrows)


@pytest.mark.parametrize(("root", "nth"), [("unrolled", 0), ("unrolled.kernels", 1)])
def test_the_pictures_of_the_architecture_have_these_levels(root, nth):
    page = SOURCE.parent / "docs" / "architecture.md"
    picture = re.findall(r"^```text\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)[nth]
    lines = [re.split(r" {2,}", line)[0].split(", ") for line in picture.splitlines()]
    levels = [sorted(part or "__init__" for part in parts) for parts in LEVELS_INSIDE[root]]
    if root == "unrolled.kernels":  # the door is what the page says around the picture
        levels = levels[:-1]
    assert [sorted(parts) for parts in lines] == levels


@pytest.mark.parametrize("root", LEVEL)
def test_every_part_has_a_level_and_every_level_has_its_parts(root):
    folder = SOURCE.joinpath(*root.split("."))
    parts = {path.stem for path in folder.iterdir() if path.suffix in ("", ".py")}
    assert parts - {"__init__", "__pycache__"} == LEVEL[root].keys() - {""}


def task_of(module: str) -> str | None:
    """The task whose folder holds `module`; None outside of the tasks, and for what they share."""
    path = module.split(".")
    in_folder = path[:2] == ["unrolled", "tasks"] and len(path) > 2
    return path[2] if in_folder and (SOURCE / "unrolled" / "tasks" / path[2]).is_dir() else None


def between_tasks(source: str, module: str, package: str) -> list[str]:
    """Imports by `module`, one of the tasks' files, of what is in the folder of another task."""
    if part_of(module) != "tasks":
        return []
    targets = [
        (line, f"{base}.{name}" if base == "unrolled.tasks" else base)
        for line, base, name in imported(source, package)
    ]
    return [
        f"line {line}: {module} imports {target}"
        for line, target in targets
        if task_of(target) not in (None, task_of(module))
    ]


def test_no_task_imports_another_one_and_what_they_share_imports_none():
    arrows = [arrow for module in modules() for arrow in between_tasks(*module)]
    assert not arrows, "\n".join(arrows)


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("unrolled.tasks.tag.task", "from unrolled.tasks.lm.task import LanguageModelTask"),
        ("unrolled.tasks.tag.task", "from unrolled.tasks.lm import LanguageModelTask"),
        ("unrolled.tasks.tag.task", "import unrolled.tasks.lm.sampling"),
        ("unrolled.tasks.tag.task", "from unrolled.tasks import lm"),
        ("unrolled.tasks.tag.task", "from ..lm import LanguageModelTask"),
        ("unrolled.tasks.tag", "from ..lm.task import LanguageModelTask"),
        ("unrolled.tasks.runs", "from unrolled.tasks.lm.task import LanguageModelTask"),
        ("unrolled.tasks.runs", "def later():\n    from unrolled.tasks.lm import options"),
        ("unrolled.tasks", "from .lm import LanguageModelTask"),
    ],
)
def test_an_arrow_between_tasks_is_found_wherever_it_hides(module, statement):
    is_package = module in ("unrolled.tasks", "unrolled.tasks.tag")
    package = module if is_package else module.rpartition(".")[0]
    (arrow,) = between_tasks(statement, module, package)
    assert f"{module} imports unrolled.tasks.lm" in arrow


@pytest.mark.parametrize(
    "statement",
    [
        "from unrolled.tasks.task import Splits",
        "from unrolled.tasks import Splits",
        "from unrolled.tasks.tag.conll import read_conll",
        "from .conll import read_conll",
        "from ..task import Splits",
        "from unrolled.networks import make_layer",
    ],
)
def test_a_tasks_own_files_and_those_that_all_share_are_fine(statement):
    assert not between_tasks(statement, "unrolled.tasks.tag.task", "unrolled.tasks.tag")
    task = "from unrolled.tasks.lm import generate"
    assert not between_tasks(task, "unrolled.serving.writing", "unrolled.serving")


def past_the_doors(source: str, module: str, package: str) -> list[str]:
    """Imports by `module` of what a door of another part does not export."""
    arrows = []
    for line, base, name in imported(source, package):
        door = part_of(base)
        if not base.startswith("unrolled.") or door not in DOORS or door == part_of(module):
            continue
        if base != f"unrolled.{door}" or name not in import_module(base).__all__:
            arrows.append(f"line {line}: {module} imports {base}:{name}")
    return arrows


def test_what_others_use_of_a_part_is_what_its_package_exports():
    arrows = [arrow for module in modules() for arrow in past_the_doors(*module)]
    assert not arrows, "\n".join(arrows)


@pytest.mark.parametrize(
    "statement",
    [
        "from unrolled.layers.state import State",
        "from unrolled.kernels import reference",
        "from unrolled.kernels.running.paths import kernel_of",
        "import unrolled.kernels.building",
        "def later():\n    from unrolled.layers import recurrent_layer",
    ],
)
def test_what_a_package_does_not_export_is_found(statement):
    module = "unrolled.tasks.lm.task", "unrolled.tasks.lm"
    assert past_the_doors(statement, *module)
    assert not past_the_doors("from unrolled.layers import State", *module)
    own = statement.replace("kernels", "layers")
    assert not past_the_doors(own, "unrolled.layers.tcn", "unrolled.layers")


def test_a_stub_is_looked_at_too():
    stubs = [module for _, module, package in modules() if module == package]
    assert stubs.count("unrolled") == stubs.count("unrolled.tasks.lm") == 2  # with its .py
    assert past_the_doors("from .layers.state import State", "unrolled", "unrolled")
    assert not past_the_doors("from .layers import State", "unrolled", "unrolled")


@pytest.mark.parametrize(
    "statement",
    [
        "import unrolled.networks.language_model",
        "from unrolled.training import Trainer",
        "from unrolled.training.trainer import Trainer as T",
        "from unrolled import errors, cli",
        "from unrolled import LSTM",
        "from ..networks import language_model",
        "from .. import LSTM",
        "def later():\n    from unrolled.networks import LanguageModel",
        "if TYPE_CHECKING:\n    import torch, unrolled.cli",
    ],
)
def test_an_arrow_to_the_right_is_found_wherever_it_hides(statement):
    line = statement.count("\n") + 1
    (arrow,) = arrows_to_the_right(statement, "unrolled.layers.tcn", "unrolled.layers")
    assert arrow.startswith(f"line {line}: unrolled.layers.tcn imports unrolled")


@pytest.mark.parametrize(
    "statement",
    [
        "from unrolled.errors import ShapeError",
        "from unrolled.layers.state import State",
        "from unrolled import errors, data",
        "from .state import State",
        "from ..errors import ShapeError",
        "import unrolled_plugins",
    ],
)
def test_arrows_to_the_left_and_to_neighbours_are_fine(statement):
    assert not arrows_to_the_right(statement, "unrolled.layers.tcn", "unrolled.layers")


def test_parts_of_one_level_do_not_know_each_other():
    source = "from unrolled.inspection import trace"
    assert arrows_to_the_right(source, "unrolled.training.trainer", "unrolled.training")
