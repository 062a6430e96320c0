"""The C of a module: functions of support.h and of cells, and what calls them by number.

A module knows no sizes and no weights: one does for all models of its cells, which give their
calls as numbers (`linking.py`). That of the built-in cells lies in `prebuilt`, made by
`make modules`; one of other cells is compiled as it is needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unrolled.export.c.source import support_text
from unrolled.export.wasm.operations import SUPPORT, function_kinds
from unrolled.kernels import (
    PlainStep,
    PlainTrace,
    calls_library,
    only_needed,
    plain_functions,
)

__all__ = ["ModuleSource", "module_source"]

_CONSTANTS = """\
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define OF_PAGE(name) __attribute__((import_module("m"), import_name(#name))) double page_##name
OF_PAGE(exp)(double);
OF_PAGE(expm1)(double);
OF_PAGE(log)(double);
OF_PAGE(log1p)(double);
OF_PAGE(sqrt)(double);
#define exp page_exp
#define expm1 page_expm1
#define log page_log
#define log1p page_log1p
#define log1pf(x) ((float)page_log1p(x))
#define sqrtf(x) ((float)page_sqrt(x))
"""
# What is said of forecasts calls these: in a page they are those of the browser.


@dataclass(frozen=True)
class ModuleSource:
    """A module before it is compiled.

    Args:
        text: Its C.
        functions: What its functions take, by name, in the order of their numbers.
    """

    text: str
    functions: dict[str, str]


def module_source(steps: Mapping[str, PlainStep], traces: Mapping[str, PlainTrace]) -> ModuleSource:
    """Return the C of a module for cells.

    Args:
        steps: The steps of its cells, by the names of their functions.
        traces: What traces them, by the same names.
    """
    functions = dict(SUPPORT)
    for name, step in steps.items():
        functions |= function_kinds(step, traces[name])
    cases = [
        f"        case {number}: {name}({_arguments(kinds)}); break;"
        for number, (name, kinds) in enumerate(functions.items())
    ]
    path = Path(__file__).with_name("module.c")
    runner = path.read_text(encoding="utf-8").replace("CASES", "\n".join(cases))
    cells = [f"{step.text}\n{traces[name].text}" for name, step in steps.items()]
    called = "\n".join([*cells, runner])
    support = only_needed(support_text("f32"), called)
    library = "#include <math.h>\n" if calls_library(called) else _CONSTANTS
    plain = plain_functions(f"{support}\n{called}")
    text = "\n".join(["#include <stddef.h>", library, plain, support, called])
    return ModuleSource(text, functions)


def _arguments(kinds: str) -> str:
    texts, place = [], 0
    for kind in kinds:
        texts.append(f"{kind.upper()}({place})")
        place += 4 if kind == "M" else 1
    return ", ".join(texts)
