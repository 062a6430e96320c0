"""Translation, both ways: what they learn, what they predict, what they refuse."""

import itertools
import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from unrolled.data.source import Source
from unrolled.errors import DataError, OptionError
from unrolled.networks.sequence_layers import CELLS
from unrolled.tasks.translate.baselines import baseline_translations
from unrolled.tasks.translate.by_decoder import TranslateTask
from unrolled.tasks.translate.by_delay import DelayedTranslateTask
from unrolled.tasks.translate.pairs import Pair

NUMBERS = ["zero", "one", "two", "three", "four"]
WORDS = dict(zip(NUMBERS, ["nul", "un", "deux", "trois", "quatre"], strict=True))
WORDS |= {"red": "rouges", "cats": "chats", "dogs": "chiens"}
WORDS |= {"": "", "!": " !"}
both = pytest.mark.parametrize("kind", [TranslateTask, DelayedTranslateTask])


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


def make(kind, file, **options):
    options = kind.Options(
        **{"pairs": str(file), "tokens": "word", "held_out": 0.1, "test": 0.1} | options
    )
    splits = kind.read(options)
    return kind.fit(options, splits.training), splits


def build(task, **config):
    torch.manual_seed(0)
    model = task.Model(task.Config(**{**task.sizes, "hidden_size": 8} | config))
    return model.eval()


def learn(task, examples, num_updates, learning_rate=0.02):
    """Return a small model that has seen `examples` so often, all at once."""
    model = build(task, cell="gru", hidden_size=24, embedding_size=16).train()
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
    task, splits = make(TranslateTask, path)
    return task, learn(task, splits.training, 120), splits


def source_of(tmp_path: Path, *lines: str) -> Source:
    path = tmp_path / "input.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return Source(path)


# ---- the data ---------------------------------------------------------------------------------


@both
def test_equal_sources_are_in_one_part_and_nothing_is_lost(kind, file):
    _, splits = make(kind, file)
    parts = [splits.training, splits.held_out, splits.test]
    sources = [{pair.source for pair in part} for part in parts]
    for one, other in itertools.combinations(sources, 2):
        assert not one & other
    whole = [str(pair) for part in parts for pair in part]
    assert sorted(whole) == sorted(map(str, pairs_of(240)))


def test_a_limit_draws_pairs_by_its_seed_and_says_so(file):
    drawn = []
    for seed in (0, 0, 1):
        _, splits = make(TranslateTask, file, limit=120, seed=seed)
        assert "120 of 240 pairs are used, drawn at random" in splits.notes
        drawn.append((splits.training, splits.held_out, splits.test))
        assert sum(map(len, drawn[-1])) == 120
    assert drawn[0] == drawn[1] != drawn[2]
    assert make(TranslateTask, file, limit=240)[1].notes == []


def test_vocabularies_come_from_the_training_part_and_what_occurs_once_is_unknown(file):
    task, _ = make(TranslateTask, file, tokens="char")
    task = TranslateTask.fit(task.options, [Pair("abab", "cdcdcde")])
    assert task.sizes == {"source_size": 3 + 2, "target_size": 3 + 2}
    assert task.encoded(Pair("abx", "cde"))[0].tolist() == [3, 4, 0, 2]


# ---- the loss -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("cell", CELLS)
def test_the_loss_of_a_batch_is_the_sum_of_its_examples(kind, cell, file):
    task, splits = make(kind, file)
    model = build(task, cell=cell).double()
    with torch.no_grad():
        whole, count = task.loss(model, splits.test)
        parts = [task.loss(model, [pair]) for pair in splits.test]
    torch.testing.assert_close(whole, sum(loss for loss, _ in parts))
    assert count == sum(n for _, n in parts) == sum(len(task.encoded(p)[1]) for p in splits.test)


@both
def test_smoothing_is_for_training_alone(kind, file):
    task, splits = make(kind, file, label_smoothing=0.5)
    plain, _ = make(kind, file, label_smoothing=0.0)
    model = build(task)
    assert task.loss(model, splits.test)[0] == plain.loss(model, splits.test)[0]
    model.train()
    smoothed, mean = task.loss(model, splits.test)[0], plain.loss(model, splits.test)[0]
    assert not torch.isclose(smoothed, mean, rtol=1e-3)


@both
def test_what_was_fitted_survives_json(kind, file):
    task, splits = make(kind, file)
    options = kind.Options(**json.loads(json.dumps(asdict(task.options))))
    again = kind.from_dict(options, json.loads(json.dumps(task.to_dict())))
    model = build(task)
    assert again.sizes == task.sizes
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
        options = replace(make(DelayedTranslateTask, file)[0].options, delay=delay)
        task = DelayedTranslateTask.fit(options, pairs)
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


def test_a_translation_comes_with_its_attention(trained, tmp_path):
    task, model, _ = trained
    (found,) = task.predict(model, source_of(tmp_path, "two  one red cats!"))
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


def test_the_best_of_n_come_in_order_and_each_has_its_attention(trained, tmp_path):
    task, model, _ = trained
    source = source_of(tmp_path, "one two cats")
    (found,) = task.predict(model, source, n_best=6, length_penalty=0.0)
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
    (found,) = task.predictions(model, ["two two cats"], {})
    state = model.start(task.encoded_source("two two cats")[None], torch.tensor([4]))
    word = torch.tensor([[1]])
    for row, ids in zip(found["attention"], task.target.encode(found["translation"]), strict=False):
        _, state, weights = model.decoder(word, state)
        torch.testing.assert_close(torch.tensor(row), weights[0, 0], atol=1e-4, rtol=0)
        word = ids.reshape(1, 1)


def test_every_line_has_its_translation_whatever_it_is_together_with(trained, tmp_path):
    task, model, _ = trained
    lines = ["one one cats", "", "two one red cats!", "  ", "zzz unknown", *["two cats"] * 70]
    together = list(task.predict(model, source_of(tmp_path, *lines)))
    assert len(together) == len(lines)
    assert together[1] == together[3] == {"source": "", "translation": ""}
    for line, found in zip(lines[:5], together, strict=False):
        (alone,) = task.predict(model, source_of(tmp_path, line))
        assert alone["translation"] == found["translation"]
    assert "<unk>" not in together[4]["translation"]


def test_options_of_the_search_reach_it(trained, tmp_path):
    task, model, _ = trained
    source = source_of(tmp_path, "one one red cats!")
    (plain,) = task.predict(model, source)
    assert plain["translation"] == "un un chats rouges !"
    (other,) = task.predict(model, source, no_repeat=1)
    assert "un un" not in other["translation"]
    (greedy,) = task.predict(model, source, beam=1, length_penalty=0.0)
    assert greedy["score"] == greedy["log_probability"]
    assert plain["score"] > plain["log_probability"]


def test_a_delayed_network_predicts_each_line_too(file, tmp_path):
    task, _ = make(DelayedTranslateTask, file, delay=2)
    model = build(task)
    found = list(task.predict(model, source_of(tmp_path, "one two cats", "", "two two red cats")))
    assert [one["source"] for one in found] == ["one two cats", "", "two two red cats"]
    assert len(found[0]["tokens"]) <= task.max_length + 1
    (alone,) = task.predict(model, source_of(tmp_path, "one two cats"))
    assert alone == found[0]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"n_best": 3, "beam": 2}, "n_best is 3, but a beam of 2"),
        ({"length_penalty": -1.0}, "length_penalty must be"),
    ],
)
def test_options_out_of_range_are_refused_before_a_line_is_read(trained, options, complaint):
    task, model, _ = trained
    with pytest.raises(OptionError, match=complaint):
        next(task.predict(model, Source(Path("no such file")), **options))


def test_a_line_that_is_too_long_is_refused_with_its_number(trained, tmp_path):
    task, model, _ = trained
    source = source_of(tmp_path, "one two cats", "cats " * 100_000)
    with pytest.raises(DataError, match=r"input.txt, line 2: 499,999 characters, .* at most 400"):
        list(task.predict(model, source))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"tokens": "byte"}, "tokens must be one of word, bpe, char"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"vocabulary_size": 0}, "vocabulary_size must be at least 1"),
        ({"max_characters": 0}, "max_characters must be at least 1"),
        ({"held_out": 0.0}, r"held_out must be a part of the pairs, in \(0, 1\)"),
        ({"test": 1.0}, "test must be a part of the pairs"),
        ({"label_smoothing": 1.0}, "label_smoothing must be a part"),
        ({"delay": -1}, "delay must be at least 0 tokens"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong, complaint):
    options = DelayedTranslateTask.Options(pairs="pairs.tsv")
    with pytest.raises(OptionError, match=complaint):
        replace(options, **wrong)
