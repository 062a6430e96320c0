"""The trainings here are a script that behaves as they do, but without torch."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from unrolled.comparison import Claims, Contestant, Plan, Runner
from unrolled.errors import OptionError, RunError

TRAINING = """
import json, os, pathlib, signal, sys, time
arguments = sys.argv[1:]
place = arguments.index("--run") if "--run" in arguments else 0
run = pathlib.Path(arguments[place + 1])
(run.parent / "calls.txt").open("a").write(arguments[0] + " " + run.name + "\\n")
if "bad" in run.name:
    sys.exit("some noise\\nunrolled: error: bad: no such cell\\nhint: take a good one")
if "silent" in run.name:
    sys.exit(3)
if "shot" in run.name:
    os.kill(os.getpid(), signal.SIGKILL)
run.mkdir(exist_ok=True)
(run / "config.json").write_text("{}")
(run / "threads.txt").write_text(os.environ["OMP_NUM_THREADS"])
if "WORLD_SIZE" in os.environ:
    sys.exit(4)
if "slow" in run.name and arguments[0] == "train":
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    (run / "ready").write_text("")
    time.sleep(30)
(run / "results.json").write_text(json.dumps({"from": arguments[0]}))
"""


@pytest.fixture
def run(tmp_path):
    """Run trainings of the cells; what is told on the way is in `told`."""
    (tmp_path / "training.py").write_text(TRAINING)
    folder = tmp_path / "out"
    folder.mkdir()

    def run(
        cells,
        *,
        num_seeds=1,
        num_processes=1,
        num_threads=4,
        while_waiting=None,
        silence_seconds=99,
    ):
        plan = Plan("toy", ("x",), tuple(Contestant(cell) for cell in cells), num_seeds, 9)
        program = (sys.executable, str(tmp_path / "training.py"))
        claims = Claims(silence_seconds)
        runner = Runner(plan.trials(folder), num_processes, num_threads, program, claims)
        runner.told, runner.claimed = [], []
        runner.most = 0

        def on_wait():
            runner.most = max(runner.most, len(runner.running))
            if while_waiting:
                while_waiting(runner, folder)

        runner.run(
            lambda trial: None,
            lambda trial, how: runner.told.append((trial.name, how)),
            on_wait,
            lambda trial, holder: runner.claimed.append((trial.name, holder.is_gone)),
        )
        return runner

    run.folder = folder
    run.calls = lambda: (folder / "calls.txt").read_text().splitlines()
    return run


def test_what_is_finished_is_not_done_again(run):
    assert run(["a", "b"]).told == [("a, seed 0", "finished"), ("b, seed 0", "finished")]
    assert run(["a", "b", "c"]).told == [("c, seed 0", "finished")]
    assert run.calls() == ["train a-0", "train b-0", "train c-0"]


def test_what_was_interrupted_goes_on(run):
    (run.folder / "a-0").mkdir()
    (run.folder / "a-0" / "config.json").write_text("{}")
    run(["a"])
    assert run.calls() == ["resume a-0"]


def test_one_failure_leaves_the_others_to_go_on(run):
    runner = run(["bad", "silent", "shot", "good"])
    assert [how for _, how in runner.told] == ["failed", "failed", "failed", "finished"]
    assert [failure.message for failure in runner.failures] == [
        "bad: no such cell\nhint: take a good one",
        "ended with code 3, and wrote nothing",
        "killed by SIGKILL (out of memory?)",
    ]


def test_trainings_run_side_by_side_and_share_the_threads(run):
    runner = run(["a", "b", "c"], num_processes=2, num_threads=4)
    assert runner.most == 2
    assert {path.read_text() for path in run.folder.glob("*/threads.txt")} == {"2"}
    assert runner.threads_each == 2


def test_trainings_of_one_torchrun_are_not_one_training(run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(["a"]).told == [("a, seed 0", "finished")]


def test_every_training_has_a_thread_at_least(run):
    assert run(["a"], num_processes=3, num_threads=2).threads_each == 1


def test_a_stop_ends_what_runs_and_begins_nothing_else(run):
    def stop(runner, folder):
        if (folder / "slow-0" / "ready").exists() and not runner.stop_requested:
            runner.request_stop()

    runner = run(["slow", "a"], while_waiting=stop)
    assert not (run.folder / "slow-0" / "results.json").exists()  # it was not waited for
    assert runner.told == [("slow, seed 0", "interrupted")]
    assert runner.failures == []
    assert [trial.name for trial in runner.waiting] == ["a, seed 0"]
    again = run(["slow", "a"])
    assert again.told == [("slow, seed 0", "finished"), ("a, seed 0", "finished")]
    assert run.calls() == ["train slow-0", "resume slow-0", "train a-0"]


def test_no_process_at_all_is_refused(run):
    with pytest.raises(OptionError, match="num_processes must be at least 1, got 0"):
        run(["a"], num_processes=0)


def test_a_log_that_is_a_link_is_replaced_and_not_followed(run, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (run.folder / "a-0.log").symlink_to(victim)
    assert run(["a"]).told == [("a, seed 0", "finished")]
    assert victim.read_text() == "precious"
    assert not (run.folder / "a-0.log").is_symlink()


def test_two_that_share_a_folder_train_everything_once(run, tmp_path):
    cells = [f"cell{number}" for number in range(6)]
    with ThreadPoolExecutor() as pool:
        runners = [future.result() for future in [pool.submit(run, cells) for _ in range(2)]]
    assert sorted(run.calls()) == sorted(f"train {cell}-0" for cell in cells)
    for runner in runners:
        assert sorted(name for name, how in runner.told) == [f"{cell}, seed 0" for cell in cells]
        assert {how for _, how in runner.told} <= {"finished", "finished elsewhere"}
    assert not list(run.folder.glob("*.claim-*"))


def test_what_a_dead_process_had_claimed_is_waited_for_said_and_taken_over(run):
    assert Claims().take(run.folder / "a-0")  # and gives no sign of life from now on
    runner = run(["a", "b"], silence_seconds=0.3)
    assert runner.told == [("b, seed 0", "finished"), ("a, seed 0", "finished")]
    assert [(name, is_gone) for name, is_gone in runner.claimed] == [
        ("a, seed 0", False),
        ("a, seed 0", True),
    ]
    assert not list(run.folder.glob("*.claim-*"))


def test_a_claim_that_lives_is_left_alone_until_it_is_given_back(run):
    other = Claims(silence_seconds=0.3)
    assert other.take(run.folder / "a-0")
    started = time.monotonic()

    def keep(runner, folder):
        if time.monotonic() - started < 1.5:
            other.keep()
        elif folder.exists():
            other.release(folder / "a-0")

    runner = run(["a"], silence_seconds=0.3, while_waiting=keep)
    assert [is_gone for _, is_gone in runner.claimed] == [False]
    assert runner.told == [("a, seed 0", "finished")]


def test_a_claim_that_was_taken_over_is_not_held_any_more(tmp_path):
    now = [0.0]
    run_path = tmp_path / "a-0"
    slow, next_one, third = (Claims(10, clock=lambda: now[0]) for _ in range(3))
    assert slow.take(run_path)
    assert not next_one.take(run_path)
    assert not third.take(run_path)
    now[0] = 11.0
    assert next_one.take(run_path)
    assert not third.take(run_path)  # the last claim is not the one that stood still
    assert slow.keep() == [run_path]
    slow.release(run_path)
    assert not slow.take(run_path)
    next_one.release(run_path)
    assert list(tmp_path.iterdir()) == []


def test_of_two_that_look_at_the_same_time_one_has_the_claim(tmp_path, monkeypatch):
    """Each looks at the folder once; then the other one is faster."""
    now = [0.0]
    run_path = tmp_path / "a-0"
    dead, fast, slow = (Claims(10, clock=lambda: now[0]) for _ in range(3))

    def take_after(other, does):
        holder, interrupted = Claims._holder, []

        def interrupting(claims, *arguments):
            found = holder(claims, *arguments)
            if claims is slow and not interrupted:
                interrupted.append(True)
                does(other)
            return found

        monkeypatch.setattr(Claims, "_holder", interrupting)
        return slow.take(run_path)

    assert dead.take(run_path)
    assert not fast.take(run_path)
    assert not slow.take(run_path)
    now[0] = 11.0
    assert not take_after(fast, lambda other: other.take(run_path))  # both had seen it dead
    assert fast.keep() == []
    assert not take_after(fast, lambda other: other.release(run_path))  # it was there, and goes
    assert fast.take(run_path)
    assert not slow.take(run_path)


def test_a_claim_of_the_same_name_that_another_one_made_since_is_not_ours(tmp_path):
    now = [0.0]
    run_path = tmp_path / "a-0"
    stopped, next_one, third = (Claims(10, clock=lambda: now[0]) for _ in range(3))
    assert stopped.take(run_path)
    assert not next_one.take(run_path)
    now[0] = 11.0
    assert next_one.take(run_path)
    next_one.release(run_path)
    assert third.take(run_path)
    assert (tmp_path / "a-0.claim-1").exists()  # of the third, under the name of the first
    assert stopped.keep() == [run_path]
    stopped.release(run_path)
    assert third.keep() == []
    assert (tmp_path / "a-0.claim-1").exists()


def test_a_claim_that_was_deleted_is_lost_and_a_folder_that_is_gone_is_said(tmp_path):
    now = [0.0]
    claims = Claims(10, clock=lambda: now[0])
    folder = tmp_path / "folder"
    folder.mkdir()
    assert claims.take(folder / "a-0")
    (folder / "a-0.claim-1").unlink()
    now[0] = 11.0
    assert claims.keep() == [folder / "a-0"]
    folder.rmdir()
    with pytest.raises(RunError, match="folder: cannot be written: No such file"):
        claims.take(folder / "a-0")
