"""Candidates for a task's defaults, each on parts of several open sets that no test has.

From each set's training data N examples are drawn (50, 200, 1,000), and up to 2,000 others, which
measure; where a set has no test part of its own, a tenth is put aside first and never read. Each
candidate is trained on the N with every seed, by the command line, as a user would. What is done is
kept and not done again: the same command goes on.

    python benchmarks/choose_defaults.py DATA --kinds texts,tags --results results/defaults.json

DATA has the folders sentiment, tagging and time_series, with rt-polarity, books-pt and so on.
"""

import argparse
import csv
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from unrolled.data.files import to_json, write_atomically

_MOST_MEASURED = 2_000


@dataclass(frozen=True)
class OpenSet:
    """A set of examples as lines of a file.

    Args:
        head: The lines before the examples.
        examples: The lines of each, of the training part alone.
        suffix: Of the file's name.
    """

    head: str
    examples: Sequence[str]
    suffix: str

    def write(self, path: Path, examples: Sequence[str]) -> Path:
        """Write some of the examples as a file that `unrolled train` reads; return its path."""
        path = path.with_suffix(self.suffix)
        path.write_text(self.head + "".join(examples), encoding="utf-8")
        return path


@dataclass(frozen=True)
class Kind:
    """What is chosen for at once.

    Args:
        arguments: Words after `unrolled train`, FILE for the data.
        candidates: Options by what they are called.
        metric: That ranks.
        sets: What makes each set of the folder of data.
    """

    arguments: tuple[str, ...]
    candidates: dict[str, tuple[str, ...]]
    metric: str
    sets: dict[str, Callable[[Path], OpenSet]]


def _table(rows: Sequence[tuple[str, str]]) -> OpenSet:
    """Return texts with classes, less a tenth."""
    rows = list(rows)
    random.Random(0).shuffle(rows)
    lines = []
    for row in rows[len(rows) // 10 :]:
        with tempfile.TemporaryFile("w+", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)
            file.seek(0)
            lines.append(file.read())
    return OpenSet("text,label\n", lines, ".csv")


def _two_files(negative: str, positive: str) -> Callable[[Path], OpenSet]:
    def read(data: Path) -> OpenSet:
        pairs = [(data / negative, "neg"), (data / positive, "pos")]
        rows = [
            (line.strip(), label)
            for path, label in pairs
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.strip()
        ]
        return _table(rows)

    return read


def _rated(name: str) -> Callable[[Path], OpenSet]:
    def read(data: Path) -> OpenSet:
        lines = (data / name).read_text(encoding="utf-8", errors="replace").splitlines()
        rated = [(text, float(rating)) for _, rating, text in (line.split("\t") for line in lines)]
        return _table([(text, "neg" if rating < 0 else "pos") for text, rating in rated])

    return read


def _sentences(name: str) -> Callable[[Path], OpenSet]:
    def read(data: Path) -> OpenSet:
        blocks = (data / name).read_text(encoding="utf-8").split("\n\n")
        whole = [block.strip("\n") + "\n\n" for block in blocks if block.strip()]
        return OpenSet("", whole, Path(name).suffix)

    return read


def _cases(name: str) -> Callable[[Path], OpenSet]:
    def read(data: Path) -> OpenSet:
        head, _, cases = (data / name).read_text(encoding="utf-8").partition("@data\n")
        return OpenSet(f"{head}@data\n", [f"{case}\n" for case in cases.splitlines()], ".ts")

    return read


_LENGTHS = {
    "default": (),
    "12 epochs": ("--epochs", "12"),
    "600 updates": ("--updates", "600"),
    "1000 updates": ("--updates", "1000"),
}
KINDS = {
    "texts": Kind(
        ("classify", "FILE", "--input", "text", "--target", "label"),
        _LENGTHS
        | {
            "by the loss": ("--select", "loss"),
            "the last": ("--select", "last"),
            "all words": ("--min-count", "1"),
            "words seen twice": ("--min-count", "2"),
        },
        "accuracy",
        {
            "rt-polarity": _two_files(
                "sentiment/rt-polarity/rt-polarity.neg", "sentiment/rt-polarity/rt-polarity.pos"
            ),
            "books-pt": _two_files(
                "sentiment/books-pt/books_pt_neg", "sentiment/books-pt/books_pt_pos"
            ),
            "amazon": _rated("sentiment/vader-icwsm2014/amazonReviewSnippets_GroundTruth.txt"),
        },
    ),
    "tags": Kind(
        ("tag", "FILE"),
        _LENGTHS | {"8 epochs": ("--epochs", "8"), "by the loss": ("--select", "loss")},
        "first",
        {
            "lener-br": _sentences("tagging/lener-br/train.conll"),
            "ud-pt-bosque": _sentences("tagging/ud-pt-bosque/pt_bosque-ud-train.conllu"),
        },
    ),
    "series": Kind(
        ("classify", "FILE"),
        _LENGTHS | {"by the loss": ("--select", "loss")},
        "accuracy",
        {
            "JapaneseVowels": _cases("time_series/ucr-uea/JapaneseVowels_TRAIN.ts"),
            "BasicMotions": _cases("time_series/ucr-uea/BasicMotions_TRAIN.ts"),
        },
    ),
}


def measure(
    kind: Kind, open_set: OpenSet, size: int, seed: int, options: Sequence[str]
) -> dict[str, Any] | None:
    """Return what a candidate is worth on a subset; None where the set has too few examples."""
    order = list(open_set.examples)
    random.Random(seed).shuffle(order)
    if len(order) < size + 20:
        return None
    with tempfile.TemporaryDirectory() as folder:
        learned = open_set.write(Path(folder, "learned"), order[:size])
        measured = open_set.write(Path(folder, "measured"), order[size:][:_MOST_MEASURED])
        words = [str(learned) if word == "FILE" else word for word in kind.arguments]
        run = Path(folder, "run")
        command = [sys.executable, "-m", "unrolled", "train", *words, *options]
        command += ["--test-file", str(measured), "--seed", str(seed), "--run", str(run)]
        subprocess.run(command, check=True, capture_output=True)
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    name = results["meanings"][0]["name"] if kind.metric == "first" else kind.metric
    baselines = {baseline: figures.get(name) for baseline, figures in results["baselines"].items()}
    return {
        "metric": name,
        "figure": results["metrics"][name],
        "baselines": baselines,
        "updates": results["updates"],
        "kept_update": results["kept_update"],
        "selected_by": results["selected_by"],
        "seconds": round(results["elapsed_seconds"], 1),
    }


def main() -> None:
    """Train what is not there yet, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--candidates", help="names, with commas; by default all")
    parser.add_argument("--sizes", default="50,200,1000")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    content: dict[str, Any] = {"machine": {}, "runs": {}}
    if arguments.results.exists():
        content = json.loads(arguments.results.read_text(encoding="utf-8"))
    content["machine"] = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }
    runs = content["runs"]
    for kind_name in arguments.kinds.split(","):
        kind = KINDS[kind_name]
        chosen = (arguments.candidates or ",".join(kind.candidates)).split(",")
        sets = {name: read(arguments.data) for name, read in kind.sets.items()}
        for size in map(int, arguments.sizes.split(",")):
            for set_name, open_set in sets.items():
                for candidate in (name for name in chosen if name in kind.candidates):
                    for seed in range(arguments.seeds):
                        key = "/".join((kind_name, set_name, str(size), candidate, str(seed)))
                        if key in runs:
                            continue
                        options = kind.candidates[candidate]
                        result = measure(kind, open_set, size, seed, options)
                        if result is None:
                            continue
                        runs[key] = result
                        with write_atomically(arguments.results) as file:
                            file.write(to_json(content, indent=1))
                    figures = [
                        result["figure"]
                        for key, result in runs.items()
                        if key.startswith(f"{kind_name}/{set_name}/{size}/{candidate}/")
                    ]
                    if figures:
                        print(
                            f"{kind_name:8}{set_name:16}{size:>6}  {candidate:14}"
                            f"{fmean(figures):.4f}  ({len(figures)} seeds)",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
