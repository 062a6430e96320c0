import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from unrolled.cli.progress import PlainReporter


def raise_at(update, numbers, monkeypatch):
    """Have the process get signals when it logs this update."""
    on_log = PlainReporter.on_log

    def log(self, metrics):
        on_log(self, metrics)
        if metrics["update"] == update:
            for number in numbers:
                signal.raise_signal(number)

    monkeypatch.setattr(PlainReporter, "on_log", log)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_resumes_to_the_same_weights(
    unrolled, train, monkeypatch, number, code
):
    train("whole", "--epochs", 2)
    with monkeypatch.context() as patch:
        raise_at(10, [number, number], patch)  # twice, as `timeout` and torchrun do
        interrupted = train("parts", "--epochs", 2)
    assert interrupted.code == code
    assert "interrupted after 11 updates" in interrupted.err
    assert interrupted.err.endswith("  unrolled resume parts\n")
    assert "finished" in unrolled("resume", "parts").err
    for file in ("weights.safetensors", "metrics.jsonl"):
        whole, parts = (without_times(Path(run, file)) for run in ("whole", "parts"))
        assert whole == parts


def without_times(path):
    if path.suffix != ".jsonl":
        return path.read_bytes()
    return [
        {name: value for name, value in json.loads(line).items() if "second" not in name}
        for line in path.read_text().splitlines()
    ]


def test_a_second_signal_aborts_at_once_and_loses_no_checkpoint(unrolled, train, monkeypatch):
    monkeypatch.setattr("unrolled.cli.fit._SECONDS_BETWEEN_SIGNALS", -1.0)
    with monkeypatch.context() as patch:
        raise_at(10, [signal.SIGINT, signal.SIGINT], patch)
        aborted = train("run", "--epochs", 2)
    assert aborted.code == 130
    assert aborted.err.splitlines()[-1] == "aborted; from the last checkpoint: unrolled resume run"
    assert unrolled("resume", "run").code == 0


def test_signal_handlers_are_put_back(train):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train("run")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="a signal of POSIX")
def test_writing_leaves_the_process_able_to_lose_a_reader(unrolled, train, text_file):
    train("run")
    for command in (["generate", "run", "--length", "3"], ["predict", "run", text_file]):
        before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        try:
            assert unrolled(*command).code == 0
            assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGPIPE, before)


def test_a_process_told_to_stop_saves_and_says_how_to_go_on(text_file, tmp_path):
    options = ["--run", "run", "--hidden-size", "8", "--batch-size", "4", "--epochs", "1000000"]
    command = [sys.executable, "-m", "unrolled", "train", "lm", text_file, *options]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "update 10" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.endswith(" -m unrolled resume run\n")
    assert (tmp_path / "run" / "last.ckpt").exists()
