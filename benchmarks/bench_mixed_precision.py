"""Whether training in mixed precision learns what training in float32 does.

A language model of the characters of a text (its last tenth is held out) is trained twice from each
seed, in float32 and under `torch.autocast("cpu", torch.bfloat16)`; its logits are made float32 for
the loss. Printed are the difference of the losses in training, averaged over each tenth of it, and
the held-out losses of both, read in the precision that they were trained in. In nats per character.
Times are in `unrolled bench`.

    python benchmarks/bench_mixed_precision.py input.txt
"""

import argparse
import platform
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import unrolled

LAYERS = {"LSTM": unrolled.LSTM, "GRU": unrolled.GRU}
ROWS, STEPS, HIDDEN_SIZE, WIDTH = 32, 64, 128, 64
LEARNING_RATE, WARMUP = 8e-3, 20  # updates


class Model(nn.Module):
    """Embeddings, a layer, scores."""

    def __init__(self, name, num_characters):
        super().__init__()
        self.embedding = nn.Embedding(num_characters, WIDTH)
        self.layer = LAYERS[name](WIDTH, HIDDEN_SIZE)
        self.scores = nn.Linear(HIDDEN_SIZE, num_characters)

    def loss(self, characters, state, is_mixed):
        """Return the loss of each character after the first, (T + 1, B), and the state."""
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            h, state = self.layer(self.embedding(characters[:-1]), state)
            scores = self.scores(h)
        return F.cross_entropy(scores.float().flatten(0, 1), characters[1:].flatten()), state


def pieces(columns):
    """Yield STEPS + 1 rows of the columns of a text at a time, the last of which comes again."""
    for begin in range(0, len(columns) - STEPS, STEPS):
        yield columns[begin : begin + STEPS + 1]


def columns_of(text):
    """Return a text as (T, ROWS), one piece of it in each column."""
    length = len(text) // ROWS
    return text[: length * ROWS].view(ROWS, length).T.contiguous()


def detached(state):
    """Return a state without its past."""
    return tuple(map(torch.Tensor.detach, state)) if isinstance(state, tuple) else state.detach()


def train(name, text, num_characters, updates, seed, is_mixed):
    """Return the losses of all updates and the held-out one."""
    torch.manual_seed(seed)
    model = Model(name, num_characters)
    optimizer = torch.optim.AdamW(model.parameters())
    border = len(text) * 9 // 10
    training, held_out = columns_of(text[:border]), columns_of(text[border:])
    losses, state, batches = [], None, iter(())
    for update in range(updates):
        rate = min(1, (update + 1) / WARMUP) * (1 - 0.98 * update / updates)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * rate
        piece = next(batches, None)
        if piece is None:
            batches, state = pieces(training), None
            piece = next(batches)
        loss, state = model.loss(piece, state, is_mixed)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state = detached(state)
        losses.append(loss.item())
    total, count, state = 0.0, 0, None
    with torch.no_grad():
        for count, piece in enumerate(pieces(held_out), 1):  # noqa: B007  # read after the loop
            loss, state = model.loss(piece, state, is_mixed)
            total += loss.item()
    return torch.tensor(losses), total / count


def main():
    """Print a line for each layer and seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    text = arguments.text.read_text(encoding="utf-8")
    numbers = {character: number for number, character in enumerate(sorted(set(text)))}
    text = torch.tensor([numbers[character] for character in text])
    print(f"{platform.processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in LAYERS:
        for seed in range(arguments.seeds):
            wide, mixed = (
                train(name, text, len(numbers), arguments.updates, seed, is_mixed)
                for is_mixed in (False, True)
            )
            tenths = [f"{tenth.mean():+.4f}" for tenth in (mixed[0] - wide[0]).tensor_split(10)]
            print(
                f"{name}, seed {seed}: held out {wide[1]:.4f} in float32, {mixed[1]:.4f} mixed; "
                f"mixed - float32 in training: {' '.join(tenths)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
