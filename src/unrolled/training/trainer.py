"""The training loop, for every task: updates, evaluations, the log, checkpoints, the end.

What is learned from what is the objective's part, when what is due the schedule's. What a
checkpoint says of a run that goes on is in `continuing.py`, how a run ends in `ending.py`.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

from torch import nn

from unrolled.errors import OptionError, RunError, field
from unrolled.metrics import Metric
from unrolled.networks.devices import device_of, find_device
from unrolled.training.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from unrolled.training.choice import Choice
from unrolled.training.continuing import check_continues, log_mark_in, progress_in
from unrolled.training.distributed import ALONE, Processes
from unrolled.training.ending import TrainingResult, diverged, what_is_left
from unrolled.training.kept_weights import KeptWeights
from unrolled.training.learner import Learner
from unrolled.training.metrics_log import MetricsLog
from unrolled.training.objective import Objective
from unrolled.training.options import LAST, TrainingOptions
from unrolled.training.reporter import NullReporter, Reporter
from unrolled.training.run import Run
from unrolled.training.schedule import Progress, Schedule
from unrolled.training.surroundings import surroundings, what_differs

__all__ = ["Trainer"]

_LOSS = Metric("loss", "lower")


class Trainer:
    """Trains a model for an objective and keeps a run's folder.

    AdamW (Loshchilov & Hutter 2019), the gradient clipped by its norm, warm-up and cosine, early
    stopping. What is evaluated and kept is the average of the weights over about the last tenth of
    the updates so far (Shamir & Zhang 2013, section 4), which is better than the last weights at
    any time but the very end. The weights that are kept are the best by a metric on the held-out
    part, where the loss decides among figures that chance could explain; or the last ones, where
    nothing chooses.

    A run that was killed at any moment goes on from its last checkpoint as if nothing had happened:
    in one process, with `epochs`, on the same machine and number of threads, it ends with the same
    bits.

    Args:
        model: Trained in place, where it is, or on the device that the options name.
        objective: What for.
        run: A folder with its config.json written.
        options: How long and how fast; the objective's data settle what they leave open.
        processes: With several, the model's gradients are averaged over them.
        metric: By which the held-out part ranks weights.

    Attributes:
        learner: The model, and the average of its weights, which is evaluated and kept.
        progress: How far the run has come.
        is_new: Whether the run was made for this trainer, and not restored.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        run: Run,
        options: TrainingOptions,
        processes: Processes = ALONE,
        metric: Metric = _LOSS,
    ) -> None:
        if options.device is not None:
            model.to(find_device(options.device, processes.local_rank))
        self.model = model
        self.objective = objective
        self.run = run
        self.options = options.settled(objective.updates_per_epoch)
        self.processes = processes
        self.metric = metric
        self.progress = Progress()
        self._choice = Choice(metric, objective.num_judged(metric.name))
        self.schedule = Schedule(self.options, objective.updates_per_epoch)
        self.learner = Learner(model, self.options, processes)
        self._log: MetricsLog | None = None  # in the first process, while it trains
        # bytes of metrics.jsonl that are kept when it is opened; their SHA-256, if it is known
        self._log_mark: tuple[int, str | None] = (0, None)
        self.is_new = True
        self._must_save = False  # as the progress is no longer the last checkpoint's
        self._kept_weights = KeptWeights(run, processes)
        self._kept_at_stop: Mapping[str, float] | None = None  # the figures of weights of a stop
        self._surroundings: dict[str, Any] | None = None  # those of the checkpoint
        self._started = 0.0  # by the clock, sessions before this one included
        self._stop_requested = False

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end, so that `fit` has nothing left to do."""
        return self.schedule.ended(self.progress)

    @property
    def keeps_last(self) -> bool:
        """Whether the last weights are kept, whatever the held-out part says."""
        return self.options.select == LAST or not self.objective.num_held_out

    def go_on(self) -> None:
        """Have `fit` go on with a run that had come to its end, as its options are now of more.

        Raises:
            OptionError: They are not: as much has been done already.
        """
        progress = self.progress
        self._judge_anew()
        if self.schedule.done(progress) == 1.0:
            minutes = progress.elapsed_seconds / 60
            done = f"{progress.update:,} updates, {self._epoch:.2f} epochs, {minutes:.1f} minutes"
            message = f"{self.run.path} has already been trained for {done}"
            raise OptionError(message, "give more than that: what there is counts")
        self._must_save = True

    def _judge_anew(self) -> None:
        """Count evaluations from here on: those before were of a training of another length."""
        self.progress.evaluations_without_improvement = self.progress.improvements_in_a_row = 0

    def request_stop(self) -> None:
        """Have `fit` save a checkpoint, measure and return, after this update or the next.

        For signal handlers; with several processes, one request stops them all.
        """
        self._stop_requested = True

    def fit(self, reporter: Reporter | None = None) -> TrainingResult:
        """Train until the end, or until a stop is requested; from the start or where it stopped.

        Args:
            reporter: Is told how it goes; None is silent.

        A new run that fails before its first update is removed: nothing was learned.

        Raises:
            DivergedError: A loss or a gradient is not finite. The last checkpoint and the best
                weights are kept.
            RunError: The run's folder cannot be written, or another process is training it.
        """
        if reporter is None or not self.processes.is_first:
            reporter = NullReporter()
        if self.finished:
            reporter.on_message(
                f"{self.run.path} is finished: more epochs, updates or minutes go on with it"
            )
            return self._result(interrupted=False)
        with self._alone():
            try:
                interrupted = self._fit(reporter)
            except Exception:
                if self._failed_at_once and self.processes.is_first:
                    self.run.discard()
                raise
        return self._result(interrupted)

    def _fit(self, reporter: Reporter) -> bool:
        """Train with the log open; return whether it was interrupted."""
        log_was_mended = self.processes.from_first(lambda: self._open_log(reporter))
        self._say_what_differs(reporter)
        self._started = time.monotonic() - self.progress.elapsed_seconds
        try:
            self._kept_at_stop = None
            self.learner.begin()
            if log_was_mended or self._must_save:
                self._save()
            return self._train(reporter)
        finally:
            self.learner.end()
            self._stop_requested = False
            if self._log is not None:
                self._log_mark = self._log.sync(), self._log.digest
                self._log.close()

    @property
    def _failed_at_once(self) -> bool:
        """Whether the folder holds nothing that was learned, if training has failed."""
        return self.is_new and self.progress.update == 0

    def restore(self) -> None:
        """Go to where the run's last checkpoint was made; to the start if it was killed before.

        Raises:
            RunError: The checkpoint is missing, damaged, not finite, or of another model; another
                number of processes made it; or another process is training the run.
        """
        with self._alone():
            self.processes.from_first(self.run.remove_leftovers)
        self.is_new = False
        checkpoint = self.processes.from_first(self._checkpoint)
        if checkpoint is None:
            return
        try:
            self._restore(checkpoint)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            message = f"{self.run.checkpoint_path}: not a checkpoint of what config.json describes"
            raise RunError(message, "put back the file as the run left it") from error
        if self.progress.kept_update == self.progress.update:
            # the process may have been killed just before it did
            self._kept_weights.save(self.learner.average, self.progress.update)

    def _checkpoint(self) -> dict[str, Any] | None:
        """Return the run's last checkpoint; None if it was killed before there was one."""
        if not self.run.checkpoint_path.exists() and not self.run.weights_path.exists():
            return None
        return load_checkpoint(self.run.checkpoint_path)

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        check_continues(self.run, checkpoint, self.processes.world_size)
        self.learner.load_state_dict(checkpoint)
        self.progress = progress_in(checkpoint, self.metric)
        self._kept_weights.replaced = checkpoint.get("replaced")
        if checkpoint.get("length", self.options.length) != self.options.length:
            self._judge_anew()  # config.json has been given another one, and then it was killed
        self._log_mark = log_mark_in(checkpoint)
        self._surroundings = checkpoint.get("surroundings")
        mine = checkpoint["processes"][self.processes.rank]
        self.objective.load_state_dict(mine["objective"])
        restore_random_state(mine["random"])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the run, in the first process, inside the `with` block."""
        with ExitStack() as stack:
            self.processes.from_first(lambda: stack.enter_context(self.run.locked()))
            yield

    def _train(self, reporter: Reporter) -> bool:
        """Run the loop; return whether it was interrupted."""
        if self.progress.update == 0:
            self._save()
        interrupted = False
        while not interrupted:
            if self.schedule.evaluation_due(self.progress):
                self._evaluate(reporter)
            if self.finished:
                self._warn_if_untrained(reporter)
                break
            interrupted = self._update(reporter)
            if self.schedule.checkpoint_due(self.progress):
                self._save()
        self._save()
        if interrupted:
            self._measure_at_stop(reporter)
        return interrupted

    def _warn_if_untrained(self, reporter: Reporter) -> None:
        if self.progress.update == 0:
            seconds = self.progress.evaluation_seconds
            reporter.on_message(
                f"nothing was learned: the time was over before the first update, as an evaluation "
                f"takes {seconds:.1f} seconds; give more minutes, or hold out less of the data"
            )

    def _update(self, reporter: Reporter) -> bool:
        """Make one update; return whether any process was asked to stop."""
        progress, processes = self.progress, self.processes
        losses = self.learner.read(self.objective)
        seconds = time.monotonic() - self._started if processes.is_first else 0.0
        loss, count, stop, elapsed = processes.sum(
            losses.sum, losses.count, self._stop_requested, seconds
        )
        self._require_finite("loss", loss, progress.update + 1)
        progress.training_seconds += elapsed - progress.elapsed_seconds
        progress.elapsed_seconds = elapsed

        learning_rate = self.schedule.learning_rate(progress)
        gradient_norm = self.learner.go_backward(losses, count)
        self._require_finite("gradient norm", gradient_norm, progress.update + 1)
        self.learner.step(learning_rate)

        progress.update += 1
        progress.last_loss = loss / count
        progress.loss_sum += loss
        progress.count += int(count)
        if self.schedule.log_due(progress):
            self._write_log(reporter, gradient_norm, learning_rate)
        return stop > 0

    def _write_log(self, reporter: Reporter, gradient_norm: float, learning_rate: float) -> None:
        progress = self.progress
        loss = progress.loss_sum / progress.count
        metrics = {
            "update": progress.update,
            "epoch": self._epoch,
            "done": self.schedule.done(progress),
            "loss": loss,
            **self.objective.train_metrics(loss),
            "gradient_norm": gradient_norm,
            "learning_rate": learning_rate,
            "elapsed_seconds": progress.elapsed_seconds,
            "tokens_per_second": progress.count / max(progress.training_seconds, 1e-9),
        }
        progress.loss_sum, progress.count, progress.training_seconds = 0.0, 0, 0.0
        if self._log is not None:
            self._log.write("train", metrics)
        reporter.on_log(metrics | {"seconds_left": self.schedule.seconds_left(progress)})

    def _evaluate(self, reporter: Reporter) -> None:
        """Measure on held-out data, and keep the weights if they are to be kept."""
        progress = self.progress
        measured, elapsed = self._measure()
        progress.evaluation_seconds = elapsed - progress.elapsed_seconds
        progress.evaluations_seconds += progress.evaluation_seconds
        progress.elapsed_seconds = progress.evaluated_seconds = elapsed
        progress.evaluated_update = progress.update
        self._require_figures(measured)
        improved = self._choice.note(measured, progress)
        metrics = {"update": progress.update, "epoch": self._epoch, **measured}
        metrics["elapsed_seconds"] = elapsed
        if measured and self._log is not None:
            self._log.write("held_out", metrics)
        if improved or self.keeps_last:
            progress.kept_update, self._kept_weights.replaced = progress.update, None
            self._save()  # first, so that the kept weights are never ahead of the checkpoint
            self._kept_weights.save(self.learner.average, progress.update)
        else:
            self._kept_weights.put_back()
        if measured:
            reporter.on_evaluation(metrics, None if self.keeps_last else improved)

    def _measure_at_stop(self, reporter: Reporter) -> None:
        """Keep the weights of an interrupted run if they are better than those that were kept.

        The progress does not know of it, so that the resumed run goes on as if it had not stopped:
        the checkpoint has the weights that these replace.
        """
        progress = self.progress
        if progress.evaluated_update == progress.update:
            return
        drawn = random_state()
        measured, _ = self._measure()
        restore_random_state(drawn)
        self._require_figures(measured)
        improved = self._choice.is_best(measured, progress)
        if improved or self.keeps_last:
            self._kept_weights.set_aside()
            self._save()
            self._kept_weights.save(self.learner.average, progress.update)
            self._kept_at_stop = measured
        if measured:
            metrics = {"update": progress.update, "epoch": self._epoch, **measured}
            reporter.on_evaluation(metrics, None if self.keeps_last else improved)

    def _measure(self) -> tuple[dict[str, float], float]:
        """Return the figures of what is held out, measured by all, and the seconds since the start.

        Of the processes' figures and clocks, those of the first hold for all.
        """
        metrics: dict[str, float] = {}
        if self.objective.num_held_out:
            with self.processes.sharing():
                metrics = self.objective.evaluate(self.learner.average)
        return self.processes.from_first(lambda: (metrics, time.monotonic() - self._started))

    def _require_figures(self, measured: Mapping[str, float]) -> None:
        """Raise unless the weights can be chosen by what was measured, if anything was."""
        if not measured:
            return
        self._require_finite("held-out loss", measured["loss"], self.progress.update)
        if (name := self.metric.name) not in measured:
            message = f"{field('select')}: the held-out part has no figure of {name!r}"
            raise OptionError(message, "choose another metric, or hold out more")

    def _require_finite(self, name: str, value: float, update: int) -> None:
        """Raise `DivergedError` unless `value` is finite. Nothing has been changed by it yet."""
        if math.isfinite(value):
            return
        left = what_is_left(self.run.path, self.progress, is_removed=self._failed_at_once)
        raise diverged(name, value, update, self.progress.last_loss, left, self.options)

    def _save(self) -> None:
        """Write last.ckpt: all that the rest of the run depends on."""
        self.progress.checkpoint_seconds = self.progress.elapsed_seconds
        mine = {"objective": self.objective.state_dict(), "random": random_state()}
        processes = self.processes.gather(mine)

        def save() -> None:
            assert self._log is not None
            content = {
                "run": self.run.identity,
                **self.learner.state_dict(),
                "replaced": self._kept_weights.replaced,
                "progress": asdict(self.progress),
                "length": self.options.length,
                "log_length": self._log.sync(),
                "log_sha256": self._log.digest,
                "surroundings": surroundings(device_of(self.model)),
                "processes": processes,
            }
            save_checkpoint(self.run.checkpoint_path, content)

        self.processes.from_first(save)

    def _open_log(self, reporter: Reporter) -> bool:
        """Open the log; return whether it had lost lines that were there at the checkpoint."""
        update, say = self.progress.update, reporter.on_message
        self._log = MetricsLog(self.run, *self._log_mark, update, say)
        return self._log.mended

    def _say_what_differs(self, reporter: Reporter) -> None:
        """Say what has changed since the checkpoint on which the last bits of sums depend."""
        if self._surroundings is not None and (
            differing := what_differs(self._surroundings, device_of(self.model))
        ):
            reporter.on_message(
                f"{differing}: the run may end with weights whose last bits are not those of a run "
                "that was never interrupted"
            )

    @property
    def _epoch(self) -> float:
        return self.progress.update / self.schedule.updates_per_epoch

    def _result(self, interrupted: bool) -> TrainingResult:
        reason = "finished"
        if interrupted:
            reason = "interrupted"
        elif self.schedule.out_of_patience(self.progress):
            reason = "out of patience"
        progress = self.progress
        loss, figure = progress.best_loss, progress.best_figure
        kept_update = progress.kept_update
        if interrupted and self._kept_at_stop is not None:
            kept_update = progress.update
            loss = self._kept_at_stop.get("loss", loss)
            figure = self._kept_at_stop.get(self.metric.name, figure)
        return TrainingResult(
            reason,
            progress.update,
            self._epoch,
            loss,
            progress.elapsed_seconds,
            figure,
            kept_update,
            still_improving=reason == "finished" and progress.improvements_in_a_row > 2,
        )
