"""Commands that are printed can be pasted: they begin with what starts this very program."""

import sys
from pathlib import Path

import pytest

from unrolled.cli.program import program, program_of_all


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_script_that_the_shell_finds_is_called_by_its_name(tmp_path, monkeypatch):
    script = executable(tmp_path / "bin" / "unrolled")
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "unrolled"


@pytest.mark.parametrize("on_path", [[], ["unrolled"]])
def test_a_script_that_the_shell_does_not_find_is_called_by_its_path(
    tmp_path, monkeypatch, on_path
):
    """As after `make run`: .venv/bin/unrolled; another of that name may be found instead."""
    for name in on_path:
        executable(tmp_path / "elsewhere" / name)
    executable(tmp_path / "it is" / "unrolled")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["it is/unrolled"])
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    assert program() == "'it is/unrolled'"


def test_a_python_of_an_environment_is_not_taken_for_the_one_that_it_links_to(
    tmp_path, monkeypatch
):
    python = executable(tmp_path / "usr" / "python")
    link = tmp_path / "environment" / "python"
    link.parent.mkdir()
    link.symlink_to(python)
    monkeypatch.setattr(sys, "argv", ["/somewhere/unrolled/__main__.py"])
    monkeypatch.setattr(sys, "executable", str(link))
    monkeypatch.setenv("PATH", str(python.parent))
    assert program() == f"{link} -m unrolled"
    monkeypatch.setenv("PATH", str(link.parent))
    assert program() == "python -m unrolled"


def test_a_library_that_calls_the_program_is_told_its_name(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["a_notebook.py"])
    assert program() == "unrolled"


ONE = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1"}
MANY = ONE | {"WORLD_SIZE": "8", "GROUP_WORLD_SIZE": "4", "GROUP_RANK": "0"}
MANY |= {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "TORCHELASTIC_MAX_RESTARTS": "10"}


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        (ONE, "--nproc-per-node 2"),
        (ONE | {"TORCHELASTIC_MAX_RESTARTS": "3"}, "--nproc-per-node 2 --max-restarts 3"),
        (
            MANY,
            "--nnodes 4 --nproc-per-node 2 --max-restarts 10 "
            "--node-rank 0 --master-addr 10.0.0.1 --master-port 29500",
        ),
    ],
)
def test_what_torchrun_started_is_started_by_torchrun_again(
    tmp_path, monkeypatch, variables, options
):
    python = executable(tmp_path / "bin" / "python")
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", str(python.parent))
    for name in MANY:
        monkeypatch.delenv(name, raising=False)
    assert program_of_all() == program()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert program_of_all() == f"python -m torch.distributed.run {options} -m -- unrolled"
    executable(python.with_name("torchrun"))
    assert program_of_all() == f"torchrun {options} -m -- unrolled"


def test_what_was_started_several_times_without_torchrun_is_no_torchrun(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")  # as under mpirun or srun
    for name in MANY.keys() - {"WORLD_SIZE"}:
        monkeypatch.delenv(name, raising=False)
    assert program_of_all() == program()
