"""Wheels with kernels inside: from the wheel for all platforms, one more for each platform.

    python packaging/wheels.py dist/unrolled-*-py3-none-any.whl --out dist [--for linux-x86_64]...

Kernels are compiled from the source of the `unrolled` that is installed, which must be that of the
wheel. Each library is looked at (`libraries.py`) before it goes into a wheel. Not for the wheel for
all platforms itself, nor for the source distribution: they come from `pip wheel` and hatchling.
"""

import argparse
import base64
import hashlib
import sys
import time
import zipfile
from pathlib import Path

from libraries import problems_of

import unrolled
from unrolled.kernels import PLATFORMS, packaged_sources, write_archive

ARCHIVE = "unrolled/kernels/prebuilt/kernels.zip"
MOST_BYTES = 20 * 2**20  # of a wheel
_EPOCH = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path, help="The wheel for all platforms.")
    parser.add_argument("--for", dest="platforms", action="append", choices=PLATFORMS)
    parser.add_argument("--out", type=Path, default=Path("dist"))
    options = parser.parse_args()
    entries = entries_of(options.wheel)
    if different := differences(entries):
        sys.exit(f"{options.wheel}: has another {different} than the installed unrolled")
    sources = packaged_sources()
    print(f"{len(sources)} C texts")
    for platform in options.platforms or PLATFORMS:
        begin = time.perf_counter()
        kernels = options.out / f"kernels-{platform}.zip"
        count = write_archive(kernels, platform, sources)
        problems = problems_of(kernels, platform)
        if problems:
            sys.exit("\n".join(f"{kernels}: {problem}" for problem in problems))
        content = kernels.read_bytes()
        kernels.unlink()
        wheel = write_wheel(options.wheel.name, entries, content, platform, options.out)
        size, seconds = wheel.stat().st_size, time.perf_counter() - begin
        line = f"{wheel.name}: {count} libraries, {size / 2**20:.1f} MiB, {seconds:.0f} s"
        print(line, flush=True)
        if size > MOST_BYTES:
            wheel.unlink()
            sys.exit(f"{wheel} is larger than {MOST_BYTES / 2**20:.0f} MiB")


def entries_of(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def differences(entries: dict[str, bytes]) -> str | None:
    """Return a file of cells or kernels that is not the one of the package that runs here."""
    package = Path(unrolled.__file__).parent
    for name, content in entries.items():
        if name.startswith(("unrolled/kernels/", "unrolled/cells/")):
            own = package.parent / name
            if not own.exists() or own.read_bytes() != content:
                return name
    return None


def write_wheel(
    name: str, entries: dict[str, bytes], kernels: bytes, platform: str, folder: Path
) -> Path:
    """Write the wheel of a platform: the same bytes whenever and wherever it is done."""
    tags = PLATFORMS[platform].wheel_tag
    (info,) = {entry.partition("/")[0] for entry in entries if ".dist-info/" in entry}
    lines = entries[f"{info}/WHEEL"].decode().splitlines()
    lines = [line for line in lines if not line.startswith(("Tag:", "Root-Is-Purelib:"))]
    lines = [line for line in lines if line]
    lines += ["Root-Is-Purelib: false", *(f"Tag: py3-none-{tag}" for tag in tags.split("."))]
    content = entries | {ARCHIVE: kernels, f"{info}/WHEEL": ("\n".join(lines) + "\n").encode()}
    record = f"{info}/RECORD"
    del content[record]
    rows = [f"{entry},sha256={digest(text)},{len(text)}" for entry, text in content.items()]
    content[record] = "\n".join([*rows, f"{record},,", ""]).encode()
    wheel = folder / f"{name.removesuffix('py3-none-any.whl')}py3-none-{tags}.whl"
    draft = wheel.with_suffix(".draft")
    with zipfile.ZipFile(draft, "w") as archive:
        for entry, text in content.items():
            member = zipfile.ZipInfo(entry, _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            archive.writestr(member, text)
    draft.replace(wheel)
    return wheel


def digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
