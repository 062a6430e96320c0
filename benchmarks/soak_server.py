"""The memory of `unrolled serve` while many visitors use it for a long time.

    python benchmarks/soak_server.py RUN [--sessions 200] [--minutes 30]

Each visitor has a session and behaves as somebody in front of the page does: types, looks at units
and at the map, asks for gradients, has a text written, leaves at times, and somebody else comes.
RUN is a language model. A line every few seconds: minutes, requests a second, refusals by status,
memory of the server's process; in the end how memory changed over the second half. It grows until
readings fill `Limits.readings_bytes`, later with a smaller model, and is flat from then on.
Needs Linux, for /proc.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx2

TEXT = "Before we proceed any further, hear me speak. You are all resolved rather to die. "


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--pause", type=float, default=4.0, help="Seconds between two questions.")
    chosen = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-m", "unrolled", "serve", str(chosen.run), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        address = server.stdout.readline().strip()
        asyncio.run(soak(address, server.pid, chosen))
    finally:
        server.terminate()
        server.wait()


async def soak(address: str, pid: int, chosen: argparse.Namespace) -> None:
    counts: Counter[int] = Counter()
    end = time.monotonic() + 60 * chosen.minutes
    limits = httpx2.Limits(max_connections=chosen.sessions, max_keepalive_connections=100)
    async with httpx2.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        run = (await client.get("/api/runs")).json()["runs"][0]
        visitors = [
            visit(client, run, random.Random(number), counts, end, chosen.pause)
            for number in range(chosen.sessions)
        ]
        await asyncio.gather(watch(pid, counts, end, chosen), *visitors)


async def visit(
    client: httpx2.AsyncClient,
    run: dict,
    chance: random.Random,
    counts: Counter[int],
    end: float,
    pause: float,
) -> None:
    """Be one visitor after the other."""

    async def ask(path: str, **question: object) -> None:
        question = {"run": run["name"], "text": text} | question
        headers = {"X-Session": session}
        try:
            answer = await client.post(f"/api/{path}", json=question, headers=headers)
            counts[answer.status_code] += 1
        except httpx2.TransportError:
            counts[0] += 1
        await asyncio.sleep(chance.uniform(0, 2 * pause))

    known = run["characters"]
    pool = [c for c in TEXT if known is None or c in known] or [*known]
    signals = [signal["name"] for signal in run["signals"]]
    while time.monotonic() < end:
        session = (await client.post("/api/session")).json()["session"]
        text = "".join(chance.choices(pool, k=chance.choice((5, 50, 200, 1000, 3000))))
        for _ in range(chance.randint(5, 60)):
            if time.monotonic() > end:
                return
            text = (text + chance.choice(pool))[-3990:]
            name, unit = chance.choice(signals), chance.randrange(run["hidden_size"])
            await ask("read", signal={"name": name, "unit": unit}, expected=True)
            match chance.randrange(12):
                case 0:
                    await ask("unit", unit=unit)
                case 1:
                    await ask("map", name=name, stop=min(400, len(text)))
                case 2:
                    await ask("rank", name=name)
                case 3:
                    await ask("gradient")
                case 4 if run["writes"]:
                    await ask("generate", length=100)


async def watch(pid: int, counts: Counter[int], end: float, chosen: argparse.Namespace) -> None:
    """Print a line every few seconds, and what became of the memory."""
    begin = before = time.monotonic()
    asked, seen = 0, []
    every = max(5.0, 60 * chosen.minutes / 40)
    while time.monotonic() < end:
        await asyncio.sleep(every)
        now, total = time.monotonic(), counts.total()
        memory = megabytes(pid)
        seen.append(memory)
        others = {status: n for status, n in sorted(counts.items()) if status != 200}
        rate = (total - asked) / (now - before)
        print(
            f"{(now - begin) / 60:6.1f} min {rate:6.0f}/s {memory:8.0f} MB  {others or ''}",
            flush=True,
        )
        before, asked = now, total
    half = seen[len(seen) // 2 :]
    lowest, highest, change = min(half), max(half), half[-1] - half[0]
    print(f"{chosen.sessions} sessions, {counts.total():,} requests")
    print(f"second half: {lowest:.0f} to {highest:.0f} MB, {change:+.0f} MB in its course")


def megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
