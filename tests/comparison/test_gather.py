import json
import shutil
from dataclasses import replace

import pytest

from unrolled.comparison import Contestant, gather, table, verdict
from unrolled.comparison.metrics import choose_metric, meanings
from unrolled.comparison.verdict import best_first
from unrolled.errors import OptionError, RunError
from unrolled.metrics import Metric
from unrolled.training.run import checksum

from .conftest import VALUES, write_run


def test_rows_are_means_and_deviations_over_the_seeds(plan, folder):
    comparison = gather(plan, folder)
    gru = comparison.rows[0]
    assert gru.contestant == "gru"
    assert gru.metrics == {"loss": pytest.approx(0.29), "accuracy": pytest.approx(0.71)}
    assert gru.spreads["accuracy"] == pytest.approx(0.01)  # of 0.70, 0.72, 0.71
    assert (gru.hidden_size, gru.parameters, gru.updates) == (10, 990, 30)
    assert (gru.elapsed_seconds, gru.peak_memory_bytes) == (12.5, 3 * 10**8)
    assert comparison.metric == Metric("accuracy", "higher")
    assert [metric.name for metric in comparison.metrics] == ["accuracy", "loss"]
    assert comparison.baselines == {"most frequent class": {"loss": 0.69, "accuracy": 0.5}}
    assert comparison.finished[0].curve[0] == (10, 4.0, pytest.approx(0.3))
    assert len(comparison.finished[0].curve) == 3
    assert len(comparison.differences) == 3


def test_what_is_not_over_is_missing_and_said(plan, folder):
    shutil.rmtree(folder / "rnn-0")
    (folder / "rnn-1" / "results.json").unlink()
    comparison = gather(plan, folder)
    assert comparison.missing == ["rnn, seed 0", "rnn, seed 1"]
    rnn = comparison.rows[-1]
    assert (rnn.num_seeds, rnn.spreads) == (1, {})


def test_contestants_without_any_result_have_no_row(plan, folder):
    more = replace(plan, contestants=(*plan.contestants, Contestant("tcn")))
    assert [row.contestant for row in gather(more, folder).rows] == ["gru", "lstm", "rnn"]


def test_nothing_at_all_is_an_error(plan, tmp_path):
    with pytest.raises(RunError, match="none of the 9 trainings has finished"):
        gather(plan, tmp_path)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"metrics": 1}'])
def test_a_damaged_run_is_named(plan, folder, content):
    (folder / "gru-1" / "results.json").write_text(content)
    with pytest.raises(RunError, match=r"gru-1.* \(delete this folder, and compare"):
        gather(plan, folder)


def test_a_run_without_its_log_is_named(plan, folder):
    (folder / "gru-1" / "metrics.jsonl").unlink()
    with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be read"):
        gather(plan, folder)


def test_the_metric_can_be_chosen(plan, folder):
    assert gather(plan, folder, "loss").metric == Metric("loss", "lower", "nats/example")
    for other in ("bleu", "num_examples"):
        message = (
            rf"metric: the results cannot be ranked by '{other}' \(choose one of accuracy, loss"
        )
        with pytest.raises(OptionError, match=message):
            gather(plan, folder, other)


def test_what_is_saved_is_json_with_everything(plan, folder):
    comparison = gather(plan, folder)
    comparison.save(folder / "comparison.json")
    saved = json.loads((folder / "comparison.json").read_text())
    assert saved["rows"][1]["contestant"] == "lstm"
    assert saved["plan"]["num_parameters"] == 1000
    assert len(saved["finished"]) == 9
    with pytest.raises(RunError, match="cannot be written"):
        comparison.save(folder / "no" / "comparison.json")


def results(metrics, **figures):
    return {"meanings": [metric.to_dict() for metric in metrics], "metrics": figures}


BLEU = Metric("bleu", "higher")
LOSS = Metric("loss", "lower", "nats/word")
COUNT = Metric("num_words", None)


def test_the_first_metric_that_all_results_rank_by_decides():
    each = results([COUNT, BLEU, LOSS], loss=1.0, num_words=5, bleu=30.0)
    assert meanings(each) == [BLEU, LOSS]
    assert choose_metric([each]) == BLEU
    without = results([COUNT, BLEU, LOSS], loss=1.0, num_words=5)
    diverged = results([COUNT, BLEU, LOSS], loss=1.0, num_words=5, bleu=float("nan"))
    for other in (without, diverged):
        assert choose_metric([each, other]) == LOSS
    with pytest.raises(OptionError, match="no metric in common to rank by"):
        choose_metric([results([COUNT], num_words=5)])


WER = Metric("wer", "lower")
ERROR_FREE = Metric("error_free", "higher")


@pytest.mark.parametrize(
    ("metric", "best"),
    [(WER, "gru"), (ERROR_FREE, "lstm"), (Metric("loss_of_memory", "higher"), "lstm")],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_metric_says_itself_which_way_is_better_whatever_its_name(plan, tmp_path, metric, best):
    """The figures of gru are the lowest, those of lstm the highest."""
    for trial in plan.trials(tmp_path):
        figure = VALUES[trial.contestant.cell][trial.seed]
        write_run(
            trial.path,
            seed=trial.seed,
            accuracy=0.5,
            meanings=[metric.to_dict(), LOSS.to_dict()],
            metrics={metric.name: figure, "loss": 1.0},
            baselines={"guess": {metric.name: 0.8}},
        )
    comparison = gather(plan, tmp_path)
    assert comparison.metric == metric
    assert best_first(comparison)[0].contestant == best
    said = " ".join(verdict(comparison))
    assert said.startswith(f"Best {metric.label}: {best}, ")
    assert f"{best} is better than " in said
    assert table(comparison)[1][0][0] == best


def test_results_that_were_changed_are_told(plan, folder):
    path = folder / "gru-1" / "results.json"
    results = json.loads(path.read_text())
    path.write_text(json.dumps(results | {"sha256": checksum(results)}))
    gather(plan, folder)
    results["metrics"]["accuracy"] += 0.01
    path.write_text(json.dumps(results | {"sha256": checksum(results)[::-1]}))
    with pytest.raises(RunError, match=r"results\.json: has changed .*delete this folder"):
        gather(plan, folder)


def test_results_of_another_training_are_told(plan, folder):
    first, second = plan.trials(folder)[:2]
    (second.path / "results.json").write_bytes((first.path / "results.json").read_bytes())
    with pytest.raises(RunError, match="in the place of"):
        gather(plan, folder)


@pytest.mark.parametrize("seed", [0, 2])
def test_trainings_on_other_data_make_no_mean(plan, folder, seed):
    config = folder / f"lstm-{seed}" / "config.json"
    config.write_text(config.read_text().replace('"sha256": "0"', '"sha256": "1"'))
    with pytest.raises(RunError, match="a file of its data is another one than in the others"):
        gather(plan, folder)


def test_trainings_of_other_cells_of_one_name_make_no_mean(plan, folder):
    for seed in range(3):
        run = folder / f"gru-{seed}"
        config = json.loads((run / "config.json").read_text()) | {"model": {"cell": {"own": "gru"}}}
        (run / "config.json").write_text(json.dumps(config))
        (run / "cell.py").write_text("# a cell")
    assert gather(plan, folder).rows
    (folder / "gru-1" / "cell.py").write_text("# another cell")
    with pytest.raises(RunError, match="gru-1: trained already, and the file of its cell is"):
        gather(plan, folder)
