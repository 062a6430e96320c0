"""A release as a user meets it: published to an index in a folder, installed from there, and run.

    python packaging/rehearsal.py [--dist dist] [--minutes 0.2]

A new environment takes this version from that index, by its checksum, and what it needs from the
index that pip has. Then, without network where the system allows that, what the README begins with:
`make run` by the installed command, and in place of `make test` the checks of what is installed.
"""

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from index import FILE, IndexRefusal, publish

ROOT = Path(__file__).parents[1]
OFFLINE = ("unshare", "--user", "--map-root-user", "--net")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="Folder of the release.")
    parser.add_argument("--minutes", default="0.2", help="Minutes of training.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as own:
        try:
            rehearse(options.dist, Path(own), options.minutes)
        except IndexRefusal as error:
            sys.exit(f"no rehearsal: {error}; `make release` fills it")


def rehearse(dist: Path, folder: Path, minutes: str) -> None:
    simple = publish(dist, folder / "index")
    version, hashes = files_of(simple / "unrolled")
    requirement = folder / "requirement.txt"
    words = " ".join(f"--hash=sha256:{each}" for each in hashes)
    requirement.write_text(f"unrolled=={version} {words}\n", encoding="utf-8")
    home = folder / "home"
    home.mkdir()
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [programs / "python", "-m", "pip", "install", "--quiet"]
    begin = time.perf_counter()
    own = ["--no-deps", "--require-hashes", "--index-url", simple.absolute().as_uri()]
    tell([*pip, *own, "--requirement", requirement], home)
    tell([*pip, "--constraint", ROOT / "constraints.txt", f"unrolled=={version}"], home)
    print(f"installed in {time.perf_counter() - begin:.0f} s", flush=True)
    cut = offline()
    print("without network" if cut else "WITH network: this system cuts none off", flush=True)
    training = ["train", "lm", "--standard-library", "--held-out", "0.02", "--hidden-size", "256"]
    unrolled = programs / "unrolled"
    tell([*cut, unrolled, *training, "--minutes", minutes, "--run", "runs/rehearsal"], home)
    tell(
        [*cut, unrolled, "generate", "runs/rehearsal", "--prompt", "def ", "--length", "100"], home
    )
    smoke = shutil.copyfile(ROOT / "packaging" / "smoke.py", folder / "smoke.py")
    tell([*cut, programs / "python", "-P", smoke], home)


def files_of(project: Path) -> tuple[str, list[str]]:
    """Return the version that a folder of an index has, and the checksums of its files."""
    files = {file: match for file in project.iterdir() if (match := FILE.fullmatch(file.name))}
    (version,) = {match["version"] for match in files.values()}
    return version, [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def offline() -> tuple[str, ...]:
    """Return the words before a command that is to have no network; none where that is refused."""
    if shutil.which("unshare") is None:
        return ()
    refused = subprocess.run([*OFFLINE, "true"], capture_output=True).returncode
    return () if refused else OFFLINE


def tell(command: list, home: Path) -> None:
    """Say a command and run it, in a folder outside of the repository, with a cache of its own."""
    words = [str(word) for word in command]
    print(f"$ {shlex.join(words)}", flush=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["UNROLLED_CACHE"] = str(home / "cache")
    if status := subprocess.run(words, cwd=home, env=environment).returncode:
        sys.exit(f"the rehearsal failed: status {status}")


if __name__ == "__main__":
    main()
