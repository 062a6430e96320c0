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


LEFT = ("vocabulary.json", "cell.py", ".vocabulary.json.17", ".config.json.17", ".cell.py.3")


@pytest.mark.parametrize("left", [(), *((name,) for name in LEFT), LEFT])
def test_what_a_process_left_that_was_killed_before_its_config_makes_way(tmp_path, left):
    (tmp_path / ".lock").touch()
    for name in left:
        (tmp_path / name).write_text("half")
    run = Run.create(tmp_path)
    with run.locked():
        run.remove_leftovers()
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_a_lock_of_another_program_is_none_of_ours(tmp_path):
    (tmp_path / ".lock").write_text("pid 7")
    (tmp_path / "cell.py").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        Run.create(tmp_path)


@pytest.mark.parametrize("name", [*LEFT[:2], ".vocabulary.json", ".x.17", "last.ckpt"])
def test_files_that_no_process_of_ours_left_are_not_touched(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        Run.create(tmp_path)
    if name not in LEFT:
        (tmp_path / ".lock").touch()
        with pytest.raises(RunError, match="not empty"):
            Run.create(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_unfinished_files_of_every_kind_are_removed_and_others_stay(tmp_path):
    Run(tmp_path).save_config({"task": "lm"})
    mine = {"config.json", "notes.txt", ".notes.txt.17", ".last.ckpt.old", ".lock"}
    for name in mine - {"config.json"}:
        (tmp_path / name).touch()
    for name in (
        *LEFT[2:],
        ".last.ckpt.1",
        ".results.json.1",
        ".report.html.1",
        ".metrics.jsonl.1",
    ):
        (tmp_path / name).touch()
    Run(tmp_path).remove_leftovers()
    assert {file.name for file in tmp_path.iterdir()} == mine


@pytest.mark.parametrize("made_folder", [True, False])
def test_a_run_that_is_discarded_leaves_only_what_is_not_its_own(tmp_path, made_folder):
    run = Run.create(tmp_path / "run")
    run.made_folder = made_folder
    files = {run.vocabulary_path: b"{}", run.cell_path: b""}
    run.save_config({"task": "lm"}, files)
    for name in ("last.ckpt", "weights.safetensors", "metrics.jsonl", ".last.ckpt.3"):
        (run.path / name).touch()
    run.tensorboard_path.mkdir()
    with run.locked():
        run.discard()
    assert run.path.exists() != made_folder
    assert made_folder or not [*run.path.iterdir()]
    run.path.mkdir(exist_ok=True)
    run.save_config({"task": "lm"}, files)
    (run.path / "notes.txt").touch()
    run.discard()
    assert [file.name for file in run.path.iterdir()] == ["notes.txt"]


CONFIG = {"task": "lm", "data": {"é": 1.5}, "model": {"units": 3}, "training": {}}


def test_every_bit_of_a_config_that_is_flipped_is_told(tmp_path):
    run = Run(tmp_path)
    run.save_config(CONFIG, {run.vocabulary_path: b"{}"})
    whole = run.config_path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytes([whole[place] ^ 1 << bit])
            run.config_path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
            with pytest.raises(RunError, match=r"config\.json|run of format"):
                Run.open(tmp_path).read(run.vocabulary_path)


def test_every_bit_of_a_file_beside_the_config_that_is_flipped_is_told(tmp_path):
    run = Run(tmp_path)
    content = {run.vocabulary_path: b'{"symbols": ["a"]}', run.cell_path: b"leaky = 1\n"}
    run.save_config(CONFIG, content)
    for path, whole in content.items():
        assert run.read(path) == whole
        for place in range(len(whole)):
            flipped = bytes([whole[place] ^ 1 << place % 8])
            path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
            with pytest.raises(RunError, match=f"{path.name}: has changed .*take {path.name} out"):
                Run.open(tmp_path).read(path)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json"])
def test_who_changes_a_file_takes_its_checksum_out_and_the_others_are_still_checked(tmp_path, name):
    run = Run(tmp_path)
    run.save_config(CONFIG, {run.vocabulary_path: b"{}"})
    config = json.loads(run.config_path.read_text())
    del config["sha256"][name]
    if name == "config.json":
        config["model"]["units"] = 4
    else:
        run.vocabulary_path.write_bytes(b"[]")
    run.config_path.write_text(json.dumps(config))
    assert Run.open(tmp_path).config["model"] == {"units": 4 if name == "config.json" else 3}
    assert Run.open(tmp_path).read(run.vocabulary_path) in (b"{}", b"[]")
    config["model"] = {}
    run.config_path.write_text(json.dumps(config))
    run.vocabulary_path.write_bytes(b"{} ")
    if name == "config.json":
        with pytest.raises(RunError, match=r"vocabulary\.json: has changed since"):
            Run.open(tmp_path).read(run.vocabulary_path)
    else:
        with pytest.raises(RunError, match=r"config\.json: has changed since"):
            Run.open(tmp_path)


def test_how_a_config_is_laid_out_does_not_count(tmp_path):
    run = Run(tmp_path)
    run.save_config(CONFIG)
    config = json.loads(run.config_path.read_text())
    run.config_path.write_text(json.dumps(dict(reversed(config.items()))))
    assert Run.open(tmp_path).task == "lm"


def test_a_config_of_an_older_version_has_no_checksums_and_is_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"format": FORMAT, **CONFIG}))
    assert Run.open(tmp_path).task == "lm"


@pytest.mark.parametrize("content", [b"", b'{"format": 2', b"\xff", b"[]", b"[" * 200_000])
def test_a_damaged_config_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(RunError, match=r"config\.json"):
        Run.open(tmp_path)
