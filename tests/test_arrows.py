"""Imports point left only: every part of the package can be read without those to its right."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

# Parts of one level do not know each other. The package itself, which re-exports, is to the right
# of what it shows, and the command line is to the right of that.
LEVELS = (
    ("errors",),
    ("data", "metrics"),
    ("cells",),
    ("kernels",),
    ("layers",),
    ("networks",),
    ("inspection", "training"),
    ("tasks",),
    ("",),
    ("benchmark", "comparison"),
    ("serving",),
    ("cli",),
    ("__main__",),
)
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}


def part_of(module: str) -> str:
    """The part of the package that `module` belongs to; the package itself is ''."""
    return module.removeprefix("unrolled").lstrip(".").partition(".")[0]


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and target of every import of this package, those inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            # `from unrolled import cells` is the part cells, any other name the package itself.
            targets = [
                f"{base}.{alias.name}" if base == "unrolled" and alias.name in LEVEL else base
                for alias in node.names
            ]
        else:
            continue
        for target in targets:
            if target.partition(".")[0] == "unrolled":
                yield node.lineno, target


def arrows_to_the_right(source: str, module: str, package: str) -> list[str]:
    own = part_of(module)
    return [
        f"line {line}: {module} imports {target}"
        for line, target in imports(source, package)
        if part_of(target) != own and LEVEL[part_of(target)] >= LEVEL[own]
    ]


def test_imports_point_left():
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        package = ".".join(path.relative_to(SOURCE).parent.parts)
        module = package if path.stem == "__init__" else f"{package}.{path.stem}"
        arrows = arrows_to_the_right(path.read_text(encoding="utf-8"), module, package)
        found += [f"{path.relative_to(SOURCE.parent)}, {arrow}" for arrow in arrows]
    assert not found, "\n".join(found)


def test_every_part_has_a_level():
    parts = {path.stem for path in (SOURCE / "unrolled").iterdir() if path.suffix in ("", ".py")}
    assert parts - {"__init__", "__pycache__"} <= LEVEL.keys()


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
