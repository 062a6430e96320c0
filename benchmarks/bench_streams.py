"""Streams: one that is bound, a thousand at once, and as many as keep up with the clock.

    python benchmarks/bench_streams.py [bound] [batch] [clock] [--streams 5000] [--seconds 10]

bound: one step of an LSTM of 64 units, from Python, by every way there is, one thread.
batch: one step of 1,000 streams of an LSTM 2x256, in the order of the pool and in any, against a
plain batch of 1,000, in turns.
clock: streams of an LSTM of 128 units (the recurrent part of silero-vad), each of which is given a
frame every 32 ms, at a time of its own. What has come is read in one call, then what has come since
then. The latency is from the moment that a frame is there to its output. In the end every stream is
held against the same frames read alone, to the last bit.
"""

import argparse
import time

import numpy as np
import torch

import unrolled
from unrolled.benchmark.machine import available_cores, load, processor

FRAME_SECONDS = 0.032


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=["bound", "batch", "clock"])
    parser.add_argument("--steps", type=int, default=10_000, help="Steps of `bound`.")
    parser.add_argument("--repeats", type=int, default=100, help="Of `batch`.")
    parser.add_argument("--streams", type=int, default=5000, help="Streams of `clock`.")
    parser.add_argument("--seconds", type=float, default=10.0, help="Of `clock`.")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    print(f"{processor()}, {available_cores()} cores, torch {torch.__version__}, load {load():.1f}")
    if "bound" in chosen.parts:
        bound(chosen.steps)
    if "batch" in chosen.parts:
        batch(chosen.repeats)
    if "clock" in chosen.parts:
        clock(chosen.streams, chosen.seconds)


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


def clock(num_streams: int, num_seconds: float) -> None:
    layer = unrolled.LSTM(128, 128)
    pool = layer.streams(num_streams)
    random = np.random.default_rng(0)
    rows = random.permutation([pool.join() for _ in range(num_streams)])
    frames = random.standard_normal((997, 128), dtype=np.float32)
    num_frames = int(num_seconds / FRAME_SECONDS)
    total, spacing = num_frames * num_streams, FRAME_SECONDS / num_streams
    # frame k is the (k // num_streams)-th of stream k % num_streams, and comes at k * spacing
    x, out = (np.empty((num_streams, 128), np.float32) for _ in range(2))
    last = np.empty((num_streams, 128), np.float32)
    latencies, sizes, done = np.empty(total), [], 0
    pool.step(frames[np.zeros(num_streams, int)])  # all is compiled and packed
    pool.reset()
    processor_begin, begin = time.process_time(), time.perf_counter()
    while done < total:
        come = min(int((time.perf_counter() - begin) / spacing), total)
        count = min(come - done, num_streams - done % num_streams)
        if count < 1:
            time.sleep(1e-4)
            continue
        numbers = np.arange(done, done + count)
        which = numbers % num_streams
        np.take(frames, (which + numbers // num_streams) % len(frames), axis=0, out=x[:count])
        pool.step(x[:count], rows[which], out=out[:count])
        latencies[done : done + count] = time.perf_counter() - begin - numbers * spacing
        last[which] = out[:count]
        sizes.append(count)
        done += count
    elapsed = time.perf_counter() - begin
    cores = (time.process_time() - processor_begin) / (num_frames * FRAME_SECONDS)
    p50, p99, most = np.percentile(latencies, (50, 99, 100)) * 1e3
    print(f"\n{num_streams} streams of LSTM 128, a frame each 32 ms, {num_frames} frames of each")
    print(f"in {elapsed:.1f} s, {torch.get_num_threads()} threads, {np.mean(sizes):.0f} in a call,")
    print(f"{cores:.2f} cores' time for each second of sound:")
    print(f"latency p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {most:.1f} ms")
    different = 0
    for number in range(num_streams):
        alone = layer.stream()
        order = (number + np.arange(num_frames)) % len(frames)
        output = alone.push(frames[order][:, None])
        state, ours = alone.state, pool.state_of(rows[number])
        same = all(map(torch.equal, state, ours))
        different += not (same and np.array_equal(output[-1, 0], last[number]))
    print(f"{different} of {num_streams} streams differ from the same frames read alone")


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
