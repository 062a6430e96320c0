"""The licences of what the core and each extra bring, as a table in docs/licences.md.

    python packaging/licences.py

Read from the metadata of what is installed where it runs, which must be all extras: `make install`
brings them, and `pip install unrolled[compiler]` the last. Not for what wheels hold: NOTICE.
"""

import re
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
BEGIN, END = "<!-- licences:begin -->\n", "<!-- licences:end -->\n"
NOT_FOR_USERS = {"all", "bench", "dev", "docs"}
COPYLEFT = re.compile(r"\b(?:[AL]?GPL|MPL|EUPL|EPL|CDDL)|General Public|Mozilla Public")
LONGEST = 60  # letters: a longer text is a whole licence


def main() -> None:
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin + end != BEGIN + END:
        sys.exit(f"{PAGE} needs the lines {BEGIN!r} and {END!r}")
    PAGE.write_text(before + begin + table() + end + after, encoding="utf-8")


def table() -> str:
    """Return a row for each package: who brings it first, and its licence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sets = {"the core": project["dependencies"]} | {
        f"`{extra}`": requirements
        for extra, requirements in project["optional-dependencies"].items()
        if extra not in NOT_FOR_USERS
    }
    known: dict[str, str] = {}
    lines = ["| brought by | package | licence |", "|---|---|---|"]
    for who, requirements in sets.items():
        for name in sorted(closure(requirements)):
            if name in known:
                continue
            known[name] = licence_of(distribution(name))
            mark = "**" if COPYLEFT.search(known[name]) else ""
            lines.append(f"| {who} | {name} | {mark}{known[name]}{mark} |")
    return "\n".join(lines) + "\n"


def closure(requirements: list[str]) -> set[str]:
    """Return the names of all that is installed for requirements, theirs included."""
    names: set[str] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        new = name not in names
        names.add(name)
        try:
            texts = distribution(name).requires or []
        except PackageNotFoundError:
            sys.exit(f"{name} is not installed here; install all extras first")
        for own in ("", *requirement.extras):
            if new or own:
                waiting += [(Requirement(text), own) for text in texts]
    return names


def licence_of(package: Distribution) -> str:
    """Return what a package's metadata call its licence, in one line."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = metadata.get_all("Classifier", [])
    names = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: ")]
    text = (metadata.get("License") or "").strip()
    short = text if text and len(text) <= LONGEST and "\n" not in text else ""
    specific = [name for name in names if name not in ("OSI Approved", "Other/Proprietary License")]
    return ", ".join(specific) or short or "not said"


if __name__ == "__main__":
    main()
