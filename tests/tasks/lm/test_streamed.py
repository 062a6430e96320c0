import json
import re
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from support.runs import stop_at
from unrolled.data import (
    BPEVocabulary,
    ByteVocabulary,
    CharVocabulary,
    LongText,
    WordTokenVocabulary,
)
from unrolled.data import long_text as module
from unrolled.errors import DataError, OptionError, RunError
from unrolled.tasks import TaskOptions, load, prepare, resume
from unrolled.tasks.lm import DataOptions, LanguageModelTask, ModelOptions, TrainingOptions
from unrolled.tasks.lm import streamed as streamed_module
from unrolled.tasks.lm.columns import Columns
from unrolled.tasks.lm.streamed import StreamedColumns
from unrolled.tasks.lm.tbptt import TruncatedBPTT
from unrolled.training import ALONE, Processes

CONTENT = "".join(f"{n} cafés of Zoë and {n * n} ❤ teas;\n" for n in range(90))
WORDS = WordTokenVocabulary.from_text(CONTENT, 300)
PIECES = BPEVocabulary.train(CONTENT, 300)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 64)
    monkeypatch.setattr(module, "_BLOCK", 200)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "text"
    path.write_text(CONTENT, encoding="utf-8")
    return path


def prepared(path, run, data=None, **training):
    return prepare(
        LanguageModelTask,
        DataOptions(files=(str(path),), **(data or {})),
        run,
        model=ModelOptions(cell="gru", hidden_size=8),
        training=TrainingOptions(
            **{"batch_size": 3, "k1": 16, "learning_rate": 0.01, "updates": 12} | training
        ),
    )


def weights(run):
    return load_file(run / "weights.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("vocabulary", [CharVocabulary.from_text(CONTENT), ByteVocabulary()])
@pytest.mark.parametrize("num_columns", [1, 3, 7, 64])
def test_windows_of_characters_and_bytes_are_those_in_memory(path, vocabulary, num_columns):
    text = LongText.open([path]).until(len(CONTENT) - 5)
    streamed = StreamedColumns(text, vocabulary, num_columns)
    columns = Columns(vocabulary.encode(CONTENT[:-5]), num_columns)
    assert streamed.num_steps == columns.num_steps
    steps = columns.num_steps
    windows = [(start, min(start + 9, steps)) for start in range(0, steps, 9)]
    for start, stop in [*windows, (5, 8), (0, steps)]:  # and back again
        for mine, expected in zip(
            streamed.window(start, stop), columns.window(start, stop), strict=True
        ):
            assert torch.equal(mine, expected)
    for rank in range(min(3, num_columns)):
        world = min(3, num_columns)
        mine, _ = streamed.window(2, 9, rank, world)
        assert torch.equal(mine, columns.window(2, 9, rank, world)[0])


@pytest.mark.parametrize("vocabulary", [WORDS, PIECES])
def test_words_and_pieces_are_those_of_the_text_from_where_a_column_begins(path, vocabulary):
    text = LongText.open([path])
    columns = StreamedColumns(text, vocabulary, 4)
    inputs, targets = columns.window(0, columns.num_steps)
    for number, (row, after) in enumerate(zip(inputs, targets, strict=True)):
        start = int(text.first_characters[number * text.num_chunks // 4])
        tokens = vocabulary.encode(CONTENT[start:])[: columns.num_steps + 1]
        assert torch.equal(row[: len(tokens)], tokens[: columns.num_steps])
        assert torch.equal(after[: len(tokens) - 1], tokens[1:])
        assert (after[len(tokens) - 1 :] == -100).all()
    assert columns.num_tokens == len(vocabulary.encode(CONTENT))  # the sample is all of it


@pytest.mark.parametrize("kind", ["char", "word"])
def test_what_is_held_is_a_few_chunks_and_can_be_found_again(path, kind):
    vocabulary = {
        "char": CharVocabulary.from_text(CONTENT),
        "word": WORDS,
    }[kind]
    text = LongText.open([path])
    columns, other = (StreamedColumns(text, vocabulary, 3) for _ in range(2))
    for start in range(0, columns.num_steps - 20, 5):
        columns.window(start, start + 5)
    assert all(len(column._held) <= 2 for column in columns._columns)
    other.go_to(columns.places)
    stop = start + 20
    assert torch.equal(columns.window(start + 5, stop)[0], other.window(start + 5, stop)[0])


@pytest.mark.parametrize("processes", [ALONE, Processes(rank=1, world_size=2)])
def test_going_on_reads_nothing_of_what_came_before(path, monkeypatch, processes):
    text = LongText.open([path])
    walk, again = (TruncatedBPTT(StreamedColumns(text, WORDS, 4), 4, 4, processes) for _ in "12")
    own = (processes.rank, processes.world_size)
    walk.columns.window(0, 100, *own)
    walk.columns.window(100, 104, *own)
    walk.position = 104
    again.load_state_dict(walk.state_dict())
    read = []
    chunk = text.chunk
    monkeypatch.setattr(text, "chunk", lambda number: read.append(number) or chunk(number))
    again.columns.window(104, 108, *own)
    assert len(read) <= 8 // processes.world_size


def test_a_process_reads_its_own_columns(path):
    vocabulary = CharVocabulary.from_text(CONTENT)
    columns = StreamedColumns(LongText.open([path]), vocabulary, 4)
    columns.window(0, 5, *(1, 2))
    assert [len(column._held) > 0 for column in columns._columns] == [False, False, True, True]
    with pytest.raises(OptionError, match="process 4 of 5 can have none"):
        columns.window(0, 5, 4, 5)
    with pytest.raises(OptionError, match="not within"):
        columns.window(0, 10**6)


def test_a_text_that_is_too_short_is_refused(path):
    text = LongText.open([path])
    with pytest.raises(DataError, match="the text is too short: 3 columns of 5000 steps"):
        StreamedColumns(text, CharVocabulary.from_text(CONTENT), 3, 5000)
    with pytest.raises(DataError, match="too short to be streamed in 200 columns"):
        StreamedColumns(text, WORDS, 200)


@pytest.mark.parametrize("tokens", ["char", "byte"])
def test_a_streamed_text_is_learned_with_the_same_bits(path, tmp_path, tokens):
    runs = {}
    for stream in (False, True):
        run = tmp_path / f"run-{stream}"
        training = prepared(path, run, {"stream": stream, "tokens": tokens}, epochs=2, updates=None)
        training.trainer.fit()
        results = training.finish()
        config = json.loads((run / "config.json").read_text())
        runs[stream] = (weights(run), results.metrics, config["data"]["files"])
    assert same(runs[True][0], runs[False][0])
    assert runs[True][1:] == runs[False][1:]


@pytest.mark.parametrize("tokens", ["char", "word", "bpe"])
def test_a_resumed_run_on_a_streamed_text_ends_with_the_same_bits(path, tmp_path, tokens):
    data = {"stream": True, "tokens": tokens}
    prepared(path, tmp_path / "whole", data).trainer.fit()
    stopped = prepared(path, tmp_path / "stopped", data).trainer
    stop_at(stopped, 6)
    assert stopped.fit().reason == "interrupted"
    resume(tmp_path / "stopped").trainer.fit()
    assert same(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))


def test_a_text_over_the_bound_is_streamed_and_said(path, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LONG", 1000)
    monkeypatch.setattr(streamed_module, "STREAMED_HELD_OUT", 100)
    splits = prepared(path, tmp_path / "run", {"tokens": "word"}).splits
    assert isinstance(splits.training[0], LongText)
    assert splits.held_out == [CONTENT[-100:]]
    (note,) = splits.notes
    assert f"{len(CONTENT):,} characters, is read from its files" in note
    assert "the last 100 are held out" in note
    assert "vocabulary" in note
    in_memory = prepared(path, tmp_path / "other", {"stream": False}).splits
    assert isinstance(in_memory.training[0], str)
    data = DataOptions(**DataOptions.before, files=(str(path),))  # a run of an older version
    options = TaskOptions(data, ModelOptions(), TrainingOptions())
    assert isinstance(LanguageModelTask.read(options).training[0], str)


def test_what_is_to_be_held_out_of_a_streamed_text_is_held_out_or_refused(path, monkeypatch):
    monkeypatch.setattr(streamed_module, "STREAMED_HELD_OUT", 100)
    monkeypatch.setattr(streamed_module, "_MOST_HELD_OUT", 500)
    text, size = LongText.open([path]), len(CONTENT)
    splits = streamed_module.split_streamed(text, DataOptions(files=("x",), held_out=0.15))
    assert splits.held_out == [CONTENT[int(size * 0.85) :]]
    with pytest.raises(OptionError, match=r"held_out 0.3 .*, at most 500 are kept") as caught:
        streamed_module.split_streamed(text, DataOptions(files=("x",), held_out=0.3))
    most = float(re.search(r"give (\S+) at most", caught.value.hint)[1])
    assert size * most == pytest.approx(500, abs=2)
    streamed_module.split_streamed(text, DataOptions(files=("x",), held_out=most))


def test_nothing_may_be_held_out_of_a_streamed_text(path, tmp_path):
    training = prepared(path, tmp_path / "run", {"stream": True, "held_out": 0.0, "tokens": "word"})
    assert training.splits.held_out == []
    assert "vocabulary of" in training.task.describe(training.splits)
    training.trainer.fit()


def test_a_text_that_changes_while_it_is_learned_stops_the_training_and_resuming(path, tmp_path):
    training = prepared(path, tmp_path / "run", {"stream": True}, updates=40)
    path.write_text(CONTENT.replace("tea", "TEA"), encoding="utf-8")
    with pytest.raises(DataError, match="has changed while it was read"):
        training.trainer.fit()
    run = tmp_path / "other"
    training = prepared(path, run, {"stream": True}).trainer
    training.fit()
    path.write_text(CONTENT.replace("tea", "ten"), encoding="utf-8")
    with pytest.raises(RunError, match="text: has changed since the run began"):
        resume(run)
    path.rename(path.with_name("moved"))
    with pytest.raises(DataError, match="text: no such file"):
        resume(run)


def test_evaluation_of_a_long_file_is_that_of_its_pieces(path, tmp_path, monkeypatch):
    prepared(path, tmp_path / "run").trainer.fit()
    loaded = load(tmp_path / "run")
    monkeypatch.setattr(module, "_LONG", 1000)
    monkeypatch.setattr(module, "_PIECE", 1000)
    texts, notes = loaded.task.read_examples(path)
    assert isinstance(texts[0], LongText)
    assert "in pieces" in notes[0]
    count = -(-len(CONTENT) // 1000)
    places = [number * len(CONTENT) // count for number in range(count + 1)]
    pieces = [CONTENT[start:stop] for start, stop in pairwise(places)]
    expected = loaded.task.evaluate(loaded.model, pieces)
    assert loaded.task.evaluate(loaded.model, texts) == expected
    assert expected["num_tokens"] == len(CONTENT) - len(pieces)
