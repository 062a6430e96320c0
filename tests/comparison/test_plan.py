import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from unrolled.comparison import Contestant, Plan, parse_contestants
from unrolled.errors import OptionError, RunError
from unrolled.networks import LAYERS

PLAN = Plan("toy", ("hello", "--epochs", "1"), (Contestant("gru"), Contestant("tcn")), 2, 500)


def test_contestants_have_options_of_their_own():
    gru, chrono = parse_contestants("gru, lstm --initialize chrono")
    assert gru == Contestant("gru")
    assert chrono == Contestant("lstm", ("--initialize", "chrono"))
    assert chrono.name == "lstm --initialize chrono"
    assert chrono.folder == "lstm-initialize-chrono"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "contestants: expected the name of a cell, got ''"),
        ("gru,,lstm", "contestants: expected the name of a cell, got ''"),
        ("--layers 2", "contestants: expected the name of a cell, got '--layers 2'"),
        ("gru,lstm,gru", "contestants: gru comes twice"),
        ('gru "', "contestants: 'gru \"': No closing quotation"),
        ("gru --seed 1", "--seed is set by the comparison, for all trainings"),
        ("gru --hidden-size=9", "--hidden-size is set by the comparison, for all trainings"),
    ],
)
def test_contestants_that_make_no_comparison_are_refused(text, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        parse_contestants(text)


@pytest.mark.parametrize(
    ("text", "got", "hint"),
    [
        ("lstm,gruu", "'gruu'", "did you mean gru?"),
        ("LSTM", "'LSTM'", "did you mean lstm?"),
        (
            "transformer,lstm",
            "'transformer'",
            "`unrolled cells` lists all, and a cell of your own is FILE.py:NAME",
        ),
        ("gru --layers 2,gru-reset-before", "'gru-reset-before'", "did you mean gru_reset_before?"),
    ],
)
def test_what_is_no_layer_is_refused_when_the_list_is_read(text, got, hint):
    with pytest.raises(OptionError) as caught:
        parse_contestants(text)
    assert caught.value.message.startswith("contestants must be one of rnn, rnn_relu, lstm, gru,")
    assert caught.value.message.endswith(f", got {got}")
    assert caught.value.hint == hint


def test_every_layer_can_be_compared():
    assert [each.cell for each in parse_contestants(",".join(LAYERS))] == list(LAYERS)
    assert [each.cell for each in parse_contestants("mgu,lstm,lif")] == ["mgu", "lstm", "lif"]


def test_a_cell_of_ones_own_is_named_as_it_was_given_and_trusted_when_it_goes_on(tmp_path):
    cell = tmp_path / "my cells" / "cells.py"
    cell.parent.mkdir()
    cell.write_text(
        "import unrolled\n\n\n@unrolled.cell(gates='g')\n"
        "def own(x, u, h):\n    return dict(h=x.g + u.g + 0 * h)\n"
    )
    with pytest.raises(OptionError, match="cell other of "):
        parse_contestants(f"'{cell}:other'")
    (own,) = parse_contestants(f"'{cell}:own' --layers 2")
    assert own.name == f"'{cell}:own' --layers 2"
    assert "/" not in own.folder
    (trial,) = replace(PLAN, contestants=(own,), num_seeds=1).trials(tmp_path / "c")
    assert trial.next_command()[:2] == ("train", "toy")
    trial.path.mkdir(parents=True)
    (trial.path / "config.json").write_text("{}")
    assert trial.next_command() == ("resume", str(trial.path), "--trust-code")
    (other,) = replace(PLAN, contestants=(Contestant("gru"),), num_seeds=1).trials(tmp_path / "c")
    other.path.mkdir(parents=True)
    (other.path / "config.json").write_text("{}")
    assert other.next_command() == ("resume", str(other.path))


def test_what_a_comparison_sets_is_said_by_the_names_of_its_plan():
    with pytest.raises(OptionError) as caught:
        parse_contestants("gru --seed 1")
    assert caught.value.hint == "num_seeds says how many seeds there are: 0, 1, ..."
    _, hint = caught.value.render({"num_seeds": "--seeds"}.get)
    assert hint == "--seeds says how many seeds there are: 0, 1, ..."


def test_the_command_of_a_plan_makes_the_same_plan_again():
    plan = replace(PLAN, contestants=tuple(parse_contestants("gru,tcn --kernel-size 6")))
    assert plan.command == (
        *("compare", "toy", "hello", "--epochs", "1", "--cells", "gru,tcn --kernel-size 6"),
        *("--parameters", "500", "--seeds", "2"),
    )
    cells = plan.command[plan.command.index("--cells") + 1]
    assert tuple(parse_contestants(cells)) == plan.contestants


@pytest.mark.parametrize("option", ["--cell", "--seed", "--run", "--parameters", "--hidden-size=3"])
def test_what_the_comparison_decides_is_no_argument(option):
    with pytest.raises(OptionError, match="is set by the comparison, for all trainings"):
        replace(PLAN, arguments=("hello", option, "1"))


@pytest.mark.parametrize("change", [{"num_seeds": 0}, {"num_parameters": 0}])
def test_numbers_below_one_are_refused(change):
    with pytest.raises(OptionError, match="must be at least 1, got 0"):
        replace(PLAN, **change)


def test_every_contestant_is_trained_with_every_seed_on_the_same_arguments(tmp_path):
    trials = PLAN.trials(tmp_path)
    assert [(trial.contestant.cell, trial.seed) for trial in trials] == [
        ("gru", 0),
        ("tcn", 0),
        ("gru", 1),
        ("tcn", 1),
    ]
    command = "train toy hello --epochs 1 --cell tcn --parameters 500 --seed 1 --run".split()
    assert trials[3].command == (*command, str(tmp_path / "tcn-1"))


def test_a_folder_takes_more_seeds_and_cells_but_no_other_task(tmp_path):
    folder = tmp_path / "new" / "folder"
    PLAN.settle(folder)
    replace(PLAN, num_seeds=5, contestants=(Contestant("rnn"),)).settle(folder)
    for other, message in (
        (replace(PLAN, num_parameters=600), "other parameters: 500, not 600"),
        (replace(PLAN, task="lm"), "other task: toy, not lm"),
        (replace(PLAN, arguments=("copy",)), "other arguments: hello --epochs 1, not copy"),
    ):
        with pytest.raises(RunError, match=message):
            other.settle(folder)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(RunError, match="not empty, and not a comparison"):
        PLAN.settle(tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(RunError, match=r"plan\.json: damaged"):
        PLAN.settle(tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps([]))
    with pytest.raises(RunError, match="other format"):
        PLAN.settle(tmp_path)
    with pytest.raises(RunError, match="x: cannot be written"):
        PLAN.settle(tmp_path / "thesis.txt" / "x")


def test_what_a_killed_process_left_of_a_plan_makes_way(tmp_path):
    plan = Plan("lm", ("x.txt",), (Contestant("gru"),), 1, 100)
    (tmp_path / ".plan.json.17").write_text("half")
    plan.settle(tmp_path)
    assert (tmp_path / "plan.json").exists()


def test_another_one_that_begins_at_the_same_time_is_no_other_folder(tmp_path, monkeypatch):
    """It writes its plan after we have looked for one."""
    looked = []

    def lexists(path):
        if not looked:
            looked.append(path)
            PLAN.settle(tmp_path)
            (tmp_path / "gru-0.claim-1").touch()
            return False
        return Path(path).exists()

    monkeypatch.setattr("unrolled.comparison.plan.os.path.lexists", lexists)
    PLAN.settle(tmp_path)
    looked.clear()
    (tmp_path / "plan.json").unlink()
    (tmp_path / "gru-0.claim-1").unlink()
    with pytest.raises(RunError, match="other task: toy, not lm"):
        replace(PLAN, task="lm").settle(tmp_path)


def test_of_different_comparisons_that_begin_at_once_one_has_the_folder(tmp_path, monkeypatch):
    """All of them have found no plan."""
    for round_ in range(20):
        folder, barrier = tmp_path / str(round_), threading.Barrier(4)
        asked = threading.local()

        def lexists(path, barrier=barrier, asked=asked):
            if not hasattr(asked, "once"):
                asked.once = barrier.wait(10)
                return False
            return Path(path).exists()

        def settle(plan, folder=folder):
            try:
                plan.settle(folder)
            except RunError as error:
                return error.message
            return None

        monkeypatch.setattr("unrolled.comparison.plan.os.path.lexists", lexists)
        plans = [PLAN, replace(PLAN, task="lm"), PLAN, replace(PLAN, task="lm")]
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(settle, plans))
        task = json.loads((folder / "plan.json").read_text())["task"]
        other = {"toy": "lm", "lm": "toy"}[task]
        refusal = f"{folder}: a comparison with other task: {task}, not {other}"
        assert answers == [None if plan.task == task else refusal for plan in plans]
        assert [file.name for file in folder.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/zero"), os.mkfifo])
def test_a_plan_that_is_not_a_plain_file_is_refused(tmp_path, make):
    make(tmp_path / "plan.json")
    with pytest.raises(RunError, match=r"plan\.json: cannot be read: it is "):
        Plan("lm", ("x.txt",), (Contestant("gru"),), 1, 100).settle(tmp_path)


def test_a_file_whose_name_is_not_utf_8_can_be_compared_on(tmp_path):
    plan = Plan("lm", (os.fsdecode(b"cora\xe7.txt"),), (Contestant("gru"),), 1, 100)
    plan.settle(tmp_path)
    plan.settle(tmp_path)


@pytest.mark.parametrize("name", ["comparison.json", "comparison.html"])
def test_a_folder_in_the_place_of_what_is_written_is_refused_before_any_training(tmp_path, name):
    PLAN.settle(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(RunError, match=f"{name}: is a folder") as error:
        PLAN.settle(tmp_path)
    assert error.value.hint == "choose another folder"
