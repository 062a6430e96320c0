"""One message, two readers: on the command line `--like-this`, in Python `like_this`."""

import re

import pytest

from unrolled.comparison import Plan, Runner, parse_contestants
from unrolled.data import Source
from unrolled.errors import UnrolledError
from unrolled.tasks import TASKS, caption, classify, lm, load, tag, toy, translate

LM = ("train", "lm", "a.txt")
TEXT = {"files": ("a.txt",)}
TABLE = {"files": ("a.csv",)}
CLASSES = {"files": ("x=a.txt", "y=b.txt")}
CLASSIFY = ("train", "classify")
CAPTION = ("train", "caption", "a.tsv", "--media", "m", "--text", "t")

CASES = [
    (
        (*LM, "--vocabulary-size", 300),
        lambda: lm.DataOptions(**TEXT, vocabulary_size=300),
        "vocabulary_size is for bpe and word, the tokens are char",
        "--vocabulary-size is for bpe and word, the tokens are char",
    ),
    (
        (*LM, "--batch-size", 0),
        lambda: lm.TrainingOptions(batch_size=0),
        "batch_size must be at least 1, got 0",
        "--batch-size must be at least 1, got 0",
    ),
    (
        (*LM, "--held-out", 1),
        lambda: lm.DataOptions(**TEXT, held_out=1.0),
        "held_out must be in [0, 1), got 1.0",
        "--held-out must be in [0, 1), got 1.0",
    ),
    (
        (*LM, "--k1", 8, "--k2", 4),
        lambda: lm.TrainingOptions(k1=8, k2=4),
        "k2 (steps backward) must be at least k1 (steps forward), got 4 and 8",
        "--k2 (steps backward) must be at least --k1 (steps forward), got 4 and 8",
    ),
    (
        (*LM, "--epochs", 1, "--minutes", 2),
        lambda: lm.TrainingOptions(epochs=1, minutes=2),
        "one of epochs, updates or minutes says how long to train, got 1 and 2",
        "one of --epochs, --updates or --minutes says how long to train, got 1 and 2",
    ),
    (
        (*LM, "--checkpoint-seconds", 0),
        lambda: lm.TrainingOptions(checkpoint_every_seconds=0.0),
        "checkpoint_every_seconds must be a number above 0, got 0.0",
        "--checkpoint-seconds must be a number above 0, got 0.0",
    ),
    (
        (*LM, "--parameters", 0),
        lambda: lm.ModelOptions(num_parameters=0),
        "num_parameters must be at least 1, got 0",
        "--parameters must be at least 1, got 0",
    ),
    (
        (*LM, "--cell", "lstm", "--kernel-size", 3),
        lambda: lm.ModelOptions(kernel_size=3),
        "kernel_size is for convolutions, but the cell is lstm",
        "--kernel-size is for convolutions, but the cell is lstm",
    ),
    (
        ("train", "lm"),
        lambda: lm.DataOptions(),
        "give text files or standard_library, one of the two",
        "give text files or --standard-library, one of the two",
    ),
    (
        (*CLASSIFY, "a.csv"),
        lambda: classify.DataOptions(**TABLE),
        "a table needs the column of the class | target COLUMN",
        "a table needs the column of the class | --target COLUMN",
    ),
    (
        (*CLASSIFY, "a.csv", "--target", "y"),
        lambda: classify.DataOptions(**TABLE, target="y"),
        "a table needs one column of text | input COLUMN; "
        "for numbers with a row for each step, id COLUMN, with a row for each series, wide",
        "a table needs one column of text | --input COLUMN; "
        "for numbers with a row for each step, --id COLUMN, with a row for each series, --wide",
    ),
    (
        (*CLASSIFY, "x=a.txt", "y=b.txt", "--id", "y"),
        lambda: classify.DataOptions(**CLASSES, id="y"),
        "id is for tables and folders, not for a file for each class | leave it out",
        "--id is for tables and folders, not for a file for each class | leave it out",
    ),
    (
        (*CLASSIFY, "x=a.txt", "y=b.txt", "--held-out", 0.2, "--held-out-file", "c.txt"),
        lambda: classify.DataOptions(**CLASSES, held_out=0.2, held_out_file="c.txt"),
        "held_out and held_out_file: a part of the data or a file, not both",
        "--held-out and --held-out-file: a part of the data or a file, not both",
    ),
    (
        ("train", "tag", "a.conll", "--word-dropout", 2),
        lambda: tag.ModelOptions(word_dropout=2.0),
        "word_dropout must be in [0, 1], got 2.0",
        "--word-dropout must be in [0, 1], got 2.0",
    ),
    (
        ("train", "translate", "a.tsv", "--delay", 2, "--attention", "additive"),
        lambda: translate.ModelOptions(delay=2, attention="additive"),
        "attention is for an encoder and a decoder, delay is another network",
        "--attention is for an encoder and a decoder, --delay is another network",
    ),
    (
        (*CAPTION, "--attention", "none", "--no-summary"),
        lambda: caption.ModelOptions(attention="none", summary=False),
        "without attention and without a summary nothing reaches the decoder | "
        "allow one of attention and summary",
        "without attention and without a summary nothing reaches the decoder | "
        "allow one of --attention and --summary",
    ),
    (
        ("train", "toy", "reber", "--length", 3),
        lambda: toy.DataOptions(problem="reber", length=3),
        "length is for adding and copy and echo, but the problem is reber",
        "--length is for adding and copy and echo, but the problem is reber",
    ),
    (
        ("train", "toy", "adding", "--length", 1),
        lambda: toy.DataOptions(problem="adding", length=1),
        "adding: length (values to read) must be at least 2, got 1",
        "adding: --length (values to read) must be at least 2, got 1",
    ),
    (
        ("train", "toy", "hello", "--examples", 0),
        lambda: toy.DataOptions(problem="hello", num_examples=0),
        "num_examples must be at least 1, got 0",
        "--examples must be at least 1, got 0",
    ),
    (
        ("compare", "toy", "hello", "--seeds", 0),
        lambda: Plan("toy", ("hello",), (), 0, 1),
        "num_seeds must be at least 1, got 0",
        "--seeds must be at least 1, got 0",
    ),
    (
        ("compare", "toy", "hello", "--parameters", 0),
        lambda: Plan("toy", ("hello",), (), 1, 0),
        "num_parameters must be at least 1, got 0",
        "--parameters must be at least 1, got 0",
    ),
    (
        ("compare", "toy", "hello", "--processes", 0),
        lambda: Runner([], 0, 1),
        "num_processes must be at least 1, got 0",
        "--processes must be at least 1, got 0",
    ),
    (
        ("compare", "toy", "hello", "--cells", "gru,gru"),
        lambda: parse_contestants("gru,gru"),
        "contestants: gru comes twice | name it once",
        "--cells: gru comes twice | name it once",
    ),
]
OF_A_RUN = [
    (
        ("generate", "--top-p", 2),
        lambda run: lm.generate(run.model, run.task.vocabulary, "b", top_p=2.0),
        "top_p must be in (0, 1], got 2.0",
        "--top-p must be in (0, 1], got 2.0",
    ),
    (
        ("predict", "bottles.txt", "--candidates", 0),
        lambda run: lm.PredictOptions(candidates=0),
        "candidates must be at least 1, got 0",
        "--candidates must be at least 1, got 0",
    ),
]


def said(error):
    return " | ".join(part for part in (error.message, error.hint) if part)


def typed(result):
    """What a command said: message and hint."""
    assert (result.code, result.out) == (1, "")
    lines = result.err.splitlines()
    assert lines[0].startswith("unrolled: error: ")
    return " | ".join(re.sub("^(unrolled: error|hint): ", "", line) for line in lines)


@pytest.mark.parametrize(("command", "call", "in_python", "on_the_line"), CASES)
def test_a_mistake_is_told_in_the_names_that_its_maker_knows(
    unrolled, command, call, in_python, on_the_line
):
    with pytest.raises(UnrolledError) as caught:
        call()
    assert said(caught.value).startswith(in_python)
    assert typed(unrolled(*command)).startswith(on_the_line)


@pytest.mark.parametrize(("command", "call", "in_python", "on_the_line"), OF_A_RUN)
def test_so_is_a_mistake_with_a_run(
    unrolled, trained, text_file, command, call, in_python, on_the_line
):
    with pytest.raises(UnrolledError) as caught:
        call(load(trained))
    assert said(caught.value).startswith(in_python)
    name, *rest = command
    assert typed(unrolled(name, trained, *rest)).startswith(on_the_line)


def test_a_prediction_that_cannot_be_names_its_options_too(unrolled, tmp_path):
    rows = "".join(f"one {n} two\tun {n} deux\n" for n in range(30))
    (tmp_path / "pairs.tsv").write_text(rows)
    small = ("--epochs", 1, "--hidden-size", 4, "--tokens", "word", "--held-out", 0.2)
    assert unrolled("train", "translate", "pairs.tsv", *small, "--run", "r").code == 0
    message = "{} is 9, but a beam of 2 finds no more"
    refused = unrolled("predict", "r", "pairs.tsv", "--beam", 2, "--n-best", 9)
    assert typed(refused).startswith(message.format("--n-best"))
    run = load(tmp_path / "r")
    options = translate.PredictOptions(beam=2, n_best=9)
    with pytest.raises(UnrolledError) as caught:
        list(run.task.predict(run.model, Source.text("one"), options))
    assert said(caught.value).startswith(message.format("n_best"))


SMALLEST = {
    "lm": ("a.txt",),
    "classify": ("a.csv", "--target", "y", "--input", "x"),
    "tag": ("a.conll",),
    "translate": ("a.tsv",),
    "caption": ("a.tsv", "--media", "m", "--text", "t"),
    "forecast": ("a.csv", "--target", "y"),
    "multilabel": ("a.txt",),
    "toy": ("hello",),
}


@pytest.mark.parametrize("task", TASKS)
def test_no_layers_are_refused_by_every_task(unrolled, tmp_path, task):
    refused = unrolled("train", task, *SMALLEST[task], "--layers", 0, "--run", "r")
    assert typed(refused) == "--layers must be at least 1, got 0"
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("task", ["lm", "classify", "translate"])
def test_a_vocabulary_of_no_tokens_is_refused_by_every_task_that_has_one(unrolled, tmp_path, task):
    bpe = ("--tokens", "bpe", "--vocabulary-size", 0, "--run", "r")
    refused = unrolled("train", task, *SMALLEST[task], *bpe)
    assert typed(refused) == "--vocabulary-size must be at least 1, got 0"
    assert not (tmp_path / "r").exists()


def test_a_command_that_is_named_in_a_message_can_be_pasted(unrolled, train, trained):
    refused = train(trained)
    command = re.search(r"go on with `unrolled (resume .*)`, or choose another --run", refused.err)
    assert "finished" in unrolled(*command[1].split()).err
