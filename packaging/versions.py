"""Whether a commit can be released: what its tag, its changelog and its folder say.

Not for building (`release.py`). Nothing here is written.
"""

import re
import subprocess
from datetime import date
from pathlib import Path
from typing import NamedTuple

HEADING = re.compile(r"^## (\S+)(?: \((.*)\))?$", re.MULTILINE)
TAG = re.compile(r"v(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)")
MOST_NAMED = 5


class ReleaseError(Exception):
    """This commit is not released: a sentence that says why, and what to do."""


class Section(NamedTuple):
    """What the changelog says of a version.

    version: As its heading names it. when: What stands in brackets after it. text: Below it.
    """

    version: str
    when: str
    text: str


def released_version(root: Path) -> str:
    """Return the version that HEAD is tagged as, once all that names it agrees.

    Raises:
        ReleaseError: The folder has changes, HEAD has no tag of a version or two, or the changelog
            or CITATION.cff say otherwise.
    """
    if changes := git(root, "status", "--porcelain").splitlines():
        named = ", ".join(line[3:] for line in changes[:MOST_NAMED])
        more = f" and {len(changes) - MOST_NAMED} more" if len(changes) > MOST_NAMED else ""
        raise ReleaseError(f"{root} has changes: {named}{more}. Commit or remove them.")
    version = tagged_version(root)
    notes_of(root, version)
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    cited = re.search(r"^version: (\S+)$", citation, re.MULTILINE)
    if cited is None or cited[1] != version:
        has = cited[1] if cited else "none"
        raise ReleaseError(f"CITATION.cff has version {has}, the tag {version}. Write it there.")
    return version


def tagged_version(root: Path) -> str:
    """Return the version of HEAD's tag.

    Raises:
        ReleaseError: It has none, or more than one.
    """
    tags = git(root, "tag", "--points-at", "HEAD").split()
    versions = [match[1] for tag in tags if (match := TAG.fullmatch(tag))]
    if len(versions) == 1:
        return versions[0]
    has = ", ".join(tags) or "none"
    one = "git tag -a v1.2.3 -m v1.2.3, or v1.2.3rc1, makes one"
    hint = "git tag -d removes one" if versions else one
    raise ReleaseError(f"HEAD needs one tag of a version, and has {has}: {hint}.")


def sections(changelog: str) -> list[Section]:
    """Return what a changelog says of each version, in its order."""
    headings = list(HEADING.finditer(changelog))
    ends = [*(heading.start() for heading in headings), len(changelog)][1:]
    return [
        Section(heading[1], heading[2] or "", changelog[heading.end() : end].strip())
        for heading, end in zip(headings, ends, strict=True)
    ]


def notes_of(root: Path, version: str) -> str:
    """Return what the changelog says of a version: the text of its release.

    Raises:
        ReleaseError: Its first section is of another version, has no date, or says nothing.
    """
    known = sections((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    heading = f"`## {version} (year-month-day)`"
    if not known or known[0].version != version:
        first = f"its first is of {known[0].version}" if known else "it has none"
        raise ReleaseError(f"CHANGELOG.md has to begin with the section {heading}; {first}.")
    if not is_date(known[0].when):
        has = f"({known[0].when})" if known[0].when else "nothing"
        raise ReleaseError(f"CHANGELOG.md: the heading {heading} needs its date, and has {has}.")
    if not known[0].text:
        raise ReleaseError(f"CHANGELOG.md: the section {heading} is empty. Say what has changed.")
    return known[0].text


def is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text  # not another form of ISO 8601
    except ValueError:
        return False


def git(root: Path, *arguments: str) -> str:
    """Return what git says.

    Raises:
        ReleaseError: It fails, or is not installed.
    """
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise ReleaseError("A release is made of a git repository: install git.") from error
    if done.returncode:
        raise ReleaseError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
