"""Classes of pictures and recordings, from files to a run and back to classes."""

import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from support.runs import stop_at
from unrolled.data import Source
from unrolled.errors import DataError, OptionError, render
from unrolled.inspection import Subject
from unrolled.tasks import TaskOptions, load, prepare, resume
from unrolled.tasks.classify import (
    Classifier,
    ClassifyTask,
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
TONES = {"low": 300, "high": 2700}
SMALL = ModelOptions(hidden_size=8, channels=4, dropout=0.0)
SIZES = [{"picture_size": 8}, {"num_bands": 5}]


@pytest.fixture
def pictures(tmp_path):
    """A folder of 12 pictures for each colour."""
    chance = random.Random(0)
    for name, channels in COLOURS.items():
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            colour = tuple(value + chance.randrange(-30, 30) for value in channels)
            Image.new("RGB", (8, 8), colour).save(tmp_path / f"pictures/{name}/{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def recordings(tmp_path):
    """A folder of 10 recordings of 60 ms or more for each tone."""
    for name, hertz in TONES.items():
        (tmp_path / "recordings" / name).mkdir(parents=True)
        for number in range(10):
            tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(960 + 100 * number) / 16_000)
            soundfile.write(tmp_path / f"recordings/{name}/{number}.wav", tone, 16_000)
    return tmp_path / "recordings"


@pytest.fixture
def table(pictures):
    """A table that names the pictures, beside their folders."""
    rows = [f"{path.parent.name}/{path.name},{path.parent.name}" for path in files(pictures)]
    path = pictures.parent / "table.csv"
    path.write_text("\n".join(["file,colour", *rows]) + "\n")
    return path


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def data_for(*paths, **options):
    return DataOptions(files=tuple(map(str, paths)), **{"picture_size": 8} | options)


def read(*paths, **options):
    chosen = TaskOptions(data_for(*paths, **options), SMALL, TrainingOptions())
    splits = ClassifyTask.read(chosen)
    return ClassifyTask.fit(chosen, splits), splits


def labels(splits):
    parts = (splits.training, splits.held_out, splits.test)
    return sorted((e.id.rpartition("/")[2], e.label) for part in parts for e in part)


def prepared(path, run, epochs=2.0, **training):
    chosen = TrainingOptions(epochs=epochs, learning_rate=0.01, batch_size=8, **training)
    return prepare(ClassifyTask, data_for(path), run, model=SMALL, training=chosen)


def predict(loaded, path, **options):
    found = loaded.task.predict(loaded.model, Source.file(path), PredictOptions(**options))
    return [(prediction.get("media"), prediction["class"]) for prediction in found]


def test_pictures_are_learned_and_told_apart_in_every_way_to_name_them(pictures, table, tmp_path):
    trained = prepared(pictures, tmp_path / "run", epochs=12)
    trained.trainer.fit()
    results = trained.finish()
    assert results.metrics["accuracy"] == 1.0
    assert results.baselines["most frequent class"]["accuracy"] <= 0.5
    assert results.baselines["nearest neighbour"]["accuracy"] == 1.0
    assert results.baselines["nearest mean"]["accuracy"] == 1.0
    loaded = load(tmp_path / "run")
    red = pictures / "red"
    expected = [(str(path), "red") for path in files(red)]
    assert predict(loaded, red) == expected
    assert predict(loaded, red / "0.png") == expected[:1]
    listed = tmp_path / "list.txt"
    listed.write_text("pictures/red/0.png\n\n")
    with pytest.raises(DataError, match=r"list\.txt, line 2: is empty"):
        predict(loaded, listed)
    assert predict(loaded, listed, skip_bad=True) == [("pictures/red/0.png", "red"), ("", "")]
    listed.rename(tmp_path / "list.csv")
    with pytest.raises(DataError, match=r"list\.csv: a table by its name"):
        predict(loaded, tmp_path / "list.csv")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert predict(loaded, bad, skip_bad=True) == [(str(bad), "")]
    for path in (pictures, f"red={red}", f"red={red / '0.png'}"):
        examples, _ = loaded.task.read_examples(Path(path))
        assert loaded.task.evaluate(loaded.model, examples)["accuracy"] == 1.0
    with pytest.raises(DataError, match="no class is known of it"):
        loaded.task.read_examples(table)
    (by_step,) = loaded.task.predict(
        loaded.model, Source.file(red / "0.png"), PredictOptions(running=True)
    )
    assert by_step["running"][-1]["class"] == "red"
    assert loaded.task.to_text(by_step).startswith("red\t")


def test_recordings_are_learned_and_what_is_read_again_gives_the_same(recordings, tmp_path):
    trained = prepared(recordings, tmp_path / "run", epochs=15)
    trained.trainer.fit()
    loaded = load(tmp_path / "run")
    examples = [*trained.splits.training, *trained.splits.test]
    assert loaded.task.evaluate(loaded.model, examples)["accuracy"] > 0.9
    assert predict(loaded, recordings / "low") == [
        (str(path), "low") for path in files(recordings / "low")
    ]


def test_a_table_a_folder_and_a_folder_for_each_class_are_the_same_examples(pictures, table):
    by_folder = labels(read(pictures)[1])
    assert len(by_folder) == 36
    by_class = [f"{name}={pictures / name}" for name in COLOURS]
    assert labels(read(*by_class)[1]) == by_folder
    names = {"media": "file", "target": "colour", "folder": str(pictures)}
    task, splits = read(table, **names)
    assert labels(splits) == by_folder
    assert {example.kind for example in splits.training} == {"picture"}
    assert len(task.read_examples(pictures)[0]) == 36
    assert len(task.read_examples(table)[0]) == 36


def test_bad_files_are_named_together_or_left_out_and_counted(pictures, recordings):
    (pictures / "red" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (pictures / "blue" / "2.png").write_text("no picture")
    (pictures / "blue" / "3.png").write_bytes((recordings / "low" / "0.wav").read_bytes())
    by_class = [f"{each.name}={each}" for each in sorted(pictures.iterdir())]
    with pytest.raises(DataError) as caught:
        read(*by_class)
    assert "3 files that cannot be used" in caught.value.message
    with pytest.raises(DataError) as caught:
        read(pictures)
    assert "3 files that cannot be used" in caught.value.message
    for place in ("red/1.png", "blue/2.png", "blue/3.png: a recording"):
        assert place in caught.value.message
    assert "skip_bad" in render(caught.value.hint)
    _, splits = read(pictures, skip_bad=True)
    assert len(labels(splits)) == 33
    assert any("left out 3 of 36 files" in note for note in splits.notes)


def test_a_class_that_is_named_and_of_which_all_files_are_bad_is_not_left_out(pictures):
    for file in files(pictures / "red"):
        file.write_text("no picture")
    by_class = [f"{each.name}={each}" for each in sorted(pictures.iterdir())]
    with pytest.raises(DataError, match=r"red: no example has content and a class"):
        read(*by_class, skip_bad=True)


def test_rows_without_a_file_or_a_class_are_counted_and_bad_ones_named(pictures, table):
    with table.open("a") as file:
        file.write(",red\nred/1.png,\nred/none.png,red\n")
    names = {"media": "file", "target": "colour", "folder": str(pictures)}
    with pytest.raises(DataError, match=r"table\.csv, line 40: .*none\.png: no such file"):
        read(table, **names)
    _, splits = read(table, **names, skip_bad=True)
    assert len(labels(splits)) == 36
    assert any("2 of 38 examples" in note for note in splits.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"media": "file"}, "a table needs the column of the class"),
        ({"media": "file", "target": "colour", "input": ("x",)}, "is for pictures or recordings"),
        ({"media": "file", "target": "colour", "tokens": "char"}, "is for text"),
        ({"input": ("x",), "target": "colour", "folder": "."}, "is where the paths"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        data_for("t.csv", **options)


def test_columns_of_a_folder_and_texts_among_pictures_are_refused(pictures, tmp_path):
    with pytest.raises(OptionError, match="is for tables"):
        data_for(pictures, media="file")
    texts = tmp_path / "texts.txt"
    texts.write_text("one\ntwo\n")
    with pytest.raises(DataError, match=r"texts\.txt"):
        read(f"red={pictures / 'red'}", f"text={texts}")
    with pytest.raises(DataError, match="what is before it is text"):
        read(f"text={texts}", f"red={pictures / 'red'}")


def test_texts_in_folders_stay_texts_in_utf_16_too(tmp_path):
    for name in "ab":
        (tmp_path / "texts" / name).mkdir(parents=True)
        for number in range(10):
            path = tmp_path / "texts" / name / str(number)
            path.write_text(f"{name} {number} and more", encoding="utf-16")
    _, splits = read(tmp_path / "texts", encoding="utf-16")
    assert splits.training[0].kind is None


def test_equal_pictures_are_in_one_part(pictures):
    for number in range(12):
        Image.new("RGB", (8, 8), (1, 2, 3)).save(pictures / "red" / f"{number}.png")
    _, splits = read(pictures, held_out=0.3, test=0.3)
    parts = [part for part in (splits.training, splits.held_out, splits.test)]
    assert sorted(sum(e.label == "red" for e in part) for part in parts) == [0, 0, 12]


@pytest.mark.parametrize("media", ["pictures", "recordings"])
def test_an_interrupted_run_ends_as_one_that_was_not(media, request, tmp_path):
    folder = request.getfixturevalue(media)
    whole = prepared(folder, tmp_path / "whole", augment=True)
    whole.trainer.fit()
    parted = prepared(folder, tmp_path / "parted", augment=True)
    stop_at(parted.trainer, 2)
    assert parted.trainer.fit().reason == "interrupted"
    torch.rand(7)
    resumed = resume(tmp_path / "parted")
    resumed.trainer.fit()
    mine, other = (run.trainer.model.state_dict() for run in (resumed, whole))
    assert all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.parametrize(
    ("media", "chosen", "varied"),
    [
        ("pictures", None, True),
        ("pictures", False, False),
        ("recordings", None, False),
        ("recordings", True, True),
    ],
)
def test_media_are_varied_in_training_as_they_are_told(media, chosen, varied, request):
    folder = request.getfixturevalue(media)
    options = TaskOptions(data_for(folder), SMALL, TrainingOptions(augment=chosen))
    splits = ClassifyTask.read(options)
    task = ClassifyTask.fit(options, splits)
    torch.manual_seed(0)
    model = task.make_model(SMALL)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for training, differs in ((True, varied), (False, False)):
        one, other = (task.loss(model.train(training), splits.training)[0] for _ in range(2))
        assert (one.item() != other.item()) == differs


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("cell", ["lstm", "dense"])
def test_any_cell_reads_them_and_what_is_after_the_end_has_no_effect(cell, sizes):
    options = ModelOptions(cell=cell, hidden_size=4, channels=4)
    model = Classifier(options, num_classes=3, **sizes).eval()
    torch.nn.init.normal_(model.shape.weight)
    if "picture_size" in sizes:
        inputs, lengths = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8), None
    else:
        inputs, lengths = torch.randn(2, 10, 5), torch.tensor([10, 4])
    scores = model(inputs, lengths)
    assert scores.shape == (2, 3)
    alone = model(inputs[1:], None) if lengths is None else model(inputs[1:, :4], lengths[1:])
    torch.testing.assert_close(scores[1:], alone)
    torch.testing.assert_close(model.opinions(inputs[0])[-1], scores[0])


def test_reports_and_views_read_them(pictures, recordings, tmp_path):
    for folder, kind in ((pictures, "picture"), (recordings, "recording")):
        run = tmp_path / kind
        prepared(folder, run, epochs=1).trainer.fit()
        loaded = load(run)
        assert loaded.task.medium == kind
        subject = loaded.task.subject(loaded.model)
        assert isinstance(subject, Subject)
        path = files(folder)[0]
        for source in (Source.file(path), Source.of_bytes(path.read_bytes())):
            (passage,) = subject.read(source)
            assert len(passage) == len(passage.features)
            assert len(subject.log_probabilities(passage, passage.features)) == len(passage)
