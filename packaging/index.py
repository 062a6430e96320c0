"""A package index in a folder, as pip reads it: for the rehearsal of a release.

    python packaging/index.py dist FOLDER     # prints what pip takes as --index-url

A version that is there stays as it is. Not for what users install from.
"""

import argparse
import hashlib
import html
import re
import shutil
import sys
from pathlib import Path

FILE = re.compile(r"(?P<name>[\w.]+)-(?P<version>[^-]+?)(?:-.*\.whl|\.tar\.gz)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dist", type=Path, help="Folder with an sdist and wheels of one version.")
    parser.add_argument("index", type=Path, help="Folder of the index; made where it is missing.")
    options = parser.parse_args()
    try:
        print(publish(options.dist, options.index).absolute().as_uri())
    except IndexRefusal as error:
        sys.exit(f"not published: {error}")


class IndexRefusal(Exception):
    """Files that the index does not take."""


def publish(dist: Path, index: Path) -> Path:
    """Copy the files of a version into an index; return the folder that pip is given.

    Raises:
        IndexRefusal: There are none, of several versions, or the index has that version.
    """
    files = {file: match for file in dist.glob("*") if (match := FILE.fullmatch(file.name))}
    versions = sorted({match["version"] for match in files.values()})
    if len(versions) != 1:
        raise IndexRefusal(f"{dist} has to hold one version, and holds {versions or 'none'}")
    (name,) = {re.sub(r"[-_.]+", "-", match["name"]).lower() for match in files.values()}
    project = index / "simple" / name
    project.mkdir(parents=True, exist_ok=True)
    known = [match for file in project.iterdir() if (match := FILE.fullmatch(file.name))]
    if any(match["version"] == versions[0] for match in known):
        raise IndexRefusal(f"{project} has {name} {versions[0]} already; tag another version")
    for file in files:
        shutil.copyfile(file, project / file.name)
    kept = sorted(file for file in project.iterdir() if FILE.fullmatch(file.name))
    _write_page(project / "index.html", [(file.name, _fragment(file)) for file in kept])
    projects = sorted(folder.name for folder in project.parent.iterdir() if folder.is_dir())
    _write_page(project.parent / "index.html", [(name, "/") for name in projects])
    return project.parent


def _fragment(file: Path) -> str:
    return f"#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}"


def _write_page(page: Path, links: list[tuple[str, str]]) -> None:
    lines = [
        f'<a href="{html.escape(name + end)}">{html.escape(name)}</a><br>' for name, end in links
    ]
    page.write_text("\n".join(["<!DOCTYPE html>", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
