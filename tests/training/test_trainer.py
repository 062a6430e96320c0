import json
import math
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from torch import nn

from unrolled.errors import DivergedError, OptionError, RunError
from unrolled.metrics import Metric
from unrolled.training import trainer as trainer_module
from unrolled.training.checkpoint import load_checkpoint
from unrolled.training.metrics_log import MetricsLog, loss_curves
from unrolled.training.options import TrainingOptions
from unrolled.training.run import Run
from unrolled.training.trainer import Trainer


class Line:
    """Learns y = 3 x from 4 noisy examples an update. The held-out losses may be dictated."""

    updates_per_epoch = 10
    num_held_out = 9

    def __init__(self, held_out=None, spoil=None):
        self.held_out = held_out
        self.spoil = spoil or {}
        self.update = 0

    def num_judged(self, metric):  # noqa: ARG002
        return self.num_held_out

    def next_loss(self, model):
        self.update += 1
        x = torch.linspace(-1, 1, 4)[:, None] + self.update % 3
        y = 3 * x + 0.1 * torch.randn(4, 1)
        loss = (model(x) - y).square().sum()
        return self.spoil.get(self.update, lambda loss: loss)(loss), 4

    def train_metrics(self, loss):
        return {"root_mean_square": math.sqrt(loss)}

    def evaluate(self, model):
        if self.held_out is not None:
            return {"loss": self.held_out[self.update]}
        x = torch.linspace(-1, 1, 9)[:, None]
        with torch.no_grad():
            return {"loss": (model(x) - 3 * x).square().mean().item()}

    def state_dict(self):
        return {"update": self.update}

    def load_state_dict(self, state):
        self.update = state["update"]


class Recorder:
    """Keeps what it is told; after an update it asks for a stop, which comes with the next."""

    def __init__(self, stop_at=None, trainer=None):
        self.logs, self.evaluations, self.messages = [], [], []
        self.stop_at = stop_at
        self.trainer = trainer

    def on_log(self, metrics):
        self.logs.append(dict(metrics))
        if metrics["update"] == self.stop_at:
            self.trainer.request_stop()

    def on_evaluation(self, metrics, improved):
        self.evaluations.append((metrics["update"], metrics["loss"], improved))

    def on_message(self, message):
        self.messages.append(message)


LOSS = Metric("loss", "lower")


def make_trainer(run: Run, objective=None, metric=LOSS, **options) -> Trainer:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.1), nn.Linear(8, 1))
    defaults = {"epochs": 2, "learning_rate": 0.05, "log_every": 1}
    settled = TrainingOptions(**(defaults | options))
    return Trainer(model, objective or Line(), run, settled, metric=metric)


def lines(run: Run, *but: str) -> list[dict]:
    records = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    return [{k: v for k, v in record.items() if k not in but} for record in records]


TIMES = ("elapsed_seconds", "tokens_per_second")


@pytest.fixture
def run(tmp_path) -> Run:
    return Run.create(tmp_path / "run")


def test_it_learns(run):
    reporter = Recorder()
    result = make_trainer(run, epochs=20).fit(reporter)
    assert (result.reason, result.update, result.epoch) == ("finished", 200, 20)
    first, last = reporter.evaluations[0], reporter.evaluations[-1]
    assert last[1] < 0.05 * first[1]
    assert result.best_loss == min(loss for _, loss, _ in reporter.evaluations)


def test_metrics_are_one_json_object_a_line(run):
    make_trainer(run, epochs=0.4, evaluate_every=2).fit()
    records = lines(run)
    assert [(record["kind"], record["update"]) for record in records] == [
        ("held_out", 0),
        ("train", 1),
        ("train", 2),
        ("held_out", 2),
        ("train", 3),
        ("train", 4),
        ("held_out", 4),
    ]
    train = records[2]
    assert train["epoch"] == 0.2
    assert train["done"] == 0.5
    assert train["root_mean_square"] == math.sqrt(train["loss"])
    assert train["gradient_norm"] > 0
    assert train["learning_rate"] > 0
    assert set(TIMES) < train.keys()


def test_a_log_line_is_the_mean_since_the_line_before(tmp_path):
    each, every_third = Run.create(tmp_path / "1"), Run.create(tmp_path / "3")
    make_trainer(each, epochs=0.6).fit()
    make_trainer(every_third, epochs=0.6, log_every=3).fit()
    losses = [record["loss"] for record in lines(each) if record["kind"] == "train"]
    means = [record["loss"] for record in lines(every_third) if record["kind"] == "train"]
    assert means == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3])


def test_the_best_weights_are_kept(run):
    held_out = [9, 9, 5, 9, 7, 9, 6]
    trainer = make_trainer(run, Line(held_out), epochs=0.6, evaluate_every=2)
    seen = {}

    class Copies(Recorder):
        def on_evaluation(self, metrics, improved):
            super().on_evaluation(metrics, improved)
            seen[metrics["update"]] = {
                k: v.clone() for k, v in trainer.learner.average.state_dict().items()
            }

    reporter = Copies()
    result = trainer.fit(reporter)
    assert reporter.evaluations == [(0, 9, True), (2, 5, True), (4, 7, False), (6, 6, False)]
    assert result.best_loss == 5
    kept = safetensors.torch.load_file(run.weights_path)
    assert all(torch.equal(kept[name], seen[2][name]) for name in kept)
    assert not torch.equal(seen[2]["0.weight"], seen[4]["0.weight"])


class Dictated(Line):
    """Held-out figures by update: of the metric that chooses, and the loss."""

    def __init__(self, figures, num_judged=100):
        super().__init__()
        self.figures, self.num_held_out, self.judged = figures, 100, num_judged

    def num_judged(self, metric):
        assert metric == "figure"
        return self.judged

    def evaluate(self, model):  # noqa: ARG002
        figure, loss = self.figures[self.update]
        return {"figure": figure, "loss": loss}


def kept_updates(run, figures, better, share=True, num_judged=100):
    """Return the updates whose weights were the best so far, and how it ended."""
    objective, metric = Dictated(figures, num_judged), Metric("figure", better, share=share)
    epochs = (len(figures) - 1) / 10
    trainer = make_trainer(run, objective, metric, epochs=epochs, evaluate_every=1)
    reporter = Recorder()
    result = trainer.fit(reporter)
    return [update for update, _, improved in reporter.evaluations if improved], result


def test_the_metric_chooses_the_weights_and_the_loss_among_equals(run):
    figures = [(0.1, 1.0), (0.5, 2.0), (0.5, 1.9), (0.5, 3.0), (0.9, 9.0), (0.4, 0.1)]
    kept, result = kept_updates(run, figures, "higher")
    assert kept == [0, 1, 2, 4]
    assert (result.best_figure, result.best_loss, result.kept_update) == (0.9, 9.0, 4)


def test_a_lower_figure_is_better_where_the_metric_says_so(run):
    figures = [(3.0, 1.0), (2.0, 2.0), (2.5, 0.1), (2.0, 1.5)]
    kept, _ = kept_updates(run, figures, "lower", share=False)
    assert kept == [0, 1, 3]


def test_shares_that_chance_could_explain_are_equal(run):
    """0.8 of 100 has a standard error of 0.04: 0.77 is as good, 0.75 is not."""
    figures = [(0.5, 1.0), (0.8, 0.9), (0.77, 0.5), (0.75, 0.1), (0.805, 0.6), (0.86, 0.7)]
    kept, result = kept_updates(run, figures, "higher")
    assert kept == [0, 1, 2, 5]  # at 0.86 +- 0.035 the 0.77 is no longer
    assert result.best_figure == 0.86


def test_what_is_no_share_has_no_error_that_is_known(run):
    """R2, and BLEU of 0 to 100, may lie between 0 and 1 too."""
    figures = [(0.80, 1.0), (0.79, 0.5), (0.81, 0.9)]
    assert kept_updates(run, figures, "higher", share=False)[0] == [0, 2]


def test_a_first_figure_that_is_not_finite_is_worse_than_any(run):
    figures = [(math.inf, 1.0), (math.inf, 0.5), (9.0, 2.0), (8.0, 3.0)]
    assert kept_updates(run, figures, "lower", share=False)[0] == [0, 2, 3]


def test_with_few_examples_each_figure_is_less_sure(tmp_path):
    """What tells a figure counts, and not all that is held out."""
    figures = [(0.80, 1.0), (0.75, 0.5)]
    assert kept_updates(Run.create(tmp_path / "few"), figures, "higher")[0] == [0]
    assert kept_updates(Run.create(tmp_path / "a"), figures, "higher", num_judged=50)[0] == [
        0,
        1,
    ]


def test_where_nothing_was_counted_the_loss_chooses(run):
    figures = [(0.0, 1.0), (0.0, 0.5), (0.0, 0.7)]
    assert kept_updates(run, figures, "higher", num_judged=0)[0] == [0, 1]


@pytest.mark.parametrize(
    ("figures", "expected"), [([1, 2, 3, 4], True), ([1, 4, 2, 3], False), ([1, 2, 4, 3], False)]
)
def test_a_run_says_whether_it_was_still_improving(run, figures, expected):
    _, result = kept_updates(run, [(10 * x, 1.0) for x in figures], "higher", share=False)
    assert result.still_improving is expected


def test_a_figure_that_the_held_out_part_does_not_have_is_told(run):
    trainer = make_trainer(run, metric=Metric("accuracy", "higher"))
    with pytest.raises(OptionError, match="select: the held-out part has no figure of 'accuracy'"):
        trainer.fit()


def test_what_is_evaluated_is_the_average_of_about_the_last_tenth_of_the_updates(run):
    """Shamir and Zhang (2013), section 4, with eta = 9: update t counts 10 / (t + 9)."""
    weights, evaluated = [], []

    class Watching(Line):
        def evaluate(self, model):
            evaluated.append(model[0].weight.detach().double())
            return super().evaluate(model)

    class Copies(Recorder):
        def on_log(self, _):
            weights.append(trainer.model[0].weight.detach().double())

    trainer = make_trainer(run, Watching(), epochs=3, evaluate_every=1)
    start = trainer.model[0].weight.detach().double()
    trainer.fit(Copies())
    assert torch.equal(evaluated[0], start)
    for num_updates in (1, 2, 10, 30):
        shares = [10 / (t + 9) for t in range(1, num_updates + 1)]
        parts = [
            share * math.prod(1 - later for later in shares[t + 1 :])
            for t, share in enumerate(shares)
        ]
        assert sum(parts) == pytest.approx(1)
        expected = sum(part * w for part, w in zip(parts, weights, strict=False))
        torch.testing.assert_close(evaluated[num_updates], expected, rtol=1e-5, atol=1e-7)


def test_a_run_that_was_killed_when_it_was_given_more_goes_on(run):
    """config.json has the new length, the checkpoint still the counts of the old one."""
    losses = [5.0, 3.0, *[4.0] * 30]
    make_trainer(run, Line(losses), epochs=1, evaluate_every=1, patience=2).fit()
    same = make_trainer(run, Line(losses), epochs=1, evaluate_every=1, patience=2)
    same.restore()
    assert same.fit().update == 3  # it has run out of patience, and had no other length since
    longer = make_trainer(run, Line(losses[4:]), epochs=2, evaluate_every=1, patience=2)
    longer.restore()
    assert longer.fit().update == 5


def test_training_ends_when_it_runs_out_of_patience(run):
    losses = [5.0, 4.0, 4.5, 3.0, 3.0, 3.5, 1.0]  # by update
    trainer = make_trainer(run, Line(losses), epochs=10, evaluate_every=1, patience=2)
    result = trainer.fit()
    assert (result.reason, result.update, result.best_loss) == ("out of patience", 5, 3.0)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole, stopped = Run.create(tmp_path / "whole"), Run.create(tmp_path / "stopped")
    make_trainer(whole, evaluate_every=3).fit()

    trainer = make_trainer(stopped, evaluate_every=3)
    result = trainer.fit(Recorder(stop_at=6, trainer=trainer))
    assert (result.reason, result.update) == ("interrupted", 7)
    trainer = make_trainer(stopped, evaluate_every=3)
    trainer.restore()
    result = trainer.fit(Recorder(stop_at=11, trainer=trainer))
    assert (result.reason, result.update) == ("interrupted", 12)
    assert trainer.fit().reason == "finished"  # the same trainer may go on, too

    assert lines(stopped, *TIMES) == lines(whole, *TIMES)
    assert stopped.weights_path.read_bytes() == whole.weights_path.read_bytes()
    one, two = load_checkpoint(stopped.checkpoint_path), load_checkpoint(whole.checkpoint_path)
    for part in ("model", "average"):
        assert all(map(torch.equal, one[part].values(), two[part].values()))


def test_metrics_after_the_checkpoint_are_dropped_and_made_again(tmp_path):
    whole, killed = Run.create(tmp_path / "whole"), Run.create(tmp_path / "killed")
    make_trainer(whole).fit()
    trainer = make_trainer(killed)
    trainer.fit(Recorder(stop_at=5, trainer=trainer))
    with killed.metrics_path.open("a") as file:
        file.write('{"kind": "train", "update": 6, "loss": 1.0}\n{"kind": "tr')
    trainer = make_trainer(killed)
    trainer.restore()
    trainer.fit()
    assert lines(killed, *TIMES) == lines(whole, *TIMES)


@pytest.mark.parametrize("left", [0, 0.5, -1, None])
def test_a_log_that_was_cut_is_mended_and_the_run_goes_on_to_the_same_bits(tmp_path, left):
    whole, cut = Run.create(tmp_path / "whole"), Run.create(tmp_path / "cut")
    make_trainer(whole).fit()
    trainer = make_trainer(cut)
    trainer.fit(Recorder(stop_at=5, trainer=trainer))
    before = cut.metrics_path.read_bytes()
    left = int(left * len(before)) if isinstance(left, float) else left
    cut.metrics_path.unlink() if left is None else cut.metrics_path.write_bytes(before[:left])
    trainer, reporter = make_trainer(cut), Recorder()
    trainer.restore()
    trainer.fit(reporter)
    assert "metrics.jsonl was cut since the last checkpoint" in reporter.messages[0]
    assert cut.weights_path.read_bytes() == whole.weights_path.read_bytes()
    kept = b"" if left is None else before[:left].rpartition(b"\n")[0]
    num_kept, updates = len(kept.splitlines()), range(7, 21)
    assert f"{num_kept} whole lines are kept" in reporter.messages[0]
    records = lines(cut)
    assert records[:num_kept] == [json.loads(line) for line in kept.splitlines()]
    assert [r["update"] for r in records[num_kept:] if r["kind"] == "train"] == [*updates]
    trainer, reporter = make_trainer(cut), Recorder()  # from now on it is whole
    trainer.restore()
    trainer.fit(reporter)
    assert "is finished" in reporter.messages[0]


def test_a_log_that_was_mended_can_be_mended_again(run):
    """Killed before the first update after it, and later: a checkpoint of the new log is there."""
    trainer = make_trainer(run)
    trainer.fit(Recorder(stop_at=5, trainer=trainer))
    run.metrics_path.write_bytes(run.metrics_path.read_bytes()[:300])
    for _ in range(2):
        trainer = make_trainer(run)
        trainer.restore()
        trainer.objective.next_loss = lambda model: 1 / 0
        with pytest.raises(ZeroDivisionError):
            trainer.fit()
    assert load_checkpoint(run.checkpoint_path)["log_length"] == run.metrics_path.stat().st_size


@pytest.mark.parametrize("known", [True, False])
def test_a_log_that_was_changed_is_refused(run, known):
    trainer = make_trainer(run)
    trainer.fit(Recorder(stop_at=5, trainer=trainer))
    content = run.metrics_path.read_bytes()
    run.metrics_path.write_bytes(content.replace(b'"update": 3', b'"update": 2', 1))
    if not known:  # a checkpoint of an older version
        checkpoint = load_checkpoint(run.checkpoint_path)
        del checkpoint["log_sha256"], checkpoint["surroundings"]
        torch.save(checkpoint, run.checkpoint_path)
    trainer = make_trainer(run)
    trainer.restore()
    if not known:
        assert trainer.fit().reason == "finished"
        return
    with pytest.raises(RunError, match=r"metrics\.jsonl: has changed since .*or delete it"):
        trainer.fit()
    with pytest.raises(RunError, match=r"metrics\.jsonl: has changed since"):
        loss_curves(run)


def test_best_weights_that_a_killed_process_could_not_write_are_written(run):
    trainer = make_trainer(run, epochs=0.1, evaluate_every=1)
    trainer.fit()
    best = run.weights_path.read_bytes()
    run.weights_path.write_bytes(b"those of the best before")
    leftover = run.path / ".weights.safetensors.123"
    leftover.write_bytes(b"half")
    make_trainer(run, epochs=0.1, evaluate_every=1).restore()
    assert run.weights_path.read_bytes() == best
    assert not leftover.exists()


def test_a_run_without_checkpoint_starts_from_the_beginning_but_keeps_weights_it_finds(run):
    make_trainer(run).restore()
    run.weights_path.write_bytes(b"of a long training")
    with pytest.raises(RunError, match=r"last\.ckpt: no such file"):
        make_trainer(run).restore()


def test_a_run_that_another_process_trains_is_refused(run):
    trainer = make_trainer(run)
    leftover = run.path / ".last.ckpt.123"
    leftover.write_bytes(b"the other one is about to finish this")
    with run.locked():
        for refused in (trainer.restore, trainer.fit):
            with pytest.raises(RunError, match="another process is training it"):
                refused()
    assert {path.name for path in run.path.iterdir()} == {".lock", leftover.name}
    trainer.fit(Recorder(stop_at=3, trainer=trainer))
    trainer.fit()


@pytest.mark.parametrize("missing", ["model", "average", "progress", "processes", "log_length"])
def test_a_checkpoint_that_lacks_something_is_named(run, missing):
    make_trainer(run, epochs=0.1).fit()
    content = load_checkpoint(run.checkpoint_path)
    content.pop(missing)
    torch.save(content, run.checkpoint_path)
    with pytest.raises(RunError, match=r"last\.ckpt: not a checkpoint of what config.json"):
        make_trainer(run, epochs=0.1).restore()


@pytest.mark.parametrize(
    ("name", "value"),
    [("log_length", "3"), ("log_length", -1), ("model", [1]), ("progress", []), ("processes", {})],
)
def test_a_checkpoint_with_something_of_another_kind_is_named(run, name, value):
    make_trainer(run, epochs=0.1).fit()
    content = load_checkpoint(run.checkpoint_path)
    torch.save(content | {name: value}, run.checkpoint_path)
    with pytest.raises(RunError, match=r"last\.ckpt|trained by"):
        make_trainer(run, epochs=0.1).restore()


def test_a_checkpoint_of_another_model_is_named(run):
    make_trainer(run, epochs=0.1).fit()
    content = load_checkpoint(run.checkpoint_path)
    content["model"]["0.weight"] = torch.zeros(3, 3)
    torch.save(content, run.checkpoint_path)
    with pytest.raises(RunError, match=r"last\.ckpt: not a checkpoint of what config.json"):
        make_trainer(run, epochs=0.1).restore()


def test_a_disk_that_is_full_while_the_log_is_closed_is_named(run, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def flush(self):
            raise OSError(28, "No space left on device")

        def close(self):  # as a file does that could not write its buffer
            self.file.close()
            self.flush()

    def log(*arguments):
        log = MetricsLog(*arguments)
        log._lines = Full(log._lines)
        return log

    monkeypatch.setattr(trainer_module, "MetricsLog", log)
    with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be written: No space"):
        make_trainer(run).fit()


def test_a_finished_run_is_left_alone(run):
    make_trainer(run).fit()
    before = run.metrics_path.read_bytes()
    trainer, reporter = make_trainer(run), Recorder()
    trainer.restore()
    assert trainer.finished
    assert trainer.fit(reporter).reason == "finished"
    assert "is finished" in reporter.messages[0]
    assert run.metrics_path.read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda loss: loss * math.nan, "loss is nan"),
        (lambda loss: loss * math.inf, "loss is inf"),
        (lambda loss: loss + (loss - loss.detach()).sqrt(), "gradient norm is"),  # slope 1 / 0
    ],
)
def test_divergence_stops_before_the_weights_are_touched(run, spoil, what):
    trainer = make_trainer(run, Line(spoil={7: spoil}), evaluate_every=3)
    weights = {}

    class Copies(Recorder):
        def on_log(self, metrics):
            weights[metrics["update"]] = trainer.model[0].weight.clone()

    with pytest.raises(DivergedError, match=f"update 7: the {what}") as error:
        trainer.fit(Copies())
    assert "after a loss of " in error.value.message
    assert error.value.hint == (
        "try a lower learning rate, it was 0.05, or a smaller clip norm, it was 1.0"
    )
    assert torch.equal(trainer.model[0].weight, weights[6])
    assert load_checkpoint(run.checkpoint_path)["progress"]["update"] <= 6
    assert safetensors.torch.load_file(run.weights_path)
    assert [record["update"] for record in lines(run) if record["kind"] == "train"] == [
        *range(1, 7)
    ]


def test_a_held_out_loss_that_is_not_finite_stops_training(run):
    trainer = make_trainer(run, Line([1.0, math.nan]), evaluate_every=1)
    with pytest.raises(DivergedError, match="update 1: the held-out loss is nan"):
        trainer.fit()
    assert load_checkpoint(run.checkpoint_path)["progress"]["best_loss"] == 1.0


def test_a_new_run_that_diverges_before_its_first_update_is_removed(tmp_path):
    """Its folder would ask to be resumed, and there is nothing in it."""
    for held_out, spoil in (([math.nan], {}), (None, {1: lambda loss: loss * math.nan})):
        run = Run.create(tmp_path / "run")
        run.made_folder = True
        trainer = make_trainer(run, Line(held_out, spoil), clip_norm=None)
        with pytest.raises(DivergedError, match=r"nothing was learned, and .*removed") as error:
            trainer.fit()
        assert not run.path.exists()
        if spoil:
            assert error.value.hint.endswith("it was 0.05, or clip the gradient: clip_norm 1")
        else:
            assert error.value.message.startswith("training diverged at update 0: the held-out")
            assert "before any update: look at the data" in error.value.hint


def test_a_new_run_whose_first_update_fails_is_removed_and_a_resumed_one_is_not(run):
    (run.path / "notes.txt").touch()
    trainer = make_trainer(run)
    trainer.objective.next_loss = lambda model: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer.fit()
    assert [file.name for file in run.path.iterdir()] == ["notes.txt"]
    trainer = make_trainer(run)
    trainer.objective.evaluate = lambda model: 1 / 0
    trainer.restore()
    with pytest.raises(ZeroDivisionError):
        trainer.fit()
    assert run.checkpoint_path.exists()


def test_a_stopped_process_leaves_its_run_even_before_the_first_update(run):
    def interrupted(model):
        raise KeyboardInterrupt

    trainer = make_trainer(run)
    trainer.objective.next_loss = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert run.checkpoint_path.exists()


def test_a_resumed_run_says_when_its_last_bits_may_be_others(run, monkeypatch):
    def resumed(threads, capability):
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        trainer = make_trainer(run)
        trainer.restore()
        reporter = Recorder(stop_at=trainer.progress.update + 2, trainer=trainer)
        trainer.fit(reporter)
        return [message for message in reporter.messages if "last bits" in message]

    assert resumed(3, "AVX2") == resumed(3, "AVX2") == []
    (note,) = resumed(2, "AVX2")
    assert note.startswith("trained so far with threads 3, now with threads 2: ")
    (note,) = resumed(2, "AVX512")
    assert note.startswith("trained so far with instructions AVX2, now with instructions AVX512: ")
    assert resumed(2, "AVX512") == []


@pytest.mark.parametrize("what", ["model", "average"])
def test_a_checkpoint_with_numbers_that_are_not_finite_is_told(run, what):
    make_trainer(run, epochs=0.1).fit()
    content = load_checkpoint(run.checkpoint_path)
    name = next(name for name, x in content[what].items() if x.is_floating_point())
    content[what][name].view(-1)[0] = math.nan
    torch.save(content, run.checkpoint_path)
    with pytest.raises(RunError, match=r"last\.ckpt: .* has numbers that are infinite"):
        make_trainer(run, epochs=0.1).restore()


@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_the_gradient_is_clipped_by_its_norm(run, clip_norm):
    trainer, reporter = make_trainer(run, clip_norm=clip_norm, epochs=0.1), Recorder()
    trainer.fit(reporter)
    norm = torch.cat([p.grad.flatten() for p in trainer.model.parameters()]).norm().item()
    logged = reporter.logs[0]["gradient_norm"]
    assert logged > 1
    assert norm == pytest.approx(logged if clip_norm is None else clip_norm, rel=1e-3)


def test_weight_decay_is_for_matrices(run):
    trainer = make_trainer(run, weight_decay=0.3)
    groups = trainer.learner.optimizer.param_groups
    decay = {p: group["weight_decay"] for group in groups for p in group["params"]}
    assert {parameter.dim(): decay[parameter] for parameter in trainer.model.parameters()} == {
        2: 0.3,
        1: 0.0,
    }


def test_a_run_of_minutes_ends_with_its_evaluation_within_them(run, monkeypatch):
    now = iter(range(10**6))
    clock = SimpleNamespace(monotonic=lambda: next(now))  # a second between two looks at it
    monkeypatch.setattr(trainer_module, "time", clock)
    reporter = Recorder()
    result = make_trainer(run, epochs=None, minutes=1).fit(reporter)
    assert result.reason == "finished"
    assert 58 <= result.elapsed_seconds <= 61
    assert reporter.evaluations[-1][0] == result.update
    updates = [update for update, _, _ in reporter.evaluations]
    assert updates == [0, 9, 18, 27, 36, 45, result.update]  # 1 second in 10
    rates = [log["learning_rate"] for log in reporter.logs]
    assert rates[-1] < 0.01 * max(rates)


def test_a_run_without_time_for_an_update_says_so(run, monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: next(now)))
    reporter = Recorder()
    result = make_trainer(run, epochs=None, minutes=1 / 60).fit(reporter)
    assert (result.reason, result.update) == ("finished", 0)
    assert "nothing was learned" in reporter.messages[-1]
    assert "an evaluation takes 1.0 seconds; give more minutes" in reporter.messages[-1]


def test_the_time_left_is_reported_and_not_kept(run, monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: next(now)))
    reporter = Recorder()
    make_trainer(run, epochs=0.4, evaluate_every=2).fit(reporter)
    # a second for each update and each of the two evaluations that are to come
    assert [log["seconds_left"] for log in reporter.logs] == [5, 4, 2, 1]
    assert "seconds_left" not in run.metrics_path.read_text()


def test_checkpoints_are_made_while_training(run, monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: next(now)))
    updates = []

    class Watch(Recorder):
        def on_log(self, _):
            updates.append(load_checkpoint(run.checkpoint_path)["progress"]["update"])

    held_out = [0] * 21
    make_trainer(run, Line(held_out), evaluate_every=100, checkpoint_every_seconds=4).fit(Watch())
    assert updates == sorted(updates)
    assert {4, 8, 12, 16} <= set(updates)


def test_tensorboard_is_told_once_how_to_install_if_it_is_missing(run):
    reporter = Recorder()
    make_trainer(run).fit(reporter)
    assert len(reporter.messages) == 1
    assert "unrolled[tensorboard]" in reporter.messages[0]
    assert not run.tensorboard_path.exists()


def test_tensorboard_hides_what_is_made_again(run, monkeypatch):
    monkeypatch.undo()  # the fixture that hides TensorBoard
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    writers = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    # Files of one second are read by their numbers as strings: 10 would come before 9.
    monkeypatch.setattr(writers, "_global_uid", writers.AtomicCounter(0))
    trainer = make_trainer(run, epochs=1, evaluate_every=100)
    trainer.fit(Recorder(stop_at=6, trainer=trainer))
    stopped_at_6 = run.checkpoint_path.read_bytes()
    trainer.fit(Recorder(stop_at=8, trainer=trainer))
    run.checkpoint_path.write_bytes(stopped_at_6)  # as if killed before the next checkpoint
    trainer = make_trainer(run, epochs=1, evaluate_every=100)
    trainer.restore()
    trainer.fit()
    events = accumulators.EventAccumulator(str(run.tensorboard_path)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 11))
    expected = [record["loss"] for record in lines(run) if record["kind"] == "train"]
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(expected)


def in_the_way_as_file(folder):
    folder.write_text("x")


def in_the_way_as_link(folder):
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)


def in_the_way_as_link_to_nothing(folder):
    folder.symlink_to("nowhere")


def in_the_way_as_pipe(folder):
    os.mkfifo(folder)


def without_permission(folder):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder.mkdir(mode=0o500)


@pytest.mark.parametrize(
    "make",
    [
        *(in_the_way_as_file, in_the_way_as_link, in_the_way_as_link_to_nothing),
        *(in_the_way_as_pipe, without_permission),
    ],
)
def test_what_is_in_tensorboards_way_is_one_line_and_training_goes_on(run, monkeypatch, make):
    monkeypatch.undo()  # the fixture that hides TensorBoard
    pytest.importorskip("tensorboard")
    make(run.tensorboard_path)
    reporter = Recorder()
    assert make_trainer(run).fit(reporter).reason == "finished"
    (message,) = reporter.messages
    assert message.startswith(f"{run.tensorboard_path}: cannot be written: ")
    assert message.endswith(f"; all metrics are in {run.metrics_path}")
    if run.tensorboard_path.is_symlink():
        assert not [*run.path.glob("elsewhere/*")]


@pytest.mark.parametrize("when", ["at once", "later"])
def test_tensorboard_without_room_is_one_line_and_training_goes_on(run, monkeypatch, when, capfd):
    monkeypatch.undo()  # the fixture that hides TensorBoard
    pytest.importorskip("tensorboard")
    trainer, reporter = make_trainer(run), Recorder()
    open_file = Path.open

    class Full:
        """A file on a disk with room for so many bytes."""

        def __init__(self, file, room):
            self.file, self.room = file, room
            self.close = file.close

        def write(self, data):
            self.room -= len(data)

        def flush(self):
            if self.room < 0:
                raise OSError(28, "No space left on device")

    def open_(path, *arguments, **more):
        file = open_file(path, *arguments, **more)
        if "tfevents" not in path.name:
            return file
        return Full(file, 0 if when == "at once" else 2000)

    monkeypatch.setattr(Path, "open", open_)
    assert trainer.fit(reporter).reason == "finished"
    (message,) = reporter.messages
    assert message.startswith(f"{run.tensorboard_path}: cannot be written: No space left on device")
    assert len(lines(run)) > 20
    assert capfd.readouterr() == ("", "")
