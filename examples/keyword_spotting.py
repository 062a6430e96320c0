"""Ten spoken words, spotted while they are said: sound in, 10 ms at a time, on a single core.

The model is one module from samples to words, and `unrolled.stream` makes one stream of it:

    sound      8,000 samples a second, 80 at a time
    waves      a fixed convolution: cosines and sines under a window of 256 samples, every 80
    bands      energies of 24 bands of the mel scale, their logarithm, normalised
    memory     a GRU of 96 units
    words      scores of "nothing" and of each digit

It learns from recordings of single digits, joined with pauses and noise in between, and listens to
others. Data: the Free Spoken Digit Dataset, files {digit}_{speaker}_{index}.wav; those of index 0
to 4 are its test part. Run it with

    python examples/keyword_spotting.py FOLDER --figure latency.html

which trains for about a minute, then listens for half a minute in real time.
"""

import argparse
import sys
import time
import wave
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unrolled

RATE, FRAME, WINDOW, NUM_BANDS = 8000, 80, 256, 24
WORDS = ("-", *"0123456789")
SAID_AFTER = 25  # frames after its last in which a word is to be named
SURE, LEAST_FRAMES = 0.8, 3  # how likely a word must be, and for how long


class Bands(nn.Module):
    """Logarithms of the energies in bands of the mel scale, (B, 1, N) to (B, NUM_BANDS, T)."""

    def __init__(self) -> None:
        super().__init__()
        frequencies = torch.arange(1, WINDOW // 2 + 1)
        angles = 2 * torch.pi / WINDOW * frequencies[:, None] * torch.arange(WINDOW)
        window = torch.hann_window(WINDOW, periodic=False)
        self.register_buffer("waves", torch.cat([angles.cos(), angles.sin()])[:, None] * window)
        mels = 2595 * torch.log10(1 + frequencies * (RATE / WINDOW) / 700)
        edges = torch.linspace(50.0, float(mels[-1]), NUM_BANDS + 2)
        rising = (mels - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
        falling = (edges[2:, None] - mels) / (edges[2:] - edges[1:-1])[:, None]
        self.register_buffer("bands", torch.minimum(rising, falling).clamp(min=0))

    def forward(self, sound: Tensor) -> Tensor:
        """Return the bands of a sound."""
        cosines, sines = F.conv1d(sound, self.waves, stride=FRAME).chunk(2, dim=1)
        return torch.log(self.bands @ (cosines**2 + sines**2) + 1e-4)


class Spotter(nn.Module):
    """Scores of the words at every frame, (B, 1, N) to (B, T, 11)."""

    def __init__(self) -> None:
        super().__init__()
        self.bands = Bands()
        self.norm = nn.BatchNorm1d(NUM_BANDS)
        self.memory = unrolled.GRU(NUM_BANDS, 96, batch_first=True)
        self.words = nn.Linear(96, len(WORDS))

    def forward(self, sound: Tensor) -> Tensor:
        """Return the scores of a sound."""
        return self.listen(self.bands(sound))

    def listen(self, bands: Tensor) -> Tensor:
        """Return the scores of bands, (B, NUM_BANDS, T)."""
        hidden, _ = self.memory(self.norm(bands).transpose(1, 2))
        return self.words(hidden)


def recordings(folder: Path) -> tuple[list, list]:
    """Return (digit, sound) of all files: those to learn from, and those of the test part."""
    parts: tuple[list, list] = ([], [])
    for path in sorted(folder.glob("[0-9]_*_*.wav")):
        digit, _, index = path.stem.split("_")
        with wave.open(str(path)) as file:
            if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
                sys.exit(f"{path}: must be mono, {RATE} samples a second, 16 bits")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        sound = torch.from_numpy(samples.astype(np.float32) / 2**15)
        parts[int(index) < 5].append((int(digit), sound / sound.abs().max().clamp(min=1e-3)))
    if not parts[0] or not parts[1]:
        sys.exit(f"{folder}: has no recordings {{digit}}_{{speaker}}_{{index}}.wav of both parts")
    return parts


def conversation(words: list, generator: np.random.Generator) -> tuple[Tensor, Tensor, list]:
    """Return words with pauses between them.

    Returns:
        The sound, (N,); the word to name at each frame; and of each word its digit, its first frame
        and its last.
    """
    pieces, spoken, position = [], [], 0
    for digit, sound in words:
        pause = int(generator.integers(RATE // 4, RATE))
        start, position = position + pause, position + pause + len(sound)
        pieces += [torch.zeros(pause), sound * generator.uniform(0.3, 1.0)]
        spoken.append((digit, start // FRAME, position // FRAME))
    pieces.append(torch.zeros(RATE // 2))
    sound = torch.cat(pieces)
    noise = generator.uniform(0.0005, 0.005)
    sound = sound + noise * torch.from_numpy(generator.standard_normal(len(sound)).astype("f"))
    targets = torch.zeros(len(sound) // FRAME, dtype=torch.int64)
    for digit, _, last in spoken:
        targets[last - 5 : last + SAID_AFTER] = digit + 1
    return sound, targets, spoken


def train(model: Spotter, words: list, updates: int, generator: np.random.Generator) -> None:
    """Learn to name each word at its end, from conversations of eight words."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=max(updates, 2))
    for update in range(1, updates + 1):
        batch = []
        for _ in range(16):
            chosen = [words[int(n)] for n in generator.integers(len(words), size=8)]
            sound, targets, _ = conversation(chosen, generator)
            with torch.no_grad():
                batch.append((model.bands(sound[None, None])[0].T, targets))
        bands = nn.utils.rnn.pad_sequence([b for b, _ in batch], batch_first=True)
        targets = nn.utils.rnn.pad_sequence(
            [t[: len(b)] for b, t in batch], batch_first=True, padding_value=-100
        )
        scores = model.listen(bands.transpose(1, 2))
        loss = F.cross_entropy(scores.transpose(1, 2), targets, ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if update % 50 == 0:
            print(f"update {update:4} of {updates}: {loss.item():.3f} nats per frame")


def listen(
    stream: unrolled.ModelStream, sound: Tensor, in_time: bool
) -> tuple[list, np.ndarray, np.ndarray]:
    """Return (word, frame) of all words that are named, and milliseconds of each frame.

    These are from the moment that a frame is complete until its scores are there, and what the
    model took of it; the rest is waiting for a core.

    Args:
        stream: Of the model.
        sound: (N,), handed over 10 ms at a time.
        in_time: Whether each frame is waited for.
    """
    named, latencies, works = [], [], []
    last, for_frames = 0, 0
    begin = time.perf_counter()
    for number, frame in enumerate(sound.split(FRAME)[:-1], 1):
        due = begin + number * FRAME / RATE
        if in_time:
            time.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter()
        scores = stream.push(frame[None, None])
        works.append(time.perf_counter() - start)
        latencies.append(time.perf_counter() - (due if in_time else start))
        for shares in scores[0].softmax(-1):
            word = int(shares.argmax()) if float(shares.max()) >= SURE else 0
            for_frames = for_frames + 1 if word == last else 1
            last = word
            if word and for_frames == LEAST_FRAMES:
                named.append((word - 1, number))
    return named, 1000 * np.array(latencies), 1000 * np.array(works)


def judge(named: list, spoken: list) -> tuple[int, int]:
    """Return how many of the spoken words were named in time, and how many names were wrong."""
    open_words, wrong = list(spoken), 0
    for word, frame in named:
        fits = [s for s in open_words if s[0] == word and s[1] <= frame <= s[2] + 2 * SAID_AFTER]
        if fits:
            open_words.remove(fits[0])
        else:
            wrong += 1
    return len(spoken) - len(open_words), wrong


def draw(latencies: np.ndarray, works: np.ndarray, path: Path) -> None:
    """Write the histograms of milliseconds, an HTML file."""
    import plotly.graph_objects as go

    figure = go.Figure()
    edges = np.geomspace(works.min(), latencies.max() * 1.001, 80)
    for name, numbers in {"until the scores are there": latencies, "by the model": works}.items():
        p50, p99 = np.percentile(numbers, [50, 99])
        label = f"{name}: p50 {p50:.2f}, p99 {p99:.2f} ms"
        counts, _ = np.histogram(numbers, edges)
        middles = np.sqrt(edges[:-1] * edges[1:])
        figure.add_bar(x=middles, y=counts, width=np.diff(edges), opacity=0.7, name=label)
    figure.update_layout(
        title="Keyword spotting, frames of 10 ms, one core",
        xaxis={"title": "milliseconds of a frame", "type": "log"},
        yaxis={"title": "frames", "type": "log"},
        barmode="overlay",
    )
    figure.write_html(path, include_plotlyjs=True)


def in_words(milliseconds: np.ndarray) -> str:
    """Return the percentiles of milliseconds."""
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return f"p50 {p50:.2f}, p99 {p99:.2f}, at most {milliseconds.max():.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="Folder of {digit}_{speaker}_{index}.wav.")
    parser.add_argument("--updates", type=int, default=600, help="Updates of the training.")
    parser.add_argument("--words", type=int, default=30, help="Words to listen to.")
    parser.add_argument("--figure", type=Path, help="HTML file for the histogram of latencies.")
    parser.add_argument("--fast", action="store_true", help="Do not wait for the clock.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    learned, heard = recordings(options.folder)
    model = Spotter()
    train(model, learned, options.updates, generator)
    stream = unrolled.stream(model.eval(), reads="B 1 T")
    print(f"one stream: {stream.rate} samples a frame, each {stream.delay} samples late")
    chosen = [heard[int(n)] for n in generator.permutation(len(heard))[: options.words]]
    sound, _, spoken = conversation(chosen, generator)
    named, latencies, works = listen(stream, sound, not options.fast)
    with torch.no_grad():
        whole = model(sound[None, None, : len(latencies) * FRAME])
    stream.reset()
    pieces = torch.cat([stream.push(f[None, None]) for f in sound.split(FRAME)[:-1]], 1)
    print(f"pieces against the whole: {float((pieces - whole).abs().max()):.1e} apart at most")
    right, wrong = judge(named, spoken)
    if options.figure is not None:
        draw(latencies, works, options.figure)
    print(f"scores of {len(latencies):,} frames of 10 ms were there after {in_words(latencies)}")
    print(f"of which the model took {in_words(works)}")
    print(f"{right} of {len(spoken)} words named in time, {wrong} wrong")


if __name__ == "__main__":
    main()
