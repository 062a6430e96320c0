import json

import pytest
import torch

from unrolled.data import CharVocabulary, save_vocabulary
from unrolled.errors import DataError, OptionError, RunError, VocabularyError
from unrolled.tasks.lm.task import (
    TextOptions,
    evaluate_text,
    load_language_model,
    prepare_language_model,
    resume_language_model,
)
from unrolled.training.options import TrainingOptions
from unrolled.training.run import Run

SMALL = TextOptions(num_columns=4, k1=16)
HALF_EPOCH = TrainingOptions(epochs=0.5, learning_rate=0.01)


def train(files, path, text=SMALL, training=HALF_EPOCH, **model):
    model = {"cell": "gru", "hidden_size": 8} | model
    return prepare_language_model(files, path, training=training, text=text, **model)


def last_line(path):
    return json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.parametrize("tokens", ["char", "byte", "bpe"])
def test_what_was_trained_is_loaded_and_scores_what_training_reported(tmp_path, tokens):
    if tokens == "bpe":
        pytest.importorskip("tokenizers")
    content = "the 3 cafés of Zoë ❤ tea; " * 60
    (tmp_path / "text").write_text(content)
    text = TextOptions(tokens=tokens, num_columns=2, k1=8)
    result = train([tmp_path / "text"], tmp_path / "run", text).fit()
    model, vocabulary, config = load_language_model(tmp_path / "run")
    assert not model.training
    assert vocabulary.kind == tokens
    assert config["model"]["vocabulary_size"] == len(vocabulary)
    held_out = content[int(0.9 * len(content)) :]
    metrics = evaluate_text(model, vocabulary, held_out)
    assert metrics.nats_per_token == pytest.approx(result.best_loss, rel=1e-6)
    reported = last_line(tmp_path / "run")
    assert metrics.bits_per_character == pytest.approx(reported["bits_per_character"], rel=1e-6)
    first_token = vocabulary.decode(vocabulary.encode(held_out)[:1])
    assert metrics.num_characters == len(held_out) - len(first_token)


def test_bits_per_character_of_bytes_count_characters(tmp_path):
    (tmp_path / "text").write_text("é" * 2000)
    trainer = train([tmp_path / "text"], tmp_path / "run", TextOptions(tokens="byte", k1=8))
    assert trainer.objective.train_metrics(1.0)["bits_per_character"] == pytest.approx(2 / 0.693147)


def test_files_are_joined_in_order_and_split_in_order(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text("ab" * 450)
    second.write_text("cd" * 50)
    objective = train([first, second], tmp_path / "run").objective
    assert set(objective.held_out.tolist()) == {2, 3}
    assert len(objective.held_out) == 100


def test_the_seed_decides_the_weights_and_other_seeds_decide_otherwise(tmp_path, text_file):
    def weights(name, seed):
        training = TrainingOptions(epochs=1, seed=seed)
        trainer = train([text_file], tmp_path / name, training=training)
        return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])

    assert torch.equal(weights("a", 1), weights("b", 1))
    assert not torch.equal(weights("c", 1), weights("d", 2))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cell": "lstn"}, OptionError, "did you mean lstm"),
        ({"hidden_size": 0}, OptionError, "hidden_size"),
        ({"text": TextOptions(num_columns=500, k1=9)}, DataError, "500 columns of 9 steps need"),
        ({"text": TextOptions(held_out_fraction=0.0001)}, DataError, "too short to predict"),
    ],
)
def test_everything_is_checked_before_the_folder_is_made(
    tmp_path, text_file, options, error, message
):
    with pytest.raises(error, match=message):
        train([text_file], tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"", b"a", b"\xff\xfe\x00", b"too short"])
def test_unusable_text_makes_no_folder(tmp_path, content):
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(DataError):
        train([tmp_path / "text"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_file_makes_no_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        train([tmp_path / "nowhere"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_refused_before_the_text_is_read(tmp_path, text_file):
    train([text_file], tmp_path / "run")
    with pytest.raises(RunError, match="there is a run already"):
        train([tmp_path / "nowhere"], tmp_path / "run")


def test_a_run_is_not_resumed_on_other_text(tmp_path, text_file):
    train([text_file], tmp_path / "run").fit()
    text_file.write_text(text_file.read_text().replace("7", "8"))
    with pytest.raises(RunError, match=r"text\.txt: has changed"):
        resume_language_model(tmp_path / "run")


def test_a_run_that_was_not_evaluated_has_no_weights_to_load(tmp_path, text_file):
    train([text_file], tmp_path / "run")
    with pytest.raises(RunError, match=r"weights\.safetensors: no such file"):
        load_language_model(tmp_path / "run")


def test_a_run_of_another_task_is_refused(tmp_path, text_file):
    run = train([text_file], tmp_path / "run").run
    run.save_config({**run.config, "task": "tagger"})
    with pytest.raises(RunError, match="not a language model, its task is 'tagger'"):
        load_language_model(tmp_path / "run")


def test_an_option_that_is_none_is_named(tmp_path, text_file):
    run = train([text_file], tmp_path / "run").run
    run.save_config({**run.config, "training": {"epochs": 1, "learning_rat": 1}})
    with pytest.raises(RunError, match=r"config\.json: not what .* wrote: .*learning_rat"):
        resume_language_model(tmp_path / "run")


def keys_of(content, *path):
    """All keys of a nest of dicts, and of the first of a list, each as a path."""
    items = content.items() if isinstance(content, dict) else [(0, content[0])]
    for key, value in items:
        if isinstance(key, str):
            yield *path, key
        if isinstance(value, dict | list):
            yield from keys_of(value, *path, key)


def test_a_config_that_lacks_something_is_completed_or_named(tmp_path, text_file):
    trainer = train([text_file], tmp_path / "run")
    trainer.fit()
    run = trainer.run
    whole = json.loads(run.config_path.read_text())
    needed = {"format", "task", "data", "files", "path", "bytes", "sha256"}
    needed |= {"model", "vocabulary_size", "cell", "hidden_size", "training", "epochs"}
    for *path, key in keys_of(whole):
        content = json.loads(run.config_path.read_text())
        inner = content
        for step in path:
            inner = inner[step]
        del inner[key]
        run.config_path.write_text(json.dumps(content))
        if key in needed:
            with pytest.raises(RunError, match=run.path.name):
                load_language_model(run.path)
        else:
            config = load_language_model(run.path)[2]
            assert set(keys_of(config)) >= set(keys_of(whole)) - {("unrolled",)}
            resume_language_model(run.path)
        run.config_path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    "content",
    [
        {"format": 2},
        {"format": 2, "task": "lm"},
        {"format": 2, "task": "lm", "data": [], "model": {}, "training": {}},
    ],
)
def test_a_config_that_says_too_little_is_named(tmp_path, text_file, content):
    run = train([text_file], tmp_path / "run").run
    run.config_path.write_text(json.dumps(content))
    for read in (load_language_model, resume_language_model):
        with pytest.raises(RunError, match="run"):
            read(run.path)


def test_an_option_out_of_range_in_a_config_is_named_with_the_file(tmp_path, text_file):
    run = train([text_file], tmp_path / "run").run
    run.save_config(run.config | {"model": run.config["model"] | {"hidden_size": 0}})
    with pytest.raises(RunError, match=r"config\.json: not what .*hidden_size must be at least 1"):
        load_language_model(run.path)


def test_a_vocabulary_of_another_run_is_named(tmp_path, text_file):
    train([text_file], tmp_path / "run").fit()
    save_vocabulary(CharVocabulary.from_text("ab"), tmp_path / "run" / "vocabulary.json")
    for read in (load_language_model, resume_language_model):
        with pytest.raises(RunError, match=r"vocabulary\.json: 2 tokens, but config.json says"):
            read(tmp_path / "run")


def test_of_two_trainings_that_find_a_folder_empty_one_gets_it(tmp_path, text_file, monkeypatch):
    def meanwhile(cls, path):
        monkeypatch.undo()
        train([text_file], path, training=TrainingOptions(epochs=3))

    monkeypatch.setattr(Run, "create", classmethod(meanwhile))
    with pytest.raises(RunError, match="there is a run already"):
        train([text_file], tmp_path / "run")
    assert Run.open(tmp_path / "run").config["training"]["epochs"] == 3


def test_text_that_cannot_be_scored_is_refused(tmp_path, text_file):
    train([text_file], tmp_path / "run").fit()
    model, vocabulary, _ = load_language_model(tmp_path / "run")
    with pytest.raises(DataError, match="1 tokens, at least 2"):
        evaluate_text(model, vocabulary, "1")
    with pytest.raises(VocabularyError, match="Ω"):
        evaluate_text(model, vocabulary, "1 Ω")
