"""Captions from a table to a trained run and back to words."""

import json
import random
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from support.runs import stop_at
from unrolled.cli.main import main
from unrolled.data import Source, batches_by_length
from unrolled.errors import DataError, OptionError
from unrolled.networks import LAYERS
from unrolled.tasks import TaskOptions, load, prepare, resume
from unrolled.tasks.caption import (
    CaptionTask,
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
    reader,
)
from unrolled.tasks.caption.baselines import best_constant, nearest_neighbours

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
TONES = {"low": 300, "middle": 900, "high": 2700}
SMALL = ModelOptions(hidden_size=16, channels=8, dropout=0.0)


@pytest.fixture
def pictures(tmp_path):
    """36 pictures of a colour, whose captions say which."""
    chance = random.Random(0)
    rows = ["file\twords\tseries"]
    for number in range(36):
        name = list(COLOURS)[number % 3]
        colour = tuple(value + chance.randrange(-30, 30) for value in COLOURS[name])
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png\ta {name} thing.\t{number % 6}")
    path = tmp_path / "pictures.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def recordings(tmp_path):
    """Two tones one after the other, 60 ms each, whose words say which."""
    for name, hertz in TONES.items():
        tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(960) / 16_000)
        soundfile.write(tmp_path / f"{name}.wav", tone, 16_000)
    rows = ["file\twords"]
    rows += [f"{a}.wav;{b}.wav\t{a} {b}" for a in TONES for b in TONES] * 4
    path = tmp_path / "recordings.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


def data_for(path, **options):
    names = {"file": str(path), "media": "file", "text": "words", "picture_size": 8}
    return DataOptions(**names | {"split_by": "media"} | options)


def read_parts(data):
    return reader.read_parts(data, seed=0)


def fit(path, training=None, **data):
    """Return a task, and the parts that it was fitted to."""
    options = TaskOptions(data_for(path, **data), SMALL, TrainingOptions(**training or {}))
    splits = CaptionTask.read(options)
    return CaptionTask.fit(options, splits), splits


def prepared(path, run, epochs=1.0, augment=True, **data):
    training = TrainingOptions(epochs=epochs, learning_rate=0.01, batch_size=8, augment=augment)
    return prepare(CaptionTask, data_for(path, **data), run, model=SMALL, training=training)


def train(path, run, **options):
    trained = prepared(path, run, **options)
    trained.trainer.fit()
    return trained


def predict(loaded, source, **options):
    return list(loaded.task.predict(loaded.model, source, PredictOptions(**options)))


def test_pictures_are_learned_better_than_without_learning(pictures, tmp_path):
    results = train(pictures, tmp_path / "run", epochs=25, test=0.2).finish()
    assert results.metrics["exact_match"] == 1.0
    assert results.metrics["bleu"] == pytest.approx(100)
    assert results.baselines["constant"]["exact_match"] < 0.7
    assert results.baselines["nearest neighbour"]["exact_match"] == 1.0
    assert results.metrics["unknown_words"] == 0.0
    assert "version:2" in results.metrics["bleu_signature"]


def test_recordings_are_learned_and_what_is_read_again_gives_the_same(recordings, tmp_path):
    trained = train(recordings, tmp_path / "run", epochs=30, split_by="text", augment=False)
    loaded = load(tmp_path / "run")
    examples = trained.splits.training
    metrics = loaded.task.evaluate(loaded.model, examples)
    assert metrics["exact_match"] > 0.9
    model = trained.trainer.model
    model.load_state_dict(loaded.model.state_dict())
    assert trained.task.evaluate(model.eval(), examples) == metrics


def test_an_interrupted_run_ends_as_one_that_was_not(recordings, tmp_path):
    whole = train(recordings, tmp_path / "whole", epochs=2)
    parted = prepared(recordings, tmp_path / "parted", epochs=2)
    stop_at(parted.trainer, 2)
    assert parted.trainer.fit().reason == "interrupted"
    torch.rand(7)
    resumed = resume(tmp_path / "parted")
    resumed.trainer.fit()
    mine, other = (run.trainer.model.state_dict() for run in (resumed, whole))
    assert all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.parametrize("cell", LAYERS)
def test_every_cell_captions_recordings(recordings, cell):
    task, splits = fit(recordings)
    model = task.make_model(ModelOptions(cell=cell, hidden_size=4)).eval()
    loss, count = task.loss(model, splits.test)
    assert count == 3 * len(splits.test)  # two words and the end
    assert loss.isfinite()


def test_losses_do_not_depend_on_the_batch(recordings):
    task, splits = fit(recordings, held_out=0.4)
    model = task.make_model(ModelOptions(hidden_size=4)).double().eval()
    examples = [
        replace(example, content=example.content[: 3 + 2 * index].double())
        for index, example in enumerate(splits.held_out[:4])
    ]
    together, _ = task.loss(model, examples)
    alone = sum(task.loss(model, [example])[0] for example in examples)
    torch.testing.assert_close(together, alone)


def test_words_that_training_has_not_seen_are_told_of_and_do_not_count(pictures, tmp_path):
    test = tmp_path / "test.tsv"
    test.write_text("file\twords\n0.png\ta crimson thing.\n")
    task, splits = fit(pictures, test_file=str(test))
    assert [note for note in splits.notes if "writes alone" not in note] == [
        "1 words occur in no training caption, but in 1 of the others: "
        "they cannot be written, and their loss is not counted"
    ]
    model = task.make_model(SMALL).eval()
    assert task.loss(model, splits.test)[1] == 4  # a, thing, the full stop, the end
    assert task.evaluate(model, splits.test)["unknown_words"] == 0.25


def test_equal_captions_stay_in_one_part(recordings):
    splits = read_parts(data_for(recordings, split_by="text", held_out=0.3, test=0.3))
    words = [{example.words for example in part} for part in (splits.training, splits.held_out)]
    assert words[0].isdisjoint(words[1])
    assert all(len(part) % 4 == 0 for part in (splits.training, splits.held_out, splits.test))


@pytest.mark.parametrize("split_by", ["text", "media", "series"])
def test_a_file_is_in_one_part_whatever_else_is_kept_together(pictures, split_by):
    header, *rows = pictures.read_text().splitlines()
    twice = [f"{row.split()[0]}\tnumber {number}\t{6 + number}" for number, row in enumerate(rows)]
    own = [row.replace(" thing", f" {number}") for number, row in enumerate(rows)]
    pictures.write_text("\n".join([header, *own, *twice]) + "\n")
    splits = read_parts(data_for(pictures, split_by=split_by))
    parts = [{example.name for example in part} for part in (splits.training, splits.test)]
    assert parts[0].isdisjoint(parts[1])


def named(path, num_names, num_rows=36):
    """Write a table of pictures whose captions are one of so many names."""
    rows = [f"{number}.png\tthing {number % num_names}" for number in range(num_rows)]
    path.write_text("\n".join(["file\twords", *rows]) + "\n")
    return path


def test_captions_that_are_a_few_names_are_in_all_parts(pictures):
    splits = read_parts(data_for(named(pictures, 4), split_by=None, held_out=0.2, test=0.2))
    training, test = ({e.text for e in part} for part in (splits.training, splits.test))
    assert test <= training
    assert any("36 rows have 4 different captions" in note for note in splits.notes)


def test_names_that_are_kept_in_one_part_are_told_of(pictures):
    splits = read_parts(data_for(named(pictures, 4), split_by="text", held_out=0.2, test=0.2))
    training, test = ({e.text for e in part} for part in (splits.training, splits.test))
    assert training.isdisjoint(test)
    assert any("were never trained on" in note for note in splits.notes)


def test_descriptions_stay_in_one_part(pictures):
    splits = read_parts(data_for(named(pictures, 18), split_by=None, held_out=0.2, test=0.2))
    training, test = ({e.text for e in part} for part in (splits.training, splits.test))
    assert training.isdisjoint(test)
    assert splits.notes == [note for note in splits.notes if "occur in no training caption" in note]


def test_the_values_of_a_column_stay_in_one_part(pictures):
    splits = read_parts(data_for(pictures, split_by="series"))
    keys = [{example.key for example in part} for part in (splits.training, splits.held_out)]
    assert keys[0].isdisjoint(keys[1])


def test_a_file_of_several_captions_is_written_once_and_has_several_references(pictures):
    text = pictures.read_text()
    more = [row.replace("a ", "one ") for row in text.splitlines()[1:]]
    pictures.write_text(text + "\n".join(more) + "\n")
    task, splits = fit(pictures, test=0.3)
    model = task.make_model(SMALL).eval()
    searched = []
    best = task.writer.best
    task.writer.best = lambda model, media: searched.extend(media) or best(model, media)
    metrics = task.evaluate(model, splits.test)
    assert len(searched) == len({example.name for example in splits.test})
    assert 2 * len(searched) == len(splits.test)
    assert "nrefs:2" in metrics["bleu_signature"] or "nrefs:var" in metrics["bleu_signature"]


def test_augmentation_is_of_training_alone(pictures):
    task, splits = fit(pictures)
    model = task.make_model(SMALL)
    assert task.loss(model, splits.test)[0] != task.loss(model, splits.test)[0]
    model.eval()
    assert task.loss(model, splits.test)[0] == task.loss(model, splits.test)[0]
    still, _ = fit(pictures, {"augment": False})
    assert still.loss(model.train(), splits.test)[0] == still.loss(model.eval(), splits.test)[0]


@pytest.fixture
def run(pictures, tmp_path):
    train(pictures, tmp_path / "run", epochs=0.5)
    return tmp_path / "run"


def test_a_list_of_files_has_a_prediction_for_each_line(run, pictures, tmp_path):
    loaded = load(run)
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{tmp_path / f'{number}.png'}\n" for number in (3, 1, 2)))
    predictions = predict(loaded, Source.file(names))
    assert [prediction["media"] for prediction in predictions] == names.read_text().split()
    for prediction in predictions:
        (alone,) = predict(loaded, Source.file(names.parent / prediction["media"]))
        assert alone["caption"] == prediction["caption"]
    assert loaded.task.to_text(predictions[0]) == predictions[0]["caption"]
    json.dumps(predictions)


def test_several_captions_come_best_first(run, tmp_path):
    loaded = load(run)
    (prediction,) = predict(loaded, Source.file(tmp_path / "0.png"), n_best=5)
    captions = prediction["alternatives"]
    assert captions[0]["caption"] == prediction["caption"]
    assert len(captions) == len({one["caption"] for one in captions}) == 5
    ended = [one for one in captions if one["complete"]]
    assert captions[: len(ended)] == sorted(ended, key=lambda one: -one["score"])
    assert len(loaded.task.to_text(prediction).splitlines()) == 5
    with pytest.raises(OptionError, match="n_best is 5, but a beam of 2"):
        predict(loaded, Source.file(tmp_path / "nowhere.png"), n_best=5, beam=2)


def test_a_picture_may_be_at_hand_and_in_no_file(run, tmp_path):
    loaded, path = load(run), tmp_path / "0.png"
    (from_file,) = predict(loaded, Source.file(path))
    (at_hand,) = predict(loaded, Source.of_bytes(path.read_bytes()))
    assert at_hand == from_file | {"media": "the input"}


def test_every_word_comes_with_where_the_model_looked(run, tmp_path):
    loaded = load(run)
    (prediction,) = predict(loaded, Source.file(tmp_path / "0.png"), n_best=3)
    for one in prediction["alternatives"]:
        assert len(one["attention"]) == len(one["words"]) + one["complete"]
        for weights in one["attention"]:
            assert len(weights) == 16  # 4 by 4 places
            assert sum(weights) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0.png\n\n1.png\n", "line 2: is empty"),
        ("0.png\nlost.png\n", r"lost\.png: no such file"),
        ("sound.wav\n", r"sound\.wav: a recording, but the model was trained on pictures"),
    ],
)
def test_what_cannot_be_predicted_is_named(run, tmp_path, monkeypatch, lines, message):
    soundfile.write(tmp_path / "sound.wav", np.zeros(1600), 16_000)
    monkeypatch.chdir(tmp_path)
    names = tmp_path / "names.txt"
    names.write_text(lines)
    loaded = load(run)
    with pytest.raises(DataError, match=message):
        predict(loaded, Source.file(names))


def test_what_stands_before_a_bad_file_is_written_and_bad_ones_can_be_passed(run, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("0.png\nlost.png\n1.png\n")
    loaded = load(run)
    predictions = loaded.task.predict(loaded.model, Source.file(names), PredictOptions())
    assert next(predictions)["media"] == "0.png"
    with pytest.raises(DataError, match=r"names\.txt, line 2: .*lost\.png: no such file"):
        next(predictions)
    first, bad, last = predict(loaded, Source.file(names), skip_bad=True)
    assert "no such file" in bad["error"]
    assert loaded.task.to_text(bad) == ""
    assert [first["media"], last["media"]] == ["0.png", "1.png"]


def test_a_bad_file_that_is_named_itself_can_be_passed_too(run, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    loaded = load(run)
    with pytest.raises(DataError, match=r"bad\.png"):
        predict(loaded, Source.file(bad))
    (prediction,) = predict(loaded, Source.file(bad), skip_bad=True)
    assert (prediction["media"], prediction["caption"]) == (str(bad), "")
    assert "bad.png" in prediction["error"]
    with pytest.raises(DataError, match="no such file"):  # what is not there is no bad picture
        predict(loaded, Source.file(tmp_path / "lost.png"), skip_bad=True)


def test_a_list_in_another_folder_and_the_training_table_are_read(
    run, pictures, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    names = tmp_path / "names.txt"
    names.write_text("0.png\n1.png\n")
    loaded = load(run)
    assert len(predict(loaded, Source.file(names))) == 2
    assert len(predict(loaded, Source.file(pictures))) == 36


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [rows[0]] + [r.replace(r.split("\t")[1], "x") for r in rows[1:]], "the same"),
        (lambda rows: rows[:3], "too few to hold out"),
    ],
    ids=["one caption", "two rows"],
)
def test_a_table_without_anything_to_learn_is_refused(pictures, change, message):
    pictures.write_text("\n".join(change(pictures.read_text().splitlines())) + "\n")
    with pytest.raises(DataError, match=message):
        fit(pictures, split_by="text")


def test_a_test_table_of_another_kind_is_refused(pictures, recordings):
    with pytest.raises(DataError, match=r"recordings\.tsv: has recordings, .* table pictures"):
        fit(pictures, test_file=str(recordings))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"test": 0.1, "test_file": "test.tsv"}, "a part of the data or a file, not both"),
        ({"held_out": 0.1, "held_out_file": "x.tsv"}, "held_out and held_out_file.* not both"),
        ({"held_out": 1.0}, r"held_out must be in \[0, 1\), got 1.0"),
        ({"picture_size": 0}, "picture_size must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(option, message):
    with pytest.raises(OptionError, match=message):
        data_for("table.tsv", **option)


def test_labels_are_smoothed_in_training_alone(pictures):
    task, splits = fit(pictures, {"augment": False, "label_smoothing": 0.5})
    plain, _ = fit(pictures, {"augment": False})
    torch.manual_seed(0)  # of some weights, both losses are almost the same
    model = task.make_model(SMALL)
    assert task.loss(model.eval(), splits.test)[0] == plain.loss(model, splits.test)[0]
    smoothed, mean = (each.loss(model.train(), splits.test)[0] for each in (task, plain))
    assert not torch.isclose(smoothed, mean, rtol=1e-3)


def test_without_sacrebleu_a_run_does_not_begin(pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(OptionError, match="sacrebleu"):
        fit(pictures)


def test_the_constant_is_the_best_for_all(pictures):
    examples = read_parts(data_for(pictures)).training
    reds = [example for example in examples if "red" in example.words]
    assert best_constant([*reds, *examples]) == "a red thing."


def test_the_nearest_neighbour_is_the_most_alike(recordings):
    examples = read_parts(data_for(recordings)).training
    louder = [replace(example, content=example.content + 0.1) for example in examples]
    texts = [example.text for example in examples]
    assert nearest_neighbours(examples, louder) == texts


def test_batches_are_of_about_the_same_length(recordings):
    task, splits = fit(recordings)
    lengths = [task.length(example) for example in splits.training]
    assert lengths == [len(example.content) for example in splits.training]
    assert batches_by_length(lengths, 4) == list(task.in_batches(splits.training, 4))


def test_from_the_command_line_to_words_and_back(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def unrolled(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return ended.value.code or 0, capsys.readouterr()

    sizes = ("--picture-size", 8, "--hidden-size", 8, "--channels", 8, "--batch-size", 8)
    columns = ("--media", "file", "--text", "words", "--split-by", "media")
    code, said = unrolled(
        "train", "caption", "pictures.tsv", *columns, *sizes, "--epochs", 1, "--run", "run"
    )
    assert code == 0
    assert "nearest neighbour" in said.err
    code, said = unrolled("predict", "run", "0.png", "--n-best", 2, "--json")
    assert code == 0
    assert len(json.loads(said.out)["alternatives"]) == 2
    code, said = unrolled("evaluate", "run", "pictures.tsv", "--json")
    assert code == 0
    assert json.loads(said.out)["bleu"] >= 0
    (tmp_path / "3.png").write_bytes(b"\x89PNG")
    code, said = unrolled("train", "caption", "pictures.tsv", *columns, *sizes, "--run", "other")
    assert code == 1
    assert "line 5: " in said.err
    assert "3.png: not a picture" in said.err
    assert "Traceback" not in said.err


def test_a_picture_at_hand_can_be_looked_into(run, tmp_path):
    loaded = load(run)
    subject = loaded.task.subject(loaded.model)
    (passage,) = subject.read(Source.of_bytes((tmp_path / "0.png").read_bytes()))
    caption = "".join(passage.pieces).removesuffix("</s>").strip()
    (prediction,) = predict(loaded, Source.file(tmp_path / "0.png"))
    assert prediction["caption"] in caption
