"""Translation, both ways: what they learn, what they predict, what they refuse."""

import itertools
import json
import random

import pytest
import torch

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.networks import LAYERS
from unrolled.tasks import Splits, TaskOptions
from unrolled.tasks.translate import (
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
    TranslateTask,
)
from unrolled.tasks.translate.baselines import baseline_translations
from unrolled.tasks.translate.pairs import Pair

NUMBERS = ["zero", "one", "two", "three", "four"]
WORDS = dict(zip(NUMBERS, ["nul", "un", "deux", "trois", "quatre"], strict=True))
WORDS |= {"red": "rouges", "cats": "chats", "dogs": "chiens"}
WORDS |= {"": "", "!": " !"}
DELAYED = {"delay": 3}
both = pytest.mark.parametrize("way", [{}, DELAYED], ids=["decoder", "delay"])


def pairs_of(count):
    """Return sentences of a small language, word by word, adjectives behind their nouns."""
    chance = random.Random(0)
    pairs = []
    for _ in range(count):
        numbers, noun = chance.choices(NUMBERS, k=2), chance.choice(["cats", "dogs"])
        red, mark = chance.choice([[], ["red"]]), chance.choice(["", "!"])
        source = " ".join([*numbers, *red, noun]) + mark
        target = " ".join(WORDS[word] for word in [*numbers, noun, *red]) + WORDS[mark]
        pairs.append(Pair(source, target))
    return pairs


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{pair.source}\t{pair.target}\n" for pair in pairs_of(240)))
    return path


def options_for(file, way=None, training=None, **data):
    data = {"tokens": "word", "held_out": 0.1, "test": 0.1} | data
    return TaskOptions(
        DataOptions(file=str(file), **data),
        ModelOptions(**way or {}),
        TrainingOptions(**training or {}),
    )


def make(file, way=None, training=None, **data):
    options = options_for(file, way, training, **data)
    splits = TranslateTask.read(options)
    return TranslateTask.fit(options, splits), splits


def fit(options, pairs):
    return TranslateTask.fit(options, Splits(pairs, [], [], []))


def build(task, **options):
    torch.manual_seed(0)
    delay = task.options.model.delay
    return task.make_model(ModelOptions(**{"hidden_size": 8, "delay": delay} | options)).eval()


def learn(task, examples, num_updates, learning_rate=0.02):
    """Return a small model that has seen `examples` so often, all at once."""
    model = build(task, cell="gru", hidden_size=24, embedding_size=16, dropout=0.0).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(num_updates):
        loss, count = task.loss(model, examples)
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The task, a model that has learned the small language, and the parts."""
    path = tmp_path_factory.mktemp("translate") / "pairs.tsv"
    path.write_text("".join(f"{pair.source}\t{pair.target}\n" for pair in pairs_of(240)))
    task, splits = make(path)
    return task, learn(task, splits.training, 120), splits


def predict(task, model, *lines, **options):
    source = Source.text("".join(f"{line}\n" for line in lines))
    return list(task.predict(model, source, PredictOptions(**options)))


# ---- the data ---------------------------------------------------------------------------------


@both
def test_equal_sources_are_in_one_part_and_nothing_is_lost(way, file):
    _, splits = make(file, way)
    parts = [splits.training, splits.held_out, splits.test]
    sources = [{pair.source for pair in part} for part in parts]
    for one, other in itertools.combinations(sources, 2):
        assert not one & other
    whole = [str(pair) for part in parts for pair in part]
    assert sorted(whole) == sorted(map(str, pairs_of(240)))


def test_a_limit_draws_pairs_by_its_seed_and_says_so(file):
    drawn = []
    for seed in (0, 0, 1):
        _, splits = make(file, training={"seed": seed}, limit=120)
        assert "120 of 240 pairs are used, drawn at random" in splits.notes
        drawn.append((splits.training, splits.held_out, splits.test))
        assert sum(map(len, drawn[-1])) == 120
    assert drawn[0] == drawn[1] != drawn[2]
    assert make(file, limit=240)[1].notes == []


def test_vocabularies_come_from_the_training_part_and_what_occurs_once_is_unknown(file):
    task = fit(options_for(file, tokens="char"), [Pair("abab", "cdcdcde")])
    assert (len(task.source), len(task.target)) == (3 + 2, 3 + 2)
    assert task.encoded(Pair("abx", "cde"))[0].tolist() == [3, 4, 0, 2]


# ---- the loss -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("cell", LAYERS)
def test_the_loss_of_a_batch_is_the_sum_of_its_examples(way, cell, file):
    task, splits = make(file, way)
    model = build(task, cell=cell).double()
    with torch.no_grad():
        whole, count = task.loss(model, splits.test)
        parts = [task.loss(model, [pair]) for pair in splits.test]
    torch.testing.assert_close(whole, sum(loss for loss, _ in parts))
    assert count == sum(n for _, n in parts) == sum(len(task.encoded(p)[1]) for p in splits.test)


@both
def test_smoothing_is_for_training_alone(way, file):
    task, splits = make(file, way, {"label_smoothing": 0.5})
    plain, _ = make(file, way, {"label_smoothing": 0.0})
    model = build(task, dropout=0.0)
    assert task.loss(model, splits.test)[0] == plain.loss(model, splits.test)[0]
    model.train()
    smoothed, mean = task.loss(model, splits.test)[0], plain.loss(model, splits.test)[0]
    assert not torch.isclose(smoothed, mean, rtol=1e-3)


@both
def test_what_was_fitted_survives_json(way, file):
    task, splits = make(file, way)
    again = TranslateTask.from_dict(task.options, json.loads(json.dumps(task.to_dict())))
    model = build(task)
    assert again.to_dict() == task.to_dict()
    assert again.evaluate(model, splits.test) == task.evaluate(model, splits.test)


# ---- what it learns -----------------------------------------------------------------------------


def test_it_learns_a_small_language_and_is_better_than_the_baselines(trained):
    task, model, splits = trained
    metrics = task.evaluate(model, splits.test)
    assert metrics["loss"] < 0.3
    assert metrics["bleu"] > 90
    assert metrics["exact_match"] > 0.8
    assert metrics["bleu_signature"].startswith("nrefs:1|")
    assert 1 <= len(metrics["translations"]) <= 10
    baselines = task.baselines(splits.training, splits.test)
    assert baselines.keys() == {"most frequent", "copy", "nearest"}
    for scores in baselines.values():
        assert scores.keys() < metrics.keys()
        assert scores["bleu"] < 80


def test_what_comes_later_in_the_source_is_known_with_a_delay_and_not_without(file):
    chosen = list(itertools.product(NUMBERS, repeat=2))
    pairs = [Pair(f"{a} {b}", f"{WORDS[b]} {WORDS[a]}") for a, b in chosen]
    matches = []
    for delay in (0, 1):
        task = fit(options_for(file, {"delay": delay}), pairs)
        model = learn(task, pairs, 100)
        matches.append(task.evaluate(model, pairs)["exact_match"])
    assert matches[0] <= 0.2
    assert matches[1] == 1.0


def test_baselines_are_those_that_are_said():
    training = [Pair("a b c", "1"), Pair("a b", "2"), Pair("d", "3"), Pair("e", "3")]
    written = baseline_translations(training, ["A b", "a b c e", "x"])
    assert written == {
        "most frequent": ["3", "3", "3"],
        "copy": ["A b", "a b c e", "x"],
        "nearest": ["2", "1", "1"],
    }


# ---- predictions --------------------------------------------------------------------------------


def test_a_translation_comes_with_its_attention(trained):
    task, model, _ = trained
    (found,) = predict(task, model, "two  one red cats!")
    assert found["source"] == "two one red cats!"
    assert found["translation"] == "deux un chats rouges !"
    assert found["source_tokens"] == ["␣two", "␣one", "␣red", "␣cats", "!", "</s>"]
    assert found["tokens"] == ["␣deux", "␣un", "␣chats", "␣rouges", "␣!", "</s>"]
    assert found["complete"]
    weights = torch.tensor(found["attention"])
    assert weights.shape == (6, 6)
    torch.testing.assert_close(weights.sum(1), torch.ones(6), atol=1e-3, rtol=0)
    assert found == json.loads(json.dumps(found))
    assert task.to_text(found) == "deux un chats rouges !"


def test_the_best_of_n_come_in_order_and_each_has_its_attention(trained):
    task, model, _ = trained
    (found,) = predict(task, model, "one two cats", n_best=6, length_penalty=0.0)
    every = found["alternatives"]
    assert len(every) == 6
    assert len({one["translation"] for one in every}) == 6
    assert every[0]["translation"] == found["translation"]
    scores = [one["score"] for one in every]
    assert scores == sorted(scores, reverse=True)
    for one in every:
        assert one["score"] == one["log_probability"]
        assert len(one["attention"]) == len(one["tokens"])
        assert all(len(row) == len(found["source_tokens"]) for row in one["attention"])
    text = task.to_text(found).split("\n")
    assert text[0] == f"{scores[0]:.4f}\tun deux chats"
    assert len(text) == 6


def test_the_attention_is_that_of_the_search(trained):
    task, model, _ = trained
    (found,) = task.predictions(model, ["two two cats"], PredictOptions())
    state = model.start(task.encoded_source("two two cats")[None], torch.tensor([4]))
    word = torch.tensor([[1]])
    for row, ids in zip(found["attention"], task.target.encode(found["translation"]), strict=False):
        _, state, weights = model.decoder(word, state)
        torch.testing.assert_close(torch.tensor(row), weights[0, 0], atol=1e-4, rtol=0)
        word = ids.reshape(1, 1)


def test_every_line_has_its_translation_whatever_it_is_together_with(trained):
    task, model, _ = trained
    lines = ["one one cats", "", "two one red cats!", "  ", "zzz unknown", *["two cats"] * 70]
    together = predict(task, model, *lines)
    assert len(together) == len(lines)
    assert together[1] == together[3] == {"source": "", "translation": ""}
    for line, found in zip(lines[:5], together, strict=False):
        (alone,) = predict(task, model, line)
        assert alone["translation"] == found["translation"]
    assert "<unk>" not in together[4]["translation"]


def test_options_of_the_search_reach_it(trained):
    task, model, _ = trained
    sentence = "one one red cats!"
    (plain,) = predict(task, model, sentence)
    assert plain["translation"] == "un un chats rouges !"
    (other,) = predict(task, model, sentence, no_repeat=1)
    assert "un un" not in other["translation"]
    (greedy,) = predict(task, model, sentence, beam=1, length_penalty=0.0)
    assert greedy["score"] == greedy["log_probability"]
    assert plain["score"] > plain["log_probability"]


def test_a_delayed_network_predicts_each_line_too(file):
    task, _ = make(file, {"delay": 2})
    model = build(task)
    found = predict(task, model, "one two cats", "", "two two red cats")
    assert [one["source"] for one in found] == ["one two cats", "", "two two red cats"]
    assert len(found[0]["tokens"]) <= task.max_length + 1
    (alone,) = predict(task, model, "one two cats")
    assert alone == found[0]


@pytest.mark.parametrize(
    "options", [{"beam": 2}, {"n_best": 2}, {"length_penalty": 0.0}, {"no_repeat": 2}]
)
def test_a_delayed_network_has_no_search_and_refuses_its_options_before_a_line_is_read(
    options, file
):
    task, _ = make(file, {"delay": 2})
    name = next(iter(options))
    with pytest.raises(OptionError, match=f"{name} is for an encoder and a decoder"):
        next(task.predict(build(task), Source.file(file / "nowhere"), PredictOptions(**options)))


def test_options_that_do_not_fit_are_refused_before_a_line_is_read(trained, tmp_path):
    task, model, _ = trained
    with pytest.raises(OptionError, match="n_best is 3, but a beam of 2"):
        next(
            task.predict(model, Source.file(tmp_path / "nowhere"), PredictOptions(n_best=3, beam=2))
        )


def test_of_a_line_that_is_too_long_the_beginning_is_translated(trained):
    task, model, _ = trained
    lines = ["one two cats", "cats " * 100_000, "x" * 1000, "", "two cats"]
    predictions = predict(task, model, *lines)
    assert [each["source"] for each in predictions] == [
        "one two cats",
        ("cats " * 80).strip(),  # 399 characters, whole words
        "x" * 400,
        "",
        "two cats",
    ]
    assert [each.get("read") for each in predictions] == [None, 399, 400, None, None]
    assert predictions[1]["translation"] == predict(task, model, "cats " * 80)[0]["translation"]


def test_what_comes_before_a_line_that_cannot_be_read_is_translated(trained):
    task, model, _ = trained
    source = Source.of_bytes(b"one two cats\n\xff\n")
    predictions = task.predict(model, source, PredictOptions())
    assert next(predictions)["source"] == "one two cats"
    with pytest.raises(DataError, match="line 2: not UTF-8"):
        next(predictions)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"tokens": "byte"}, "tokens must be one of word, bpe, char"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"vocabulary_size": 0}, "vocabulary_size must be at least 1"),
        ({"max_characters": 0}, "max_characters must be at least 1"),
        ({"held_out": 1.0}, r"held_out must be in \[0, 1\), got 1.0"),
        ({"test": 1.0}, r"test must be in \[0, 1\), got 1.0"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong, complaint):
    with pytest.raises(OptionError, match=complaint):
        DataOptions(file="pairs.tsv", **wrong)


def test_a_smoothing_of_all_the_probability_is_refused():
    with pytest.raises(OptionError, match=r"label_smoothing must be in \[0, 1\), got 1.0"):
        TrainingOptions(label_smoothing=1.0)


def test_parts_may_have_files_of_their_own_side_by_side_too(file, tmp_path):
    lines = [line.split("\t") for line in file.read_text().splitlines()]
    for name, some in {"train": lines[:200], "dev": lines[200:220], "test": lines[220:]}.items():
        for suffix, side in (("en", 0), ("fr", 1)):
            text = "".join(f"{pair[side]}\n" for pair in some)
            (tmp_path / f"{name}.{suffix}").write_text(text)
    parts = {"held_out": None, "held_out_file": str(tmp_path / "dev.en")}
    parts |= {"test": None, "test_file": str(tmp_path / "test.en")}
    task, splits = make(tmp_path / "train.en", targets=str(tmp_path / "train.fr"), **parts)
    assert list(map(len, (splits.training, splits.held_out, splits.test))) == [200, 20, 20]
    assert splits.test[0] == Pair(*lines[220])
    assert len(TranslateTask.files(task.options.data)) == 6
    assert task.read_examples(tmp_path / "dev.en")[0] == splits.held_out


def test_a_note_says_where_most_words_are_unknown(tmp_path):
    path = tmp_path / "zh.tsv"
    path.write_text("".join(f"w{n} x{n} y{n}\tthe same\n" for n in range(60)))
    _, splits = make(path)
    assert "of the sources of the held-out part are unknown" in splits.notes[-1]


def test_short_targets_are_ranked_by_exact_matches(tmp_path):
    path = tmp_path / "short.tsv"
    path.write_text("".join(f"thing {n}\tchose {n}\n" for n in range(60)))
    task, _ = make(path)
    again = TranslateTask.from_dict(task.options, task.to_dict())
    assert again.metrics[0].name == "exact_match"
    older = {name: value for name, value in task.to_dict().items() if name != "short"}
    assert TranslateTask.from_dict(task.options, older).metrics[0].name == "bleu"
