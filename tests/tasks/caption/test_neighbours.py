"""Captions of the nearest training examples, beside those that the network writes."""

import json
import math
import shutil

import pytest
import torch
from PIL import Image

from unrolled.cli.main import main
from unrolled.data import Source
from unrolled.data.pictures import read_picture
from unrolled.networks import BeamOptions, Hypothesis
from unrolled.tasks import load, prepare
from unrolled.tasks.caption import (
    CaptionTask,
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)
from unrolled.tasks.caption.choosing import choose_weight
from unrolled.tasks.caption.neighbours import WEIGHTS, Neighbour, Neighbours, likeness
from unrolled.tasks.caption.search import Candidate, best_of, candidates_of

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


def train(path, run, num_held_out, **model):
    """Return a run that has hardly learned anything: two updates."""
    held_out = path.with_name("held-out.tsv")
    lines = path.read_text().splitlines()
    held_out.write_text("\n".join(lines[: num_held_out + 1]) + "\n")
    data = DataOptions(
        file=str(path),
        media="file",
        text="words",
        picture_size=8,
        held_out_file=str(held_out),
        test=0.0,
    )
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


def hypothesis(*tokens, score=-1.0, complete=True):
    return Hypothesis(tokens, score, score, complete)


def test_a_network_that_knows_nothing_leaves_the_word_to_its_neighbours(trained):
    run, results = trained
    assert results.metrics["exact_match"] == 1.0
    assert load(run).model.neighbours.weight > 0
    (prediction,) = load(run).task.predict(
        load(run).model, Source.file(run.parent / "1.png"), PredictOptions()
    )
    assert prediction["caption"] == "one grey square here."
    assert len(prediction["attention"]) == len(prediction["words"]) + 1


def test_of_equally_good_weights_the_smallest_is_chosen_and_none_is_a_weight(trained):
    loaded = load(trained[0])
    model, collate = loaded.model, loaded.task.collate
    contents = [example.content for example in loaded.read().held_out[:3]]

    def chosen(figures):
        return choose_weight(model, contents, collate, BeamOptions(), figures)

    seen = []
    assert chosen(lambda rows: seen.append(rows) or (0.0,)) == 0.0
    assert len(seen) == len(WEIGHTS) + 1
    best = seen[3][0][0].tokens
    assert chosen(lambda rows: (float(rows[0][0].tokens == best),)) == min(
        weight
        for weight, rows in zip((0.0, *WEIGHTS), seen, strict=True)
        if rows[0][0].tokens == best
    )


def test_fewer_than_thirty_held_out_examples_decide_nothing(tmp_path):
    prepared = train(table(tmp_path, 45), tmp_path / "run", 29)
    prepared.calibrate()
    assert load(tmp_path / "run").model.neighbours.weight == 0


def test_a_run_without_neighbours_keeps_no_examples_and_old_runs_have_none(tmp_path):
    prepared = train(table(tmp_path, 45), tmp_path / "run", 36, neighbours=0)
    results = prepared.finish()
    assert results.metrics["exact_match"] < 1.0
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
    assert found[0].distance == pytest.approx(0, abs=1e-3)
    assert found[0].distance < found[1].distance < found[2].distance
    assert len(neighbours.nearest(pictures[0], 2)) == 2


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
        return [each.tokens for each in best_of(candidates, weight, 3)]

    assert ranked(2.0) == [(1,), (2,), (3,)]
    assert ranked(3.0) == [(2,), (1,), (3,)]  # from 8/3 on
    assert best_of(candidates, 4.0, 1)[0].score == -4.0


def test_a_neighbours_caption_has_the_decoders_own_probability(trained):
    loaded = load(trained[0])
    task, model = loaded.task, loaded.model
    example = loaded.read().held_out[0]
    media, _ = task.collate([example.content])
    words = task.encoded(example)
    options = BeamOptions(length_penalty=0.0)
    near = [Neighbour(words, 0.5)]
    with torch.inference_mode():
        (candidate,) = candidates_of(model, media, None, [], near, options)
        scores = model(media, torch.cat([torch.tensor([1]), words])[None])[0][0].double()
        scores[:, :2] = -math.inf  # never written
    expected = scores.log_softmax(1)[range(len(words) + 1), [*words.tolist(), 2]].sum()
    assert candidate.hypothesis.log_probability == pytest.approx(float(expected), rel=1e-9)
    written = [Hypothesis(tuple(words.tolist()), -1.0, -1.0, True)]
    assert candidates_of(model, media, None, written, near, options) == [Candidate(written[0], 0.5)]


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
    with pytest.raises(SystemExit) as ended:
        main(["export", str(run), "--c", str(tmp_path / "c")])
    assert not ended.value.code
    assert "captions of the nearest training examples" in capsys.readouterr().err
