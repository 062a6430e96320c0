import json
import re
from dataclasses import replace

import pytest

from unrolled.comparison import Contestant, Plan, parse_contestants
from unrolled.errors import OptionError, RunError

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
        ("", "--cells: expected the name of a cell, got ''"),
        ("gru,,lstm", "--cells: expected the name of a cell, got ''"),
        ("--layers 2", "--cells: expected the name of a cell, got '--layers 2'"),
        ("gru,lstm,gru", "--cells: gru comes twice"),
        ('gru "', "--cells: 'gru \"': No closing quotation"),
        ("gru --seed 1", "compare: --seed is not for a single training here"),
        ("gru --hidden-size=9", "compare: --hidden-size is not for a single training here"),
    ],
)
def test_contestants_that_make_no_comparison_are_refused(text, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        parse_contestants(text)


@pytest.mark.parametrize("option", ["--cell", "--seed", "--run", "--parameters", "--hidden-size=3"])
def test_what_the_comparison_decides_is_no_argument(option):
    with pytest.raises(OptionError, match="is not for a single training here"):
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
    with pytest.raises(RunError, match="not empty, and no comparison"):
        PLAN.settle(tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(RunError, match=r"plan\.json: damaged"):
        PLAN.settle(tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps([]))
    with pytest.raises(RunError, match="other format"):
        PLAN.settle(tmp_path)
    with pytest.raises(RunError, match="cannot be used"):
        PLAN.settle(tmp_path / "thesis.txt" / "x")
