import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from unrolled.comparison import gather, page, save_page, table, verdict
from unrolled.comparison.figures import curves, final_values
from unrolled.comparison.verdict import method
from unrolled.errors import RunError

from .conftest import VALUES, write_run

pytest.importorskip("plotly")


class Reader(HTMLParser):
    """What a browser would load from elsewhere, and the tags."""

    def __init__(self):
        super().__init__()
        self.loads, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        given = dict(attributes)
        self.loads += [given[name] for name in ("src", "href", "action") if given.get(name)]


def test_the_page_needs_nothing_from_elsewhere(plan, folder):
    content = page(gather(plan, folder))
    reader = Reader()
    reader.feed(content)
    assert reader.loads == []
    assert "@import" not in content.partition("</style>")[0]
    assert reader.tags.count("figure") == 3
    assert reader.tags.count("table") == 2
    assert content.count("Plotly.newPlot(") >= 3


def test_what_may_be_wide_scrolls_by_itself_and_by_keys_in_the_dark_as_in_the_light(plan, folder):
    content = page(gather(plan, folder))
    assert content.count("<table>") == content.count("<div class=wide tabindex=0><table>") == 2
    assert content.count("<pre") == content.count("<pre tabindex=0>") == 1
    assert "prefers-color-scheme: dark" in content.partition("</style>")[0]


def test_what_users_named_is_text_and_no_markup(plan, folder):
    content = page(gather(plan, folder))
    assert "<reviews>" not in content
    assert "&lt;reviews&gt;.csv" in content


def test_the_best_comes_first_and_baselines_last(plan, folder):
    heads, lines = table(gather(plan, folder))
    assert heads[:3] == ["cell", "accuracy", "loss (nats/example)"]
    assert [line[0] for line in lines] == ["lstm", "rnn", "gru", "most frequent class"]
    assert lines[0][1] == "0.9133 ± 0.0153"
    assert lines[0][3:] == ["10", "990", "30", "12.5 s", "300 MB"]
    assert all(len(line) == len(heads) for line in lines)
    _, by_loss = table(gather(plan, folder, "loss"))
    assert [line[0] for line in by_loss[:3]] == ["lstm", "rnn", "gru"]


def test_the_verdict_tells_apart_what_can_be_told_apart(plan, folder):
    best, better, *rest = verdict(gather(plan, folder))
    assert best == "Best accuracy: lstm, 0.9133 ± 0.0153 (mean of 3 seeds)."
    assert re.match(
        r"lstm is better than gru \(\+0\.2033, .* p = 0\.00\d+\), rnn \(\+0\.2017", better
    )
    assert rest == []  # gru and rnn are not told apart


def test_the_best_mean_is_not_said_to_beat_who_beat_it_on_the_same_seeds(plan, tmp_path):
    values = {"gru": (0.50, 0.51, 0.99), "lstm": (0.60, 0.61), "rnn": (0.1,)}
    for trial in plan.trials(tmp_path):
        ones = values[trial.contestant.cell]
        if trial.seed < len(ones):
            write_run(trial.path, seed=trial.seed, accuracy=ones[trial.seed])
    comparison = gather(plan, tmp_path)
    pairs = [
        replace(pair, p=0.01) if pair.second == "lstm" else pair for pair in comparison.differences
    ]
    best, *said = verdict(replace(comparison, differences=pairs))
    assert best.startswith("Best accuracy: gru")
    assert not any("gru is better than" in sentence for sentence in said)
    assert "Also told apart: lstm before gru." in said


def test_a_lower_loss_is_better(plan, folder):
    best, better, *_ = verdict(gather(plan, folder, "loss"))
    assert best.startswith("Best loss (nats/example): lstm, 0.0867")
    assert "lstm is better than gru (-0.2033" in better


def test_one_seed_is_said_to_say_nothing(plan, folder):
    comparison = gather(replace(plan, num_seeds=1), folder)
    best, warning = verdict(comparison)
    assert best == "Best accuracy: lstm, 0.9000 (one seed)."
    assert "nothing can be said about which is better" in warning
    assert "All pairs" not in page(comparison)


def test_what_failed_is_on_the_page(plan, folder):
    (folder / "gru-2" / "results.json").unlink()
    comparison = gather(plan, folder)
    assert any(
        "Missing, because they have not finished: gru, seed 2" in said
        for said in method(comparison)
    )
    heads, lines = table(comparison)
    assert heads[-1] == "seeds"
    assert {line[0]: line[-1] for line in lines}["gru"] == "2"


def test_measuring_on_what_chose_the_weights_is_said(plan, tmp_path):
    for trial in plan.trials(tmp_path):
        accuracy = VALUES[trial.contestant.cell][trial.seed]
        write_run(trial.path, seed=trial.seed, accuracy=accuracy, part="held_out")
    assert any("also chose the weights" in said for said in method(gather(plan, tmp_path)))


def test_curves_are_means_over_seeds_and_tell_contestants_apart_without_colour(plan, folder):
    figure = curves(gather(plan, folder), "by updates")
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [line.name for line in lines] == ["gru", "lstm", "rnn"]
    assert len({line.line.dash for line in lines}) == len({line.line.color for line in lines}) == 3
    assert list(lines[0].x) == [10, 20, 30]
    assert lines[0].y[1] == pytest.approx(1 - 0.71 / 2)  # the mean of 1 - accuracy / 2
    by_time = curves(gather(plan, folder), "by time")
    assert list(by_time.data[1].x) == [4, 8, 12]


def test_curves_that_are_measured_at_other_times_meet_on_a_line(plan, folder):
    (folder / "gru-0" / "metrics.jsonl").write_text(
        '{"kind": "held_out", "update": 0, "elapsed_seconds": 0, "loss": 2}\n'
        '{"kind": "held_out", "update": 40, "elapsed_seconds": 9, "loss": 0}\n'
    )
    one = replace(plan, contestants=plan.contestants[:1], num_seeds=1)
    comparison = gather(one, folder)
    (line,) = curves(comparison, "by updates").data
    assert (list(line.x), list(line.y)) == ([0, 40], [2, 0])
    two = gather(replace(one, num_seeds=2), folder)
    mean = curves(two, "by updates").data[1]
    at = dict(zip(mean.x, mean.y, strict=True))
    assert at[20] == pytest.approx((1 + (1 - 0.72 / 2)) / 2)
    assert max(at) == 30  # where both have come to


def test_every_training_is_a_point(plan, folder):
    figure = final_values(gather(plan, folder))
    points = {trace.y[0]: list(trace.x) for trace in figure.data if len(trace.x) == 3}
    assert points == {name: list(values) for name, values in VALUES.items()}


def test_a_baseline_far_away_does_not_crowd_the_rest_together(plan, folder):
    # the trainings are within 0.70 ... 0.93
    def lines_at(value):
        comparison = gather(plan, folder)
        for one in comparison.finished:
            one.results["baselines"] = {"guess": {"accuracy": value}}
        return [shape.x0 for shape in final_values(comparison).layout.shapes]

    assert lines_at(0.5) == [0.5]
    assert lines_at(0.1) == []


def test_a_page_that_cannot_be_written_is_an_error(plan, folder):
    with pytest.raises(RunError, match="cannot be written"):
        save_page(gather(plan, folder), folder / "no" / "page.html")


ENGLISH = (
    r"(?i)\b(the|of|and|is|better|before|seeds?|told|apart|mean|updates|held|part|how|every)\b"
)


def test_a_page_in_portuguese_has_no_english_and_the_signs_of_portuguese(plan, folder, tmp_path):
    comparison = gather(plan, folder)
    content = page(comparison, "pt-BR")
    assert '<html lang="pt-BR">' in content
    body = re.sub(r"<(script|style|pre).*?</\1>", " ", content, flags=re.S)
    said = re.sub(r"<[^>]+>", " ", body)
    assert not re.findall(ENGLISH, said.replace("most frequent class", ""))
    assert not re.findall(r"\d\.\d(?!\d\d)", said)
    assert "Melhor accuracy: lstm, 0,9133 ± 0,0153 (média de 3 sementes)." in said
    assert "p abaixo de 0,05" in said
    for figure in (curves(comparison, "by time", "pt-BR"), final_values(comparison, "pt-BR")):
        assert figure.layout.separators == ",."
        texts = [figure.layout.xaxis.title.text, figure.layout.yaxis.title.text]
        texts += [trace.hovertemplate for trace in figure.data]
        assert not re.findall(ENGLISH, " ".join(filter(None, texts)))
    one = replace(plan, num_seeds=1)
    assert "(uma semente)" in verdict(gather(one, folder), "pt-BR")[0]
    save_page(comparison, tmp_path / "page.html", "pt-BR")
    assert '<html lang="pt-BR">' in (tmp_path / "page.html").read_text()
