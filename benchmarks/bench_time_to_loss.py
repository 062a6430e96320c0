"""How long a language model takes to a given held-out loss: ours against plain PyTorch scripts.

Ours is `unrolled train lm`, an LSTM for `--minutes`. Its peers, one after the other in the same
run, are plain loops around torch.nn.LSTM of the same size: first as one usually writes it (an
embedding, Adam at 2e-3, torch's initial values), then with all the settings of ours (one-hot input
and its initial values, learning rate and its schedule, dropout), which leaves the kernels and the
averaged weights as the difference. A peer ends when it gets there, at the latest after `--minutes`
for the second, whose learning rate has fallen to 0 by then, and `--longest-minutes` for the first.

All are judged by the same function after the same numbers of updates; the clock stands still
meanwhile, and the time between two evaluations is interpolated.

    python benchmarks/bench_time_to_loss.py input.txt --results benchmarks/results/time-to-loss.json
"""

import argparse
import json
import math
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from unrolled import LanguageModel, initialize
from unrolled.data import IGNORE, CharVocabulary, read_text
from unrolled.tasks import prepare
from unrolled.tasks.lm import (
    DataOptions,
    LanguageModelTask,
    ModelOptions,
    TextSize,
    TrainingOptions,
    evaluate_language_model,
)
from unrolled.tasks.lm.columns import Columns
from unrolled.training import NullReporter
from unrolled.training.schedule import learning_rate_factor


@dataclass(frozen=True)
class Recipe:
    """The settings of a plain script."""

    name: str
    learning_rate: float
    dropout: float
    embedding_size: int | None
    like_ours: bool  # one-hot input's initial values, warm-up and cosine, AdamW's betas


class PlainModel(nn.Module):
    """Characters, torch.nn.LSTM, dropout, scores; named like `LanguageModel`, which judges it."""

    def __init__(self, vocabulary_size, hidden_size, recipe):
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.embedding = None
        if recipe.embedding_size is not None:
            self.embedding = nn.Embedding(vocabulary_size, recipe.embedding_size)
        input_size = recipe.embedding_size or vocabulary_size
        self.layer = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(recipe.dropout)
        self.scores = nn.Linear(hidden_size, vocabulary_size)

    def forward(self, tokens, state):
        """Return scores (B, T, V) and the state after tokens (B, T)."""
        if self.embedding is None:
            x = F.one_hot(tokens, self.vocabulary_size).float()
        else:
            x = self.embedding(tokens)
        h, state = self.layer(x, state)
        return self.scores(self.dropout(h)), state


def train_plain(text, recipe, options):
    """Return the points (characters, seconds, nats) of a plain loop, until it gets there."""
    content, vocabulary, cut = text
    torch.manual_seed(0)
    model = PlainModel(len(vocabulary), options.hidden_size, recipe)
    judge = LanguageModel(
        ModelOptions(hidden_size=options.hidden_size),
        vocabulary_size=len(vocabulary),
        embedding_size=recipe.embedding_size,
    ).eval()
    held_out = vocabulary.encode(content[cut:])
    if recipe.like_ours:
        with torch.no_grad():
            initialize.one_hot_input(judge.layer)
            model.layer.weight_ih_l0.copy_(judge.layer.weight_ih_l0)
        optimizer = torch.optim.AdamW(model.parameters(), fused=True, betas=(0.9, 0.99))
    else:
        optimizer = torch.optim.Adam(model.parameters())
    columns = Columns(vocabulary.encode(content[:cut]), options.batch_size)
    minutes = options.minutes if recipe.like_ours else options.longest_minutes
    points, seconds, characters, update, position = [], 0.0, 0, 0, 0
    while True:
        if update % options.evaluate_every == 0:
            judge.load_state_dict(model.state_dict())
            size = TextSize(len(held_out) - 1, words=0)  # which nats per token do not ask for
            nats = evaluate_language_model(judge, held_out, size).nats_per_token
            points.append((characters, seconds, nats))
            show(recipe.name, points)
            if nats <= options.loss or seconds >= 60 * minutes:
                return points
        began = time.perf_counter()
        factor = 1.0
        if recipe.like_ours:
            done = min(1.0, seconds / (60 * minutes))
            factor = learning_rate_factor(done, TrainingOptions.warmup)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        if position == 0:
            state = None
        end = min(position + options.k1, columns.num_steps)
        inputs, targets = columns.window(position, end)
        scores, state = model(inputs, state)
        state = tuple(part.detach() for part in state)
        loss = F.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        position = end % columns.num_steps
        seconds += time.perf_counter() - began
        characters += inputs.numel()
        update += 1


def train_ours(options):
    """Return the points of `unrolled train lm` for all of its minutes."""
    training = TrainingOptions(
        minutes=options.minutes,
        learning_rate=options.learning_rate,
        evaluate_every=options.evaluate_every,
        batch_size=options.batch_size,
        k1=options.k1,
    )
    points = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = prepare(
            LanguageModelTask,
            DataOptions(files=(str(options.text),)),
            Path(folder) / "run",
            model=ModelOptions(hidden_size=options.hidden_size, dropout=options.dropout),
            training=training,
        ).trainer

        class Points(NullReporter):
            def on_evaluation(self, metrics, improved):  # noqa: ARG002
                characters = int(metrics["update"]) * options.batch_size * options.k1
                points.append((characters, trainer.progress.trained_seconds, metrics["loss"]))
                show("unrolled", points)

        trainer.fit(Points())
    return points


def show(name, points):
    characters, seconds, nats = points[-1]
    print(f"{name:24} {seconds:7.1f} s {characters:11,} characters {nats:8.4f} nats", flush=True)


def seconds_to(loss, points):
    """Return when `points` fall to `loss`, along a line between two of them; None if never."""
    for (_, before, above), (_, after, below) in pairwise(points):
        if below <= loss < above:
            return before + (after - before) * (above - loss) / (above - below)
    return None


def result_of(name, loss, points):
    characters, seconds, _ = points[-1]
    return {
        "name": name,
        "seconds_to_loss": seconds_to(loss, points),
        "best_nats_per_character": min(nats for _, _, nats in points),
        "characters_per_second": characters / seconds,
        "points": points,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--loss", type=float, default=1.5, help="nats per character")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--longest-minutes", type=float, default=10.0)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--learning-rate", type=float, default=TrainingOptions.learning_rate)
    parser.add_argument("--batch-size", type=int, default=TrainingOptions.batch_size)
    parser.add_argument("--k1", type=int, default=TrainingOptions.k1)
    parser.add_argument("--evaluate-every", type=int, default=200, help="updates")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    content = read_text([options.text])
    part = DataOptions(files=(str(options.text),)).held_out_part
    cut = int(len(content) * (1 - part))
    text = (content, CharVocabulary.from_text(content), cut)
    recipes = [
        Recipe("plain torch", 2e-3, 0.0, 128, like_ours=False),
        Recipe("plain torch, our recipe", options.learning_rate, options.dropout, None, True),
    ]
    machine = f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}"
    print(f"{options.text.name}: LSTM 1 x {options.hidden_size}; {machine}")
    ours = result_of("unrolled", options.loss, train_ours(options))
    rows = [ours]
    for recipe in recipes:
        points = train_plain(text, recipe, options)
        rows.append(asdict(recipe) | result_of(recipe.name, options.loss, points))
    for row in rows:
        seconds = row["seconds_to_loss"] or math.inf
        line = f"{row['name']:24} {seconds:7.1f} s to {options.loss} nats"
        if row is not ours and ours["seconds_to_loss"] and row["seconds_to_loss"]:
            row["our_time_of_its"] = ours["seconds_to_loss"] / seconds
            line += f"; ours takes {row['our_time_of_its']:.2f} of it"
        best, speed = row["best_nats_per_character"], row["characters_per_second"]
        print(f"{line}; best {best:.4f} nats; {speed:,.0f} characters/s")
    if options.results is not None:
        settings = {k: v for k, v in vars(options).items() if k not in ("text", "results")}
        content = {"machine": machine, "text": options.text.name, **settings, "rows": rows}
        options.results.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
