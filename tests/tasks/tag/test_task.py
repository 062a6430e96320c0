import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks import Prepared, Splits, TaskOptions, load, prepare
from unrolled.tasks.tag import (
    DataOptions,
    ModelOptions,
    PredictOptions,
    Tagger,
    TagTask,
    TrainingOptions,
)
from unrolled.tasks.tag.conll import TaggedSentence

NAMES, PLACES, VERBS = ("Ana", "Rui", "Eva"), ("Rio", "Lima", "Faro"), ("ama", "deixa", "conhece")


def sentences(count: int, seed: int = 0) -> list[list[tuple[str, str]]]:
    """Sentences whose names end in a title that comes before them, or in a place after `em`."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        subject = [("Dona", "B-PER"), (chance.choice(NAMES), "I-PER")]
        place = [("em", "O"), (chance.choice(PLACES), "B-LOC")]
        made.append([*subject, (chance.choice(VERBS), "O"), *place, (".", "O")])
    return made


def write(path: Path, content: list[list[tuple[str, str]]]) -> Path:
    path.write_text("\n".join("".join(f"{w} {t}\n" for w, t in s) for s in content))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("tag")
    file = write(folder / "names.conll", sentences(120))
    prepared = prepare(
        TagTask,
        DataOptions(file=str(file)),
        folder / "run",
        model=ModelOptions(hidden_size=8, embedding_size=8, letter_size=4, dropout=0.0),
        training=TrainingOptions(epochs=8, learning_rate=0.05, batch_size=16),
    )
    prepared.trainer.fit()
    return prepared


def options_of(file: Path | str, **data: Any) -> TaskOptions:
    return TaskOptions(DataOptions(file=str(file), **data), ModelOptions(), TrainingOptions())


def task_of(*training: TaggedSentence) -> TagTask:
    return TagTask.fit(options_of("none"), Splits([*training], [], [], []))


def model_of(task: TagTask, **options: Any) -> Tagger:
    return task.make_model(ModelOptions(**options)).eval()


def predict(task: TagTask, model: Tagger, path: Path) -> list[dict[str, Any]]:
    return list(task.predict(model, Source.file(path), PredictOptions()))


IOB2 = TaggedSentence(("Dona", "Ana", "ama"), ("B-PER", "I-PER", "O"))


@pytest.mark.parametrize(("word", "known"), [("Dona", True), ("Eva", False)])
def test_a_held_out_part_of_unknown_words_is_said(word, known):
    held_out = TaggedSentence((word, word, "Ana"), ("O", "O", "B-PER"))
    splits = Splits([IOB2], [held_out], [], [])
    TagTask.fit(options_of("none"), splits)
    assert ("2 of 3 words (67%) of the held-out part" in "".join(splits.notes)) is not known


def test_a_trained_tagger_finds_the_entities_that_the_baselines_miss(trained: Prepared) -> None:
    results = trained.finish()
    assert results.metrics["f1"] == 1.0
    assert results.metrics["f1_by_type"] == {"LOC": 1.0, "PER": 1.0}
    assert results.baselines["always O"]["f1"] == 0.0
    assert results.baselines["always O"]["accuracy"] == 0.5  # 3 of the 6 words of every sentence
    ranking, *_, loss = (m for m in results.meanings if m.better is not None)
    assert (ranking.name, loss.name, loss.unit) == ("f1", "loss", "nats/word")


def test_a_run_loaded_again_predicts_as_before(trained: Prepared, tmp_path: Path) -> None:
    trained.finish()
    loaded = load(trained.trainer.run.path)
    task, model = loaded.task, loaded.model
    lines = tmp_path / "in.txt"
    lines.write_text("Dona Zezé ama em Rio .\n\n  Eva   conhece  \n")
    first, empty, last = predict(task, model, lines)
    assert first["words"] == ["Dona", "Zezé", "ama", "em", "Rio", "."]
    assert first["tags"] == ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]
    assert first["entities"] == [
        {"type": "PER", "start": 0, "stop": 2},
        {"type": "LOC", "start": 4, "stop": 5},
    ]
    assert all(0.2 < p <= 1 for p in first["probabilities"])
    assert task.to_text(first) == "Dona/B-PER Zezé/I-PER ama/O em/O Rio/B-LOC ./O"
    assert (empty["words"], empty["tags"], task.to_text(empty)) == ([], [], "")
    assert last["words"] == ["Eva", "conhece"]


def test_conll_files_are_predicted_sentence_by_sentence(trained: Prepared, tmp_path: Path) -> None:
    path = tmp_path / "in.conll"
    path.write_text("Dona _\nAna _\n\nRio _\n")
    model = trained.trainer.model.eval()
    words = [p["words"] for p in predict(trained.task, model, path)]
    assert words == [["Dona", "Ana"], ["Rio"]]
    path.write_text("1 Rio _\n\n1 Dona _\n2 Ana _\n")
    words = [p["words"] for p in predict(trained.task, model, path)]
    assert words == [["Rio"], ["Dona", "Ana"]]


def test_predictions_are_the_same_alone_and_together(trained: Prepared, tmp_path: Path) -> None:
    lines = ["Dona Ana ama .", "Rio", "em Lima ."]
    model = trained.trainer.model.eval()

    def predicted(*some: str) -> list[dict[str, Any]]:
        path = tmp_path / "in.txt"
        path.write_text("\n".join(some))
        return predict(trained.task, model, path)

    assert predicted(*lines) == [prediction for line in lines for prediction in predicted(line)]


def test_where_the_training_breaks_the_scheme_predictions_may(tmp_path: Path) -> None:
    task = task_of(IOB2, TaggedSentence(("x", "y"), ("O", "I-PER")))
    assert not task.is_iob2
    model = model_of(task, hidden_size=4)
    with torch.no_grad():
        model.scores.bias[task.tags.index("I-PER")] += 9
    path = tmp_path / "in.txt"
    path.write_text("Ana ama")
    assert predict(task, model, path)[0]["tags"] == ["I-PER", "I-PER"]


@pytest.mark.parametrize("crf", [True, False])
def test_predicted_entities_keep_to_the_scheme_of_the_training(crf: bool, tmp_path: Path) -> None:
    task = task_of(IOB2)
    model = model_of(task, hidden_size=4, crf=crf)
    with torch.no_grad():
        model.scores.bias[task.tags.index("I-PER")] += 9
        if model.transitions is not None:
            model.transitions[:, task.tags.index("I-PER")] += 9
    path = tmp_path / "in.txt"
    path.write_text("Ana ama\n\nRui")
    assert [p["tags"] for p in predict(task, model, path)] == [["B-PER", "I-PER"], [], ["B-PER"]]


def test_a_crf_is_used_for_up_to_100_tags_unless_somebody_says_otherwise() -> None:
    few, many = (
        task_of(TaggedSentence(("a",) * count, tuple(map(str, range(count)))))
        for count in (100, 101)
    )
    assert few.make_model(ModelOptions()).transitions is not None
    assert many.make_model(ModelOptions()).transitions is None
    assert few.make_model(ModelOptions(crf=False)).transitions is None
    assert many.make_model(ModelOptions(crf=True)).transitions is not None


def test_with_a_crf_loss_and_probabilities_are_those_of_whole_sentences(tmp_path: Path) -> None:
    """A tag that alone is a toss-up is as sure as the one that has to go with it."""
    task = task_of(TaggedSentence(("a", "b"), ("X", "Y")))
    model = model_of(task, hidden_size=2, crf=True)
    with torch.no_grad():
        model.scores.weight.zero_()
        model.scores.bias.zero_()
        model.transitions.copy_(torch.tensor([[9.0, 0.0], [0.0, 9.0], [3.0, 0.0]]))
    path = tmp_path / "in.txt"
    path.write_text("a b")
    [prediction] = predict(task, model, path)
    assert prediction["tags"] == ["X", "X"]
    sure = 1 / (1 + math.exp(-3))
    assert prediction["probabilities"] == pytest.approx([sure, sure], abs=1e-3)
    loss, count = task.loss(model, [TaggedSentence(("a", "b"), ("X", "X"))])
    assert count == 2
    assert loss.item() == pytest.approx(-math.log(sure), abs=1e-3)
    _, known = task.loss(model, [TaggedSentence(("a", "b"), ("X", "NEW"))])
    assert known == 1
    subject = task.subject(model)
    passage = subject.passage(["a", "b"])
    output = model.layer(passage.features[None])[0][0]
    said = subject.log_probabilities(passage, output).exp()
    assert said[:, 0].tolist() == pytest.approx([sure, sure], abs=1e-3)


def test_words_share_an_embedding_whatever_their_case_and_digits() -> None:
    task = task_of(TaggedSentence(("No", "1999"), ("A", "B")))
    batch = task.collate([["NO", "2021", "new"]])
    known = task.words.encode(["no", "0000"]).tolist()
    assert batch.words.tolist() == [[*known, 0]]


def test_each_different_word_of_a_batch_is_spelled_once_and_long_ones_by_their_ends() -> None:
    task = task_of(TaggedSentence(("abab", "cc"), ("A", "B")))
    batch = task.collate([["ab", "ba"], ["ba", "c?"], ["a" * 20 + "b" * 100_000]])
    assert batch.spellings.tolist() == [[0, 1], [1, 2], [3, 0]]
    assert batch.letters[:3, :2].tolist() == [[1, 2], [2, 1], [3, 0]]
    assert batch.letters[3].tolist() == [1] * 16 + [2] * 16
    assert batch.letter_lengths.tolist() == [2, 2, 2, 32]


def test_what_was_fitted_survives_json() -> None:
    task = task_of(IOB2)
    again = TagTask.from_dict(task.options, json.loads(json.dumps(task.to_dict())))
    assert again.to_dict() == task.to_dict()
    shapes = [[weight.shape for weight in model_of(one).parameters()] for one in (task, again)]
    assert shapes[0] == shapes[1]


def test_baselines_by_hand() -> None:
    training = [TaggedSentence(("a", "a", "a", "b"), ("X", "Y", "Y", "Z"))]
    examples = [TaggedSentence(("a", "b", "new", "b"), ("Y", "Z", "Y", "X"))]
    baselines = task_of(*training).baselines(training, examples)
    assert baselines == {"always Y": {"accuracy": 0.5}, "each word's tag": {"accuracy": 0.75}}


def test_unseen_words_are_measured_by_themselves() -> None:
    task = task_of(TaggedSentence(("a", "b"), ("X", "Y")))
    model = model_of(task, hidden_size=2)
    with torch.no_grad():
        model.scores.weight.zero_()
        model.scores.bias.copy_(torch.tensor([1.0, 0.0]))
    examples = [TaggedSentence(("a", "c", "d", "e"), ("Y", "X", "X", "Y"))]
    metrics = task.evaluate(model, examples)
    assert metrics["accuracy"] == 0.5
    assert metrics["accuracy_unseen_words"] == pytest.approx(2 / 3)
    assert (metrics["num_words"], metrics["num_unseen_words"]) == (4, 3)


def test_figures_count_words_or_entities_and_not_sentences(trained: Prepared) -> None:
    """By which they are off by chance: an accuracy of 3 words is a share of 3."""
    examples = [TaggedSentence(("Anna", "lives", "here"), ("B-PER", "O", "O"))]
    examples += [TaggedSentence(("qqq",), ("O",))]
    names = [metric.name for metric in trained.task.metrics]
    judged = {name: trained.task.num_judged(name, examples) for name in names}
    assert judged["f1"] == judged["precision"] == judged["recall"] == 1
    assert judged["accuracy"] == judged["loss"] == 4
    measured = trained.task.evaluate(trained.trainer.model.eval(), examples)
    assert judged["accuracy_unseen_words"] == measured["num_unseen_words"]
    held_out = sum(len(sentence.words) for sentence in trained.splits.held_out)
    assert trained.trainer.objective.num_judged("accuracy") == held_out


def test_equal_sentences_are_in_one_part_and_files_of_their_own_are_whole(tmp_path: Path) -> None:
    file = write(tmp_path / "a.conll", sentences(60))
    other = write(tmp_path / "b.conll", sentences(7, seed=1))
    splits = TagTask.read(options_of(file))
    parts = [{s.words for s in part} for part in (splits.training, splits.held_out, splits.test)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert all(parts)
    options = options_of(file, held_out_file=str(other), test_file=str(other))
    splits = TagTask.read(options)
    assert [len(p) for p in (splits.training, splits.held_out, splits.test)] == [60, 7, 7]
    assert TagTask.files(options.data) == [file, other, other]


def test_tags_unseen_in_training_are_counted_and_are_errors(tmp_path: Path) -> None:
    file = write(tmp_path / "a.conll", sentences(20))
    test = write(tmp_path / "b.conll", [[("Ana", "B-NEW"), ("ama", "O")], [("Eva", "B-ODD")]])
    splits = TagTask.read(options_of(file, test_file=str(test)))
    note, missing = splits.notes
    assert note.startswith(
        "test part: 2 words have tags that the training part lacks (B-NEW, B-ODD)"
    )
    assert missing == "test part: has none of 3 of the training part's tags: B-LOC, B-PER, I-PER"
    task = TagTask.fit(options_of(file), splits)
    model = model_of(task, hidden_size=2)
    assert task.loss(model, splits.test)[1] == 1
    assert task.evaluate(model, splits.test)["accuracy"] <= 1 / 3
    assert task.read_examples(test)[1] == [note.replace("test part", str(test))]
    strange = write(tmp_path / "c.conll", [[("Ana", "B-NEW")]])
    with pytest.raises(DataError, match="none of its tags occurs in the training part: B-NEW"):
        task.read_examples(strange)


@pytest.mark.parametrize("crf", [True, False])
def test_sentences_of_unknown_tags_alone_have_no_loss(crf: bool) -> None:
    task = task_of(TaggedSentence(("a", "b"), ("X", "Y")))
    unknown = [TaggedSentence(("a", "b"), ("Z", "Z"))]
    figures = task.evaluate(model_of(task, hidden_size=2, crf=crf), unknown)
    assert math.isnan(figures["loss"])
    assert figures["accuracy"] == 0.0
    assert math.isnan(task.mean_loss(model_of(task, hidden_size=2, crf=crf), unknown))


def test_data_that_cannot_be_learned_from_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one.conll", [[(str(i), "O")] for i in range(40)])
    with pytest.raises(DataError, match=r"one\.conll: all words of the training part have one tag"):
        TagTask.read(options_of(one))
    few = write(tmp_path / "few.conll", [[("a", "X"), ("b", "Y")]])
    with pytest.raises(DataError, match="too few to hold out"):
        TagTask.read(options_of(few))
    for options in ({"held_out": -0.1}, {"held_out": 1.0}, {"test": 1.0}, {"test": -0.1}):
        with pytest.raises(OptionError, match=next(iter(options))):
            DataOptions(file="x", **options)


def test_a_line_of_100000_words_is_no_sentence(trained: Prepared, tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("Dona Ana\n" + "word " * 100_000)
    with pytest.raises(DataError, match=r"in\.txt, line 2: 100,000 words, at most 5,000"):
        predict(trained.task, trained.trainer.model.eval(), path)


def test_the_longest_sentence_that_is_read_is_tagged() -> None:
    task = task_of(IOB2)
    model = model_of(task, hidden_size=2, embedding_size=2, letter_size=2)
    long = TaggedSentence(("Ana", "ama") * 2_500, ("B-PER", "O") * 2_500)
    assert task.evaluate(model, [long, IOB2])["num_words"] == 5_003
