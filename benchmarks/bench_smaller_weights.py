"""What streams lose and gain with weights of fewer bits, on real tasks.

Two models are trained in float32 and read their held-out data as streams, with `weights="f32"`,
"bf16" and "int8" in turn: a language model on the characters of a text (its last tenth is held
out), in bits per character; and a tagger of words, one CoNLL-U file for training and one for the
test, in the share of right tags. Nothing is chosen by the held-out data. The time of a step is that
of one stream, B 1, the formats taking turns.

    python benchmarks/bench_smaller_weights.py input.txt train.conllu test.conllu
"""

import argparse
import json
import math
import platform
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import unrolled

FORMATS = ("f32", "bf16", "int8")
ROWS, STEPS = 64, 100  # of a batch in training
CHUNK = 50  # steps of a held-out text that a stream is given at once


class Model(nn.Module):
    """Embeddings of one or several features of each step, an LSTM, scores."""

    def __init__(self, sizes, width, hidden_size, num_classes):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        self.layer = unrolled.LSTM(width * len(sizes), hidden_size)
        self.scores = nn.Linear(hidden_size, num_classes)

    def embed(self, features):
        """Return the input of the layer, (..., I), for features (..., number of them)."""
        return torch.cat([e(features[..., n]) for n, e in enumerate(self.embeddings)], -1)

    def forward(self, features, state=None, lengths=None):
        """Return scores (T, B, classes) and the state after features (T, B, number of them)."""
        h, state = self.layer(self.embed(features), state, lengths=lengths)
        return self.scores(h), state


def train(model, batches, updates):
    """Train on batches of (features, classes, lengths, whether the state goes on)."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    state = None
    for update in range(updates):
        features, classes, lengths, goes_on = next(batches)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - 0.95 * update / updates)
        scores, after = model(features, state if goes_on else None, lengths)
        state = type(after)(*(part.detach() for part in after))
        loss = F.cross_entropy(scores.flatten(0, 1), classes.flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


# ---- Characters ---


def language_model(path, hidden_size, updates):
    """Return the number of characters, and bits per character by format."""
    text = path.read_text(encoding="utf-8")
    known = sorted(set(text))
    numbers = torch.tensor([known.index(c) for c in text])
    split = len(numbers) * 9 // 10
    model = Model([len(known)], 64, hidden_size, len(known))
    train(model, text_batches(numbers[:split]), updates)
    held_out = columns(numbers[split:])
    bits = {name: bits_per_character(model, held_out, name) for name in FORMATS}
    return held_out[1:].numel(), bits


def columns(numbers):
    """Return the text in ROWS columns, (T, ROWS)."""
    return numbers[: len(numbers) // ROWS * ROWS].view(ROWS, -1).T.contiguous()


def text_batches(numbers):
    """Yield pieces of a text that follow one another, again and again."""
    text = columns(numbers)
    for begin in cycle(range(0, len(text) - STEPS - 1, STEPS)):
        piece = text[begin : begin + STEPS + 1]
        yield piece[:-1, :, None], piece[1:], None, begin > 0


@torch.no_grad()
def bits_per_character(model, text, weights):
    """Return the mean of -log2 of what the next characters were given, read by a stream."""
    stream, nats = model.layer.stream(ROWS, weights=weights), 0.0
    for begin in range(0, len(text) - 1, CHUNK):
        piece = text[begin : begin + CHUNK + 1]
        scores = model.scores(stream.push(model.embed(piece[:-1, :, None])))
        loss = F.cross_entropy(scores.flatten(0, 1), piece[1:].flatten(), reduction="sum")
        nats += loss.item()
    return nats / math.log(2) / text[1:].numel()


# ---- Tags ---


def sentences(path):
    """Return the sentences of a CoNLL-U file: lists of (word, tag)."""
    found, sentence = [], []
    for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
        fields = line.split("\t")
        if len(fields) == 10 and fields[0].isdigit():
            sentence.append((fields[1].lower(), fields[3]))
        elif not line and sentence:
            found.append(sentence)
            sentence = []
    return found


def tagger(train_path, test_path, hidden_size, updates):
    """Return the number of words, and the share of right tags by format."""
    examples, test = sentences(train_path), sentences(test_path)
    counts = Counter(word for sentence in examples for word, _ in sentence)
    words = {word: n + 1 for n, word in enumerate(w for w, c in counts.items() if c > 1)}
    endings = {ending: n + 1 for n, ending in enumerate(sorted({word[-3:] for word in counts}))}
    tags = {tag: n for n, tag in enumerate(sorted({tag for s in examples for _, tag in s}))}

    def numbered(sentence):
        features = [(words.get(word, 0), endings.get(word[-3:], 0)) for word, _ in sentence]
        return torch.tensor(features), torch.tensor([tags.get(tag, -1) for _, tag in sentence])

    model = Model([len(words) + 1, len(endings) + 1], 64, hidden_size, len(tags))
    train(model, sentence_batches([*map(numbered, examples)]), updates)
    pairs = [*map(numbered, test)]
    right = {name: right_tags(model, pairs, name) for name in FORMATS}
    return sum(len(t) for _, t in pairs), right


def sentence_batches(pairs):
    """Yield batches of sentences in another order each time, padded."""
    generator = torch.Generator().manual_seed(0)
    while True:
        order = torch.randperm(len(pairs), generator=generator).tolist()
        for begin in range(0, len(order), ROWS):
            batch = [pairs[n] for n in order[begin : begin + ROWS]]
            features = nn.utils.rnn.pad_sequence([f for f, _ in batch])
            classes = nn.utils.rnn.pad_sequence([c for _, c in batch], padding_value=-1)
            yield features, classes, [len(c) for _, c in batch], False


@torch.no_grad()
def right_tags(model, pairs, weights):
    """Return the share of right tags, each said as soon as its word was read."""
    stream, right, total = model.layer.stream(1, weights=weights), 0, 0
    for features, classes in pairs:
        stream.reset()
        got = model.scores(stream.push(model.embed(features).unsqueeze(1))[:, 0]).argmax(-1)
        right += (got == classes).sum().item()
        total += len(classes)
    return right / total


# ---- Time ---


def step_times(layer, repeats=100, steps=25):
    """Return the median time of a step in microseconds by format, in turns."""
    x = torch.randn(1, layer.input_size)
    streams = {name: layer.stream(1, weights=name) for name in FORMATS}
    times = {name: [] for name in FORMATS}
    for turn in range(repeats + 1):
        for name, stream in streams.items():
            for _ in range(steps):
                begin = time.perf_counter()
                stream.step(x)
                if turn:
                    times[name].append(time.perf_counter() - begin)
    return {name: 1e6 * float(np.median(values)) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="a text")
    parser.add_argument("train", type=Path, help="a CoNLL-U file for training")
    parser.add_argument("test", type=Path, help="a CoNLL-U file for the test")
    parser.add_argument("--updates", type=int, default=1500, help="of each model")
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--results", type=Path, help="where the figures go, JSON")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes = options.hidden_size, options.updates
    results = {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "hidden_size": options.hidden_size,
        "updates": options.updates,
    }
    count, bits = language_model(options.text, *sizes)
    print(f"language model, {count} held-out characters, bits per character:")
    print("  " + ", ".join(f"{name} {value:.4f}" for name, value in bits.items()), flush=True)
    results["language_model"] = {"characters": count, "bits_per_character": bits}
    count, right = tagger(options.train, options.test, *sizes)
    print(f"tagger, {count} words of the test, right tags:")
    print("  " + ", ".join(f"{name} {value:.2%}" for name, value in right.items()), flush=True)
    results["tagger"] = {"words": count, "right": right}
    results["microseconds"] = {}
    for size in (64, 128, 256, 512, 1024):
        times = step_times(unrolled.LSTM(size, size), repeats=100 if size < 1024 else 20)
        results["microseconds"][size] = times
        ratios = ", ".join(f"{n} {t:.1f} us ({times['f32'] / t:.2f}x)" for n, t in times.items())
        print(f"LSTM B1 H{size} step: {ratios}", flush=True)
    if options.results:
        options.results.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
