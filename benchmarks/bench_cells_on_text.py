"""Every cell on one text, at the same number of parameters and the same number of updates.

The baseline in the same run is a plain loop around torch.nn.LSTM of the LSTM's size: same columns,
initial values, optimizer, schedule and clipping; its last weights count, of ours the best average.
`dense` sees the current character alone, `conv` the last eight: what the other cells gain over them
is what memory is worth.

    python benchmarks/bench_cells_on_text.py book.txt --parameters 200000 --epochs 4 --results DIR

Prints a table, and writes it as JSON to DIR (with the runs, which allow a broken-off benchmark to
go on where it stopped).
"""

import argparse
import json
import math
import platform
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import torch
from torch import nn

from unrolled.data import IGNORE, CharVocabulary, Columns, read_text
from unrolled.models import LanguageModel, LanguageModelConfig, hidden_size_for
from unrolled.models.sequence_layers import CELLS
from unrolled.training import (
    Run,
    TextOptions,
    TrainingOptions,
    evaluate_text,
    prepare_language_model,
    resume_language_model,
)
from unrolled.training.schedule import learning_rate_factor

K1, COLUMNS, HELD_OUT = TextOptions.k1, TextOptions.num_columns, TextOptions.held_out_fraction
LEARNING_RATE = TrainingOptions.learning_rate


def train_cell(cell, path, hidden_size, epochs, folder):
    """Return what a run of ours reached, from its folder if it is there already."""
    training = TrainingOptions(epochs=epochs, learning_rate=LEARNING_RATE)
    text = TextOptions(num_columns=COLUMNS, k1=K1, held_out_fraction=HELD_OUT)
    if (folder / "config.json").exists():
        config = Run.open(folder).config
        files = [file["path"] for file in config["data"].pop("files")]
        same = [config["training"], config["data"]] == [asdict(training), asdict(text)]
        if not same or files != [str(path.resolve())]:
            raise SystemExit(f"{folder}: of another text or other options; choose other --results")
        trainer = resume_language_model(folder)
    else:
        trainer = prepare_language_model(
            [path],
            folder,
            training=training,
            text=text,
            cell=cell,
            hidden_size=hidden_size,
            num_layers=4 if cell == "tcn" else 1,
        )
    result = trainer.fit()
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    speeds = [m["tokens_per_second"] for m in metrics if m["kind"] == "train"]
    return {
        "cell": cell,
        "hidden_size": hidden_size,
        "parameters": trainer.model.num_parameters,
        "held_out_nats_per_character": result.best_loss,
        "characters_per_second": median(speeds),
        "elapsed_seconds": result.elapsed_seconds,
    }


class PlainModel(nn.Module):
    """What one writes without this package: one-hot, torch.nn.LSTM, a linear layer."""

    def __init__(self, vocabulary_size, hidden_size):
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.lstm = nn.LSTM(vocabulary_size, hidden_size, batch_first=True)
        nn.init.uniform_(self.lstm.weight_ih_l0, -1, 1)  # as ours: one feature at a time is not 0
        self.scores = nn.Linear(hidden_size, vocabulary_size)

    def forward(self, tokens, state):
        """Return scores (B, T, V) and the state after tokens (B, T)."""
        x = nn.functional.one_hot(tokens, self.vocabulary_size).float()
        output, state = self.lstm(x, state)
        return self.scores(output), state


def train_plain(path, hidden_size, epochs):
    """Return what a plain loop around torch.nn.LSTM reaches; its last weights are evaluated."""
    content = read_text([path])
    vocabulary = CharVocabulary.from_text(content)
    cut = int(len(content) * (1 - HELD_OUT))
    columns = Columns(vocabulary.encode(content[:cut]), COLUMNS)
    torch.manual_seed(0)
    model = PlainModel(len(vocabulary), hidden_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))
    starts = range(0, columns.num_steps, K1)
    total, update = int(epochs * len(starts)), 0
    seconds, speeds = [], []
    while update < total:
        state = None
        for start in starts[: total - update]:
            began = time.perf_counter()
            inputs, targets = columns.window(start, min(start + K1, columns.num_steps))
            factor = learning_rate_factor((update + 0.5) / total, TrainingOptions.warmup)
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * factor
            scores, state = model(inputs, state)
            state = tuple(part.detach() for part in state)
            loss = nn.functional.cross_entropy(
                scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORE
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            seconds.append(time.perf_counter() - began)
            speeds.append(inputs.numel() / seconds[-1])
            update += 1
    judge = LanguageModel(LanguageModelConfig(len(vocabulary), "lstm", hidden_size))
    weights = model.state_dict()
    judge.load_state_dict({name.replace("lstm.", "layer."): weights[name] for name in weights})
    return {
        "cell": "torch.nn.LSTM, plain loop",
        "hidden_size": hidden_size,
        "parameters": judge.num_parameters,
        "held_out_nats_per_character": evaluate_text(
            judge.eval(), vocabulary, content[cut:]
        ).nats_per_token,
        "characters_per_second": median(speeds),
        "elapsed_seconds": sum(seconds),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--parameters", type=int, default=300_000)
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--cells", nargs="+", default=[*CELLS])
    parser.add_argument("--results", type=Path, default=Path("runs/cells-on-text"))
    options = parser.parse_args()
    vocabulary_size = len(CharVocabulary.from_text(read_text([options.text])))
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{options.text.name}, {options.epochs:g} epochs; {machine}")
    print(f"{'cell':28} {'units':>5} {'parameters':>10} {'nats':>6} {'bits':>6} {'chars/s':>8}")
    rows = []
    for cell in options.cells:
        layers = 4 if cell == "tcn" else 1
        config = LanguageModelConfig(vocabulary_size, cell, num_layers=layers)

        def model_of(size: int, config: LanguageModelConfig = config) -> LanguageModel:
            return LanguageModel(replace(config, hidden_size=size))

        hidden_size = hidden_size_for(model_of, options.parameters)
        folder = options.results / f"{cell}-{options.parameters}-{options.epochs:g}"
        results = [train_cell(cell, options.text, hidden_size, options.epochs, folder)]
        if cell == "lstm":
            results.append(train_plain(options.text, hidden_size, options.epochs))
        for row in results:
            nats = row["held_out_nats_per_character"]
            print(
                f"{row['cell']:28} {row['hidden_size']:5} {row['parameters']:10,} {nats:6.3f} "
                f"{nats / math.log(2):6.3f} {row['characters_per_second']:8,.0f}",
                flush=True,
            )
        rows += results
    content = {"machine": machine, "text": options.text.name, "epochs": options.epochs}
    (options.results / "table.json").write_text(json.dumps(content | {"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
