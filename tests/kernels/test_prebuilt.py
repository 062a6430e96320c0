"""Kernels that were compiled ahead of time: found by text and processor, checked, or not used."""

import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import get_args

import pytest
import torch

import unrolled
from unrolled.cells import CELLS, catalogue, lstm
from unrolled.cells.surroundings import Surroundings
from unrolled.kernels import KernelError, kernel_source, load_library, packaged_sources
from unrolled.kernels.building import archiving, cache, compiler, prebuilt
from unrolled.kernels.building.platforms import PLATFORMS, this_platform
from unrolled.kernels.emitting import ProductFormat
from unrolled.kernels.running.proof import make_kernel

HERE = this_platform()
CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
pytestmark = [
    pytest.mark.skipif(
        CC is None or HERE is None or os.name == "nt",
        reason="needs a C compiler, on a system that kernels are built for",
    ),
    pytest.mark.usefixtures("quick_kernels"),
]


def source(answer: int) -> str:
    return f"int answer(void) {{ return {answer}; }}"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache, and no trace of the caller's own."""
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv(prebuilt.VARIABLE, raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """A function that writes an archive with one instruction set, by the system's compiler.

    It stands where ziglang does, which at its first use compiles for a while what it links with.
    """
    program = tmp_path_factory.mktemp("zig") / "zig"
    lines = ["#!/usr/bin/env python3", "import os, sys", "words = sys.argv[1:]"]
    lines += ["at = words.index('-target')", "words[at : at + 2] = []"]
    lines += ["words = [word for word in words if not word.startswith('-mcpu')]"]
    program.write_text("\n".join([*lines, f"os.execv({CC!r}, [{CC!r}, *words])", ""]))
    program.chmod(0o755)
    zig = compiler.Compiler((str(program),), program)

    def write(file, texts):
        with pytest.MonkeyPatch.context() as patch:
            oldest = PLATFORMS[HERE].instruction_sets[-1:]
            patch.setitem(PLATFORMS, HERE, PLATFORMS[HERE]._replace(instruction_sets=oldest))
            patch.setattr(archiving, "ziglang_compiler", lambda: zig)
            return archiving.write_archive(file, HERE, texts)

    return write


@pytest.fixture(scope="module")
def made(tmp_path_factory, write):
    """An archive of an LSTM and of a text."""
    file = tmp_path_factory.mktemp("archive") / "kernels.zip"
    assert write(file, [source(42), kernel_source(lstm)]) == 3
    return file


@pytest.fixture
def archive(made, without_compiler, tmp_path, monkeypatch):
    """A copy of it, in the place of that of a wheel; no compiler, and an empty cache."""
    copy = tmp_path / "kernels.zip"
    shutil.copy(made, copy)
    monkeypatch.setattr(prebuilt, "PACKAGED", copy)
    monkeypatch.setattr(cache, "_prebuilt_problems", [])
    return copy


@pytest.fixture
def compilations(tmp_path, monkeypatch):
    """Put a compiler on PATH, and return how often it has been run, as a function."""
    (tmp_path / "programs").mkdir()
    log = tmp_path / "compilations"
    log.touch()
    program = tmp_path / "programs/cc"
    program.write_text(f'#!/bin/sh\necho >> "{log}"\nexec {CC} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}:/usr/bin:/bin")
    return lambda: len(log.read_text().splitlines())


def entries_of(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def rewrite(archive: Path, entries: dict[str, bytes]) -> None:
    with zipfile.ZipFile(archive, "w") as opened:
        for name, content in entries.items():
            opened.writestr(name, content)


def damage_libraries(archive: Path) -> None:
    """Change a byte of every library but the probe, with checksums of the file that fit."""
    entries = entries_of(archive)
    kept = {"manifest.json", json.loads(entries["manifest.json"])["processor"]}
    for name, content in entries.items():
        if name not in kept:
            entries[name] = content[:-1] + bytes([content[-1] ^ 1])
    rewrite(archive, entries)


def test_a_kernel_is_there_without_a_compiler(archive, folder):
    assert compiler.find_compiler() is None
    assert load_library(source(42), "answer").answer() == 42
    kernel = make_kernel(lstm, Surroundings(lstm.equations))  # proven against the loop
    assert kernel.library.trains
    assert len(list(folder.glob("lstm-*.so"))) == len(list(folder.glob("answer-*.so"))) == 1


def test_a_proven_kernel_is_loaded_from_the_cache(archive):
    calls = []
    load_library(source(42), "answer", calls.append)
    damage_libraries(archive)
    assert load_library(source(42), "answer", calls.append).answer() == 42
    assert len(calls) == 1


def test_another_text_has_no_kernel(archive):
    said = f"holds no kernel for these equations with torch {torch.__version__}"
    with pytest.raises(KernelError, match=f"no C compiler.*{re.escape(said)}"):
        load_library(source(43), "answer")


def test_what_a_system_needs_is_given_when_compiling_here_too(monkeypatch, tmp_path):
    header = tmp_path / "prelude.h"
    header.write_text("#define ANSWER 5\n")
    flags = ("-include", str(header))
    monkeypatch.setitem(PLATFORMS, HERE, PLATFORMS[HERE]._replace(flags=flags))
    assert load_library("int answer(void) { return ANSWER; }", "answer").answer() == 5


def test_it_comes_before_a_compiler_unless_CC_names_one(archive, compilations, monkeypatch):
    assert load_library(source(42), "answer").answer() == 42
    assert compilations() == 0
    assert load_library(source(43), "answer").answer() == 43
    assert compilations() == 1
    assert cache.prebuilt_problem() is None  # nothing is wrong with a cell of the user's own
    monkeypatch.setenv("CC", "cc")
    assert load_library(source(42), "answer").answer() == 42
    assert compilations() == 2


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        *((how, "is damaged: ") for how in ("libraries", "cut", "empty", "manifest")),
        ("platform", "is for windows-x86_64, this is "),
        ("format", "is of another version of unrolled"),
        ("no way", "cannot be read: Too many levels of symbolic links"),
    ],
)
def test_an_archive_that_does_not_do_is_not_used_and_named(archive, compilations, how, expected):
    entries = entries_of(archive)
    if how == "libraries":
        damage_libraries(archive)
    elif how in ("cut", "empty"):
        archive.write_bytes(archive.read_bytes()[: 10_000 if how == "cut" else 0])
    elif how == "no way":
        archive.unlink()
        archive.symlink_to(archive)
    else:
        manifest = json.loads(entries["manifest.json"])
        other = {"platform": "windows-x86_64", "format": 0}
        manifest = [] if how == "manifest" else manifest | {how: other[how]}
        rewrite(archive, entries | {"manifest.json": json.dumps(manifest).encode()})
    assert load_library(source(42), "answer").answer() == 42
    assert compilations() == 1
    assert f"{archive} {expected}" in cache.prebuilt_problem()


def headers_of(archive: Path) -> list[int]:
    """Return the places of all that a zip file says about its members."""
    with zipfile.ZipFile(archive) as opened:
        begins = [info.header_offset for info in opened.infolist()]
        places = [*range(opened.start_dir, archive.stat().st_size)]
    return places + [begin + at for begin in begins for at in range(30)]


def test_no_bit_of_a_header_gives_anything_but_the_library_or_an_error(archive):
    whole, texts = archive.read_bytes(), (source(42), kernel_source(lstm))
    contents = [_opened(archive).library_of(text) for text in texts]
    assert all(contents)
    kinds = set()
    for number, place in enumerate(headers_of(archive)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << number % 8
        archive.write_bytes(damaged)
        os.utime(archive, (number, number))
        try:
            assert [_opened(archive).library_of(text) for text in texts] == contents
        except prebuilt.ArchiveError as error:
            kinds.add(type(error.__cause__))
    assert {NotImplementedError, zipfile.BadZipFile} <= kinds


def _opened(archive: Path) -> prebuilt.Archive:
    return prebuilt._open(archive, cache._load_probe)


def test_without_a_compiler_the_error_says_what_is_wrong_with_the_archive(archive):
    damage_libraries(archive)
    with pytest.raises(KernelError, match=r"no C compiler, and .* is damaged"):
        load_library(source(42), "answer")
    archive.write_bytes(b"")
    with pytest.raises(KernelError, match=r"no C compiler, and .* is damaged"):
        load_library(source(42), "answer")


def test_libraries_that_the_system_does_not_load_are_not_called_damaged(archive, monkeypatch):
    def refuse(_content):
        raise OSError("failed to map segment from shared object")

    monkeypatch.setattr(cache, "_load_probe", refuse)
    archive.touch()
    with pytest.raises(KernelError, match=r"its libraries cannot be loaded: failed to map"):
        load_library(source(42), "answer")


def test_an_unknown_processor_has_no_kernel(archive, monkeypatch):
    oldest = PLATFORMS[HERE].instruction_sets[-1]
    needy = (oldest._replace(needs=1 << 40),)
    monkeypatch.setitem(PLATFORMS, HERE, PLATFORMS[HERE]._replace(instruction_sets=needy))
    archive.touch()
    with pytest.raises(KernelError, match=f"for {oldest.name}, which this processor does not have"):
        load_library(source(42), "answer")


def test_a_library_that_is_wrong_here_is_compiled_again(archive, compilations):
    seen = []

    def prove(library):
        seen.append(library)
        if len(seen) == 1:
            raise KernelError("its output is off")

    assert load_library(source(42), "answer", prove).answer() == 42
    assert compilations() == 1
    assert cache.prebuilt_problem() == "its output is off"


def test_the_variable_names_an_archive(archive, monkeypatch):
    taken = archive.with_name("taken.zip")
    archive.rename(taken)
    with pytest.raises(KernelError, match=r"no C compiler \("):
        load_library(source(42), "answer")
    monkeypatch.setenv(prebuilt.VARIABLE, str(taken))
    assert load_library(source(42), "answer").answer() == 42


@pytest.mark.parametrize("how", ["missing", "damaged", "open to others"])
def test_an_archive_that_the_variable_names_must_do(archive, monkeypatch, how):
    taken = archive.with_name("taken.zip")
    if how != "missing":
        taken.write_bytes(b"" if how == "damaged" else archive.read_bytes())
    if how == "open to others":
        taken.chmod(0o666)
    monkeypatch.setenv(prebuilt.VARIABLE, str(taken))
    what = {"missing": "No such file", "damaged": "damaged", "open to others": "chmod go-w"}[how]
    with pytest.raises(KernelError, match=f"{prebuilt.VARIABLE}: .*{what}"):
        load_library(source(42), "answer")


def test_two_builds_give_the_same_bytes(write, tmp_path):
    for name in ("first", "second"):
        write(tmp_path / name, [source(1), source(2)])
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_a_library_of_windows_does_not_hold_when_it_was_linked():
    """By the format: at 0x3C stands where "PE" begins, and the time 8 bytes behind that."""
    begin = b"MZ".ljust(0x3C, b"x") + (0x80).to_bytes(4, "little") + b"stub".ljust(0x40, b"x")
    header = b"PE\0\0" + b"\x64\x86" + b"\x05\0"
    early, late = (begin + header + second + b"rest" for second in (b"1234", b"5678"))
    assert archiving._timeless(early) == archiving._timeless(late)
    assert archiving._timeless(late) == begin + header + bytes(4) + b"rest"
    assert archiving._timeless(b"\x7fELF" + late) == b"\x7fELF" + late


def test_nothing_is_built_for_an_unknown_platform(tmp_path):
    with pytest.raises(KernelError, match="nothing is built for 'plan9-vax'") as error:
        archiving.write_archive(tmp_path / "kernels.zip", "plan9-vax", [])
    assert "linux-x86_64" in error.value.hint
    assert not (tmp_path / "kernels.zip").exists()


def test_every_kernel_of_a_built_in_cell_is_packaged(monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", CELLS)  # the others take seconds
    texts = set(packaged_sources())
    for cell in CELLS.values():
        assert {kernel_source(cell, products=way) for way in get_args(ProductFormat)} <= texts


def test_whatever_is_compiled_at_run_time_is_packaged():
    """A new kernel written by hand belongs into `kernels/packaged.py`, and here."""
    package = Path(unrolled.__file__).parent
    callers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"\bload_(library|defined)\(", path.read_text(encoding="utf-8"))
    }
    building = {"kernels/building/cache.py", "kernels/building/cell_library.py"}
    packaged = {
        "kernels/running/crossing.py",
        "kernels/running/writer.py",
        "kernels/convolving/library.py",
    }
    not_packaged = {"benchmark/peak.py"}
    assert callers == building | packaged | not_packaged
