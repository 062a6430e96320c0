import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from support.runs import change_config, without_checksums
from unrolled.cli.main import main
from unrolled.errors import RunError
from unrolled.tasks import find_task, load, options_of, prepare, resume
from unrolled.training import Run


def assert_refused(result, *expected, code=1):
    """One line and a hint on stderr, nothing on stdout."""
    assert (result.code, result.out) == (code, "")
    lines = result.err.splitlines()
    assert len(lines) in (1, 2), result.err
    assert lines[0].startswith("unrolled: error: ")
    assert all(line.startswith("hint: ") for line in lines[1:])
    for words in expected:
        assert words in result.err


BAD_FILES = {
    "missing": (None, "no such file"),
    "empty": (b"", "empty"),
    "binary": (b"\x7fELF\x02\x01\x00\x00", "binary"),
    "utf-16": ("hello".encode("utf-16"), "not utf-8 text in line 1, at byte 0"),
    "too short": (b"h\n", "too short"),
    "shorter than one window": (b"hello world\n" * 3, "too short"),
}


@pytest.mark.parametrize(("content", "expected"), BAD_FILES.values(), ids=BAD_FILES)
def test_training_refuses_a_file_that_is_no_text(unrolled, content, expected):
    if content is not None:
        Path("data.txt").write_bytes(content)
    assert_refused(unrolled("train", "lm", "data.txt", "--run", "run"), expected)
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--cell", "ltsm"], ["'ltsm'", "did you mean lstm?"]),
        (
            ["--cell", "lstm", "--kernel-size", 3],
            ["--kernel-size is for convolutions, but the cell is lstm"],
        ),
        (["--hidden-size", 0], ["--hidden-size must be at least 1, got 0"]),
        (["--layers", -1], ["--layers must be at least 1, got -1"]),
        (["--dropout", 2], ["--dropout must be in [0, 1), got 2"]),
        (["--tokens", "words"], ["--tokens must be one of char, byte, bpe", "'words'"]),
        (["--vocabulary-size", 300], ["--vocabulary-size is for bpe and word"]),
        (["--batch-size", 0], ["--batch-size must be at least 1, got 0"]),
        (["--batch-size", 1000], ["too short: 1000 columns of 16 steps", "--batch-size", "--k1"]),
        (["--k1", 8, "--k2", 4], ["--k2 (steps backward) must be at least --k1"]),
        (["--learning-rate", 0], ["--learning-rate must be a number above 0"]),
        (["--minutes", 1], ["one of --epochs, --updates or --minutes"]),
        (["--encoding", "klingon"], ["unknown encoding 'klingon'"]),
        (["--held-out", 1], ["--held-out must be in [0, 1), got 1"]),
        (["--seed", -1], ["--seed must be in [0, 9e+18], got -1"]),
    ],
)
def test_training_refuses_an_option_out_of_range(train, options, expected):
    assert_refused(train("run", *options), *expected)
    assert not Path("run").exists()


def test_training_leaves_an_existing_run_alone(train, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    assert_refused(train(trained), "there is a run already", f"unrolled resume {trained}")
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_training_refuses_a_run_folder_that_cannot_be_made(train, text_file):
    assert_refused(train(text_file), "is a file", "--run")
    assert_refused(train(text_file / "below"), "cannot be written")


def test_training_that_diverges_says_where_and_keeps_what_was_good(unrolled, train):
    result = train("run", "--learning-rate", 1e30, "--epochs", 5)
    assert result.code == 1
    error, hint = result.err.splitlines()[-2:]
    assert error.startswith("unrolled: error: training diverged at update ")
    assert "lower learning rate" in hint
    assert "Traceback" not in result.err
    assert unrolled("generate", "run", "--length", 3).code == 0


@pytest.mark.parametrize("command", [["generate"], ["evaluate", "bottles.txt"], ["resume"]])
def test_commands_refuse_what_is_no_run(unrolled, text_file, command):
    name, *rest = command
    Path("folder").mkdir()
    assert_refused(unrolled(name, "nowhere", *rest), "nowhere: no such folder")
    assert_refused(unrolled(name, "folder", *rest), "folder: not a run")
    assert_refused(unrolled(name, text_file, *rest), "bottles.txt: not a run")


@pytest.mark.parametrize("command", [["generate"], ["evaluate", "bottles.txt"], ["resume"]])
def test_commands_refuse_a_run_of_another_version(unrolled, trained, command):
    config = json.loads((trained / "config.json").read_text())
    (trained / "config.json").write_text(json.dumps(config | {"format": 99, "unrolled": "7.0"}))
    name, *rest = command
    assert_refused(unrolled(name, trained, *rest), "format 99, expected 3", "unrolled 7.0")


@pytest.mark.parametrize("command", [["generate"], ["evaluate", "bottles.txt"], ["resume"]])
@pytest.mark.parametrize(
    "content", [{"format": 3}, {"format": 2, "task": "lm"}, {"format": 3, "task": "lm"}]
)
def test_commands_refuse_a_run_whose_config_says_too_little(
    unrolled, trained, text_file, command, content
):
    (trained / "config.json").write_text(json.dumps(content))
    name, *rest = command
    assert_refused(unrolled(name, trained, *rest), str(trained))


def test_evaluating_needs_no_encoding_in_the_config(unrolled, trained, text_file):
    change_config(trained, lambda config: config["data"]["options"].pop("encoding"))
    assert unrolled("evaluate", trained, text_file).code == 0


def test_resuming_refuses_a_run_that_another_process_trains(unrolled, trained):
    with Run(trained).locked():
        assert_refused(unrolled("resume", trained), "another process is training it", "hint: ")


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("resume", "last.ckpt"),
        ("generate", "weights.safetensors"),
        ("generate", "vocabulary.json"),
        ("generate", "config.json"),
    ],
)
@pytest.mark.parametrize("part", [0.0, 0.5])
def test_commands_refuse_a_truncated_file(unrolled, trained, command, file, part):
    whole = (trained / file).read_bytes()
    (trained / file).write_bytes(whole[: int(len(whole) * part)])
    assert_refused(unrolled(command, trained), str(trained / file))


def test_checkpoints_do_not_execute_code(unrolled, trained):
    torch.save({"format": 3, "model": Path}, trained / "last.ckpt")
    assert_refused(unrolled("resume", trained), "last.ckpt")


def test_resuming_refuses_a_text_that_has_changed(unrolled, train, text_file):
    train("run")
    text_file.write_text(text_file.read_text() + "more")
    assert_refused(unrolled("resume", "run"), "has changed")


def test_generating_names_the_characters_it_has_never_seen(unrolled, trained):
    result = unrolled("generate", trained, "--prompt", "näïve")
    assert_refused(result, "'ä' (U+00E4), 'ï' (U+00EF)", "hint: ")


def test_a_prompt_that_is_no_text_is_refused(unrolled, train):
    train("run", "--tokens", "byte")
    assert_refused(unrolled("generate", "run", "--prompt", "\udcff"), "surrogate")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--temperature", -1), ("--top-k", 0), ("--top-p", 2), ("--length", 0), ("--prompt", "")],
)
def test_generating_refuses_an_option_out_of_range(unrolled, trained, option, value):
    assert_refused(unrolled("generate", trained, option, value), option.strip("-"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [*list(BAD_FILES.values())[:4], (b"1", "too short"), (b"Hello", "'H' (U+0048)")],
)
def test_evaluating_refuses_a_file_that_it_cannot_measure(unrolled, trained, content, expected):
    if content is not None:
        Path("data.txt").write_bytes(content)
    assert_refused(unrolled("evaluate", trained, "data.txt"), expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "lm", "a.txt", "--hiden-size", "3"], ["--hidden-size"]),
        (["train", "lm", "a.txt", "--hidden-size", "big"], ["--hidden-size", "valid integer"]),
        (["train"], ["Missing command", "unrolled train --help"]),
        (["trian"], ["'trian'", "train"]),
        (["generate"], ["RUN", "unrolled generate --help"]),
    ],
)
def test_a_command_that_makes_no_sense_exits_with_2(unrolled, arguments, expected):
    assert_refused(unrolled(*arguments), *expected, code=2)


def test_our_own_mistakes_keep_their_traceback(monkeypatch, trained):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("unrolled.tasks.loading.load_weights", broken)
    with pytest.raises(ZeroDivisionError):
        main(["generate", str(trained)])


def test_a_message_with_brackets_is_printed_as_it_is(unrolled):
    assert "[red]x[/red]: no such folder" in unrolled("generate", "[red]x[/red]").err


def test_of_several_processes_one_on_each_machine_prints_errors(unrolled, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    result = unrolled("generate", "nowhere")
    assert (result.code, result.err) == (1, "")


def test_a_text_whose_name_is_not_utf_8_is_trained_on(unrolled, text_file):
    name = os.fsdecode(b"cora\xe7\xe3o.txt")
    text_file.rename(name)
    small = ("--hidden-size", 8, "--batch-size", 4, "--k1", 16, "--epochs", 1)
    assert unrolled("train", "lm", name, "--run", "run", *small).code == 0
    assert unrolled("resume", "run").code == 0
    assert unrolled("evaluate", "run", name).code == 0
    Path(name).write_text("other")
    with pytest.raises(RunError, match="has changed since the run began"):
        resume(Path("run"))  # what it is called is printed on a terminal as it can be


def test_weights_that_are_not_finite_are_told_by_whoever_loads_them(unrolled, trained, text_file):
    path = trained / "weights.safetensors"
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file({name: x * float("nan") for name, x in tensors.items()}, path)
    for name, *rest in (
        ("generate",),
        *(("predict", "bottles.txt"), ("evaluate", text_file)),
        *(("inspect", "--text", "bottles"), ("resume",)),
    ):
        result = unrolled(name, trained, *rest)
        if name == "resume":
            assert result.code == 0  # last.ckpt holds the weights that are best, and they are
            continue
        assert_refused(result, "weights.safetensors: ", "infinite or not a number", "hint: ")
    assert unrolled("evaluate", trained, text_file).code == 0


@pytest.mark.parametrize("size", [512, 64])  # 512 is what there would be anyway
def test_a_hidden_size_and_a_budget_are_not_both_taken(train, size):
    result = train("run", "--hidden-size", size, "--parameters", 5000)
    assert_refused(result, "--hidden-size is given beside --parameters", "leave one of the two out")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("echo", "--delay", 999_999), "--delay"),
        (("copy", "--length", 10**9), "--length"),
        (("adding", "--length", 10**6), "--length"),
    ],
)
def test_more_steps_than_can_be_made_are_refused_at_once(unrolled, words, name):
    result = unrolled("train", "toy", *words, "--run", "run")
    assert_refused(result, name, "at most 100,000,000 steps are made")


def test_a_report_into_nowhere_names_its_own_option(unrolled, trained):
    result = unrolled("inspect", trained, "--output", "nosuch/dir/report.html")
    assert_refused(result, "--output: there is no folder nosuch/dir", "make it first")


def test_a_foreign_run_cannot_ask_for_any_number_of_words(tmp_path):
    pairs = [f"one {n}\tun {n}" for n in range(40)]
    (tmp_path / "pairs.tsv").write_text("\n".join(pairs) + "\n")
    options = options_of("translate")
    prepare(
        find_task("translate"),
        options.DataOptions(file=str(tmp_path / "pairs.tsv")),
        tmp_path / "run",
        model=options.ModelOptions(hidden_size=4, embedding_size=4),
        training=options.TrainingOptions(epochs=1),
    )
    vocabulary = without_checksums(tmp_path / "run") / "vocabulary.json"
    content = json.loads(vocabulary.read_text()) | {"max_length": 10**9}
    vocabulary.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"vocabulary\.json: .*max_length must be at most 2,400"):
        load(tmp_path / "run")
