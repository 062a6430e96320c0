"""The task on texts whose class is in the order of the words, which no bag of words can see."""

import json
import math
import random
from dataclasses import replace

import pytest
import torch

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks import Splits, TaskOptions, load, prepare
from unrolled.tasks.classify import (
    ClassifyTask,
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)
from unrolled.tasks.classify.answers import NumberAnswer
from unrolled.tasks.classify.model import Classifier
from unrolled.tasks.classify.reader import Labelled, read_examples

MODEL = ModelOptions(hidden_size=12, embedding_size=8, dropout=0.0, pooling="last")
RUNNING = PredictOptions(running=True)


@pytest.fixture(scope="module")
def in_order(tmp_path_factory):
    """Is "first" before "second"? Each text has both, and noise."""
    chance = random.Random(0)
    rows = []
    for _ in range(200):
        words = [chance.choice(["uh", "er", "hm"]) for _ in range(chance.randint(0, 4))]
        for word in chance.sample(["first", "second"], 2):
            words.insert(chance.randint(0, len(words)), word)
        label = "right" if words.index("first") < words.index("second") else "wrong"
        rows.append(f"{' '.join(words)},{label}\n")
    path = tmp_path_factory.mktemp("order") / "order.csv"
    path.write_text("text,label\n" + "".join(rows))
    return path


@pytest.fixture(scope="module")
def trained(in_order, tmp_path_factory):
    run = tmp_path_factory.mktemp("run") / "run"
    data = DataOptions(files=(str(in_order),), input=("text",), target="label", test=0.2)
    training = TrainingOptions(epochs=30, learning_rate=1e-2, batch_size=16)
    prepared = prepare(ClassifyTask, data, run, training=training, model=MODEL)
    prepared.trainer.fit()
    return run, prepared.finish()


def labelled(text, label=None):
    return Labelled("here", text, label)


def fit(examples, class_weights="none", **changes):
    data = DataOptions(files=("t.csv",), input=("text",), target="label", **changes)
    options = TaskOptions(data, ModelOptions(), TrainingOptions(class_weights=class_weights))
    return ClassifyTask.fit(options, Splits(examples, [], [], []))


def task_of(labels, text="some words", **changes):
    return fit([labelled(text, label) for label in labels], **changes)


def test_the_order_of_words_is_learned_and_a_bag_of_words_cannot(trained):
    _, results = trained
    assert results.metrics["accuracy"] >= 0.95
    assert results.baselines["bag of words"]["accuracy"] < 0.8
    assert results.baselines["most frequent class"]["accuracy"] < 0.8
    counts = results.metrics["confusion"]["counts"]
    assert results.metrics["confusion"]["classes"] == ["right", "wrong"]
    assert sum(map(sum, counts)) >= 40
    right = counts[0][0] + counts[1][1]
    assert results.metrics["accuracy"] == right / sum(map(sum, counts))


def test_the_opinion_changes_with_the_word_that_decides(trained, tmp_path):
    loaded = load(trained[0])
    task, model = loaded.task, loaded.model
    source = tmp_path / "new.txt"
    source.write_text("uh second uh first\nfirst er second\n\n")
    swapped, kept, empty = task.predict(model, Source.file(source), RUNNING)
    assert (swapped["text"], swapped["class"], kept["class"]) == (
        "uh second uh first",
        "wrong",
        "right",
    )
    assert [step["token"] for step in swapped["running"]] == ["uh", "second", "uh", "first"]
    for prediction in (swapped, kept):
        assert prediction["probability"] == max(prediction["probabilities"].values())
        assert math.isclose(sum(prediction["probabilities"].values()), 1, rel_tol=1e-5)
        last = prediction["running"][-1]
        assert last["class"] == prediction["class"]
        assert last["probability"] == pytest.approx(prediction["probability"], abs=1e-6)
        json.dumps(prediction)
    assert empty["running"] == []
    shown = task.to_text(kept).split("\n")
    assert shown[0] == f"right\t{kept['probability']:.4f}\tfirst er second"
    assert [line.split("\t")[3] for line in shown[1:]] == ["first", "er", "second"]
    assert (
        task.to_text(next(task.predict(model, Source.file(source), PredictOptions()))).count("\n")
        == 0
    )


def test_a_class_that_training_did_not_have_counts_as_wrong(trained, tmp_path):
    loaded = load(trained[0])
    task, model = loaded.task, loaded.model
    path = tmp_path / "test.csv"
    path.write_text("text,label\nfirst second,right\nsecond first,new\n")
    examples, notes = task.read_examples(path)
    assert len(notes) == 1
    assert notes[0].startswith("1 of 2 examples have a class that training did not")
    metrics = task.evaluate(model, examples)
    assert metrics["accuracy"] == 0.5
    assert metrics["confusion"]["classes"] == ["right", "wrong", "new"]
    assert metrics["f1"]["new"] == 0
    assert metrics["loss"] == task.evaluate(model, examples[:1])["loss"]
    names = ("accuracy", "macro_f1", "loss")
    assert task.monitor(model, examples) == {name: metrics[name] for name in names}
    loss, count = task.loss(model, examples)
    assert count == 1
    assert loss.item() == pytest.approx(metrics["loss"])
    assert task.loss(model, examples[1:])[1] == 0


@pytest.mark.parametrize("tokens", ["word", "char", "bpe"])
def test_what_was_fitted_is_kept_in_json(tokens):
    options = {"tokens": tokens} | ({"vocabulary_size": 260} if tokens == "bpe" else {})
    task = task_of("aab", **options)
    again = ClassifyTask.from_dict(task.options, json.loads(json.dumps(task.to_dict())))
    assert (again.answer.labels, again.answer.counts) == (("a", "b"), (2, 1))
    assert again.encoder.size == task.encoder.size
    example = labelled("some new words")
    assert torch.equal(again._encode(example), task._encode(example))
    assert task.length(example) == len(again.encoder.tokens("some new words"))


def test_balanced_classes_weigh_the_same_together():
    task = task_of("aaab", class_weights="balanced")
    examples = [labelled("x", label) for label in "aaab"]

    class Undecided(torch.nn.Module):
        def forward(self, _inputs, lengths):
            return torch.zeros(len(lengths), 2)

    model = Undecided()
    loss, count = task.loss(model, examples[:3])
    assert loss.item() / math.log(2) == pytest.approx(2)  # of 4, half is the a's
    assert task.loss(model, examples[3:])[0].item() / math.log(2) == pytest.approx(2)
    assert count == 3
    assert task.monitor(model, examples)["loss"] == pytest.approx(math.log(2))
    assert task_of("aaab").loss(model, examples[:3])[0].item() == pytest.approx(3 * math.log(2))


def test_numbers_are_classified_by_any_length(tmp_path):
    chance = random.Random(1)
    lines = []
    for _ in range(80):
        label, length = chance.choice(["up", "down"]), chance.randint(2, 9)
        steps = [(t if label == "up" else -t) + 5 + chance.random() for t in range(length)]
        lines.append(f"{','.join(f'{x:.2f}' for x in steps)}:{label}\n")
    path = tmp_path / "slopes.ts"
    path.write_text("@classLabel true up down\n@data\n" + "".join(lines))
    data = DataOptions(files=(str(path),))
    training = TrainingOptions(epochs=25, learning_rate=1e-2, batch_size=16)
    run = tmp_path / "run"
    prepared = prepare(ClassifyTask, data, run, training=training, model=MODEL)
    prepared.trainer.fit()
    assert prepared.finish().metrics["accuracy"] >= 0.85
    loaded = load(run)
    task, model = loaded.task, loaded.model
    source = Source.file(_file(tmp_path, "5,6,7,8\n"))
    (prediction,) = task.predict(model, source, RUNNING)
    assert (prediction["class"], prediction["id"]) == ("up", "1")
    assert [step["token"] for step in prediction["running"]] == ["1", "2", "3", "4"]


def waves(count, seed):
    """Series whose class is their shape, at any height and size."""
    chance = random.Random(seed)
    examples = []
    for _ in range(count):
        label, height, size = chance.choice(["slow", "fast"]), 50 * chance.random(), chance.random()
        speed, begin = {"slow": 0.5, "fast": 1.5}[label], 0.3 * chance.random()
        steps = tuple((height + size * math.sin(speed * t + begin),) for t in range(12))
        examples.append(Labelled("here", steps, label, "1", ("x",)))
    return examples


def fit_series(examples, scale=None, **training):
    data = DataOptions(files=("t.ts",), scale=scale)
    splits = Splits(examples, [], [], [])
    options = TaskOptions(data, ModelOptions(hidden_size=4), TrainingOptions(**training))
    return ClassifyTask.fit(options, splits), splits


def test_the_scale_is_that_of_the_training_part_unless_another_is_chosen():
    task, splits = fit_series(waves(40, seed=1))  # whose classes series by themselves would tell
    assert (task.encoder.scale, splits.notes) == ("training", [])
    chosen, _ = fit_series(waves(40, seed=1), scale="both")
    assert chosen.encoder.scale == "both"
    assert ClassifyTask.from_dict(chosen.options, chosen.to_dict()).encoder.scale == "both"


def test_neighbours_and_regression_stand_beside_a_classifier_of_series():
    examples = waves(60, seed=2)
    task, _ = fit_series(examples[:40], scale="series")
    baselines = task.baselines(examples[:40], examples[40:])
    names = ["most frequent class", "nearest series", "nearest by DTW", "logistic regression"]
    assert [*baselines] == names
    assert all(baselines[name]["accuracy"] == 1 for name in names[1:])


def test_numbers_are_predicted_from_series(tmp_path):
    chance = random.Random(4)
    lines = []
    for _ in range(60):
        slope = chance.uniform(-2, 2)
        steps = ",".join(f"{slope * t + 3:.3f}" for t in range(chance.randint(4, 8)))
        lines.append(f"{steps}:{100 + 10 * slope:.3f}\n")
    path = tmp_path / "slopes.ts"
    path.write_text("@targetlabel true\n@data\n" + "".join(lines))
    data = DataOptions(files=(str(path),), number=True)
    training = TrainingOptions(epochs=40, learning_rate=2e-2, batch_size=16)
    prepared = prepare(ClassifyTask, data, tmp_path / "run", training=training, model=MODEL)
    prepared.trainer.fit()
    results = prepared.finish()
    assert results.metrics["r2"] > 0.9
    assert results.metrics["mae"] < results.baselines["mean"]["mae"] / 3
    names = ["mean", "nearest series", "nearest by DTW", "ridge regression"]
    assert [*results.baselines] == names
    assert results.metrics["rmse"] >= results.metrics["mae"]
    loaded = load(tmp_path / "run")
    source = Source.file(_file(tmp_path, "3,4,5,6,7\n"))
    (prediction,) = loaded.task.predict(loaded.model, source, RUNNING)
    assert prediction["answer"] == pytest.approx(110, abs=4)
    assert [step["token"] for step in prediction["running"]] == [*"12345"]
    assert loaded.task.to_text(prediction).splitlines()[0] == f"{prediction['answer']:.6g}\t1"
    subject = loaded.task.subject(loaded.model)
    (passage,) = subject.read(Source.file(tmp_path / "new.ts"))
    output, _ = loaded.model.layer(passage.features[None])
    assert subject.labels == ()
    assert subject.log_probabilities(passage, output[0]) is None


def test_errors_of_numbers_by_hand():
    answer = NumberAnswer.fit(["1", "3"])
    assert (answer.mean, answer.spread) == (2, 1)
    scores = torch.tensor([[-1.0], [2.0]])
    assert answer.decide(scores) == [1, 4]
    assert answer.losses(scores, ["1", "3"]).tolist() == [0, 1]
    figures = answer.measure([1, 4], ["1", "3"])
    assert figures == {"mae": 0.5, "rmse": pytest.approx(0.5**0.5), "r2": 0.5}
    assert answer.measure([1], ["1"])["r2"] is None


def test_numbers_as_classes_are_told_of_the_other_way(tmp_path):
    table = tmp_path / "prices.csv"
    table.write_text("text,price\n" + "".join(f"a {n} b,{n * 1.5}\n" for n in range(60)))
    read = {"files": (str(table),), "input": ("text",), "target": "price"}
    options = TaskOptions(DataOptions(**read), ModelOptions(), TrainingOptions())
    with pytest.raises(DataError, match="a number, not a class: 60 different") as caught:
        ClassifyTask.read(options)
    assert caught.value.hint == "number predicts it; or make a few classes of it"
    options = replace(options, data=DataOptions(**read, number=True))
    splits = ClassifyTask.read(options)
    assert splits.notes[0].startswith("numbers in the training part: from ")
    task = ClassifyTask.fit(options, splits)
    model = task.make_model(ModelOptions(hidden_size=2))
    task.initialize(model, splits)
    assert task.evaluate(model.eval(), splits.test)["mae"] > 0
    balanced = replace(options, training=TrainingOptions(class_weights="balanced"))
    with pytest.raises(OptionError, match="class_weights is for classes"):
        ClassifyTask.fit(balanced, splits)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a,1\nb,x\n", r"line 3: 'x' is not a finite number"),
        ("a,1\nb,inf\n", r"line 3: 'inf' is not a finite number"),
        ("".join(f"t{n},7\n" for n in range(20)), r"training examples are 7"),
    ],
)
def test_numbers_that_cannot_be_learned_are_one_line(rows, expected, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("text,n\n" + rows)
    data = DataOptions(files=(str(table),), input=("text",), target="n", number=True)
    with pytest.raises(DataError, match=expected):
        ClassifyTask.read(TaskOptions(data, ModelOptions(), TrainingOptions()))


def test_series_are_varied_in_training_alone():
    task, _ = fit_series(waves(8, seed=3), augment=True)
    plain, _ = fit_series(waves(8, seed=3))
    model = task.make_model(ModelOptions(hidden_size=4, dropout=0.0))
    examples = waves(8, seed=3)
    losses = [each.loss(model.train(), examples)[0].item() for each in (task, task, plain, plain)]
    assert len({*losses}) == 3
    assert losses[2] == losses[3]
    model.eval()
    assert task.loss(model, examples)[0].item() == plain.loss(model, examples)[0].item()


def test_options_of_numbers_are_refused_for_text():
    with pytest.raises(OptionError, match="scale is for numbers"):
        DataOptions(files=("t.csv",), input=("text",), target="label", scale="both")
    with pytest.raises(OptionError, match="scale must be one of training, series, both"):
        DataOptions(files=("t.ts",), scale="all")


@pytest.mark.parametrize("initialize", ["chrono", "forget-bias"])
@pytest.mark.parametrize("cell", ["lstm", "janet"])
def test_gates_that_keep_begin_as_asked_up_to_the_longest_sequence(cell, initialize):
    examples = [labelled("one " * length, str(length % 2)) for length in (3, 30, 11)]
    task = fit(examples)
    options = ModelOptions(cell=cell, hidden_size=200, embedding_size=2, initialize=initialize)
    task.options = replace(task.options, model=options)
    model = task.make_model(options)
    task.initialize(model, Splits(examples, [], [], []))
    layer = model.layer
    kept = slice(200, 400) if cell == "lstm" else slice(0, 200)  # i f g o; f g
    for end in ("", "_reverse"):
        biases = (layer.get_parameter(f"bias_{part}_l0{end}")[kept] for part in ("ih", "hh"))
        bias = sum(biases)
        if initialize == "forget-bias":
            torch.testing.assert_close(bias, torch.ones(200))
        else:
            spans = bias.exp()  # u of U(1, T - 1), T = 30
            assert spans.min() >= 1 - 1e-5
            assert 28 < spans.max() <= 29 + 1e-4
            assert spans.mean().item() == pytest.approx(15, abs=2)


def test_steps_are_what_the_layer_reads():
    recording = Classifier(ModelOptions(hidden_size=2), num_classes=2, num_bands=8)
    assert recording.num_steps(10) == 4  # three frames a step
    picture = Classifier(ModelOptions(hidden_size=2), num_classes=2, picture_size=16)
    assert picture.num_steps(1) == 16  # a grid of 4 by 4


@pytest.mark.parametrize("cell", ["rnn", "dense", "tcn"])
def test_a_cell_without_a_gate_that_keeps_has_nothing_to_initialize(cell):
    with pytest.raises(OptionError, match="initialize is for cells with a gate that keeps"):
        ModelOptions(cell=cell, initialize="forget-bias")


def _file(folder, content):
    path = folder / "new.ts"
    path.write_text(content)
    return path


def test_evidence_begins_with_the_log_ratios_of_the_training_part(tmp_path):
    """By hand: "good" is in two positive examples and no negative one, one added to each count."""
    path = tmp_path / "reviews.tsv"
    path.write_text("text\tlabel\ngood good film\tpos\ngood\tpos\nbad film\tneg\n")
    data = DataOptions(files=(str(path),), input=("text",), target="label", min_count=1)
    training, _ = read_examples(data, path)
    task = fit(training, min_count=1)
    model = task.make_model(ModelOptions(hidden_size=2, embedding_size=2))
    task.initialize(model, Splits(training, [], [], []))
    good = task.encoder.encode("good")
    neg, pos = 1 / (6 + 2), 3 / (6 + 3)  # of six tokens, three of them special
    expected = 0.2 * (math.log(neg) - math.log(pos)) / 2
    torch.testing.assert_close(
        model.evidence(good)[0], torch.tensor([expected, -expected]), atol=1e-6, rtol=0
    )
    assert (model.evidence.weight[0] == 0).all()


@pytest.mark.parametrize(
    ("count", "tokens", "chosen", "is_known"),
    [
        (9_999, "word", None, True),
        (10_000, "word", None, False),
        (499, "char", None, False),
        (499, "word", 2, False),
        (10_000, "word", 1, True),
    ],
)
def test_words_that_occur_once_are_known_where_there_are_few_texts(
    tmp_path, count, tokens, chosen, is_known
):
    rows = [("a" if tokens == "char" else "good film", "x")] * (count - 1)
    once = "é" if tokens == "char" else "odd"
    training = [
        Labelled(str(n), text, label) for n, (text, label) in enumerate([*rows, (once, "y")])
    ]
    data = DataOptions(
        files=("t.csv",), input=("text",), target="label", tokens=tokens, min_count=chosen
    )
    options = TaskOptions(data, ModelOptions(), TrainingOptions())
    task = ClassifyTask.fit(options, Splits(training, [], [], []))
    assert (once in task.encoder.words) == is_known
