"""`unrolled inspect`: a report of a run, and what is said when there can be none."""

import json

import pytest

from support.runs import change_config
from unrolled.training.metrics_log import loss_curves
from unrolled.training.run import Run


def test_a_report_is_written_into_the_run(unrolled, trained):
    done = unrolled("inspect", trained)
    assert done.code == 0, done.err
    assert done.out == ""
    page = (trained / "report.html").read_text()
    assert "report.html: " in done.err
    assert "data</dt><dd>bottles.txt" in page
    assert "How was it trained?" in page


def test_text_file_output_and_others_beside(unrolled, trained, finished_run, tmp_path):
    (tmp_path / "own.txt").write_text("12 bottles of beer on the wall.\n" * 9)
    output = tmp_path / "page.html"
    done = unrolled(
        "inspect", trained, "--file", "own.txt", "--output", output, "--beside", finished_run
    )
    assert done.code == 0, done.err
    assert "Looked at 288 characters" in output.read_text()
    assert "Several models on the same input" in output.read_text()
    assert not (trained / "report.html").exists()
    done = unrolled("inspect", trained, "--text", "9 bottles of beer on the wall.\n")
    assert done.code == 0, done.err


def test_data_that_have_changed_since_are_not_taken_for_those_of_the_run(
    unrolled, train, text_file
):
    train("run")
    text_file.write_text(text_file.read_text()[::-1])
    done = unrolled("inspect", "run")
    assert done.code == 1
    assert "has changed since the run began" in done.err
    assert unrolled("inspect", "run", "--text", "9 bottles of beer on the wall.\n").code == 0


def test_what_cannot_be_inspected_is_said_in_one_line(unrolled, train, trained, tmp_path):
    for arguments, said in [
        (["nowhere"], "no such folder"),
        ([trained, "--text", "short"], "too little to look into: 5 characters"),
        ([trained, "--text", "ж" * 99], "vocabulary"),
        ([trained, "--file", "none.txt"], "none.txt"),
        ([trained, "--text", "a", "--file", "b"], "one of the two"),
        ([trained, "--beside", "nowhere"], "no such folder"),
        ([trained, "--output", tmp_path / "no" / "page.html"], "--output: there is no folder"),
    ]:
        done = unrolled("inspect", *arguments)
        assert done.code in (1, 2), arguments
        assert said in done.err
        assert "Traceback" not in done.err
    (tmp_path / "bottles.txt").write_text("other letters: xyz\n" * 40)
    train("other")
    done = unrolled("inspect", trained, "--beside", "other", "--text", "bottles " * 9)
    assert done.code == 1
    assert "has other tokens or answers" in done.err


def test_the_text_of_a_run_may_be_gone(unrolled, trained):
    gone = ["/nowhere/gone.txt"]
    change_config(trained, lambda config: config["data"]["options"].update(files=gone))
    done = unrolled("inspect", trained)
    assert done.code == 1
    assert "/nowhere/gone.txt" in done.err


def test_the_reach_is_logged_at_each_evaluation(unrolled, train, tmp_path):
    done = train("logged", "--log-reach")
    assert done.code == 0, done.err
    lines = (tmp_path / "logged" / "metrics.jsonl").read_text().splitlines()
    held_out = [line for line in map(json.loads, lines) if line["kind"] == "held_out"]
    assert len(held_out) >= 2
    assert all(line["gradient_horizon_tokens"] >= 0 for line in held_out)
    assert all("gradient_half_life_tokens" in line for line in held_out)
    without = train("silent")
    assert without.code == 0
    assert "gradient_h" not in (tmp_path / "silent" / "metrics.jsonl").read_text()


def test_logging_the_reach_does_not_change_the_training(unrolled, train, tmp_path):
    train("logged", "--log-reach")
    train("silent")
    ends = [loss_curves(Run.open(tmp_path / name)) for name in ("logged", "silent")]
    assert ends[0] == ends[1]
    assert set(ends[0]) == {"training", "held out"}


@pytest.mark.parametrize("language", ["pt-BR", "pt"])
def test_a_report_is_written_in_the_language_that_is_asked_for(unrolled, trained, language):
    done = unrolled("inspect", trained, "--language", language)
    assert done.code == 0, done.err
    page = (trained / "report.html").read_text()
    assert "8 em 1 camada" in page
    refused = unrolled("inspect", trained, "--language", "xx")
    assert refused.code == 1
    assert "--language must be one of en, pt-BR, got 'xx'" in refused.err


def test_values_are_held_a_prediction_explained_and_the_map_followed(unrolled, trained):
    text = "12 bottles of beer on the wall.\n" * 3
    done = unrolled(
        "inspect", trained, "--text", text, "--hold", "f=0", "--hold", "c:0,2-3@5-9=-0.5",
        "--attribute", "7", "--dynamics", "--language", "pt-BR",
    )  # fmt: skip
    assert done.code == 0, done.err
    page = (trained / "report.html").read_text()
    assert "com valores fixados: f=0, c:0,2-3@5-9=-0.5" in page
    assert "depois do passo 7" in page
    assert "expoentes de Lyapunov" in page
    assert "Autovalores de um passo" in page
    for wrong, said in (
        ("f", "--hold must be NAME[:UNITS][@STEPS]=NUMBER, got 'f'"),
        ("f=open", "--hold must be"),
        ("f:2-=1", "--hold must be"),
        ("f:0-99999999999=1", "--hold must be"),  # a list of them all would not fit in memory
        ("f@9999-=1", "f is held from step 9999 on, and steps 0.."),
        ("q=1", "no gate or state 'q' in lstm"),
        ("f:9999=1", "units must lie in 0.."),
    ):
        done = unrolled("inspect", trained, "--text", text, "--hold", wrong)
        assert done.code == 1
        assert said in done.err
    done = unrolled("inspect", trained, "--text", text, "--attribute", "5000")
    assert "something is said at steps 0..95, got 5000" in done.err
