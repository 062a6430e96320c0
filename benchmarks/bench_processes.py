"""Several processes on one training: killed at random, on two hosts, and how much faster.

    python benchmarks/bench_processes.py speed    # 2 processes against 1, B 64 and a core each
    python benchmarks/bench_processes.py kills    # a worker killed 10 times: the same weights?
    python benchmarks/bench_processes.py hosts    # two network namespaces, a folder each

`hosts` makes two namespaces with `ip netns`, for which one has to be root, and a cable between
them; where that is refused both meet on the loopback device, and it says so. Each host
has a folder of its own, and its own copy of the text.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
NUM_KILLS = 10
HOSTS = ("unrolled-a", "unrolled-b")


def torchrun(*options: str) -> list[str]:
    """Return the words that start processes of the command that comes after them."""
    return [sys.executable, "-m", "torch.distributed.run", *options, "-m", "--", "unrolled"]


def training(text: Path, run: Path, *options: str) -> list[str]:
    """Return the words of a training of a language model."""
    return ["train", "lm", str(text), "--run", str(run), "--cell", "gru", *options]


def start(
    command: Sequence[str], folder: Path, log: str, more: dict[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a command in a folder; what it says is in the file `log` there."""
    environment = os.environ | ONE_THREAD | (more or {})
    with (folder / log).open("wb") as file:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)


def finish(process: "subprocess.Popen[bytes]", folder: Path, log: str) -> None:
    """Wait for a command, and end with its words if it failed."""
    if process.wait():
        sys.exit((folder / log).read_text(errors="replace")[-3000:])


def weights(run: Path) -> bytes:
    """Return the weights that a run has kept."""
    return (run / "weights.safetensors").read_bytes()


def write_text(folder: Path, source: Path | None) -> Path:
    """Return a text in the folder: a copy of `source`, or numbers and their squares."""
    text = folder / "text.txt"
    if source is not None:
        shutil.copy(source, text)
    else:
        text.write_text("".join(f"{n} times {n} is {n * n}; " for n in range(20_000)))
    return text


def workers_of(pid: int) -> list[int]:
    """Return the processes that a torchrun has started, from /proc."""
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if path.read_text(errors="replace").rpartition(")")[2].split()[1] == str(pid)
    ]


def kills(folder: Path, text: Path) -> None:
    """Kill a worker ten times, and compare the weights with those of a run left alone."""
    options = ("--updates", "400", "--hidden-size", "64", "--checkpoint-seconds", "1")
    restarts = ("--standalone", "--nproc-per-node=2", f"--max-restarts={2 * NUM_KILLS}")
    finish(
        start(
            [*torchrun(*restarts), *training(text, folder / "alone", *options)], folder, "alone.txt"
        ),
        *(folder, "alone.txt"),
    )
    run, chance = folder / "killed", random.Random(0)
    process = start([*torchrun(*restarts), *training(text, run, *options)], folder, "killed.txt")
    num_killed = 0
    while process.poll() is None and num_killed < NUM_KILLS:
        log = run / "metrics.jsonl"
        size = log.stat().st_size if log.exists() else 0
        while process.poll() is None and not (log.exists() and log.stat().st_size > size):
            time.sleep(0.05)  # it trains again
        time.sleep(chance.uniform(0, 1))
        workers = workers_of(process.pid)
        if process.poll() is None and workers:
            try:
                os.kill(chance.choice(workers), signal.SIGKILL)
                num_killed += 1
            except ProcessLookupError:
                continue
    finish(process, folder, "killed.txt")
    same = weights(run) == weights(folder / "alone")
    print(f"killed {num_killed} times; weights {'the same' if same else 'DIFFER'}, byte by byte")


def hosts(folder: Path, text: Path) -> None:
    """Train on two hosts without a folder in common, and compare with two processes of one."""
    options = ("--updates", "200", "--hidden-size", "64")
    together = torchrun("--standalone", "--nproc-per-node=2")
    finish(
        start([*together, *training(text, folder / "one", *options)], folder, "one.txt"),
        *(folder, "one.txt"),
    )
    made = make_namespaces()
    first_address = "10.77.0.1" if made else "127.0.0.1"
    print("two network namespaces" if made else "no right to make namespaces: loopback instead")
    try:
        processes = []
        for number, name in enumerate(HOSTS):
            own = folder / name
            own.mkdir()
            shutil.copy(text, own / "text.txt")
            command = torchrun(
                "--nnodes=2",
                "--nproc-per-node=1",
                f"--node-rank={number}",
                f"--master-addr={first_address}",
                "--master-port=29577",
            )
            command += training(Path("text.txt"), Path("run"), *options)
            command = ["ip", "netns", "exec", name, *command] if made else command
            device = {"GLOO_SOCKET_IFNAME": f"cable{number}" if made else "lo"}
            processes.append((start(command, own, "said.txt", device), own))
        for process, own in processes:
            finish(process, own, "said.txt")
    finally:
        if made:
            remove_namespaces()
    first, second = (folder / name for name in HOSTS)
    same = weights(first / "run") == weights(folder / "one")
    print(f"weights {'the same' if same else 'DIFFER'} as of one host, byte by byte")
    print(f"the second host's folder has {sorted(each.name for each in second.iterdir())}")


def make_namespaces() -> bool:
    """Make two network namespaces with a cable between them; return whether that was allowed."""
    one, two = HOSTS
    commands = [f"netns add {one}", f"netns add {two}"]
    commands += [f"link add cable0 netns {one} type veth peer name cable1 netns {two}"]
    for number, name in enumerate(HOSTS):
        commands += [f"-n {name} addr add 10.77.0.{number + 1}/24 dev cable{number}"]
        commands += [f"-n {name} link set {device} up" for device in (f"cable{number}", "lo")]
    for command in commands:
        try:
            done = subprocess.run(["ip", *command.split()], capture_output=True, check=False)
        except FileNotFoundError:
            return False
        if done.returncode:
            print(done.stderr.decode().strip())
            remove_namespaces()
            return False
    return True


def remove_namespaces() -> None:
    """Remove what `make_namespaces` made; the cable goes with them."""
    for name in HOSTS:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def speed(folder: Path, text: Path, hidden_size: int, repeats: int) -> None:
    """Measure tokens a second of one process with 64 columns, and of two with 64 each."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for repeat in range(repeats):
        for number in rates:
            run = folder / f"{number}-{repeat}"
            options = ("--batch-size", str(64 * number), "--updates", "60", "--log-every", "10")
            options += ("--hidden-size", str(hidden_size), "--held-out", "0")
            words = training(text, run, *options)
            alone = [sys.executable, "-m", "unrolled"]
            command = alone if number == 1 else torchrun("--standalone", "--nproc-per-node=2")
            finish(start([*command, *words], folder, "said.txt"), folder, "said.txt")
            lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
            measured = [line["tokens_per_second"] for line in lines if line["kind"] == "train"]
            rates[number].append(statistics.median(measured[1:]))  # the first one warms up
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, GRU", end=" ")
    print(f"{hidden_size}, B 64 a process, {repeats} repeats; load {os.getloadavg()[0]:.1f}")
    for number, each in rates.items():
        spread = f"{min(each):,.0f} to {max(each):,.0f}"
        print(f"{number} process(es): {statistics.median(each):,.0f} tokens/s ({spread})")
    print(f"ratio {statistics.median(rates[2]) / statistics.median(rates[1]):.2f}, target 1.8")


def main() -> None:
    """Do what is asked for, in a folder that goes afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "kills", "hosts"))
    parser.add_argument("--text", type=Path, help="a text of a megabyte or more")
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = write_text(folder, arguments.text)
        if arguments.what == "speed":
            speed(folder, text, arguments.hidden_size, arguments.repeats)
        else:
            {"kills": kills, "hosts": hosts}[arguments.what](folder, text)


if __name__ == "__main__":
    main()
