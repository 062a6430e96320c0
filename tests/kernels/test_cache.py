import ctypes
import errno
import os
import platform
import signal
import stat
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from types import SimpleNamespace

import pytest
import torch

from unrolled.cells.catalogue import CATALOGUE
from unrolled.kernels import (
    WEIGHT_FORMATS,
    KernelError,
    cache_entries,
    cache_folder,
    clear_cache,
    find_compiler,
    load_library,
)
from unrolled.kernels.building import cache, compiler

CC = which("cc") or which("gcc") or which("clang")
needs_compiler = pytest.mark.skipif(CC is None, reason="no C compiler")


def source(answer: int | str) -> str:
    return f"int answer(void) {{ return {answer}; }}"


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache, and no trace of the caller's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("UNROLLED_CACHE", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CC", raising=False)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(cache, "_without_room", {})
    monkeypatch.setattr(compiler, "_hung", {})
    cache._temporary_folder.cache_clear()
    yield folder
    cache._temporary_folder.cache_clear()


@pytest.fixture
def secret(tmp_path):
    """The file that seals are made with."""
    return tmp_path / "state/unrolled/kernels.secret"


def is_sound(path: Path) -> bool:
    return cache._sealed_content(cache._store(), path.name) is not None


@pytest.fixture
def compilations(tmp_path, monkeypatch):
    """The number of times that a compiler has been run, as a function."""
    log = tmp_path / "compilations"
    log.touch()
    monkeypatch.setenv("CC", str(script(tmp_path / "cc", f'echo >> "{log}"; exec {CC} "$@"')))
    return lambda: len(log.read_text().splitlines())


@needs_compiler
def test_a_kernel_is_compiled_once(folder, compilations):
    assert load_library(source(42), "lstm").answer() == 42
    assert load_library(source(42), "lstm").answer() == 42
    assert compilations() == 1
    (library,) = folder.glob("lstm-*.so")
    assert library.with_suffix(".c").read_text() == source(42)
    assert len(list(folder.iterdir())) == 2


@needs_compiler
def test_a_kernel_is_compiled_for_its_text_compiler_flags_and_processor(compilations, monkeypatch):
    load_library(source(1), "cell")
    load_library(source(2), "cell")
    assert compilations() == 2
    os.utime(os.environ["CC"], (1, 1))  # an update of the compiler
    load_library(source(1), "cell")
    assert compilations() == 3
    monkeypatch.setenv("CC", os.environ["CC"] + " -DANYTHING")
    load_library(source(1), "cell")
    assert compilations() == 4
    monkeypatch.setattr(cache, "FLAGS", (*cache.FLAGS, "-g"))
    load_library(source(1), "cell")
    assert compilations() == 5
    monkeypatch.setattr(cache, "_processor", lambda: "another")
    load_library(source(1), "cell")
    assert compilations() == 6
    assert len(cache_entries()) == 6


@needs_compiler
@pytest.mark.parametrize("name", ["<lambda>", "../../etc/passwd", "Zelle für Übung", "", "c" * 999])
def test_any_name_will_do(folder, name):
    assert load_library(source(1), name).answer() == 1
    assert [entry.path.parent for entry in cache_entries()] == [folder]


@needs_compiler
@pytest.mark.parametrize(
    "damage",
    [
        lambda entry, other: entry[: len(entry) // 2],
        lambda entry, other: b"",
        lambda entry, other: entry[:-1],
        lambda entry, other: entry[:5000] + bytes([entry[5000] ^ 1]) + entry[5001:],
        lambda entry, other: other,
        lambda entry, other: other[:-32],
        lambda entry, other: other[:-32] + entry[-32:],
    ],
    ids=["half", "empty", "cut", "one bit", "foreign", "foreign, unsealed", "foreign, our seal"],
)
def test_an_entry_that_is_not_what_was_written_is_built_again(
    tmp_path, folder, compilations, monkeypatch, damage
):
    load_library(source(1), "cell")
    load_library(source(2), "cell")
    two, planted = (entry.path for entry in cache_entries())
    planted.write_bytes(damage(planted.read_bytes(), two.read_bytes()))
    assert load_library(source(1), "cell").answer() == 1
    assert compilations() == 3
    assert is_sound(planted)


@needs_compiler
def test_an_entry_is_replaced_and_never_written_into(tmp_path):
    """Another process may have it mapped, or be reading it."""
    load_library(source(1), "cell")
    (entry,) = cache_entries()
    mapped, damaged = tmp_path / "mapped", entry.path.read_bytes()[:5000]
    mapped.write_bytes(damaged)
    entry.path.unlink()
    entry.path.hardlink_to(mapped)
    code = "import sys, unrolled.kernels; unrolled.kernels.load_library(sys.argv[1], 'cell')"
    subprocess.run([sys.executable, "-c", code, source(1)], check=True)
    assert is_sound(entry.path)
    assert mapped.read_bytes() == damaged


@pytest.mark.usefixtures("without_compiler")
def test_without_a_compiler_the_error_says_how_to_get_one():
    assert find_compiler() is None
    with pytest.raises(KernelError, match=r"no C compiler.*unrolled\[compiler\]"):
        load_library(source(1), "lstm")


@needs_compiler
def test_ziglang_is_the_last_resort(tmp_path, monkeypatch):
    package = tmp_path / "site" / "ziglang"
    package.mkdir(parents=True)
    package.joinpath("__init__.py").touch()
    package.joinpath("__main__.py").write_text(
        "import os, sys\n"
        "assert sys.argv[1] == 'cc'\n"
        "assert os.environ['ZIG_GLOBAL_CACHE_DIR'].startswith(os.environ['XDG_STATE_HOME'])\n"
        f"os.environ['PATH'] = {os.environ['PATH']!r}\n"
        f"os.execv({CC!r}, ['cc', '-DANSWER=7', *sys.argv[2:]])\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.delitem(sys.modules, "ziglang", raising=False)
    system = find_compiler()
    assert system is not None
    assert system.argv == (CC,)
    monkeypatch.setenv("PATH", "")
    assert load_library(source("ANSWER"), "cell").answer() == 7


@pytest.mark.skipif(find_spec("ziglang") is None, reason="no ziglang")
def test_ziglang_itself_compiles_without_a_home(secret, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("HOME")
    compiler = find_compiler()
    assert compiler is not None
    assert "clang" in compiler.version()
    assert load_library(source(7), "cell").answer() == 7
    assert clear_cache() == 1
    assert not list(cache_folder().path.iterdir())
    assert [path.name for path in secret.parent.iterdir()] == [secret.name]


@needs_compiler
def test_a_compiler_that_fails_is_quoted(folder):
    with pytest.raises(KernelError, match=r"cc failed with status 1: .*nothing.*set CC to"):
        load_library(source("nothing"), "cell")
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo one >&2; echo two >&2; exit 3", "failed with status 3: one; two"),
        ("exit 1", "failed with status 1: it printed nothing"),
        ("exit 0", "made no library"),
    ],
    ids=["complains", "is silent", "makes nothing"],
)
def test_a_broken_compiler_is_an_error_of_ours(tmp_path, folder, monkeypatch, text, message):
    monkeypatch.setenv("CC", str(script(tmp_path / "broken", text)))
    with pytest.raises(KernelError, match=message):
        load_library(source(1), "cell")
    assert not list(folder.iterdir())


HANGS = 'sleep 1000 & echo $! > "{pids}"; echo $$ >> "{pids}"; sleep 1000'


def test_a_compiler_that_hangs_is_stopped_with_all_that_it_started(tmp_path, folder, monkeypatch):
    pids = tmp_path / "pids"
    monkeypatch.setenv("CC", str(script(tmp_path / "slow", HANGS.format(pids=pids))))
    monkeypatch.setattr(compiler, "_LONGEST_SECONDS", 4.0)
    monkeypatch.setattr(compiler, "_turns", lambda: 1.0)
    for _ in range(2):
        with pytest.raises(
            KernelError, match=r"slow was not done after 4 s, and was stopped \(set"
        ):
            load_library(source(1), "cell")
    first = pids.read_text()
    assert len(first.split()) == 2  # it was run once
    deadline = time.time() + 10
    while running := [
        pid
        for pid in first.split()
        if Path("/proc", pid, "cmdline").exists() and Path("/proc", pid, "cmdline").read_bytes()
    ]:
        assert time.time() < deadline, running
        time.sleep(0.05)
    assert not list(folder.iterdir())


@needs_compiler
def test_a_compiler_has_more_time_where_many_want_the_processors(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", str(script(tmp_path / "late", f'sleep 0.5; exec {CC} "$@"')))
    monkeypatch.setattr(compiler, "_LONGEST_SECONDS", 0.1)
    monkeypatch.setattr(os, "getloadavg", lambda: (600.0 * (os.cpu_count() or 1), 0.0, 0.0))
    assert load_library(source(1), "cell").answer() == 1


class Clock:
    """A clock that only a compiler that hangs moves on: `wait` passes all the time it is given."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds
        raise subprocess.TimeoutExpired("cc", seconds)


@pytest.mark.parametrize(
    ("argv", "load", "seconds"),
    [
        (("cc",), 1.0, 60),
        (("cc",), 2.5, 150),
        (("cc",), 50.0, 300),
        (("python", "-m", "ziglang", "cc"), 50.0, 300),
    ],
    ids=["idle", "loaded", "overloaded", "zig"],
)
def test_a_compiler_that_hangs_is_waited_for_five_minutes_at_most_and_not_in_silence(
    monkeypatch, argv, load, seconds
):
    clock, hung = Clock(), compiler.Compiler(argv, Path("cc"))
    monkeypatch.setattr(compiler, "time", clock)
    monkeypatch.setattr(compiler, "_turns", lambda: load)
    monkeypatch.setattr(compiler, "_hung", {})
    said = []
    monkeypatch.setattr(compiler, "warn_once", lambda text: said.append((clock.now, text)))
    with pytest.raises(KernelError, match=f"was not done after {seconds} s, and was stopped"):
        hung._wait(clock, patient=False)
    assert clock.now == seconds
    [(when, text)] = said
    assert when == 20
    assert f"the compiler {' '.join(argv)} is not done after 20 s" in text
    assert "300 s" in text


def test_a_compiler_that_works_now_and_then_is_waited_for_by_those_who_are_patient(monkeypatch):
    """Five looks, 300 s apart, at one that had worked before the first four."""
    clock, slow = Clock(), compiler.Compiler(("python", "-m", "ziglang", "cc"), Path("cc"))
    ticks = iter([1, 2, 3, 2, 2])  # less, too: a process of it ended that nobody waited for
    monkeypatch.setattr(compiler, "time", clock)
    monkeypatch.setattr(compiler, "_hung", {})
    monkeypatch.setattr(compiler, "_work_of", lambda _: next(ticks))
    said = []
    monkeypatch.setattr(compiler, "warn_once", said.append)
    with pytest.raises(KernelError, match="was not done after 1500 s"):
        slow._wait(clock, patient=True)
    assert len(said) == 1
    assert "until it does nothing for 300 s" in said[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
@pytest.mark.parametrize(("text", "works"), [("sleep 60", False), ("while :; do :; done", True)])
def test_the_work_of_a_compiler_is_that_of_all_it_started(tmp_path, text, works):
    parent = script(tmp_path / "cc", f"({text}) & echo; wait")
    with subprocess.Popen([parent], stdout=subprocess.PIPE, process_group=0) as process:
        try:
            process.stdout.readline()
            before = compiler._work_of(process)
            deadline = time.monotonic() + (20 if works else 0.3)
            while compiler._work_of(process) == before and time.monotonic() < deadline:
                time.sleep(0.02)
            assert (compiler._work_of(process) > before) == works
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@needs_compiler
def test_what_a_compiler_leaves_running_is_not_waited_for(tmp_path, monkeypatch):
    """As a server that keeps what was compiled before; it holds the compiler's output open."""
    text = f'sleep 30 & exec {CC} "$@"'
    monkeypatch.setenv("CC", str(script(tmp_path / "serving", text)))
    before = time.monotonic()
    assert load_library(source(1), "cell").answer() == 1
    assert time.monotonic() - before < 20


@pytest.mark.parametrize(
    "argument",
    """
    -ffast-math -Ofast -funsafe-math-optimizations -fassociative-math -freciprocal-math
    -ffinite-math-only -fno-signed-zeros -ffp-contract=off -ffp-model=fast -mdaz-ftz -mrecip
    -mrecip=all -fapprox-func -fsingle-precision-constant -fdenormal-fp-math=preserve-sign -ftz
    -fdenormal-fp-math-f32=positive-zero -mfpmath=387 -mpc32 -fp-model=fast -Wp,-ffast-math
    """.split(),
)
def test_arguments_that_change_what_c_computes_are_refused(monkeypatch, argument):
    monkeypatch.setenv("CC", f"cc -g {argument} -pipe")
    with pytest.raises(KernelError, match=rf"CC: {argument} changes what .*leave it out of CC"):
        find_compiler()


@needs_compiler
@pytest.mark.parametrize(
    "argument", ["-O3", "-g", "-fno-fast-math", "-fno-associative-math", "-march=native", "-pipe"]
)
def test_arguments_that_do_not_are_taken(monkeypatch, argument):
    monkeypatch.setenv("CC", f"{CC} {argument}")
    assert find_compiler().argv == (CC, argument)


@needs_compiler
def test_fast_arithmetic_that_a_script_brings_is_undone(tmp_path, monkeypatch):
    """Arguments that stand before ours, as those of a response file or a configuration do."""
    monkeypatch.setenv("CC", str(script(tmp_path / "fast", f'exec {CC} -ffast-math "$@"')))
    text = "#if defined __FAST_MATH__ || __FINITE_MATH_ONLY__\n#error fast\n#endif\n"
    assert load_library(text + source(2), "cell").answer() == 2


FLUSHES = """
#include <xmmintrin.h>
__attribute__((constructor)) static void flush(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }
"""


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86 alone")
@pytest.mark.parametrize("flushing", [False, True])
def test_a_library_that_makes_denormals_zero_is_refused_and_has_no_effect(folder, flushing):
    """Also where the caller flushes them already, for others will load what is kept."""
    torch.set_flush_denormal(flushing)
    try:
        with pytest.raises(KernelError, match="changes the arithmetic of the process"):
            load_library(FLUSHES + source(1), "cell")
        assert bool(torch.tensor(1e-40) * 1) is not flushing
    finally:
        torch.set_flush_denormal(False)
    assert not list(folder.iterdir())


def test_a_library_is_kept_only_if_it_was_proven(folder, monkeypatch):
    def wrong(library):
        assert library.answer() == 1
        raise KernelError("wrong")

    for _ in range(2):
        with pytest.raises(KernelError, match="wrong"):
            load_library(source(1), "cell", wrong)
        assert not list(folder.iterdir())
    load_library(source(1), "cell", lambda library: None)
    assert load_library(source(1), "cell", wrong).answer() == 1  # it has been


def test_cc_is_not_passed_over_in_silence(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(KernelError, match="CC: there is no program 'no-such-compiler'"):
        find_compiler()
    tmp_path.joinpath("cc").write_text("not a program")
    tmp_path.joinpath("cc").chmod(0o755)
    monkeypatch.setenv("CC", str(tmp_path / "cc"))
    with pytest.raises(KernelError, match="cc: Exec format error"):
        load_library(source(1), "cell")


@needs_compiler
def test_cc_may_hold_arguments_and_tells_its_version(monkeypatch):
    monkeypatch.setenv("CC", f"{CC} -DANSWER=3")
    assert load_library(source("ANSWER"), "cell").answer() == 3
    compiler = find_compiler()
    assert compiler is not None
    said = subprocess.run([CC, "--version"], capture_output=True, text=True, check=True).stdout
    assert compiler.version() == said.splitlines()[0]


def test_the_cache_is_where_the_environment_says_and_private(tmp_path, folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for expected, unset in [
        (folder, "UNROLLED_CACHE"),
        (tmp_path / "xdg/unrolled", "XDG_CACHE_HOME"),
        (tmp_path / "home/.cache/unrolled", "HOME"),
    ]:
        assert cache_folder() == (expected, None)
        assert stat.S_IMODE(expected.stat().st_mode) == 0o700
        monkeypatch.delenv(unset)


def test_a_user_without_a_home_has_a_temporary_cache(monkeypatch):
    monkeypatch.delenv("UNROLLED_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where nobody is known
    path, problem = cache_folder()
    assert problem == "the user has no home folder"
    assert path.is_dir()


def test_relative_folders_are_taken_from_ours_and_ignored_from_xdg(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "xdg")
    monkeypatch.setenv("UNROLLED_CACHE", "here")
    assert cache_folder() == (tmp_path / "here", None)
    monkeypatch.delenv("UNROLLED_CACHE")
    assert cache_folder() == (tmp_path / "home/.cache/unrolled", None)


def unwritable(folder, monkeypatch):
    folder.write_text("a file, where a folder should be")  # root, too, is refused this
    monkeypatch.setenv("UNROLLED_CACHE", str(folder / "below"))


def read_only(folder, monkeypatch):
    folder.mkdir(mode=0o700)
    access = os.access  # root may write whatever the mode; a read-only disk says so here
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder and access(path, mode))


def writable_by_others(folder, monkeypatch):
    folder.mkdir()
    folder.chmod(0o770)


def of_another_user(folder, monkeypatch):
    if not folder.is_symlink():
        folder.mkdir(mode=0o700)
    lstat = os.lstat

    def of_another(path, **options):
        status = lstat(path, **options)
        if str(path) != str(folder):
            return status
        return os.stat_result((*status[:4], status.st_uid + 1, *status[5:10]))

    monkeypatch.setattr(os, "lstat", of_another)


def other_user_of(place, monkeypatch):
    of_another_user(place, monkeypatch)
    return place


def in_a_shared_folder(folder, monkeypatch):
    shared = folder.parent / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("UNROLLED_CACHE", str(shared / "below" / "cache"))


def behind_a_link_in_a_shared_folder(folder, monkeypatch):
    """Others can let it lead elsewhere, though where it leads now is private."""
    in_a_shared_folder(folder, monkeypatch)
    folder.mkdir(mode=0o700)
    link = folder.parent / "shared" / "link"
    link.symlink_to(folder)
    monkeypatch.setenv("UNROLLED_CACHE", str(link))


def behind_two_links(folder, monkeypatch):
    behind_a_link_in_a_shared_folder(folder, monkeypatch)
    first = folder.parent / "first"
    first.symlink_to("shared/link")
    monkeypatch.setenv("UNROLLED_CACHE", str(first))


def a_file(folder, monkeypatch):
    folder.touch()


def a_link_to_nothing(folder, monkeypatch):
    folder.symlink_to(folder.parent / "nothing")


def a_link_to_itself(folder, monkeypatch):
    folder.symlink_to(folder)


def without_a_place_for_its_secret(folder, monkeypatch):
    folder.parent.joinpath("state").touch()


def with_a_secret_that_others_can_replace(folder, monkeypatch):
    state = folder.parent / "state"
    state.mkdir()
    state.chmod(0o777)


def without_room(folder, monkeypatch):
    def no_room(dir, **options):
        if Path(dir) == folder:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return tempfile.TemporaryFile(dir=dir, **options)

    folder.mkdir(mode=0o700)
    monkeypatch.setattr(cache, "TemporaryFile", no_room)
    load_library(source(1), "before")


@needs_compiler
@pytest.mark.parametrize(
    ("spoil", "place", "problem"),
    [
        (unwritable, "cache", "cache is not a folder"),
        (a_file, "cache", "is not a folder"),
        (a_link_to_nothing, "cache", "is not a folder"),
        (a_link_to_itself, "cache", "is not a folder"),
        (read_only, "cache", "cannot be written"),
        (without_room, "cache", "No space left on device"),
        (writable_by_others, "cache", "can be written by others: chmod go-w"),
        (of_another_user, "cache", "belongs to another user"),
        (in_a_shared_folder, "shared", "can be written by others: chmod go-w"),
        (behind_a_link_in_a_shared_folder, "shared", "can be written by others: chmod go-w"),
        (behind_two_links, "shared", "can be written by others: chmod go-w"),
        (without_a_place_for_its_secret, "its secret has no place", "state is not a folder"),
        (with_a_secret_that_others_can_replace, "its secret has no place", "chmod go-w"),
    ],
)
def test_a_folder_that_cannot_serve_is_replaced_by_a_private_one(
    tmp_path, folder, monkeypatch, spoil, place, problem
):
    spoil(folder, monkeypatch)
    path, said = cache_folder()
    assert said is not None
    assert said.removeprefix(f"{tmp_path}/").startswith(place)
    assert said.endswith(problem)
    assert path.parent == tmp_path / "temporary"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert load_library(source(5), "cell").answer() == 5
    assert "cell" in [entry.name for entry in cache_entries()]
    assert {entry.path.parent for entry in cache_entries()} == {path}
    assert cache_folder().path == path
    assert not folder.is_dir() or not list(folder.iterdir())


@needs_compiler
def test_a_kernel_that_cannot_be_kept_is_used_all_the_same(folder, monkeypatch):
    def no_quota(*arguments):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(cache, "_keep", no_quota)
    assert load_library(source(1), "cell").answer() == 1
    assert cache_folder().problem == f"{folder}: {os.strerror(errno.EDQUOT)}"


@needs_compiler
def test_a_folder_below_a_sticky_one_that_all_can_write_serves(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for place in (shared / "cache", shared / "link"):
        monkeypatch.setenv("UNROLLED_CACHE", str(place))
        if place.name == "link":
            place.symlink_to(shared / "cache")
        assert cache_folder() == (place, None)


def test_a_link_of_another_user_in_a_sticky_folder_does_not_serve(tmp_path, monkeypatch):
    shared, private = tmp_path / "shared", tmp_path / "private"
    shared.mkdir()
    shared.chmod(0o1777)
    private.mkdir(mode=0o700)
    link = shared / "link"
    link.symlink_to(private)
    of_another = other_user_of(link, monkeypatch)
    monkeypatch.setenv("UNROLLED_CACHE", str(link / "cache"))
    assert cache_folder().problem == f"{of_another} belongs to another user"


def test_the_group_that_is_a_users_own_is_not_others(folder, monkeypatch):
    """Where each user has a group of the same name, folders are made with mode 775."""
    folder.mkdir()
    folder.chmod(0o775)
    own = SimpleNamespace(pw_name="ana", pw_gid=folder.stat().st_gid + 5)
    group = SimpleNamespace(gr_name="ana", gr_mem=[])
    lstat = os.lstat

    def of_group(path, **options):
        status = lstat(path, **options)
        if str(path) != str(folder):
            return status
        return os.stat_result((*status[:5], own.pw_gid, *status[6:10]))

    monkeypatch.setattr(os, "lstat", of_group)
    monkeypatch.setattr("pwd.getpwuid", lambda user: own)
    monkeypatch.setattr("grp.getgrgid", lambda number: group)
    assert cache_folder() == (folder, None)
    group.gr_mem = ["ana", "eve"]
    assert cache_folder().problem == f"{folder} can be written by others: chmod go-w"
    group.gr_mem, group.gr_name = [], "staff"
    assert cache_folder().problem == f"{folder} can be written by others: chmod go-w"
    folder.chmod(0o777)
    group.gr_name = "ana"
    assert cache_folder().problem == f"{folder} can be written by others: chmod go-w"


# ---- What somebody else has put there ------------------------------------------------------------


@needs_compiler
def test_an_entry_that_another_user_made_while_the_folder_was_open_is_not_loaded(
    tmp_path, folder, compilations, monkeypatch
):
    """They have the same compiler and know the name; what they lack is this user's secret."""
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "theirs"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "their-state"))
    load_library(source(1), "cell")
    (entry,) = cache_entries()
    monkeypatch.setenv("UNROLLED_CACHE", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder.mkdir(mode=0o700)
    folder.joinpath(entry.path.name).write_bytes(entry.path.read_bytes())
    assert load_library(source(1), "cell").answer() == 1
    assert compilations() == 2
    assert is_sound(folder / entry.path.name)


def loosen(entry):
    entry.chmod(0o660)


def link(entry):
    entry.rename(entry.with_name("elsewhere"))
    entry.symlink_to("elsewhere")


def pipe(entry):
    entry.unlink()
    os.mkfifo(entry, 0o600)


def own_by_another(entry):
    if os.geteuid():
        pytest.skip("only root gives files away")
    os.chown(entry, 65534, 65534)


@needs_compiler
@pytest.mark.parametrize("change", [loosen, link, pipe, own_by_another])
def test_what_this_user_alone_cannot_have_written_is_built_again(folder, compilations, change):
    load_library(source(1), "cell")
    (entry,) = cache_entries()
    change(entry.path)
    assert load_library(source(1), "cell").answer() == 1
    assert compilations() == 2
    assert stat.S_IMODE(entry.path.lstat().st_mode) == 0o600
    assert stat.S_ISREG(entry.path.lstat().st_mode)
    assert entry.path.stat().st_uid == os.geteuid()


@needs_compiler
@pytest.mark.parametrize(
    "spoil",
    [lambda secret: secret.chmod(0o644), Path.unlink, lambda secret: secret.write_bytes(b"short")],
    ids=["could be read", "is gone", "is cut"],
)
def test_a_secret_that_may_be_known_or_is_gone_seals_nothing(secret, compilations, spoil):
    load_library(source(1), "cell")
    before = secret.read_bytes()
    assert len(before) == 32
    spoil(secret)
    load_library(source(1), "cell")
    assert compilations() == 2
    assert len(secret.read_bytes()) == 32
    assert secret.read_bytes() != before
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    load_library(source(1), "cell")
    assert compilations() == 2


@needs_compiler
@pytest.mark.parametrize("from_memory", [True, False], ids=["memory", "file"])
def test_what_is_loaded_is_what_was_checked(folder, monkeypatch, from_memory):
    """Whatever is put in its place between the two."""
    load_library(source(1), "cell")
    load_library(source(2), "cell")
    two, one = (entry.path for entry in cache_entries())
    load_bytes = cache.load_bytes

    def swap_then_load(*arguments):
        one.write_bytes(two.read_bytes())
        return load_bytes(*arguments)

    monkeypatch.setattr(cache, "load_bytes", swap_then_load)
    if not from_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    assert load_library(source(1), "cell").answer() == 1
    assert len(list(folder.iterdir())) == 4  # two entries with their texts


@needs_compiler
@pytest.mark.parametrize("from_memory", [True, False], ids=["memory", "file"])
def test_each_library_is_its_own_though_descriptors_come_again(monkeypatch, from_memory):
    if not from_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    libraries = [load_library(source(n), "cell") for n in range(9)]
    libraries += [load_library(source(n), "cell") for n in range(9)]
    assert [library.answer() for library in libraries] == [*range(9), *range(9)]


@needs_compiler
def test_where_libraries_cannot_come_from_memory_they_come_from_a_file(monkeypatch):
    def forbidden(*arguments):
        raise PermissionError(errno.EACCES, "memfd_create")

    monkeypatch.setattr(os, "memfd_create", forbidden, raising=False)
    assert load_library(source(3), "cell").answer() == 3


@needs_compiler
def test_no_file_can_be_written_by_others_whatever_the_umask():
    before = os.umask(0)
    try:
        load_library(source(1), "cell")
    finally:
        os.umask(before)
    (entry,) = cache_entries()
    assert stat.S_IMODE(entry.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(entry.path.parent.stat().st_mode) == 0o700


def plant(folder: Path, number: int, size: int, age_seconds: float) -> Path:
    path = folder / f"cell-{number:032x}.so"
    path.write_bytes(bytes(size - 1))
    path.with_suffix(".c").write_bytes(bytes(1))
    os.utime(path, (time.time() - age_seconds,) * 2)
    return path


@needs_compiler
def test_the_entries_used_longest_ago_make_room(monkeypatch):
    monkeypatch.setattr(cache, "MAX_ENTRIES", 3)
    folder = cache_folder().path
    oldest_first = [plant(folder, n, 10, age_seconds=100 - n) for n in range(4)]
    load_library(source(1), "new")
    names = ["new", "cell", "cell"]
    assert [entry.name for entry in cache_entries()] == names
    assert [path.exists() for path in oldest_first] == [False, False, True, True]
    assert len(list(folder.iterdir())) == 2 * len(names)  # the C texts are gone, too


def test_the_cache_has_room_for_every_published_cell_in_every_format():
    """Else a comparison of all of them would compile each one again, each time."""
    num_formats = len(WEIGHT_FORMATS) + 1  # and mixed precision
    assert len(CATALOGUE) * num_formats <= cache.MAX_ENTRIES
    assert cache.MAX_ENTRIES * 200_000 <= cache.MAX_BYTES


@needs_compiler
def test_the_cache_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 100_000)
    folder = cache_folder().path
    older, newer = plant(folder, 1, 50_000, age_seconds=2), plant(folder, 2, 50_000, age_seconds=1)
    load_library(source(1), "new")
    assert newer.exists()
    assert not older.exists()
    assert sum(entry.size for entry in cache_entries()) <= 100_000
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 100_000


@needs_compiler
def test_a_kernel_larger_than_the_bound_still_loads(monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 1)
    assert load_library(source(1), "cell").answer() == 1


@needs_compiler
def test_use_counts_not_age():
    for answer in (1, 2):
        load_library(source(answer), f"cell{answer}")
    for entry in cache_entries():
        os.utime(entry.path, (1, 1))
    before = time.time()
    load_library(source(1), "cell1")
    first, second = cache_entries()
    assert (first.name, second.name, second.last_used) == ("cell1", "cell2", 1)
    assert first.last_used > before - 1  # a file's time may lag behind the clock


@needs_compiler
def test_a_kernel_that_another_process_removes_while_it_is_loaded_is_there(monkeypatch):
    load_library(source(1), "cell")
    sealed_content = cache._sealed_content

    def read_and_then_removed(store, file_name):
        content = sealed_content(store, file_name)
        (store.folder / file_name).unlink()  # the other process makes room
        return content

    monkeypatch.setattr(cache, "_sealed_content", read_and_then_removed)
    assert load_library(source(1), "cell").answer() == 1


@needs_compiler
def test_abandoned_compilations_are_swept_and_running_ones_are_not():
    folder = cache_folder().path
    abandoned, running = folder / ".unrolled-build-1", folder / ".unrolled-build-2"
    for path in (abandoned, running):
        path.mkdir()
        path.joinpath("cell.c").touch()
    os.utime(abandoned, (time.time() - 7200,) * 2)
    load_library(source(1), "cell")
    assert not abandoned.exists()
    assert running.exists()


@needs_compiler
def test_clear_removes_the_kernels_and_nothing_else(secret):
    folder = cache_folder().path
    kept = [folder / name for name in ("notes.txt", "program.c", "library.so", "zig")]
    for path in kept:
        path.touch()
    load_library(source(1), "cell")
    load_library(source(2), "cell")
    zig = secret.with_name("zig")
    zig.mkdir()
    assert clear_cache() == 2
    assert not zig.exists()
    assert cache_entries() == []
    assert sorted(folder.iterdir()) == sorted(kept)
    assert clear_cache() == 0


START_TOGETHER = """
import os, sys
from unrolled.kernels import load_library

go, start = os.pipe()
children = []
for _ in range(8):
    child = os.fork()
    if not child:
        os.close(start)
        os.read(go, 1)  # until the other end is closed
        os._exit(load_library(sys.argv[1], "cell").answer())
    children.append(child)
os.close(start)
print(*[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""

IN_A_TEMPORARY_FOLDER = """
import os, sys
from unrolled.kernels import cache_folder, load_library

load_library(sys.argv[1], "before")
if not os.fork():
    load_library(sys.argv[1], "child")
    sys.exit()  # which runs what is registered for the end of a process
os.wait()
load_library(sys.argv[1], "after")
print(*cache_folder(), *sorted(name.split("-")[0] for name in os.listdir(cache_folder().path)))
"""


def run_python(code: str) -> str:
    """What a new process prints; it pays for importing torch, and its forks do not."""
    command = [sys.executable, "-c", code, source(9)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@needs_compiler
def test_eight_processes_can_start_at_once_on_an_empty_cache(folder):
    assert run_python(START_TOGETHER) == "9 9 9 9 9 9 9 9"
    assert len(cache_entries()) == 1
    assert len(list(folder.iterdir())) == 2


@needs_compiler
def test_a_temporary_folder_outlives_forks_and_not_the_process(tmp_path, monkeypatch):
    unwritable(tmp_path / "file", monkeypatch)
    folder, report = run_python(IN_A_TEMPORARY_FOLDER).split(" ", 1)
    assert report.endswith("is not a folder after after before before child child")
    assert not Path(folder).exists()


@needs_compiler
def test_a_library_brings_its_mathematics(monkeypatch):
    """This process has libm loaded anyway: only the linker can tell."""
    if sys.platform == "linux":
        monkeypatch.setenv("CC", f"{CC} -Wl,--no-undefined")
    text = "#include <math.h>\nfloat f(float x) { return erff(x) + powf(x, 3.0f); }"
    function = load_library(text, "erf").f
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    assert function(0.5) == pytest.approx(0.520500 + 0.125, abs=1e-6)  # erf(0.5) from a table
