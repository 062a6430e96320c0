import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from unrolled.cli.doctor import EXTRAS
from unrolled.networks import LAYERS
from unrolled.tasks import prepare
from unrolled.tasks.lm import DataOptions, LanguageModelTask, ModelOptions, TrainingOptions
from unrolled.training import Run


def test_train_generate_evaluate_and_resume_work_together(unrolled, train, text_file):
    trained = train("my run", "--tokens", "bpe", "--vocabulary-size", "280")
    assert (trained.code, trained.out) == (0, "")
    assert "  unrolled generate 'my run'\n" in trained.err
    assert "bits per character" in trained.err

    written = unrolled("generate", "my run", "--prompt", "Ünïcödé 🍺", "--length", 30, "--seed", 1)
    assert (written.code, written.err) == (0, "")
    assert written.out.startswith("Ünïcödé 🍺")

    measured = unrolled("evaluate", "my run", text_file, "--json")
    metrics = json.loads(measured.out)
    assert metrics["num_characters"] < len(text_file.read_text())
    nats = metrics["bits_per_character"] * math.log(2) * metrics["num_characters"]
    assert nats == pytest.approx(metrics["loss"] * metrics["num_tokens"])

    assert "finished" in unrolled("resume", "my run").err


def test_samples_and_display_leave_no_trace_on_the_training(train, text_file):
    train("watched")
    prepare(
        LanguageModelTask,
        DataOptions(files=(str(text_file),)),
        Path("alone"),
        model=ModelOptions(hidden_size=8),
        training=TrainingOptions(epochs=1, batch_size=4, k1=16),
    ).trainer.fit()
    weights = [Path(run, "weights.safetensors").read_bytes() for run in ("watched", "alone")]
    assert weights[0] == weights[1]


def test_without_run_the_folder_is_named_after_cell_and_time(unrolled, text_file):
    small = ("--cell", "gru", "--hidden-size", 4, "--batch-size", 2, "--epochs", 0.1)
    result = unrolled("train", "lm", text_file, *small)
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"lm-gru-\d{8}-\d{6}", folder.name)
    assert f"unrolled generate {folder}" in result.err


def test_the_standard_library_is_a_text(unrolled, monkeypatch, text_file):
    monkeypatch.setattr("unrolled.tasks.lm.task.python_library_text", lambda: [text_file])
    options = ("--hidden-size", 4, "--batch-size", 2, "--epochs", 0.1, "--run", "run")
    assert unrolled("train", "lm", "--standard-library", *options).code == 0
    assert Run.open(Path("run")).config["data"]["files"][0]["path"] == str(text_file)


def test_generate_repeats_itself_with_a_seed_and_else_does_not(unrolled, trained):
    seeded = [unrolled("generate", trained, "--seed", 5).out for _ in range(2)]
    assert seeded[0] == seeded[1]
    assert unrolled("generate", trained).out != unrolled("generate", trained).out


def test_generate_obeys_its_options(unrolled, trained):
    greedy = unrolled("generate", trained, "--temperature", 0, "--length", 40).out
    assert len(greedy) == 41
    assert greedy.startswith("\n")
    for option, value in (("--top-k", 1), ("--top-p", 1e-9)):
        assert unrolled("generate", trained, option, value, "--length", 40).out == greedy


def test_generate_ends_silently_when_nobody_reads_on(trained):
    command = [sys.executable, "-m", "unrolled", "generate", trained, "--length", "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(20)
        process.stdout.close()
        assert process.wait() == -signal.SIGPIPE
        assert process.stderr.read() == b""


def test_evaluate_prints_every_metric_with_its_unit(unrolled, trained, text_file):
    result = unrolled("evaluate", trained, text_file)
    assert [line.rsplit(maxsplit=1)[0] for line in result.out.splitlines()] == [
        "loss (nats/token)",
        "bits per character",
        "perplexity per token",
        "perplexity per word",
        "tokens",
        "characters",
        "words",
    ]


def test_doctor_names_versions_extras_and_all_layers(unrolled):
    result = unrolled("doctor")
    assert (result.code, result.err) == (0, "")
    for expected in (version("torch"), "vector extensions", "tokenizers", *LAYERS):
        assert expected in result.out


def test_doctor_says_how_to_install_what_is_missing(unrolled, monkeypatch):
    monkeypatch.setitem(EXTRAS, "bpe", ("no-such-package", "nothing"))
    assert 'missing: pip install "unrolled[bpe]"' in unrolled("doctor").out


@pytest.mark.usefixtures("without_compiler")
def test_doctor_says_what_is_slower_without_a_compiler():
    command = [sys.executable, "-W", "error", "-m", "unrolled", "doctor"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert "missing: install gcc or clang" in result.stdout
    assert "cells run without compiled kernels" in result.stdout


def test_doctor_knows_all_extras(pytestconfig):
    # what is declared, not what was when the package was last installed
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    assert set(EXTRAS) == set(declared) - {"all", "dev", "docs"}
    for extra, (package, _) in EXTRAS.items():
        assert package in declared[extra]


def test_version_is_the_packages(unrolled):
    assert unrolled("--version").out == f"unrolled {version('unrolled')}\n"


def test_help_does_not_import_torch():
    code = (
        "import sys; from unrolled.cli.main import main\n"
        "try: main(['train', 'lm', '--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names there are Unicode")
def test_a_run_in_a_folder_whose_name_is_not_utf_8_is_a_run_like_others(
    unrolled, trained, text_file
):
    folder = trained.rename(trained.with_name(os.fsdecode(b"cora\xe7\xe3o")))
    for command in (
        ("generate", folder, "--length", 5),
        ("predict", folder, text_file),
        ("evaluate", folder, text_file),
        ("resume", folder),
    ):
        done = unrolled(*command)
        assert done.code == 0, done.err


def test_a_training_that_was_still_improving_says_how_to_go_on_and_that_goes_on(train, unrolled):
    said = train("run", "--learning-rate", "0.0005", "--evaluate-every", 2).err
    (line,) = (line for line in said.splitlines() if line.startswith("still improving"))
    command = shlex.split(line.partition("ended: ")[2])
    position = command.index("resume")
    assert command[position + 1 :] == ["run", "--epochs", "2"]
    done = unrolled(*command[position:])
    assert done.code == 0
    assert "2.00 epochs" in done.err
    refused = unrolled(*command[position:])
    assert refused.code == 1
    assert "has already been trained for" in refused.err
    assert len(refused.err.splitlines()) == 2


def test_a_metric_to_choose_by_is_checked_before_anything_is_trained(train, unrolled, tmp_path):
    refused = train("run", "--select", "f1")
    assert (refused.code, refused.err.splitlines()) == (
        1,
        [
            "unrolled: error: --select: lm has no metric 'f1' to choose by",
            "hint: choose one of bits_per_character, perplexity_per_token, perplexity_per_word, "
            "loss, or last",
        ],
    )
    compared = unrolled(
        *("compare", "toy", "reber", "--cells", "gru", "--select", "f1", "--out", "c")
    )
    assert compared.code == 1
    assert "--select: toy has no metric 'f1'" in compared.err
    assert not (tmp_path / "c").exists()


def test_inspect_of_a_run_that_held_nothing_out_asks_for_a_text(train, unrolled):
    assert train("run", "--held-out", 0).code == 0
    done = unrolled("inspect", "run")
    assert done.code == 1
    assert done.err.splitlines()[-1] == "hint: give a text or a file: --text or --file"
    assert unrolled("compare", "lm", "bottles.txt", "--held-out", 0, "--cells", "gru").code == 1


@pytest.mark.parametrize(
    ("command", "environment", "expected"),
    [
        ("--version", {}, "2000"),
        ("--version", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("--version", {"OMP_WAIT_POLICY": "active"}, "None"),
        ("bench", {}, "None"),  # whose peers run as torch is
    ],
)
def test_threads_that_wait_sleep_soon_unless_the_environment_says_how_long(
    command, environment, expected
):
    code = "import atexit, os, sys; from unrolled.cli.main import main; "
    code += "atexit.register(lambda: print(os.environ.get('GOMP_SPINCOUNT'))); main()"
    free = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    run = subprocess.run(
        [sys.executable, "-c", code, command, "--help"],
        env=free | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines()[-1] == expected
