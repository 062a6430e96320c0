"""What holds for the runs of every task: killed and resumed, and shared by two processes.

Run by torchrun, this file trains those that argv[2:] names, in the folder argv[1].
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from unrolled.tasks import task_class
from unrolled.tasks.runs import Prepared, prepare, resume
from unrolled.training import TrainingOptions, initialize_distributed
from unrolled.training.distributed import ALONE, Processes

SMALL: dict[str, Any] = {"cell": "lstm", "hidden_size": 6, "num_layers": 1, "dropout": 0.2}
NUMBERS = ("zero", "one", "two", "three", "four", "five")


def write_reviews(folder: Path) -> dict[str, Any]:
    rows = [f"{a} {b} is,{'good' if a < b else 'bad'}" for a in NUMBERS for b in NUMBERS]
    (folder / "reviews.csv").write_text("\n".join(["text,class", *rows]) + "\n")
    files = (str(folder / "reviews.csv"),)
    return {"files": files, "inputs": ("text",), "target": "class", "class_weights": "balanced"}


def write_series(folder: Path) -> dict[str, Any]:
    cases = [",".join(str(n * k % 7) for k in range(2 + n % 4)) + f":{n % 2}" for n in range(1, 40)]
    (folder / "cases.ts").write_text("\n".join(["@classLabel true 0 1", "@data", *cases]) + "\n")
    return {"files": (str(folder / "cases.ts"),)}


def write_sentences(folder: Path) -> dict[str, Any]:
    words = [f"{a}\tB-X\n{b}\tI-X\nruns\tO\n" for a in NUMBERS for b in NUMBERS]
    (folder / "sentences.conll").write_text("\n".join(words))
    return {"file": str(folder / "sentences.conll")}


def write_pairs(folder: Path) -> dict[str, Any]:
    pairs = [f"{a} and {b}\t{b} et {a}\n" for a in NUMBERS for b in NUMBERS]
    (folder / "pairs.tsv").write_text("".join(pairs))
    return {"pairs": str(folder / "pairs.tsv"), "tokens": "word", "test": 0.1, "held_out": 0.1}


def write_pictures(folder: Path) -> dict[str, Any]:
    rows = ["file\twords"]
    for number in range(24):
        Image.new("RGB", (8, 8), (10 * number, 100, 50)).save(folder / f"{number}.png")
        rows.append(f"{number}.png\tpicture {NUMBERS[number % 6]} of {number}")
    (folder / "pictures.tsv").write_text("\n".join(rows) + "\n")
    table = str(folder / "pictures.tsv")
    return {"path": table, "media": "file", "text": "words", "picture_size": 8}


def write_nothing(folder: Path) -> dict[str, Any]:
    return {"problem": "reber", "num_examples": 24}


RUNS = {
    "classify": ("classify", write_reviews, {"token_dropout": 0.2, "pooling": "attention"}),
    "classify-series": ("classify", write_series, {"pooling": "last"}),
    "tag": ("tag", write_sentences, {}),
    "tag-delay-0": ("tag", write_sentences, {"delay": 0}),
    "translate": ("translate", write_pairs, {"sampling": 0.9, "sampling_updates": 2}),
    "translate-tcn": ("translate", write_pairs, {"cell": "tcn", "attention": "none"}),
    "translate-delay": ("translate_delayed", write_pairs, {}),
    "caption": ("caption", write_pictures, {"channels": 4}),
    "caption-no-summary": ("caption", write_pictures, {"channels": 4, "summary": False}),
    "toy": ("toy", write_nothing, {}),
}


def prepare_small(name: str, folder: Path, run: str, processes: Processes = ALONE) -> Prepared:
    """Return run `run` of the task of `name`, its data in `folder`."""
    task, write, model = RUNS[name]
    options = processes.from_first(lambda: write(folder))
    return prepare(
        task_class(task),
        task_class(task).Options(**options),
        folder / run,
        training=TrainingOptions(epochs=3, log_every=1, evaluate_every=4, seed=1),
        model=SMALL | model,
        batch_size=8,
        processes=processes,
    )


class Killed(BaseException):
    """Nothing that the training could catch."""


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_that_is_resumed_ends_with_the_same_bits(name, tmp_path):
    whole = prepare_small(name, tmp_path, "whole")
    whole.trainer.fit()
    killed = prepare_small(name, tmp_path, "killed")
    next_loss = killed.trainer.objective.next_loss

    def dying(model):
        if killed.trainer.progress.update == 6:
            raise Killed
        return next_loss(model)

    killed.trainer.objective.next_loss = dying
    with pytest.raises(Killed):
        killed.trainer.fit()
    torch.rand(7)  # the state of the generators is the run's own
    resumed = resume(tmp_path / "killed", task_class(RUNS[name][0]))
    assert resumed.trainer.progress.update in (0, 4)  # the last evaluation that was the best
    assert resumed.trainer.fit().reason == "finished"
    ends = (prepared.trainer.model.state_dict() for prepared in (resumed, whole))
    for mine, other in zip(*(end.values() for end in ends), strict=True):
        assert torch.equal(mine, other)
    assert resumed.finish().metrics == whole.finish().metrics


def test_two_processes_train_what_one_can(tmp_path):
    names = ("classify", "tag-delay-0", "translate", "caption")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    finished = subprocess.run(
        [*command, __file__, tmp_path, *names], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    for name in names:
        assert (tmp_path / name / "run" / "results.json").exists()


if __name__ == "__main__":
    sys.modules["torch.utils.tensorboard"] = None  # type: ignore[assignment]  # slow to import
    torch.set_num_threads(1)
    with initialize_distributed() as processes:
        for name in sys.argv[2:]:
            folder = Path(sys.argv[1], name)
            processes.from_first(lambda folder=folder: folder.mkdir())
            prepared = prepare_small(name, folder, "run", processes)
            assert prepared.trainer.fit().reason == "finished", name
            if processes.is_first:
                prepared.finish()
