import math

import pytest

from unrolled.training.options import TrainingOptions
from unrolled.training.schedule import Progress, Schedule, learning_rate_factor


def evaluated(**progress) -> Progress:
    return Progress(evaluated_update=0, **progress)


def test_learning_rate_rises_in_a_line_and_falls_along_half_a_cosine():
    factors = [learning_rate_factor(done, warmup=0.2) for done in (0, 0.05, 0.2, 0.4, 0.6, 1)]
    expected = [0, 0.25, 1, 0.5 * (1 + math.sqrt(0.5)), 0.5, 0]
    assert factors == pytest.approx(expected, abs=1e-15)


def test_each_update_has_the_learning_rate_of_its_middle():
    schedule = Schedule(TrainingOptions(epochs=2, learning_rate=8.0, warmup=0.5), 2)
    rates = [schedule.learning_rate(Progress(update=update)) for update in range(4)]
    assert rates == pytest.approx([2, 6, 4 * (1 + math.sqrt(0.5)), 4 * (1 - math.sqrt(0.5))])


def test_epochs_are_counted_in_updates_and_there_is_at_least_one():
    assert Schedule(TrainingOptions(epochs=0.7), 10).total_updates == 7
    assert Schedule(TrainingOptions(epochs=0.001), 10).total_updates == 1


def test_minutes_leave_room_for_the_last_evaluation():
    schedule = Schedule(TrainingOptions(minutes=1), 10)
    assert schedule.done(Progress(elapsed_seconds=25, evaluation_seconds=10)) == 0.5
    assert schedule.done(Progress(elapsed_seconds=50, evaluation_seconds=10)) == 1
    assert schedule.done(Progress(elapsed_seconds=1, evaluation_seconds=90)) == 1


def test_evaluations_use_up_no_warm_up():
    schedule = Schedule(TrainingOptions(minutes=1, learning_rate=1.0, warmup=0.1), 10)
    started = Progress(elapsed_seconds=21, evaluation_seconds=20, evaluations_seconds=20)
    assert schedule.done(started) == 1 / (1 + 60 - 21 - 20)
    assert schedule.learning_rate(started) == pytest.approx(10 / 20)


def test_time_left_of_minutes_is_what_the_clock_says():
    schedule = Schedule(TrainingOptions(minutes=1), 10)
    assert schedule.seconds_left(Progress(elapsed_seconds=25, evaluation_seconds=10)) == 35
    assert schedule.seconds_left(Progress(elapsed_seconds=61, evaluation_seconds=10)) == 0


@pytest.mark.parametrize(
    ("update", "evaluations"), [(10, 4), (25, 4), (26, 3), (50, 3), (75, 2), (76, 1), (90, 1)]
)
def test_time_left_of_epochs_is_that_of_its_updates_and_evaluations(update, evaluations):
    schedule = Schedule(TrainingOptions(epochs=0.9, evaluate_every=25), 100)  # 25, 50, 75, 90
    progress = Progress(
        update=update,
        elapsed_seconds=100 + 2 * update,  # 2 for each update
        evaluations_seconds=100,
        evaluation_seconds=7,
    )
    assert schedule.seconds_left(progress) == 2 * (90 - update) + 7 * evaluations


def test_the_start_and_the_end_are_evaluated_once():
    schedule = Schedule(TrainingOptions(epochs=1, evaluate_every=1000), 10)
    assert schedule.evaluation_due(Progress())
    assert not schedule.evaluation_due(evaluated())
    assert schedule.evaluation_due(evaluated(update=10))
    assert not schedule.evaluation_due(Progress(update=10, evaluated_update=10))


@pytest.mark.parametrize(
    ("epochs", "evaluated_updates"),
    [
        (1, [50, 100]),  # no more than two an epoch
        (20, range(200, 2001, 200)),  # no more than ten a run
    ],
)
def test_evaluations_by_default(epochs, evaluated_updates):
    schedule = Schedule(TrainingOptions(epochs=epochs), 100)
    due = [u for u in range(1, epochs * 100 + 1) if schedule.evaluation_due(evaluated(update=u))]
    assert due == list(evaluated_updates)


def test_evaluations_by_default_take_a_tenth_of_the_time():
    schedule = Schedule(TrainingOptions(minutes=10), 100)

    def due(since: float, took: float) -> bool:
        return schedule.evaluation_due(
            evaluated(
                update=7,
                elapsed_seconds=100 + since,
                evaluated_seconds=100,
                evaluation_seconds=took,
            )
        )

    assert not due(since=59, took=1)
    assert due(since=61, took=1)
    assert not due(since=89, took=10)
    assert due(since=91, took=10)


def test_evaluate_every():
    schedule = Schedule(TrainingOptions(epochs=1, evaluate_every=3), 10)
    due = [u for u in range(1, 11) if schedule.evaluation_due(evaluated(update=u))]
    assert due == [3, 6, 9, 10]


def test_patience_is_counted_in_evaluations():
    schedule = Schedule(TrainingOptions(epochs=1, patience=2), 10)
    assert not schedule.ended(Progress(evaluations_without_improvement=1))
    assert schedule.ended(Progress(evaluations_without_improvement=2))
    patient = Schedule(TrainingOptions(epochs=1), 10)
    assert not patient.ended(Progress(evaluations_without_improvement=1000))


def test_checkpoints_and_log_lines():
    schedule = Schedule(TrainingOptions(epochs=1, log_every=4, checkpoint_every_seconds=5), 10)
    assert [u for u in range(1, 11) if schedule.log_due(Progress(update=u))] == [4, 8, 10]
    assert not schedule.checkpoint_due(Progress(elapsed_seconds=14.9, checkpoint_seconds=10))
    assert schedule.checkpoint_due(Progress(elapsed_seconds=15, checkpoint_seconds=10))
