"""Captions of the nearest training examples, beside those that the network writes."""

import json
import math
import shutil

import pytest
import torch
from PIL import Image

from support.runs import without_checksums
from unrolled.cli.main import main
from unrolled.data import Source
from unrolled.data.pictures import read_picture
from unrolled.errors import RunError
from unrolled.networks import BeamOptions, Hypothesis
from unrolled.tasks import load, prepare, resume
from unrolled.tasks.caption import (
    CaptionTask,
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
    choosing,
)
from unrolled.tasks.caption.choosing import figures_by_weight
from unrolled.tasks.caption.neighbours import WEIGHTS, Neighbour, Neighbours, likeness
from unrolled.tasks.caption.search import Candidate, best_of, candidates_of
from unrolled.training import Run, read_results

SHADES = {"dark": 30, "grey": 128, "pale": 220}


def table(folder, num_rows):
    """Pictures of one grey each, whose captions say which."""
    rows = ["file\twords"]
    for number in range(num_rows):
        name = list(SHADES)[number % 3]
        value = SHADES[name] + number % 7
        Image.new("RGB", (8, 8), (value,) * 3).save(folder / f"{number}.png")
        rows.append(f"{number}.png\tone {name} square here.")
    path = folder / "pictures.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


def data_for(path, **options):
    names = {"file": str(path), "media": "file", "text": "words", "picture_size": 8, "test": 0.0}
    return DataOptions(**names | options)


def train(path, run, num_held_out, **model):
    """Return a run that has hardly learned anything: two updates."""
    held_out = path.with_name("held-out.tsv")
    lines = path.read_text().splitlines()
    held_out.write_text("\n".join(lines[: num_held_out + 1]) + "\n")
    data = data_for(path, held_out_file=str(held_out))
    options = ModelOptions(hidden_size=8, channels=4, **model)
    training = TrainingOptions(updates=2, batch_size=8)
    prepared = prepare(CaptionTask, data, run, model=options, training=training)
    prepared.trainer.fit()
    return prepared


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 60 pictures, 36 of them held out, and its results."""
    folder = tmp_path_factory.mktemp("neighbours")
    results = train(table(folder, 60), folder / "run", 36).finish()
    return folder / "run", results


def command(words):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code


def hypothesis(*tokens, score=-1.0, complete=True):
    return Hypothesis(tokens, score, score, complete)


def test_a_network_that_knows_nothing_leaves_the_word_to_its_neighbours(trained):
    run, results = trained
    assert results.metrics["exact_match"] == 1.0
    assert results.baselines["nearest by features"]["exact_match"] == 1.0
    assert load(run).model.neighbours.weight > 0
    assert "held-out bleu 100 and chrf 100; the network alone has bleu 0." in results.calibrated
    assert read_results(Run(run))["calibrated"] == results.calibrated
    load(run).save_pretrained(run.parent / "published")
    assert "training examples" in (run.parent / "published" / "README.md").read_text()
    (prediction,) = load(run).task.predict(
        load(run).model, Source.file(run.parent / "1.png"), PredictOptions()
    )
    assert prediction["caption"] == "one grey square here."
    assert len(prediction["attention"]) == len(prediction["words"]) + 1
    assert prediction["from"] == "example"


def test_what_is_predicted_says_whether_an_example_has_it_or_the_network_wrote_it(
    trained, tmp_path, capsys
):
    run, _ = trained
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{run.parent / f'{number}.png'}\n" for number in range(3)))
    command(["predict", str(run), str(names)])
    written = capsys.readouterr()
    assert written.out.splitlines() == [f"one {name} square here." for name in SHADES]
    assert "note: 3 of 3 captions are those of a training example; --json" in written.err
    command(["predict", str(run), str(names), "--json", "--beam", "3", "--n-best", "3"])
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    examples = {f"one {name} square here." for name in SHADES}
    for each in (caption for line in lines for caption in line["alternatives"]):
        assert (each["from"] == "example") == (each["caption"] in examples)
    loaded = load(run)
    loaded.model.neighbours.weight.zero_()
    source = Source.file(names)
    alone = [*loaded.task.predict(loaded.model, source, PredictOptions())]
    assert {each["from"] for each in alone} == {"network"}


def test_each_weight_is_measured_none_first(trained):
    loaded = load(trained[0])
    model, collate = loaded.model, loaded.task.collate
    contents = [example.content for example in loaded.read().held_out[:3]]
    seen = []

    def figures(rows):
        seen.append([best.hypothesis.tokens for best, *_ in rows])
        return (float(len(seen)),)

    measured = figures_by_weight(model, contents, collate, BeamOptions(), figures)
    assert list(measured.items()) == [(w, (n,)) for n, w in enumerate((0.0, *WEIGHTS), 1)]
    examples = loaded.read().training
    nearest = [min(examples, key=lambda e: (e.content != c).sum()).words for c in contents]
    of_nearest = [tuple(loaded.task.vocabulary.encode(words).tolist()) for words in nearest]
    assert seen[-1] == of_nearest != seen[0]


def test_of_equally_good_weights_the_smallest_is_chosen(trained, monkeypatch):
    loaded = load(trained[0])
    held_out = loaded.read().held_out
    for first, chosen, words in (
        ({0.0: (0.5, 2.0), 1.0: (0.7, 1.0), 2.0: (0.7, 1.0), 5.0: (0.6, 9.0)}, 1.0, "costs 1 nat:"),
        ({0.0: (0.5, 2.0), 1.0: (0.5, 2.0)}, 0.0, "the network writes alone"),
        (
            {0.0: (0.5, 2.0), 1e3: (0.5, 2.1)},
            1e3,
            "nearest of 60 training examples, and the network",
        ),
        ({0.0: (0.5, 2.0), 1e6: (0.5, 2.1)}, 1e6, "between those equally near: held-out"),
    ):
        monkeypatch.setattr(choosing, "figures_by_weight", lambda *_, first=first: first)
        assert words in loaded.task.calibrate(loaded.model, held_out)
        assert loaded.model.neighbours.weight == chosen


def test_fewer_than_thirty_held_out_examples_decide_nothing(tmp_path):
    prepared = train(table(tmp_path, 45), tmp_path / "run", 29)
    calibrated = prepared.finish().calibrated
    assert calibrated.startswith("the network writes alone: 29 examples are held out, and it takes")
    assert read_results(Run(tmp_path / "run"))["calibrated"] == calibrated
    (note,) = (note for note in prepared.splits.notes if "writes alone" in note)
    assert note.startswith(calibrated)
    assert "held_out_file" in note
    assert load(tmp_path / "run").model.neighbours.weight == 0


def test_what_starts_from_a_run_keeps_its_own_examples_and_begins_without_their_captions(
    trained, tmp_path
):
    first = load(trained[0])
    path = table(tmp_path, 9)
    path.write_text(path.read_text().replace("one pale square here.\n", "one odd square.\n", 1))
    data = data_for(path, held_out=0.0)
    options = ModelOptions(hidden_size=8, channels=4, neighbours=5)
    training = TrainingOptions(updates=1, start_from=str(trained[0]))
    second = prepare(CaptionTask, data, tmp_path / "run", model=options, training=training)
    model = second.trainer.model
    assert torch.equal(model.decoder.embedding.weight, first.model.decoder.embedding.weight)
    assert first.model.neighbours.weight > model.neighbours.weight == 0
    kept = [first.task.vocabulary.decode(row) for row in model.neighbours.words.tolist()]
    assert len(kept) == 8  # "odd" cannot be written
    assert all("".join(words).startswith(" one") for words in kept)
    second.trainer.fit()
    assert len(load(tmp_path / "run").model.neighbours.keys) == 8
    resume(tmp_path / "run")


def test_a_run_that_says_it_keeps_more_than_its_weights_do_is_refused_before_it_is_made(
    trained, tmp_path
):
    copy = tmp_path / "run"
    shutil.copytree(trained[0], copy)
    path = without_checksums(copy) / "vocabulary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"remembered": [10**12, 4]}))
    with pytest.raises(RunError, match="another model"):
        load(copy)


def test_a_run_without_neighbours_keeps_no_examples_and_old_runs_have_none(tmp_path):
    prepared = train(table(tmp_path, 45), tmp_path / "run", 36, neighbours=0)
    results = prepared.finish()
    assert results.metrics["exact_match"] < 1.0
    assert not any("writes alone" in note for note in prepared.splits.notes)
    old = tmp_path / "old"
    shutil.copytree(tmp_path / "run", old)
    assert load(old).model.neighbours is None
    assert "neighbours" in json.loads((old / "config.json").read_text())["model"]
    assert ModelOptions.before["neighbours"] == 0


def test_distances_are_zero_of_the_same_and_grow_with_the_difference(tmp_path):
    table(tmp_path, 3)
    pictures = [read_picture(Source.file(tmp_path / f"{n}.png"), 8).pixels for n in range(3)]
    neighbours = Neighbours(3, 2, "picture", 40)
    neighbours.remember(pictures, [torch.tensor([5, 6]), torch.tensor([7]), torch.tensor([8, 9])])
    found = neighbours.nearest(pictures[0], 3)
    assert [each.words.tolist() for each in found] == [[5, 6], [7], [8, 9]]
    assert 0 == found[0].distance < found[1].distance < found[2].distance < 3
    assert len(neighbours.nearest(pictures[0], 2)) == 2


def test_what_all_training_examples_have_in_common_is_not_looked_at(tmp_path):
    table(tmp_path, 3)  # without an edge
    pictures = [read_picture(Source.file(tmp_path / f"{n}.png"), 8).pixels for n in range(3)]
    neighbours = Neighbours(3, 0, "picture", 40)
    neighbours.remember(pictures)
    with_an_edge = pictures[1].clone()
    with_an_edge[:, :4] += 4
    assert neighbours.distances(with_an_edge).argmin() == 1
    assert neighbours.distances(with_an_edge).max() < 3
    neighbours.remember(pictures[:1] * 3)
    assert neighbours.distances(pictures[2]).tolist() == [0, 0, 0]


def test_equal_captions_are_one_candidate_at_the_distance_of_the_nearest():
    frames = [torch.full((4, 3), float(value)) for value in range(3)]
    neighbours = Neighbours(3, 1, "recording", 3)
    neighbours.remember(frames, [torch.tensor([5]), torch.tensor([6]), torch.tensor([5])])
    found = neighbours.nearest(frames[0], 3)
    assert [each.words.tolist() for each in found] == [[5], [6]]
    # all pairs, itself included: 2/9 of 0, 4/9 of 1, 2/9 of 2 steps of value; 1 step is 9/8 of it
    assert found[1].distance == pytest.approx(9 / 8, rel=1e-3)


def test_an_edge_counts_in_its_direction_alone():
    upright = torch.zeros(3, 8, 8, dtype=torch.uint8)
    upright[:, :, 4:] = 255
    _, edges, colours = likeness(upright)
    assert edges.reshape(9, 16).sum(1).nonzero().flatten().tolist() == [0]
    lying = likeness(upright.transpose(1, 2))[1].reshape(9, 16).sum(1)
    assert lying.nonzero().flatten().tolist() == [4, 5]  # 90 degrees lie between two of 20
    assert colours.square()[[0, 63]].tolist() == pytest.approx([0.5, 0.5])


def test_candidates_are_ranked_by_score_and_distance():
    candidates = [
        Candidate(hypothesis(1, score=-1.0), 1.0),
        Candidate(hypothesis(2, score=-3.0), 0.25),
        Candidate(hypothesis(3, score=-0.5, complete=False), 1.0),
    ]

    def ranked(weight):
        return [each.hypothesis.tokens for each in best_of(candidates, weight, 3)]

    assert ranked(2.0) == [(1,), (2,), (3,)]
    assert ranked(3.0) == [(2,), (1,), (3,)]  # from 8/3 on
    assert best_of(candidates, 4.0, 1)[0].hypothesis.score == -4.0


def test_a_neighbours_caption_has_the_decoders_own_probability(trained):
    loaded = load(trained[0])
    model = loaded.model
    example = loaded.read().held_out[0]
    media, _ = loaded.task.collate([example.content])
    words = loaded.task.encoded(example)
    options = BeamOptions(length_penalty=0.0)
    near = [Neighbour(words, 0.5)]
    with torch.inference_mode():
        (candidate,) = candidates_of(model, media, None, [], near, options)
        scores = model(media, torch.cat([torch.tensor([1]), words])[None])[0][0].double()
        scores[:, :2] = -math.inf  # never written
    expected = scores.log_softmax(1)[range(len(words) + 1), [*words.tolist(), 2]].sum()
    assert candidate.hypothesis.log_probability == pytest.approx(float(expected), rel=1e-9)
    written = [Hypothesis(tuple(words.tolist()), -1.0, -1.0, True)]
    both = [Candidate(written[0], 0.5, "both")]
    assert candidates_of(model, media, None, written, near, options) == both
    assert candidates_of(model, media, None, written, [], options) == [Candidate(written[0], 1.0)]


def test_neighbours_that_repeat_what_may_not_be_repeated_are_left_out(trained):
    loaded = load(trained[0])
    media, _ = loaded.task.collate([loaded.read().held_out[0].content])
    near = [Neighbour(torch.tensor([5, 6, 5, 6]), 0.1)]
    for no_repeat, count in ((2, 0), (3, 1)):
        options = BeamOptions(no_repeat=no_repeat)
        with torch.inference_mode():
            assert len(candidates_of(loaded.model, media, None, [], near, options)) == count


def test_exporters_say_that_neighbours_are_left_out(trained, tmp_path, capsys):
    run, _ = trained
    command(["export", str(run), "--c", str(tmp_path / "c")])
    assert "captions of the nearest training examples" in capsys.readouterr().err
