import json
import math

import pytest
import torch

from support.runs import without_checksums
from unrolled.data import CharVocabulary, Source
from unrolled.errors import DataError, OptionError, RunError, VocabularyError
from unrolled.tasks import Loaded, Prepared, load, prepare, resume
from unrolled.tasks.lm import (
    DataOptions,
    LanguageModelTask,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)
from unrolled.training import Run

SMALL = {"epochs": 0.5, "learning_rate": 0.01, "batch_size": 4, "k1": 16}


def prepared(files, path, data=None, training=None, **model) -> Prepared:
    return prepare(
        LanguageModelTask,
        DataOptions(files=tuple(map(str, files)), **(data or {})),
        path,
        model=ModelOptions(**{"cell": "gru", "hidden_size": 8} | model),
        training=TrainingOptions(**SMALL | (training or {})),
    )


def last_line(path):
    return json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.parametrize("tokens", ["char", "byte", "bpe", "word"])
def test_what_was_trained_is_loaded_and_scores_what_training_reported(tmp_path, tokens):
    if tokens == "bpe":
        pytest.importorskip("tokenizers")
    content = "the 3 cafés of Zoë ❤ tea; " * 60
    (tmp_path / "text").write_text(content)
    training = {"batch_size": 2, "k1": 8}
    trained = prepared([tmp_path / "text"], tmp_path / "run", {"tokens": tokens}, training)
    result = trained.trainer.fit()
    loaded = load(tmp_path / "run")
    task, model = loaded.task, loaded.model
    assert not model.training
    assert task.vocabulary.kind == tokens
    assert model.vocabulary_size == len(task.vocabulary)
    held_out = content[int(0.9 * len(content)) :]
    metrics = task.evaluate(model, [held_out])
    assert metrics["loss"] == pytest.approx(result.best_loss, rel=1e-6)
    reported = last_line(tmp_path / "run")
    assert metrics["bits_per_character"] == pytest.approx(reported["bits_per_character"], rel=1e-6)
    first_token = task.vocabulary.decode(task.vocabulary.encode(held_out)[:1])
    assert metrics["num_characters"] == len(held_out) - len(first_token)
    results = trained.finish()
    assert (results.part, results.metrics) == ("held_out", metrics)
    assert results.meanings[0].name == "bits_per_character"


def test_bits_per_character_of_bytes_count_characters(tmp_path):
    (tmp_path / "text").write_text("é" * 2000)
    trainer = prepared([tmp_path / "text"], tmp_path / "run", {"tokens": "byte"}, {"k1": 8}).trainer
    assert trainer.objective.train_metrics(1.0)["bits_per_character"] == pytest.approx(2 / 0.693147)


def test_files_are_joined_in_order_and_split_in_order(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text("ab" * 450)
    second.write_text("cd" * 50)
    objective = prepared([first, second], tmp_path / "run").trainer.objective
    assert set(objective.held_out.tolist()) == {2, 3}
    assert len(objective.held_out) == 100


def test_the_seed_decides_the_weights_and_other_seeds_decide_otherwise(tmp_path, text_file):
    def weights(name, seed):
        trainer = prepared([text_file], tmp_path / name, training={"seed": seed}).trainer
        return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])

    assert torch.equal(weights("a", 1), weights("b", 1))
    assert not torch.equal(weights("c", 1), weights("d", 2))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cell": "lstn"}, OptionError, "did you mean lstm"),
        ({"hidden_size": 0}, OptionError, "hidden_size"),
        ({"embedding_size": 0}, OptionError, "embedding_size must be at least 1, got 0"),
        (
            {"num_parameters": 3, "hidden_size": 512},
            OptionError,
            "no model of this kind fits in 3 parameters",
        ),
        ({"training": {"k1": 16, "k2": 8}}, OptionError, "k2 .* must be at least k1"),
        (
            {"data": {"tokens": "syllable"}},
            OptionError,
            "tokens must be one of char, byte, bpe, word",
        ),
        ({"data": {"vocabulary_size": 300}}, OptionError, "vocabulary_size is for bpe and word"),
        ({"data": {"standard_library": True}}, OptionError, "one of the two"),
        ({"training": {"batch_size": 500, "k1": 9}}, DataError, "500 columns of 9 steps need"),
        ({"data": {"held_out": 0.0001}}, DataError, "too short to predict"),
    ],
)
def test_everything_is_checked_before_the_folder_is_made(
    tmp_path, text_file, options, error, message
):
    with pytest.raises(error, match=message):
        prepared([text_file], tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_there_is_text_or_the_standard_library():
    with pytest.raises(OptionError, match="give text files or standard_library, one of the two"):
        DataOptions()


@pytest.mark.parametrize("content", [b"", b"a", b"\xff\xfe\x00", b"too short"])
def test_unusable_text_makes_no_folder(tmp_path, content):
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(DataError):
        prepared([tmp_path / "text"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_file_makes_no_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        prepared([tmp_path / "nowhere"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_refused_before_the_text_is_read(tmp_path, text_file):
    prepared([text_file], tmp_path / "run")
    with pytest.raises(RunError, match="there is a run already"):
        prepared([tmp_path / "nowhere"], tmp_path / "run")


def test_a_run_is_not_resumed_on_other_text(tmp_path, text_file):
    prepared([text_file], tmp_path / "run").trainer.fit()
    text_file.write_text(text_file.read_text().replace("7", "8"))
    with pytest.raises(RunError, match=r"text\.txt: has changed"):
        resume(tmp_path / "run")


def test_a_run_that_was_not_evaluated_has_no_weights_to_load(tmp_path, text_file):
    prepared([text_file], tmp_path / "run")
    with pytest.raises(RunError, match=r"weights\.safetensors: no such file"):
        load(tmp_path / "run")


def test_an_option_that_is_none_is_named(tmp_path, text_file):
    run = prepared([text_file], tmp_path / "run").trainer.run
    run.save_config({**run.config, "training": {"epochs": 1, "learning_rat": 1}})
    with pytest.raises(RunError, match=r"run: not what .* wrote: .*learning_rat"):
        resume(tmp_path / "run")


def keys_of(content, *path):
    """All keys of a nest of dicts, and of the first of a list, each as a path."""
    items = content.items() if isinstance(content, dict) else [(0, content[0])]
    for key, value in items:
        if isinstance(key, str):
            yield *path, key
        if isinstance(value, dict | list):
            yield from keys_of(value, *path, key)


def test_a_config_that_lacks_something_is_completed_or_named(tmp_path, text_file):
    """What a default completes, or the files; without the hidden size the weights do not fit."""
    training = prepared([text_file], tmp_path / "run").trainer
    training.fit()
    run = training.run
    whole = json.loads((without_checksums(run.path) / "config.json").read_text())
    needed = {("format",), ("task",), ("data",), ("data", "options"), ("model",), ("training",)}
    needed |= {("data", "options", "files"), ("model", "cell"), ("model", "hidden_size")}
    recorded = {("data", "files"), *(("data", "files", 0, k) for k in ("path", "bytes", "sha256"))}
    assert needed | recorded < set(keys_of(whole))
    for path in keys_of(whole):
        content = json.loads(run.config_path.read_text())
        *outer, key = path
        inner = content
        for step in outer:
            inner = inner[step]
        del inner[key]
        run.config_path.write_text(json.dumps(content))
        if path in needed:
            with pytest.raises(RunError, match=run.path.name):
                load(run.path)
        else:
            load(run.path)
        if path in needed | recorded:
            with pytest.raises(RunError, match=run.path.name):
                resume(run.path)
        else:
            resume(run.path)
        run.config_path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    "content",
    [
        {"format": 3},
        {"format": 3, "task": "lm"},
        {"format": 3, "task": "lm", "data": [], "model": {}, "training": {}},
        {"format": 3, "task": "lm", "data": {"options": {}}, "model": [], "training": {}},
    ],
)
def test_a_config_that_says_too_little_is_named(tmp_path, text_file, content):
    run = prepared([text_file], tmp_path / "run").trainer.run
    run.config_path.write_text(json.dumps(content))
    for read in (load, resume):
        with pytest.raises(RunError, match="run"):
            read(run.path)


def test_a_vocabulary_of_another_run_is_named(tmp_path, text_file):
    prepared([text_file], tmp_path / "run").trainer.fit()
    other = CharVocabulary.from_text(text_file.read_text() + "Ω")
    (tmp_path / "run" / "vocabulary.json").write_text(json.dumps(other.to_dict()))
    for read in (load, resume):
        with pytest.raises(RunError, match=r"vocabulary\.json: has changed since"):
            read(tmp_path / "run")
    without_checksums(tmp_path / "run")
    for read in (load, resume):
        with pytest.raises(RunError, match=r"weights\.safetensors: weights of another model"):
            read(tmp_path / "run")
    (tmp_path / "run" / "weights.safetensors").unlink()
    with pytest.raises(RunError, match=r"vocabulary\.json: not what the run's data give"):
        resume(tmp_path / "run")


@pytest.mark.parametrize("content", ["[]", "{}", '{"kind": "word"}', '{"kind": "char"}'])
def test_a_damaged_vocabulary_is_named(tmp_path, text_file, content):
    prepared([text_file], tmp_path / "run").trainer.fit()
    (without_checksums(tmp_path / "run") / "vocabulary.json").write_text(content)
    for read in (load, resume):
        with pytest.raises(RunError, match=r"json: not what `unrolled` wrote: .*not a voca"):
            read(tmp_path / "run")


def test_a_library_that_is_missing_is_named_and_the_run_is_not_said_to_be_damaged(
    tmp_path, text_file, monkeypatch
):
    prepared([text_file], tmp_path / "run", {"tokens": "bpe", "vocabulary_size": 260})
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(RunError, match=r"json: .*needs the library tokenizers .*unrolled\[bpe\]"):
        load(tmp_path / "run")


def test_of_two_trainings_that_find_a_folder_empty_one_gets_it(tmp_path, text_file, monkeypatch):
    def meanwhile(cls, path):
        monkeypatch.undo()
        prepared([text_file], path, training={"epochs": 3})

    monkeypatch.setattr(Run, "create", classmethod(meanwhile))
    with pytest.raises(RunError, match="there is a run already"):
        prepared([text_file], tmp_path / "run")
    assert Run.open(tmp_path / "run").config["training"]["epochs"] == 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Loaded:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text").write_text("".join(f"{n} times {n} is {n * n}; " for n in range(200)))
    prepared([folder / "text"], folder / "run", training={"epochs": 2}).trainer.fit()
    return load(folder / "run")


def test_text_that_cannot_be_scored_is_refused(trained):
    with pytest.raises(DataError, match="1 tokens, at least 2"):
        trained.task.evaluate(trained.model, ["1"])
    with pytest.raises(VocabularyError, match="Ω"):
        trained.task.evaluate(trained.model, ["1 Ω"])


def test_several_texts_are_measured_together_each_token_once(trained):
    """By hand: all nats over all tokens, and over all characters; the texts do not touch."""
    texts = ["7 times 7 is 49; ", "12", "times; " * 30]
    alone = [trained.task.evaluate(trained.model, [text]) for text in texts]
    together = trained.task.evaluate(trained.model, texts)
    nats = sum(each["loss"] * each["num_tokens"] for each in alone)
    assert together["num_tokens"] == sum(map(len, texts)) - 3
    assert together["num_characters"] == together["num_tokens"]
    assert together["loss"] == pytest.approx(nats / together["num_tokens"])
    bits = nats / math.log(2) / together["num_characters"]
    assert together["bits_per_character"] == pytest.approx(bits)
    assert together["perplexity_per_token"] == pytest.approx(math.exp(together["loss"]))
    joined = trained.task.evaluate(trained.model, ["".join(texts)])
    assert joined["num_tokens"] == together["num_tokens"] + 2


def by_hand(loaded, line):
    """The log-probabilities of all characters of a line, and of those that may follow it."""
    scores, _ = loaded.model(loaded.task.vocabulary.encode(line)[None])
    logs = scores[0].detach().double().log_softmax(-1)
    return logs[:-1].gather(1, loaded.task.vocabulary.encode(line)[1:, None])[:, 0], logs[-1]


def test_a_prediction_says_how_likely_a_line_is_and_what_comes_next(trained):
    lines = ["7 times 7 i", "; is; is", "9", ""]
    source = Source.text("\n".join(lines) + "\n")
    options = PredictOptions(candidates=3)
    found = list(trained.task.predict(trained.model, source, options))
    assert [prediction["text"] for prediction in found] == lines
    for prediction, line in zip(found[:2], lines, strict=False):
        seen, following = by_hand(trained, line)
        bits = -seen.sum().item() / math.log(2) / (len(line) - 1)
        assert prediction["bits_per_character"] == pytest.approx(bits, rel=1e-6)
        best = following.exp().topk(3)
        symbols = [trained.task.vocabulary.symbols(id) for id in best.indices.tolist()]
        assert [each["text"] for each in prediction["next"]] == symbols
        shares = [each["probability"] for each in prediction["next"]]
        assert shares == pytest.approx(best.values.tolist())
    assert found[0]["next"][0]["text"] == "s"
    alone, empty = found[2:]
    assert alone["bits_per_character"] is None  # its only character is given
    assert len(alone["next"]) == 3
    assert (empty["bits_per_character"], empty["next"]) == (None, [])
    assert json.loads(json.dumps(found)) == found


def test_a_line_has_the_same_prediction_wherever_it_stands(trained):
    def predict(*lines):
        source = Source.text("\n".join(lines))
        return list(trained.task.predict(trained.model, source, PredictOptions()))

    assert predict("7 times", "8 is") == predict("7 times") + predict("8 is")
    assert len(predict("7 t")[0]["next"]) == 5


def test_no_more_candidates_are_shown_than_there_are_tokens(trained):
    options = PredictOptions(candidates=1000)
    (found,) = trained.task.predict(trained.model, Source.text("1"), options)
    assert len(found["next"]) == len(trained.task.vocabulary)
    assert sum(each["probability"] for each in found["next"]) == pytest.approx(1)


def test_a_prediction_is_shown_in_one_line(trained):
    source = Source.text("7 times 7\n\n")
    full, empty = trained.task.predict(trained.model, source, PredictOptions(candidates=2))
    bits, candidates, text = trained.task.to_text(full).split("\t")
    assert bits == f"{full['bits_per_character']:.3f}"
    first, second = full["next"]
    expected = [f"{each['text']!r} {each['probability']:.2f}" for each in (first, second)]
    assert candidates == ", ".join(expected)
    assert text == "7 times 7"
    assert trained.task.to_text(empty) == "\t\t"


def test_a_line_with_unknown_characters_is_named_after_those_before_it(trained):
    predictions = trained.task.predict(trained.model, Source.text("1 is\n1 Ω"), PredictOptions())
    assert next(predictions)["text"] == "1 is"
    with pytest.raises(VocabularyError, match=r"the input, line 2: .*Ω"):
        next(predictions)


def test_a_sample_is_a_function_of_its_seed_and_leaves_no_trace(trained):
    trained.model.train()
    before = torch.get_rng_state()
    first, again, other = (trained.task.sample(trained.model, seed) for seed in (3, 3, 4))
    assert first == again != other
    assert len(first) == 300
    assert trained.model.training
    trained.model.eval()
    assert torch.equal(torch.get_rng_state(), before)
