import json
import subprocess
import sys
from pathlib import Path

import pytest

from unrolled.errors import RunError
from unrolled.training.run import FORMAT, Run


def test_a_run_is_found_again_with_its_config(tmp_path):
    Run.create(tmp_path / "runs" / "one").save_config({"task": "lm", "data": "é"})
    config = Run.open(tmp_path / "runs" / "one").config
    assert (config["format"], config["task"], config["data"]) == (FORMAT, "lm", "é")
    assert config["unrolled"]


def test_an_empty_folder_may_become_a_run(tmp_path):
    Run.create(tmp_path)


def test_an_existing_run_is_not_overwritten(tmp_path):
    Run.create(tmp_path / "run").save_config({})
    with pytest.raises(RunError, match=r"there is a run already .*unrolled resume"):
        Run.create(tmp_path / "run")


def test_somebody_elses_files_are_not_overwritten(tmp_path):
    (tmp_path / "thesis.doc").write_text("")
    with pytest.raises(RunError, match=r"not empty .*another run_path"):
        Run.create(tmp_path)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="run: is a file, not a folder"):
        Run.create(tmp_path / "run")
    with pytest.raises(RunError, match="cannot be written: Not a directory"):
        Run.create(tmp_path / "run" / "inside")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RunError, match="nowhere: no such folder"):
        Run.open(tmp_path / "nowhere")


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(RunError, match=r"not a run, it has no config\.json"):
        Run.open(tmp_path)


def test_a_run_of_another_format_names_the_version_that_made_it(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"format": 99, "unrolled": "7.0"}))
    with pytest.raises(RunError, match=rf"format 99, expected {FORMAT} .*unrolled 7\.0"):
        Run.open(tmp_path)


def test_a_name_that_no_file_can_have_is_named():
    with pytest.raises(RunError, match="cannot be written: File name too long"):
        Run.check_vacant(Path("a" * 300))
    with pytest.raises(RunError, match="cannot be read: File name too long"):
        Run.open(Path("a" * 300))


def test_a_locked_run_is_refused_until_it_is_free(tmp_path):
    with Run(tmp_path).locked():
        with pytest.raises(RunError, match="another process is training it"):
            Run(tmp_path).locked().__enter__()
    with Run(tmp_path).locked():
        pass


def test_a_lock_goes_with_the_process_that_held_it(tmp_path):
    code = (
        "import sys; from pathlib import Path; from unrolled.training.run import Run\n"
        "with Run(Path(sys.argv[1])).locked(): print('locked', flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(RunError, match="another process"):
            Run(tmp_path).locked().__enter__()
        process.kill()
    with Run(tmp_path).locked():
        pass


@pytest.mark.parametrize("content", [b"", b'{"format": 2', b"\xff", b"[]"])
def test_a_damaged_config_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(RunError, match=r"config\.json"):
        Run.open(tmp_path)
