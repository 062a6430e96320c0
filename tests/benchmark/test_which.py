"""Of `benchmarks/which` the page, the ranks, and what a command trains; nothing is trained."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import scipy.stats

from unrolled.cells.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "which"


@pytest.fixture
def program(monkeypatch):
    """What `run.py` defines."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield runpy.run_path(str(FOLDER / "run.py"))
    for name in ("page", "curves", "ranks"):
        sys.modules.pop(name, None)


@pytest.fixture
def begun(program, monkeypatch):
    """The trainings that began: each leaves the files of one that is over."""
    names: list[str] = []

    def train(trial, claims):
        names.append(f"{trial.path.parent.name}/{trial.path.name}")
        figures = {"loss": 0.5, "bits_per_character": 3.0, "accuracy": 0.5}
        results = {"part": "test", "metrics": figures, "hidden_size": 4, "kept_update": 10}
        results |= {"parameters": 99, "updates": 20, "peak_memory_bytes": 2 * 10**6}
        lines = [
            {"kind": "held_out", "update": update, "elapsed_seconds": 1.0}
            | {name: figure / (1 + update) for name, figure in figures.items()}
            for update in (0, 10, 20)
        ]
        trial.path.mkdir(exist_ok=True)
        (trial.path / "results.json").write_text(json.dumps(results))
        (trial.path / "metrics.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))
        trial.path.with_name(f"{trial.path.name}.seconds").write_text("1.5\n2.25\n")
        return 0

    monkeypatch.setitem(program["train_all"].__globals__, "train", train)
    return names


def run(program, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["run.py", *map(str, arguments)])
    try:
        program["main"]()
    except SystemExit as end:
        return end.code
    return 0


def test_a_page_of_some_cells_counts_them_and_ranks_none(program):
    import page

    results = json.loads(program["RESULTS"].read_text())
    results["about"]["to"] = "another day"  # than that of the findings
    for cells in results["trainings"].values():
        cells.pop("lstm", None)
    number = sum(len(seeds) for cells in results["trainings"].values() for seeds in cells.values())
    text = page.page(results)
    assert f"\n{number} of {3 * 8 * len(results['cells']):,} trainings" in text
    assert "is first" not in text
    assert "| 1 |" not in text
    assert "Not among the cells: [lif](catalogue.md#lif)." in page.page(
        results | {"absent": ["lif"]}
    )


def test_the_published_page_and_its_figures_are_made_of_the_results(program, monkeypatch, tmp_path):
    assert run(program, monkeypatch, "--write", tmp_path) == 0
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")]
    assert len(written) > 1
    for path in written:
        assert (ROOT / "docs" / path).read_bytes() == (tmp_path / path).read_bytes()


def test_results_are_of_sets_and_cells_that_there_are(program):
    results, sets = json.loads(program["RESULTS"].read_text()), program["read_sets"]()
    for name, trained in results["trainings"].items():
        assert results["sets"][name] == sets[name]
        assert {*trained} <= {*CATALOGUE, *program["OTHERS"]}


def test_what_is_over_is_not_trained_again_and_the_first_seed_comes_first(
    program, begun, monkeypatch, tmp_path
):
    command = ("adding", "jsb", "--cells", "lstm,gru", "--out", tmp_path / "out")
    assert run(program, monkeypatch, *command, "--seeds", 1) == 0
    assert begun == ["adding/lstm-0", "adding/gru-0", "jsb/lstm-0", "jsb/gru-0"]
    assert run(program, monkeypatch, *command, "--seeds", 2) == 0
    assert begun[4:] == ["adding/lstm-1", "adding/gru-1", "jsb/lstm-1", "jsb/gru-1"]


def test_a_training_that_failed_is_told_with_its_error_and_the_others_go_on(
    program, begun, monkeypatch, tmp_path, capsys
):
    train = program["train_all"].__globals__["train"]

    def fail_first(trial, claims):
        if trial.contestant.cell == "lstm":
            trial.log_path.write_text("reading\nunrolled: error: no such file\nhint: look\n")
            return 1
        return train(trial, claims)

    monkeypatch.setitem(program["train_all"].__globals__, "train", fail_first)
    command = ("jsb", "--cells", "lstm,gru", "--seeds", 1, "--out", tmp_path / "out")
    assert run(program, monkeypatch, *command) == 1
    said = capsys.readouterr().out
    assert "jsb: lstm, seed 0 ended with code 1: unrolled: error: no such file" in said
    assert begun == ["jsb/gru-0"]
    assert run(program, monkeypatch, *command, "--until", "00:00") == 1
    assert "1 left for later" in capsys.readouterr().out


def test_figures_are_gathered_of_what_is_over(program, begun, monkeypatch, tmp_path):
    out, file = tmp_path / "out", tmp_path / "which.json"
    run(program, monkeypatch, "adding", "--cells", "lstm", "--seeds", 2, "--out", out)
    assert begun
    assert run(program, monkeypatch, "--out", out, "--gather", file) == 0
    gathered = json.loads(file.read_text())["trainings"]
    assert gathered["adding"]["lstm"].keys() == {"0", "1"}
    figures = gathered["adding"]["lstm"]["1"]
    assert gathered.keys() == {"adding"}
    assert (figures["held_out"], figures["test"]) == (0.045455, 0.5)  # 0.5 / 11, of update 10
    assert (figures["seconds"], figures["megabytes"]) == (3.8, 2)
    assert figures["curve"][0] == [0, 0.5]
    elsewhere = tmp_path / "elsewhere"
    run(program, monkeypatch, "adding", "--cells", "gru", "--seeds", 1, "--out", elsewhere)
    assert run(program, monkeypatch, "--out", elsewhere, "--gather", file) == 0
    assert json.loads(file.read_text())["trainings"]["adding"].keys() == {"lstm", "gru"}
    (elsewhere / "adding" / "gru-0.seconds").unlink()  # killed when its results were written
    (elsewhere / "adding" / "notes").mkdir()
    (elsewhere / "adding" / "notes" / "results.json").write_text("{}")
    assert run(program, monkeypatch, "--out", elsewhere, "--gather", file) == 0
    assert json.loads(file.read_text())["trainings"]["adding"]["gru"]["0"]["seconds"] is None
    assert run(program, monkeypatch, "--out", tmp_path / "none", "--gather", tmp_path / "no") == 2
    assert not (tmp_path / "no").exists()
    file.write_text("{")
    assert run(program, monkeypatch, "--out", out, "--gather", file) == 2
    assert file.read_text() == "{"


def test_what_there_is_not_and_a_folder_of_other_data_are_refused(
    program, begun, monkeypatch, tmp_path, capsys
):
    for wrong, message in [
        (("mnist",), "no such set: mnist; there are adding"),
        (("--cells", "lstm,lstmm"), "no such cell: lstmm"),
        (("--until", "25:99"), "--until: invalid"),
        (("--seeds", 0), "--seeds: at least 1, got 0"),
    ]:
        assert run(program, monkeypatch, *wrong) == 2
        assert message in capsys.readouterr().err
    out = ("jsb", "--cells", "lstm", "--out", tmp_path / "out")
    assert run(program, monkeypatch, *out) == 0
    said = run(program, monkeypatch, *out, "--data", tmp_path / "elsewhere")
    assert "a comparison with other arguments" in said


FIGURES = [[0.3, 0.1, 0.2, 0.4], [0.5, 0.1, 0.1, 0.9], [0.2, 0.25, 0.1, 0.7]]


def test_ranks_and_agreement_are_those_of_scipy(program):
    ranks = runpy.run_path(str(FOLDER / "ranks.py"))
    blocks = [ranks["ranks"](dict(zip("abcd", each, strict=True)), "lower") for each in FIGURES]
    for block, figures in zip(blocks, FIGURES, strict=True):
        assert list(block.values()) == scipy.stats.rankdata(figures).tolist()
    expected = scipy.stats.friedmanchisquare(*zip(*FIGURES, strict=True))
    w, p = ranks["agreement"](blocks)
    assert w == pytest.approx(expected.statistic / (3 * 3))
    assert p == pytest.approx(expected.pvalue, abs=0.005)
    for x, df in ((60.0, 83), (110.0, 83), (2.0, 3)):
        assert ranks["chi_square_p"](x, df) == pytest.approx(scipy.stats.chi2.sf(x, df), abs=0.005)


def test_what_is_told_from_the_control_is_what_holms_procedure_tells(program):
    ranks = runpy.run_path(str(FOLDER / "ranks.py"))
    means = {"lstm": 2.0, "near": 2.9, "far": 5.0, "middle": 3.4}
    error = (4 * 5 / (6 * 20)) ** 0.5
    far, middle, near = (2 * scipy.stats.norm.sf((x - 2) / error) for x in (5.0, 3.4, 2.9))
    assert far < 0.05 / 3
    assert middle < 0.05 / 2
    assert near < 0.05
    assert ranks["told_apart"](means, 20, "lstm") == ["far", "middle", "near"]
    assert 2 * scipy.stats.norm.sf(1.4 / (20 / 30) ** 0.5) > 0.05 / 2  # 5 blocks
    assert ranks["told_apart"](means, 5, "lstm") == ["far"]


def test_a_whole_comparison_says_how_far_its_seeds_and_data_sets_agree(program):
    import page

    def trained(order):
        return {
            cell: {
                str(seed): {"held_out": place + 0.1 * seed, "hidden_size": 4}
                | {
                    "parameters": 9,
                    "updates": 2,
                    "seconds": 1.0,
                    "megabytes": 3,
                    "curve": [[0, 1.0], [5, 0.5]],
                }
                for seed in (0, 1)
            }
            for place, cell in enumerate(order)
        }

    sets = program["read_sets"]()
    results = {
        "about": {"from": "x", "to": "y", "torch": "2", "machine": "m"},
        "cells": ["lstm", "gru", "dense"],
        "sets": sets,
        "trainings": {"adding": trained(["gru", "lstm", "dense"]), "jsb": {}},
    }
    results["trainings"]["jsb"] = trained(["lstm", "gru", "dense"])
    text = page.page(results)
    assert "Kendall's W = 0.75 " in text  # of mean ranks 1.5, 1.5, 3: 1.5 of 2
    assert "| 1 | [lstm](catalogue.md#lstm) | 1.5 | 2 | 1 |" in text
    assert "The 2 seeds agree on the order with Kendall's W = 1.00" in text
    assert "0 are behind `dense`" in text
    assert "3, 3, 0 of 3 | 3 |" in text
    results["trainings"]["adding"]["gru"]["1"] |= {"held_out": None, "curve": [[0, 1.0], [5, None]]}
    text = page.page(results)
    assert "| 3 | [gru](catalogue.md#gru) | 1 diverged |" in text
    assert "lstm</text>" in page.figure(results, "adding")
