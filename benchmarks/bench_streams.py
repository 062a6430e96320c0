"""Streams: one that is bound, a thousand at once, and as many as keep up with the clock.

    python benchmarks/bench_streams.py [bound] [batch] [cost] [clock] [--streams 5000]

bound: one step of an LSTM of 64 units, from Python, by every way there is, one thread.
batch: one step of 1,000 streams of an LSTM 2x256, in the order of the pool and in any, against a
plain batch of 1,000, in turns.
cost: what a step of a stream takes of a core in calls of several sizes, one thread.
clock: streams of an LSTM of 128 units (the recurrent part of silero-vad), each of which is given a
frame every 32 ms, at a time of its own. What has come is read in one call, then what has come since
then. The latency is from the moment that a frame is there to its output. In the end every stream is
held against the same frames read alone, to the last bit.
"""

import argparse
import threading
import time

import numpy as np
import torch

import unrolled
from unrolled.benchmark.machine import available_cores, load, processor

FRAME_SECONDS = 0.032


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=["bound", "batch", "cost", "clock"])
    parser.add_argument("--steps", type=int, default=10_000, help="Steps of `bound`.")
    parser.add_argument("--repeats", type=int, default=100, help="Of `batch`.")
    parser.add_argument("--streams", type=int, default=5000, help="Streams of `clock`.")
    parser.add_argument("--seconds", type=float, default=10.0, help="Of `clock`.")
    parser.add_argument("--pools", type=int, default=2, help="Of `clock`, a thread for each.")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    print(f"{processor()}, {available_cores()} cores, torch {torch.__version__}, load {load():.1f}")
    if "bound" in chosen.parts:
        bound(chosen.steps)
    if "batch" in chosen.parts:
        batch(chosen.repeats)
    if "cost" in chosen.parts:
        cost()
    if "clock" in chosen.parts:
        clock(chosen.streams, chosen.seconds, chosen.pools)


def bound(num_steps: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    layer = unrolled.LSTM(64, 64)
    x, y = torch.randn(1, 64), torch.zeros(1, 64)
    arrays = (x.numpy().copy(), y.numpy().copy())
    streams = [layer.stream() for _ in range(5)]
    pool = layer.streams(500)
    rows = np.array([pool.join() for _ in range(500)])[7:8].copy()
    ways = {
        "bound, arrays": streams[0].bind(*arrays).step,
        "bound, tensors": streams[1].bind(x, y).step,
        "arrays, out": lambda: streams[2].step(arrays[0], out=arrays[1]),
        "tensors, out": lambda: streams[3].step(x, out=y),
        "tensors": lambda: streams[4].step(x),
        "of a pool": lambda: pool.step(x, rows),
    }
    times = in_turns(ways, num_steps, calls=100)
    print(f"\nLSTM step, B1 H64, 1 thread, {num_steps} steps of each, microseconds:")
    print(f"{'':16} {'p50':>6} {'p99':>6}")
    for name, seconds in times.items():
        p50, p99 = np.percentile(seconds, (50, 99)) * 1e6
        print(f"{name:16} {p50:6.2f} {p99:6.2f}")
    torch.set_num_threads(before)


def batch(num_repeats: int) -> None:
    number = 1000
    layer = unrolled.LSTM(256, 256, 2)
    stream, pool, some = layer.stream(number), layer.streams(number), layer.streams(2 * number)
    for _ in range(number):
        pool.join()
    mixed = np.random.default_rng(0).permutation([some.join() for _ in range(2 * number)])
    x, rows = torch.randn(number, 256), mixed[:number].copy()
    state = layer.initial_state(number)

    def plain() -> None:
        nonlocal state
        with torch.no_grad():
            _, state = layer(x[None], state)

    ways = {
        "layer(x, state)": plain,
        "a stream of 1000": lambda: stream.step(x),
        "all of a pool": lambda: pool.step(x),
        "any of 2000": lambda: some.step(x, rows),
    }
    times = {name: np.median(taken) for name, taken in in_turns(ways, num_repeats).items()}
    best = min(times["layer(x, state)"], times["a stream of 1000"])
    threads = torch.get_num_threads()
    print(f"\n1,000 streams of LSTM 2x256, one step, {threads} threads, median of {num_repeats}:")
    print(f"{'':18} {'ms':>6}  of the quicker plain batch")
    for name, seconds in times.items():
        print(f"{name:18} {seconds * 1e3:6.2f}  {best / seconds:.2f}")


def cost() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    layer = unrolled.LSTM(128, 128)
    pool = layer.streams(5000)
    rows = np.random.default_rng(0).permutation([pool.join() for _ in range(5000)])
    frames = torch.randn(5000, 128)
    print("\nLSTM 128, a step of some of 5,000 streams, time of a core, median of 20;")
    print("and how many, at a step each 32 ms, two such cores could take:")
    print(f"{'streams':>7} {'us each':>8} {'at most':>8}")
    for count in (1, 10, 50, 150, 500, 1500, 5000):
        x, some = frames[:count], rows[:count].copy()
        calls = max(1, 20_000 // count)
        taken = []
        for _ in range(20):
            begin = time.process_time()
            for _ in range(calls):
                pool.step(x, some)
            taken.append((time.process_time() - begin) / (calls * count))
        each = float(np.median(taken))
        print(f"{count:7} {each * 1e6:8.2f} {2 * FRAME_SECONDS / each:8,.0f}")
    torch.set_num_threads(before)


def clock(num_streams: int, num_seconds: float, num_pools: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if num_pools > 1 else before)
    layer = unrolled.LSTM(128, 128)
    each, num_frames = num_streams // num_pools, int(num_seconds / FRAME_SECONDS)
    frames = np.random.default_rng(0).standard_normal((997, 128), dtype=np.float32)
    readers = [Reader(layer, each, num_frames, frames, seed) for seed in range(num_pools)]
    processor_begin, begin = time.process_time(), time.perf_counter()
    threads = [threading.Thread(target=reader.keep_up, args=(begin,)) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cores = (time.process_time() - processor_begin) / (num_frames * FRAME_SECONDS)
    torch.set_num_threads(before)
    latencies = np.concatenate([reader.latencies for reader in readers])
    size = np.mean([size for reader in readers for size in reader.sizes])
    p50, p99, most = np.percentile(latencies, (50, 99, 100)) * 1e3
    print(f"\n{each * num_pools} streams of LSTM 128 in {num_pools} pools, each with a thread,")
    print(f"a frame each 32 ms, {num_frames} frames of each, {size:.0f} in a call,")
    print(f"{cores:.2f} cores' time for each second of sound, load {load():.1f}:")
    print(f"latency p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {most:.1f} ms")
    different = sum(reader.num_different() for reader in readers)
    print(f"{different} of {each * num_pools} streams differ from the same frames read alone")


class Reader:
    """A pool, each of whose streams is given a frame every 32 ms, one after the other."""

    def __init__(
        self, layer: unrolled.LSTM, count: int, num_frames: int, frames: np.ndarray, seed: int
    ) -> None:
        self.layer, self.count, self.num_frames, self.frames = layer, count, num_frames, frames
        self.pool = layer.streams(count)
        random = np.random.default_rng(seed)
        self.rows = random.permutation([self.pool.join() for _ in range(count)])
        self.latencies, self.sizes = np.empty(num_frames * count), []
        self.last = np.empty((count, 128), np.float32)
        self.pool.step(frames[np.zeros(count, int)])  # all is compiled and packed
        self.pool.reset()

    def keep_up(self, begin: float) -> None:
        """Read what has come since `begin`, then what has come since then, to the end."""
        # frame k is the (k // count)-th of stream k % count, and comes at k * spacing
        total, spacing, done = len(self.latencies), FRAME_SECONDS / self.count, 0
        x, out = (np.empty((self.count, 128), np.float32) for _ in range(2))
        while done < total:
            come = min(int((time.perf_counter() - begin) / spacing), total)
            size = min(come - done, self.count - done % self.count)
            if size < 1:
                time.sleep(2e-4)
                continue
            numbers = np.arange(done, done + size)
            which = numbers % self.count
            places = (which + numbers // self.count) % len(self.frames)
            np.take(self.frames, places, axis=0, out=x[:size])
            self.pool.step(x[:size], self.rows[which], out=out[:size])
            now = time.perf_counter() - begin
            self.latencies[done : done + size] = now - numbers * spacing
            self.last[which] = out[:size]
            self.sizes.append(size)
            done += size

    def num_different(self) -> int:
        """Return how many streams end otherwise than if they are read alone."""
        different = 0
        for number in range(self.count):
            alone = self.layer.stream()
            order = (number + np.arange(self.num_frames)) % len(self.frames)
            output = alone.push(self.frames[order][:, None])
            states = zip(alone.state, self.pool.state_of(self.rows[number]), strict=True)
            same = np.array_equal(output[-1, 0], self.last[number])
            different += not (same and all(torch.equal(a, b) for a, b in states))
        return different


def in_turns(ways: dict, num_repeats: int, calls: int = 1) -> dict[str, np.ndarray]:
    """Return the seconds of each call: some of one, then some of the next, and again."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(-3, num_repeats // calls):
        for name, way in ways.items():
            for _ in range(calls):
                begin = time.perf_counter()
                way()
                taken = time.perf_counter() - begin
                if repeat >= 0:
                    times[name].append(taken)
    return {name: np.array(taken) for name, taken in times.items()}


if __name__ == "__main__":
    main()
