"""How soon a training on a text larger than memory begins, and how much memory it takes.

A text of so many gigabytes is made of the given ones, again and again, each time after a line with
a number. Then for each kind of tokens `unrolled train lm` runs on it for a few updates: the time
from the start of the process to the end of the first update, the time without the first evaluation,
which reads what is held out, the processor time, and the highest resident memory of the largest
process (VmHWM; Linux). The first command may find none of the text in the system's cache, the next
ones some: the load and the rate at which the file is read without us are printed beside it.

    python benchmarks/bench_long_text.py input.txt other.txt --folder long --gigabytes 10
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_UPDATES = 20  # after which a training is stopped


def make(path, sources, num_bytes):
    """Write a text of at least `num_bytes`, unless it is there."""
    if path.exists() and path.stat().st_size >= num_bytes:
        return
    if shutil.disk_usage(path.parent).free < num_bytes + 2**30:
        sys.exit(f"{path.parent}: less than {num_bytes / 1e9:g} GB are free")
    block = b"".join(Path(source).read_bytes() for source in sources)
    written = number = 0
    with path.open("wb") as file:
        while written < num_bytes:
            written += file.write(b"part %d\n" % number + block)
            number += 1


def read_rate(path):
    """Return how fast a file is read from end to end, in MB/s."""
    start = time.monotonic()
    with path.open("rb", buffering=0) as file:
        while file.read(2**22):
            pass
    return path.stat().st_size / 1e6 / (time.monotonic() - start)


def peak(pid):
    """Return the highest resident memory of a process so far, in bytes; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def processor_seconds(pid):
    """Return the seconds that a process has had of processors."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def measure(path, run, tokens, processes, rest):
    """Train for a few updates; return their seconds, processor seconds, and bytes of memory."""
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "-m", "unrolled", "train", "lm", path, "--run", run]
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        command[1:2] = [*torchrun, "-m", "--"]
    command += ["--tokens", tokens, "--log-every", "1", *rest]
    start, first, used, most, log = time.monotonic(), None, 0.0, 0, run / "metrics.jsonl"
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    updates, family = 0, []
    while process.poll() is None and updates < _UPDATES:
        time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        family = [process.pid, *map(int, children.read_text().split())] if children.exists() else []
        most = max([most, *map(peak, family)])
        updates = log.read_text().count('"kind": "train"') if log.exists() else 0
        if first is None and updates:
            first, used = time.monotonic() - start, sum(map(processor_seconds, family))
    for each in [process.pid, *family]:
        if peak(each):
            os.kill(each, signal.SIGKILL)
    process.wait()
    if first is None:
        sys.exit(f"the training ended with {process.returncode} before its first update")
    lines = map(json.loads, log.read_text().splitlines())
    evaluated = next(line["elapsed_seconds"] for line in lines if line["kind"] == "held_out")
    return first, first - evaluated, used, most


def main():
    """Make the text, and print a line for each kind of tokens."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", help="texts that the long one is made of")
    parser.add_argument("--folder", type=Path, required=True, help="for the text and the runs")
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--tokens", nargs="+", default=["char", "byte", "word"])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="do not remove the text at the end")
    parser.add_argument("--options", default="", help="more options of `unrolled train lm`")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / "long.txt"
    make(path, arguments.sources, arguments.gigabytes * 1e9)
    print(f"{path.stat().st_size:,} bytes; {platform.machine()}, {os.cpu_count()} processors")
    try:
        for tokens in arguments.tokens:
            load = os.getloadavg()[0]
            rest = arguments.options.split()
            run = arguments.folder / f"run-{tokens}"
            first, scan, used, most = measure(path, run, tokens, arguments.processes, rest)
            print(
                f"{tokens}: first update after {first:.1f} s, {scan:.1f} s without the first "
                f"evaluation; {used:.1f} s of processors until then; {most / 1e9:.2f} GB resident; "
                f"load before: {load:.1f}",
                flush=True,
            )
        print(f"the file alone, read from end to end: {read_rate(path):.0f} MB/s")
    finally:
        if not arguments.keep:
            path.unlink()


if __name__ == "__main__":
    main()
