"""A run's folder from somebody else, or from a disk that forgets: nothing of it is trusted."""

import os
import shutil

import pytest

from support.runs import change_config, stop_at
from unrolled.cli.main import main
from unrolled.errors import RunError
from unrolled.tasks import find_task, load, options_of, prepare, resume
from unrolled.training import Run, loss_curves

FILES = ("config.json", "vocabulary.json", "weights.safetensors", "last.ckpt", "metrics.jsonl")
READ_BY = {"last.ckpt": ("resume",), "metrics.jsonl": ("resume", "curves")}


def prepare_signs(numbers, run, **training):
    sign = options_of("sign")
    return prepare(
        find_task("sign"),
        sign.DataOptions(path=str(numbers)),
        run,
        training=sign.TrainingOptions(**{"epochs": 2} | training),
    )


@pytest.fixture
def stopped(numbers, tmp_path):
    """The folder of a run in the middle of its training."""
    trainer = prepare_signs(numbers, tmp_path / "run").trainer
    stop_at(trainer, 11)
    assert trainer.fit().reason == "interrupted"
    return tmp_path / "run"


def read(run, how):
    if how == "load":
        load(run)
    elif how == "curves":
        loss_curves(Run(run))
    else:
        resume(run).trainer.fit()


def make_link(path, elsewhere):
    path.symlink_to(elsewhere)


def make_link_to_nothing(path, elsewhere):
    elsewhere.unlink()
    path.symlink_to(elsewhere)


def make_pipe(path, _):
    os.mkfifo(path)


def make_folder(path, _):
    path.mkdir()


def make_endless(path, _):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "make", [make_link, make_link_to_nothing, make_pipe, make_endless, make_folder]
)
@pytest.mark.parametrize("file", FILES)
def test_what_is_not_a_plain_file_is_refused_and_what_a_link_leads_to_is_left_alone(
    stopped, tmp_path, file, make
):
    """With the content that is expected, so that nothing else is wrong."""
    elsewhere = shutil.move(stopped / file, tmp_path / "elsewhere")
    content = elsewhere.read_bytes()
    make(stopped / file, elsewhere)
    for how in READ_BY.get(file, ("load", "resume")):
        if file == "weights.safetensors" and how == "resume":
            continue  # replaced, and not read
        with pytest.raises(RunError, match="run"):
            read(stopped, how)
    assert not elsewhere.exists() or elsewhere.read_bytes() == content


def test_weights_that_are_a_link_are_replaced_and_not_followed(stopped, tmp_path):
    elsewhere = shutil.move(stopped / "weights.safetensors", tmp_path / "elsewhere")
    before = elsewhere.read_bytes()
    (stopped / "weights.safetensors").symlink_to(elsewhere)
    resume(stopped).trainer.fit()
    assert elsewhere.read_bytes() == before
    assert not (stopped / "weights.safetensors").is_symlink()


@pytest.mark.parametrize("file", [*FILES, ".lock"])
def test_what_is_hard_linked_to_a_file_of_a_run_keeps_its_content(stopped, tmp_path, file):
    """As a copy of a folder by `cp --link`."""
    (tmp_path / "backup").hardlink_to(stopped / file)
    before = (tmp_path / "backup").read_bytes()
    prepared = resume(stopped)
    prepared.trainer.fit()
    prepared.finish()
    assert (tmp_path / "backup").read_bytes() == before


def test_a_lock_that_is_a_link_is_not_followed(stopped, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (stopped / ".lock").unlink()
    (stopped / ".lock").symlink_to(victim)
    with pytest.raises(RunError, match=r"\.lock: cannot be written: it is a link"):
        resume(stopped)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("file", "how", "message"),
    [
        ("config.json", "load", r"weights\.safetensors: of another run"),
        ("config.json", "resume", r"last\.ckpt: of another run"),
        ("weights.safetensors", "load", r"weights\.safetensors: of another run"),
        ("last.ckpt", "resume", r"last\.ckpt: of another run"),
        ("metrics.jsonl", "resume", r"metrics\.jsonl: has changed since"),
        ("metrics.jsonl", "curves", r"metrics\.jsonl: has changed since"),
    ],
)
def test_a_file_of_another_run_is_told(stopped, numbers, tmp_path, file, how, message):
    """Of one that differs in nothing but the seed, so that all sizes are the same."""
    other = prepare_signs(numbers, tmp_path / "other", seed=1).trainer
    other.fit()
    shutil.copy(other.run.path / file, stopped / file)
    with pytest.raises(RunError, match=message):
        read(stopped, how)


def test_the_vocabulary_of_another_run_is_told(stopped):
    (stopped / "vocabulary.json").write_text('{"classes": ["below", "above"]}')
    with pytest.raises(RunError, match=r"vocabulary\.json: has changed since"):
        load(stopped)


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(500), b"PK\3\4" + bytes(900)]
)
@pytest.mark.parametrize("file", FILES)
def test_a_file_of_another_kind_is_one_line_with_a_hint(stopped, file, content, capsys):
    (stopped / file).write_bytes(content)
    command = {"last.ckpt": "resume", "metrics.jsonl": "resume"}.get(file, "predict")
    with pytest.raises(SystemExit) as ended:
        main([command, str(stopped), *(["-"] if command == "predict" else [])])
    if (file, content) == ("metrics.jsonl", b""):
        assert not ended.value.code  # mended, and said so
        assert "metrics.jsonl was cut" in capsys.readouterr().err
        return
    assert ended.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    if file == "metrics.jsonl":
        lines = lines[-2:]  # what is trained is said before the log is opened
    assert lines[0].startswith(f"unrolled: error: {stopped / file}: ")
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2


def test_a_config_that_was_changed_by_its_owner_is_one_line_that_says_how_to_keep_it(
    stopped, capsys
):
    path = stopped / "config.json"
    path.write_text(path.read_text().replace('"epochs": 2', '"epochs": 3'))
    with pytest.raises(SystemExit):
        main(["resume", str(stopped)])
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"unrolled: error: {path}: has changed since `unrolled` wrote it, or is damaged",
        "hint: put back the file as the run left it; if you changed it yourself, take config.json "
        f"out of sha256 in {path}",
    ]
    change_config(stopped, lambda config: None)
    assert resume(stopped).trainer.fit().epoch == 3
