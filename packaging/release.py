"""A release in dist/: sdist, wheels, SBOM, checksums, and the text that goes with it.

    python packaging/release.py [--for none] [--index URL]

HEAD must be tagged, and the folder without changes (`versions.py`). What is published is built in a
clone of it, twice, and must be the same bytes; then it is installed in a new environment and tried.
Not for publishing: `.github/workflows/wheels.yml` does that.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, url2pathname, urlopen

from index import FILE
from versions import ReleaseError, git, notes_of, released_version

ROOT = Path(__file__).parents[1]
PURE = "none"
NAME = "unrolled"
SECONDS = 60  # that an index has to answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    each = "A platform to build kernels for; none: for none. All, if not given."
    parser.add_argument("--for", dest="platforms", action="append", default=[], help=each)
    parser.add_argument("--index", help="The index that must not have this version yet.")
    options = parser.parse_args()
    try:
        release(ROOT, options.platforms, options.index)
    except ReleaseError as error:
        sys.exit(f"no release: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"no release: {' '.join(map(str, error.cmd))} ended with {error.returncode}")


def release(root: Path, platforms: list[str], index: str | None) -> None:
    refuse_platforms(platforms)
    version = released_version(root)
    if index is not None:
        refuse_published(version, published_versions(index), index)
    commit = git(root, "rev-parse", "HEAD").strip()
    print(f"{NAME} {version}, commit {commit[:12]}", flush=True)
    with tempfile.TemporaryDirectory(prefix="release-") as own:
        clone, second = Path(own, "first"), Path(own, "another-folder")
        built = build_in_clone(root, commit, clone, umask=0o022)
        again = build_in_clone(root, commit, second, umask=0o077)
        refuse_different(built, again)
        refuse_other_version(built, version)
        # From here on nothing is read from root, which may change while this takes its time.
        dist = clone / "dist"
        if platforms != [PURE]:
            make_platform_wheels(clone, platforms)
        run(sys.executable, "-m", "twine", "check", "--strict", *sorted(dist.iterdir()))
        sbom = dist / f"{NAME}-{version}.cdx.json"
        try_installed(clone, Path(own, "installed"), sbom)
        name_version(sbom, version)
        (dist / "NOTES.md").write_text(notes_of(clone, version) + "\n", encoding="utf-8")
        sums = [f"{digest(file)}  {file.name}\n" for file in sorted(dist.iterdir())]
        (dist / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
        replace_folder(root / "dist", dist, draft=root / "build" / "dist")
    print("".join(sums), end="")


def build_in_clone(root: Path, commit: str, folder: Path, umask: int) -> dict[str, str]:
    """Build the sdist, and the wheel from it, of a commit in a new clone; return their digests.

    Dates in them are the commit's. The tools are those of packaging/requirements.txt, whose
    versions stand in what they write.
    """
    git(root, "clone", "--quiet", "--no-hardlinks", str(root), str(folder))
    git(folder, "checkout", "--quiet", "--detach", commit)
    seconds = git(folder, "log", "-1", "--no-show-signature", "--format=%ct").strip()
    environment = os.environ | {"SOURCE_DATE_EPOCH": seconds}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist"]
    subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, umask=umask
    )
    return {file.name: digest(file) for file in folder.joinpath("dist").iterdir()}


def refuse_different(built: dict[str, str], again: dict[str, str]) -> None:
    if different := sorted({file for file, _ in built.items() ^ again.items()}):
        raise ReleaseError(f"Two builds of one commit differ: {', '.join(different)}.")
    print(f"built twice, the same bytes: {', '.join(sorted(built))}", flush=True)


def refuse_other_version(names: dict[str, str], version: str) -> None:
    expected = {f"{NAME}-{version}.tar.gz", f"{NAME}-{version}-py3-none-any.whl"}
    if set(names) != expected:
        wanted, got = ", ".join(sorted(expected)), ", ".join(sorted(names))
        raise ReleaseError(f"The build gives {got}, expected {wanted}.")


def refuse_platforms(platforms: list[str]) -> None:
    """Refuse names of platforms that there are no wheels for, before anything is built."""
    if platforms == [PURE]:
        return
    from unrolled.kernels import PLATFORMS  # which brings torch: not for the wheel without kernels

    if unknown := [platform for platform in platforms if platform not in PLATFORMS]:
        choices = f"{', '.join(PLATFORMS)}, or {PURE} alone"
        raise ReleaseError(f"There are no wheels for {', '.join(unknown)}; there are: {choices}.")


def make_platform_wheels(folder: Path, platforms: list[str]) -> None:
    """Make the wheels with kernels, by the code of the clone."""
    (pure,) = folder.glob("dist/*-none-any.whl")
    chosen = [word for platform in platforms for word in ("--for", platform)]
    script = folder / "packaging" / "wheels.py"
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    command = [sys.executable, script, pure, "--out", folder / "dist", *chosen]
    subprocess.run(command, env=environment, check=True)


def try_installed(clone: Path, folder: Path, sbom: Path) -> None:
    """Try a clone's wheel in a new environment; write what that environment holds."""
    venv.create(folder)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    (pure,) = clone.glob("dist/*-none-any.whl")
    # pip stays outside, so that the environment holds what the wheel brings, and nothing else.
    install = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    run(*install, "--constraint", clone / "constraints.txt", pure)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    smoke = clone / "packaging" / "smoke.py"
    subprocess.run([python, "-P", smoke], cwd=folder, env=environment, check=True)
    component = ("--pyproject", clone / "pyproject.toml", "--mc-type", "library")
    output = ("--output-reproducible", "--output-format", "JSON", "--output-file", sbom)
    run(sys.executable, "-m", "cyclonedx_py", "environment", python, *component, *output)


def name_version(sbom: Path, version: str) -> None:
    """Write the version into a bill of materials, which comes from pyproject.toml without one."""
    content = json.loads(sbom.read_text(encoding="utf-8"))
    content["metadata"]["component"] |= {"version": version, "purl": f"pkg:pypi/{NAME}@{version}"}
    sbom.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def published_versions(index: str) -> set[str]:
    """Return the versions that an index has, by the names of the files on its page.

    pip is not asked: a page that an index refuses is to it a package that is not there.

    Raises:
        ReleaseError: It cannot be asked, or there is no index at this address.
    """
    root = index.rstrip("/") + "/"
    is_folder = root.startswith("file:")
    if is_folder and not Path(url2pathname(urlsplit(root).path)).is_dir():
        raise ReleaseError(f"{index} is not a folder.")
    page = answer_of(f"{root}{NAME}/{'index.html' if is_folder else ''}")
    if page is None:
        if not is_folder and answer_of(root, method="HEAD") is None:
            raise ReleaseError(f"There is no index at {index}.")
        return set()
    names = re.findall(r">\s*([^<>\s]+)\s*</a>", page)
    files = [match for name in names if (match := FILE.fullmatch(name))]
    if not files:
        raise ReleaseError(f"The page of {NAME} at {index} names no file of it: is it an index?")
    return {match["version"] for match in files}


def answer_of(address: str, method: str = "GET") -> str | None:
    """Return what is at an address, or None where nothing is.

    Raises:
        ReleaseError: That cannot be told.
    """
    try:
        request = Request(address, headers={"Accept": "text/html"}, method=method)
        with urlopen(request, timeout=SECONDS) as answer:
            return answer.read().decode()
    except (OSError, ValueError, HTTPException) as error:
        cause = getattr(error, "reason", None)
        if getattr(error, "code", None) == 404 or isinstance(cause, FileNotFoundError):
            return None
        raise ReleaseError(f"{address} cannot be asked: {error}.") from error


def refuse_published(version: str, published: set[str], index: str) -> None:
    if version in published:
        message = f"{index} has {NAME} {version} already, and a version is published once."
        raise ReleaseError(f"{message} Tag another.")


def replace_folder(folder: Path, source: Path, draft: Path) -> None:
    """Put a copy of a folder in the place of another; what stood there goes once it is whole."""
    if draft.exists():
        shutil.rmtree(draft)
    shutil.copytree(source, draft)
    if folder.exists():
        shutil.rmtree(folder)
    draft.rename(folder)


def run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
