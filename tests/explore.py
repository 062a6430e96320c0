"""Look where the default run does not: new seeds, new examples, another order. `make explore`.

Rounds until the time is over, each with a seed of its own: the tests that draw examples, then all
tests, shuffled, and so on. Two processes share a round, by the seed and not by who is idle, so that
each can be had again. What fails is shown as pytest shows it, with the command that repeats it and,
where an example was drawn, the line that keeps it. Nothing is written into the tree.

This file is the command, and the plugin that it has pytest load.
"""

import argparse
import ast
import math
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).parent
PROCESSES = 2
SHUFFLED = [
    "-o",
    "addopts=--doctest-modules --import-mode=importlib -p no:schemathesis",
]  # without the fixed order
DRAWING = ["--hypothesis-profile=explore"]
NOTHING_RUN = 5  # a status of pytest's
END = "UNROLLED_EXPLORE_END"  # in seconds since 1970


def main() -> int:
    """Explore for a number of minutes, and return 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, help="so many, whole, instead of minutes")
    parser.add_argument("--seed", type=int, help="seed of the first round, else by chance")
    parser.add_argument("paths", nargs="*", help="where to look, else everywhere")
    options = parser.parse_args()
    first = int.from_bytes(os.urandom(3)) if options.seed is None else options.seed
    end = time.time() + 60 * options.minutes if options.rounds is None else math.inf
    failed, seed = [], first
    with tempfile.TemporaryDirectory() as scratch:
        while time.time() < end and seed - first != options.rounds:
            drawn = (seed - first) % 2 == 0
            say(f"seed {seed}: {'the tests that draw' if drawn else 'all tests, shuffled'}")
            if not explore(seed, drawn, options.paths, end, Path(scratch)):
                failed.append(seed)
            seed += 1
    found = f"failures with {', '.join(map(str, failed))}" if failed else "nothing failed"
    say(f"seeds {first} to {seed - 1}: {found}")
    return int(bool(failed))


def explore(seed: int, drawn: bool, paths: list[str], end: float, scratch: Path) -> bool:
    """Run a round, say what failed, and return whether nothing did."""
    environment = os.environ | {
        "HYPOTHESIS_STORAGE_DIRECTORY": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": str(seed % 2**32),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])),
        END: str(end),
    }
    logs = [scratch / f"log-{part}" for part in range(PROCESSES)]
    processes = []
    for part, log in enumerate(logs):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SHUFFLED]
        command += [*paths, *options_of(seed, part, drawn)]
        with log.open("w") as file:
            processes.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))
    statuses = [process.wait() for process in processes]
    for part, (log, status) in enumerate(zip(logs, statuses, strict=True)):
        text = log.read_text()
        if status in (0, NOTHING_RUN):
            say(text.rstrip().rpartition("\n")[2])
            continue
        say(text[max(text.find("\n= "), text.find("\n=="), 0) :].strip())
        command = [".venv/bin/pytest", SHUFFLED[0], f"'{SHUFFLED[1]}'", *paths]
        say(
            " ".join(["all of this:", "PYTHONPATH=tests", *command, *options_of(seed, part, drawn)])
        )
    return all(status in (0, NOTHING_RUN) for status in statuses)


def options_of(seed: int, part: int, drawn: bool) -> list[str]:
    """Return the options by which pytest does one process's part of a round."""
    seeds = [f"--randomly-seed={seed}", f"--hypothesis-seed={seed}"]
    which = [f"--part={part}", *(["--only-drawn"] if drawn else [])]
    return ["-p", "explore", *which, *DRAWING, *seeds]


def say(text: str) -> None:
    """Print, at once."""
    print(text, flush=True)  # noqa: T201 - the command's output


# ---- The plugin ----------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add which of the tests to run."""
    parser.addoption("--part", type=int, help="of the files, those that the seed gives this part")
    parser.addoption("--only-drawn", action="store_true", help="only the tests that draw examples")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another process does, and what draws nothing if so told."""
    seed, part = config.getoption("randomly_seed"), config.getoption("part")

    def wanted(item: pytest.Item) -> bool:
        mine = part is None or zlib.crc32(f"{seed} {item.location[0]}".encode()) % PROCESSES == part
        return mine and (draws(item) or not config.getoption("only_drawn"))

    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]


def draws(item: pytest.Item) -> bool:
    """Whether a test draws examples."""
    function = getattr(item, "obj", None)
    return function is not None and hypothesis.is_hypothesis_test(function)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what comes after the end of the time."""
    if time.time() > float(os.environ.get(END, "inf")):
        pytest.skip("the time is over")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    """Say, below a failure, how to have it again and how to keep it."""
    report = yield
    if report.failed and call.excinfo is not None:
        seed = item.config.getoption("randomly_seed")
        again = [f".venv/bin/pytest '{item.nodeid}'", *DRAWING]
        again += [f"--randomly-seed={seed}", f"--hypothesis-seed={seed}"]
        kept = [kept_by(note, item) for note in getattr(call.excinfo.value, "__notes__", [])]
        report.sections.append(
            ("to repeat and to keep", "\n".join([" ".join(again), *filter(None, kept)]))
        )
    return report


def kept_by(note: str, item: pytest.Item) -> str | None:
    """Return the decorator that keeps the example that Hypothesis names in `note`, if it does."""
    try:
        (statement,) = ast.parse(note[note.index(": ") + 2 :]).body
    except (SyntaxError, ValueError):
        return None
    drawn = getattr(statement, "value", None)
    if not isinstance(drawn, ast.Call) or not isinstance(drawn.func, ast.Name):
        return None
    if drawn.func.id != getattr(item, "originalname", None):
        return None
    given = [word for word in drawn.keywords if word.arg not in getattr(item, "fixturenames", ())]
    if any(isinstance(part, ast.Constant) and part.value is ... for part in ast.walk(drawn)):
        return None  # what a test draws as it runs
    return f"@example({', '.join(f'{word.arg}={ast.unparse(word.value)}' for word in given)})"


if __name__ == "__main__":
    sys.exit(main())
