import inspect
import json
import math
import os
import re
import signal
import subprocess
import sys
from dataclasses import MISSING, fields
from importlib.metadata import metadata, version
from pathlib import Path

import pytest

from unrolled.cli.doctor import EXTRAS
from unrolled.cli.main import main
from unrolled.cli.train_lm import train_lm
from unrolled.networks.language_model import LanguageModelConfig
from unrolled.networks.sequence_layers import CELLS
from unrolled.tasks.lm.task import TextOptions, prepare_language_model
from unrolled.training import Run, TrainingOptions


def test_train_generate_evaluate_and_resume_work_together(unrolled, train, text_file):
    trained = train("my run", "--tokens", "bpe", "--vocabulary-size", "280")
    assert (trained.code, trained.out) == (0, "")
    assert "  unrolled generate 'my run'\n" in trained.err
    assert "bits/character" in trained.err

    written = unrolled("generate", "my run", "--prompt", "Ünïcödé 🍺", "--length", 30, "--seed", 1)
    assert (written.code, written.err) == (0, "")
    assert written.out.startswith("Ünïcödé 🍺")

    measured = unrolled("evaluate", "my run", text_file, "--json")
    metrics = json.loads(measured.out)
    assert metrics["num_characters"] < len(text_file.read_text())
    nats = metrics["bits_per_character"] * math.log(2) * metrics["num_characters"]
    assert nats == pytest.approx(metrics["nats_per_token"] * metrics["num_tokens"])

    assert "finished" in unrolled("resume", "my run").err


def test_options_reach_the_run(train):
    assert (
        train("run", "--cell", "tcn", "--kernel-size", 2, "--layers", 2, "--dropout", 0.1).code == 0
    )
    config = Run.open(Path("run")).config
    assert config["model"] == {
        "vocabulary_size": config["model"]["vocabulary_size"],
        "cell": "tcn",
        "hidden_size": 8,
        "num_layers": 2,
        "embedding_size": None,
        "dropout": 0.1,
        "kernel_size": 2,
    }


def test_every_option_is_handed_on(monkeypatch, text_file):
    def take(files, run_path, *, training, text, processes, **model):
        taken.update(vars(training) | vars(text) | model | {"files": files, "run": run_path})
        raise KeyboardInterrupt  # seen enough

    taken = {}
    monkeypatch.setattr("unrolled.tasks.lm.task.prepare_language_model", take)
    given = {
        "--run": ("run", Path("r")),
        "--tokens": ("tokens", "bpe"),
        "--vocabulary-size": ("bpe_size", 300),
        "--held-out": ("held_out_fraction", 0.2),
        "--encoding": ("encoding", "latin-1"),
        "--cell": ("cell", "tcn"),
        "--hidden-size": ("hidden_size", 5),
        "--layers": ("num_layers", 2),
        "--embedding-size": ("embedding_size", 6),
        "--kernel-size": ("kernel_size", 4),
        "--dropout": ("dropout", 0.3),
        "--epochs": ("epochs", 2.5),
        "--columns": ("num_columns", 7),
        "--k1": ("k1", 11),
        "--k2": ("k2", 13),
        "--learning-rate": ("learning_rate", 0.5),
        "--clip-norm": ("clip_norm", 0.25),
        "--patience": ("patience", 9),
        "--seed": ("seed", 17),
    }
    arguments = [str(word) for option, (_, value) in given.items() for word in (option, value)]
    with pytest.raises(SystemExit, match="130"):
        main(["train", "lm", str(text_file), *arguments])
    assert {name: taken[name] for name, _ in given.values()} == dict(given.values())
    assert taken["files"] == [text_file]
    with pytest.raises(SystemExit, match="130"):
        main(["train", "lm", str(text_file), "--minutes", "3"])
    assert taken["minutes"] == 3


def test_defaults_are_those_of_the_library():
    names = {"bpe_size": "vocabulary_size", "num_columns": "columns", "num_layers": "layers"}
    names["held_out_fraction"] = "held_out"
    options = inspect.signature(train_lm).parameters
    compared = set()
    for owner in (TextOptions, TrainingOptions, LanguageModelConfig):
        for field in fields(owner):
            name = names.get(field.name, field.name)
            if name in options and name != "layers" and field.default is not MISSING:
                assert options[name].default == field.default, name
                compared.add(name)
    assert set(options) - compared == {"files", "standard_library", "run", "parameters", "layers"}


def test_help_names_all_cells_and_commands(unrolled):
    text = unrolled("train", "lm", "--help").out
    assert all(re.search(rf"\b{cell}\b", text) for cell in CELLS)
    commands = unrolled().out
    assert all(name in commands for name in ("train", "generate", "evaluate", "resume", "doctor"))


def test_samples_and_display_leave_no_trace_on_the_training(train, text_file):
    train("watched")
    small = TextOptions(num_columns=4, k1=16)
    options = TrainingOptions(epochs=1)
    prepare_language_model(
        [text_file], Path("alone"), training=options, text=small, hidden_size=8
    ).fit()
    weights = [Path(run, "weights.safetensors").read_bytes() for run in ("watched", "alone")]
    assert weights[0] == weights[1]


def test_without_run_the_folder_is_named_after_cell_and_time(unrolled, text_file):
    result = unrolled(
        "train",
        "lm",
        text_file,
        "--cell",
        "gru",
        "--hidden-size",
        4,
        "--columns",
        2,
        "--epochs",
        0.1,
    )
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"lm-gru-\d{8}-\d{6}", folder.name)
    assert f"unrolled generate {folder}" in result.err


def test_the_standard_library_is_a_text(unrolled, monkeypatch, text_file):
    monkeypatch.setattr("unrolled.data.python_library_text", lambda: [text_file])
    options = ("--hidden-size", 4, "--columns", 2, "--epochs", 0.1, "--run", "run")
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
        assert process.wait(timeout=60) == -signal.SIGPIPE
        assert process.stderr.read() == b""


def test_evaluate_prints_every_metric_with_its_unit(unrolled, trained, text_file):
    result = unrolled("evaluate", trained, text_file)
    assert [line.rsplit(maxsplit=1)[0] for line in result.out.splitlines()] == [
        "nats per token",
        "bits per character",
        "perplexity per token",
        "tokens",
        "characters",
    ]


def test_doctor_names_versions_extras_and_cells(unrolled):
    result = unrolled("doctor")
    assert (result.code, result.err) == (0, "")
    for expected in (version("torch"), "vector extensions", "tokenizers", "gru_reset_before"):
        assert expected in result.out


def test_doctor_says_how_to_install_what_is_missing(unrolled, monkeypatch):
    monkeypatch.setitem(EXTRAS, "bpe", ("no-such-package", "nothing"))
    assert 'missing: pip install "unrolled[bpe]"' in unrolled("doctor").out


def test_doctor_says_what_is_slower_without_a_compiler(tmp_path):
    environment = os.environ | {"PATH": "", "CC": "", "UNROLLED_CACHE": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-m", "unrolled", "doctor"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert "missing: install gcc or clang" in result.stdout
    assert "cells run without compiled kernels" in result.stdout


def test_doctor_knows_all_extras():
    assert set(EXTRAS) == set(metadata("unrolled").get_all("Provides-Extra")) - {"all", "dev"}


def test_version_is_the_packages(unrolled):
    assert unrolled("--version").out == f"unrolled {version('unrolled')}\n"


def test_help_does_not_import_torch():
    code = (
        "import sys; from unrolled.cli.main import main\n"
        "try: main(['train', 'lm', '--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
