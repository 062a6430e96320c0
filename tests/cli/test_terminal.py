"""Names and texts of others cannot steer a terminal; in files and pipes they stay exact."""

import io
import json
import logging
import re
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from unrolled.cli.main import main
from unrolled.cli.progress import make_console
from unrolled.cli.terminal import json_line, visible
from unrolled.tasks import find_task, options_of, prepare
from unrolled.training import save_weights

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egood\u2066\r\x7f\nunrolled: done"
TRACES = ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e", "\u2066", "\x7f", "\nunrolled: done")
TRAIN = ("--hidden-size", "4", "--epochs", "1")
WORDS = ("zero", "one", "two", "three", "four", "five")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def in_terminal(monkeypatch, tmp_path):
    """Run a command in a terminal; return all that it has written there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")

    def run(*arguments):
        out = Terminal()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", out)
        with pytest.raises(SystemExit):
            main([str(argument) for argument in arguments])
        return out.getvalue()

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table whose classes steer a terminal, tagged words, a text, and runs of them."""
    folder = tmp_path_factory.mktemp("evil")
    rows = [
        f'{a} {b} is,"{EVIL if a < b else "bad"}"' for a in WORDS for b in WORDS for _ in range(2)
    ]
    (folder / "reviews.csv").write_text("\n".join(["text,class", *rows]) + "\n", newline="")
    evil_line = EVIL.replace("\n", "").replace("\r", "")
    (folder / "text.txt").write_text(f"one {evil_line} two\n" * 200)
    reviews = {"files": (f"{folder}/reviews.csv",), "input": ("text",), "target": "class"}
    make(folder / "classifier", "classify", reviews)
    make(folder / "writer", "lm", {"files": (f"{folder}/text.txt",)})
    return folder


def make(path, task, data):
    options = options_of(task)
    trainer = prepare(
        find_task(task),
        options.DataOptions(**data),
        path,
        model=options.ModelOptions(hidden_size=8, num_layers=1),
        training=options.TrainingOptions(epochs=1, batch_size=8, seed=1),
    ).trainer
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if name.endswith("bias"):
                weight.copy_(torch.linspace(3, -3, len(weight)))  # one class for all
    save_weights(trainer.run.weights_path, trainer.model)


def harmless(text):
    return [trace for trace in TRACES if trace in text] == []


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "classifier", "words.txt"),
        ("predict", "classifier", "words.txt", "--running"),
        ("predict", "classifier", "words.txt", "--json"),
        ("predict", "writer", "text.txt"),
        ("predict", "writer", "text.txt", "--json"),
        ("evaluate", "classifier", "reviews.csv"),
        ("evaluate", "classifier", "reviews.csv", "--json"),
        ("generate", "writer", "--length", "300", "--temperature", "3", "--seed", "1"),
        ("generate", "writer", "--prompt", EVIL.replace("\n", "").replace("\r", "")),
        ("train", "classify", "reviews.csv", *TRAIN, "--input", "text", "--target", "class"),
        ("train", "lm", "text.txt", *TRAIN),
        ("train", "lm", EVIL),
        ("train", "lm", "text.txt", "--hidden-size", EVIL),
        ("train", EVIL),
        (EVIL,),
        ("predict", EVIL, "words.txt"),
        ("predict", "classifier", EVIL),
        ("serve", EVIL),
        ("inspect", EVIL),
        ("kernels", "show", EVIL),
        ("compare", "lm", "text.txt", "--cells", EVIL),
    ],
    ids=lambda command: visible(" ".join(command))[:60],
)
def test_no_command_lets_a_name_steer_the_terminal(in_terminal, folder, command, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "words.txt").write_text("one two is\n")
    written = in_terminal(
        *(folder / word if (folder / word).exists() else word for word in command)
    )
    assert written
    assert harmless(written), ascii(written)
    if "classifier" in command and "predict" in command and EVIL not in command:
        assert "\\u202egood" in written


def test_in_a_pipe_predictions_are_a_line_each_and_exact_as_json(unrolled, folder, tmp_path):
    (tmp_path / "words.txt").write_text("one two is\n")
    command = ("predict", folder / "classifier", tmp_path / "words.txt")
    written = unrolled(*command, "--json").out
    assert harmless(written)
    assert json.loads(written)["class"] == EVIL
    written = unrolled(*command).out
    assert harmless(written)
    assert written.startswith(f"{visible(EVIL)}\t")
    assert written.count("\n") == 1


def test_the_log_of_the_server_cannot_steer_the_terminal(in_terminal, folder, monkeypatch):
    def run(*_, **__):
        logging.getLogger("unrolled.serving").warning("%s: still served", EVIL)
        logging.getLogger("uvicorn.error").warning("%s: invalid", EVIL)

    monkeypatch.setattr("uvicorn.Server.run", run)
    monkeypatch.setattr(logging.root, "handlers", [])
    before = logging.root.level
    try:
        written = in_terminal("serve", folder / "classifier", "nothing" + EVIL, "--port", "0")
    finally:
        logging.root.setLevel(before)
    assert "still served" in written
    assert "invalid" in written
    assert "left out" in written
    assert all(trace not in written for trace in TRACES[:-1]), ascii(written)


@given(st.text())
def test_json_on_one_line_is_the_same_json(text):
    line = json_line({text: [text]})
    assert json.loads(line) == {text: [text]}
    assert "\n" not in line
    assert visible(line) == line


@given(st.text())
def test_what_is_shown_is_printable_and_says_what_there_was(text):
    shown = visible(text)
    assert not re.search("[\0-\x08\n-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    if "\\" not in text:
        back = re.sub(
            r"\\(?:x(..)|u(....)|n|r)",
            lambda m: {"\\n": "\n", "\\r": "\r"}.get(m[0]) or chr(int(m[1] or m[2], 16)),
            shown,
        )
        assert back == text


@pytest.mark.parametrize(
    "text",
    [
        "é 日本\u3000語 \U0001f469\u200d\U0001f52c 50\u00a0%\ta",
        "\u0645\u06cc\u200c\u062e\u200f",
        "",
    ],
)
def test_what_scripts_need_is_shown_as_it_is(text):
    assert visible(text) == text


def test_a_console_draws_with_its_own_codes_and_shows_those_of_others(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    table = Table("a\x1b[2J")
    table.add_row("b\x9b\x1b]0;c\x07")
    make_console().print(table)
    make_console().print("d\x1b[2J", style="bold")
    written = out.getvalue()
    assert harmless(written)
    assert "\x1b[1m" in written
    assert "d\\x1b[2J" in written
