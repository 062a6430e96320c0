"""Millions of steps of streams that come and go, each held against the same steps read alone.

    python benchmarks/soak_streams.py [--steps 10_000_000] [--streams 500] [--minutes 60]

At every call some of the streams, in any order, are given a step or a chunk of steps; some leave,
others come, some start again, and at times the pool is pickled, and its copy goes on. When a stream
leaves or starts again, all its outputs and its state are compared with those of `layer.stream(1)`,
to the last bit. A line every few seconds: steps so far, sequences compared, memory of the process.
In the end: how memory changed from the second quarter to the last. Needs Linux, for /proc.
"""

import argparse
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import torch

import unrolled

CELLS = {
    "lstm": lambda: unrolled.LSTM(16, 32, 2),
    "gru": lambda: unrolled.GRU(16, 32),
    "janet": lambda: unrolled.JANET(16, 32),
}
MOST_STEPS = 256  # of a sequence
MOST_GROWTH = 8.0  # MiB


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=10_000_000, help="Of all streams together.")
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=60.0, help="The most.")
    parser.add_argument("--cell", choices=list(CELLS), default="lstm")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.manual_seed(chosen.seed)
    soak = Soak(CELLS[chosen.cell](), chosen.streams, np.random.default_rng(chosen.seed))
    begin = told = time.monotonic()
    memory = []
    while soak.num_steps < chosen.steps and time.monotonic() < begin + 60 * chosen.minutes:
        soak.call()
        memory.append(resident_mebibytes())
        if time.monotonic() > told + 5:
            told = time.monotonic()
            print(soak.status(), f"{memory[-1]:.1f} MiB", flush=True)
    for row in soak.pool.rows:
        soak.compare(row)
    quarter = len(memory) // 4
    growth = max(memory[-quarter:], default=0) - max(memory[quarter : 2 * quarter], default=0)
    print(soak.status(), f"in {time.monotonic() - begin:.0f} s,", end=" ")
    print(f"memory {growth:+.1f} MiB from the second quarter to the last")
    return int(soak.num_different > 0 or growth > MOST_GROWTH)


class Soak:
    """A pool, and what each of its streams has read and said since it began."""

    def __init__(self, layer: unrolled.LSTM, capacity: int, random: np.random.Generator) -> None:
        self.layer, self.random, self.pool = layer, random, layer.streams(capacity)
        self.alone = layer.stream()
        self.frames = random.standard_normal((10_007, 16), dtype=np.float32)
        self.said = np.empty((capacity, MOST_STEPS, 32), np.float32)
        self.begins = np.zeros(capacity, np.int64)  # the first frame of each
        self.lengths = np.zeros(capacity, np.int64)  # how many it has read
        self.num_steps = self.num_calls = self.num_compared = self.num_different = 0

    def status(self) -> str:
        """Return what has been done so far."""
        return (
            f"{self.num_steps:,} steps in {self.num_calls:,} calls, {len(self.pool)} streams, "
            f"{self.num_compared:,} compared, {self.num_different} different,"
        )

    def call(self) -> None:
        """Let some come and go, then give some of those that are there their next steps."""
        pool, random = self.pool, self.random
        for _ in range(random.integers(0, 4)):
            if len(pool) < pool.capacity:
                self.start(pool.join())
        num_steps = 1 if random.random() < 0.7 else int(random.integers(2, 9))
        all_rows = np.array(pool.rows)
        for row in all_rows[self.lengths[all_rows % pool.capacity] + num_steps > MOST_STEPS]:
            self.end(int(row))
        if len(pool) and random.random() < 0.3:
            self.end(int(random.choice(pool.rows)))
        rows = random.permutation(pool.rows)[: random.integers(0, len(pool) + 1)]
        if not len(rows):
            return
        slots = rows % pool.capacity
        steps = self.lengths[slots] + np.arange(num_steps)[:, None]  # (T, n)
        chunk = self.frames[(self.begins[slots] + steps) % len(self.frames)]
        output = pool.step(chunk[0], rows)[None] if num_steps == 1 else pool.push(chunk, rows)
        self.said[slots, steps] = output
        self.lengths[slots] += num_steps
        self.num_steps += num_steps * len(rows)
        self.num_calls += 1
        if self.num_calls % 5000 == 0:
            self.pool = pickle.loads(pickle.dumps(pool))

    def start(self, row: int) -> None:
        """Begin a stream's record."""
        slot = row % self.pool.capacity
        self.begins[slot], self.lengths[slot] = self.random.integers(len(self.frames)), 0

    def end(self, row: int) -> None:
        """Let a stream leave, or start again."""
        self.compare(row)
        if self.random.random() < 0.7:
            self.pool.leave(row)
        else:
            self.pool.reset(row)
            self.start(row)

    def compare(self, row: int) -> None:
        """Read what a stream has read alone."""
        slot = row % self.pool.capacity
        length = self.lengths[slot]
        if not length:
            return
        order = (self.begins[slot] + np.arange(length)) % len(self.frames)
        self.alone.reset()
        expected = self.alone.push(self.frames[order][:, None])[:, 0]
        ours, theirs = self.pool.state_of(row), self.alone.state
        if isinstance(ours, torch.Tensor):
            ours, theirs = (ours,), (theirs,)
        same = np.array_equal(expected, self.said[slot, :length])
        self.num_different += not (same and all(map(torch.equal, ours, theirs)))
        self.num_compared += 1


def resident_mebibytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    sys.exit(main())
