"""Published tables, run again: each figure beside the paper's.

What is trained, and what the papers say, is in `papers.toml`. What is done is kept: the same
command goes on where it stopped, within a training too. Given at the same time on several computers
that see the folder of `--out`, the command shares the trainings among them.

    python benchmarks/reproduce/run.py --list
    python benchmarks/reproduce/run.py bai-jsb bai-adding --data DATA --out runs/reproduce
    python benchmarks/reproduce/run.py --out runs/reproduce --table

DATA is a folder with `seq_benchmarks/mnist` (the files of LeCun's set, in IDX),
`seq_benchmarks/poly-music` (JSB_Chorales.mat, Nottingham.mat) and
`char_lm/tinyshakespeare/input.txt`.
"""

import argparse
import datetime
import gzip
import json
import platform
import random
import shlex
import subprocess
import sys
import threading
import time
import tomllib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unrolled.comparison import Claims
from unrolled.data.files import to_json, write_atomically

HERE = Path(__file__).parent
PIXELS = 28 * 28
NO_ROWS = (
    "Copy and adding of van der Westhuizen and Lasenby 2018 and of Tallec and Ollivier 2018, of "
    "which they have curves and no figures; docs/toy.md has chrono initialization on both",
    "The warped sequences of Tallec and Ollivier 2018: curves, too, and no toy problem here",
    "char-rnn (Karpathy 2015), which has no table of figures",
    "Character Penn Treebank of Bai, Kolter and Koltun 2018: the text is not free",
)
"""What others ran, or published, of which there is nothing to stand beside."""


def read_idx(path: Path, head: int) -> bytes:
    """Return the numbers of an IDX file, whose first `head` bytes say what they are."""
    found = next(path.parent.glob(f"{path.name}*"), path)
    content = found.read_bytes()
    return (gzip.decompress(content) if found.suffix == ".gz" else content)[head:]


def write_pictures(path: Path, pictures: bytes, labels: bytes, order: Sequence[int]) -> None:
    """Write a table with a row for each picture: its pixels in [0, 1] in `order`, its label."""
    with write_atomically(path) as file:  # others may write it at the same time
        columns = [*(f"p{place}" for place in range(PIXELS)), "label"]
        file.write((",".join(columns) + "\n").encode())
        for row, label in enumerate(labels):
            pixels = pictures[row * PIXELS : (row + 1) * PIXELS]
            numbers = [f"{pixels[place] / 255:.4g}" for place in order]
            file.write((",".join([*numbers, f"digit{label}"]) + "\n").encode())


def make_mnist(data: Path, made: Path) -> None:
    """Write the pictures as sequences of pixels, in order and permuted, where they are not yet."""
    folder = data / "seq_benchmarks" / "mnist"
    order = list(range(PIXELS))
    permuted = order.copy()
    random.Random(92).shuffle(permuted)
    for part, suffix in (("train20k", ""), ("t10k", "-test")):
        paths = {made / f"mnist{suffix}.csv": order, made / f"pmnist{suffix}.csv": permuted}
        if all(path.exists() for path in paths):
            continue
        pictures = read_idx(folder / f"{part}-images-idx3-ubyte", 16)
        labels = read_idx(folder / f"{part}-labels-idx1-ubyte", 8)
        for path, places in paths.items():
            write_pictures(path, pictures, labels, places)


def rows_of(papers: dict[str, Any], names: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """Name, cell and row of every training of the rows with these names; of all, if none is."""
    for name, row in papers.items():
        if not names or name in names:
            yield from ((name, cell, row) for cell in row["published"])


@contextmanager
def alive(claims: Claims) -> Iterator[None]:
    """Give a sign of life for the claims inside the `with` block, however long a training takes."""
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(1):
            claims.keep()

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def train(row: Any, cell: str, run: Path, data: Path, made: Path) -> Any:
    """Return the results of a training, which is done or gone on with if it is not there."""
    results = run / "results.json"
    unrolled = [sys.executable, "-m", "unrolled"]
    if not results.exists():
        if (run / "last.ckpt").exists():
            command = [*unrolled, "resume", str(run)]
        else:
            options = row.get("options", {}).get(cell, "")
            words = shlex.split(f"{row['command']} --cell {cell} {options}")
            filled = [w.replace("DATA", str(data)).replace("MADE", str(made)) for w in words]
            command = [*unrolled, *filled, "--run", str(run)]
        print("$", shlex.join(command), flush=True)
        subprocess.run(command, check=True)
    return json.loads(results.read_text(encoding="utf-8"))


def read_figures(path: Path) -> dict[str, Any]:
    """Return what has been measured so far, by row and cell."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def add(path: Path, name: str, figure: dict[str, Any], claims: Claims) -> None:
    """Add a figure to the file that has all of them, while no other process does."""
    while not claims.take(path):
        time.sleep(0.1)
    try:
        with write_atomically(path) as file:
            file.write(to_json(read_figures(path) | {name: figure}, indent=2))
    finally:
        claims.release(path)


def table_of(papers: dict[str, Any], found: dict[str, Any]) -> str:
    """Return a table in Markdown: each figure beside the published one."""
    lines = [
        "| paper | what | cell | published | here | updates | time |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, cell, row in rows_of(papers, ()):
        one = found.get(f"{name}/{cell}")
        here = "not run" if one is None else f"{one['figure']:.4g}"
        updates = "" if one is None else f"{one['updates']:,}"
        took = "" if one is None else f"{one['seconds'] / 60:.0f} min"
        what = f"{row['what']}, {row['unit']}"
        lines.append(
            f"| {row['paper']} | {what} | {cell} | {row['published'][cell]:g} | {here} | {updates} "
            f"| {took} |"
        )
    differing = [
        f"- {row['what']}: {row['differs']}." for row in papers.values() if "differs" in row
    ]
    lines += ["", "In what ours differ:", "", *differing]
    return "\n".join([*lines, "", "Not among the rows:", "", *(f"- {line}." for line in NO_ROWS)])


def main() -> None:
    """Train what is named, in turn."""
    papers = tomllib.loads((HERE / "papers.toml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help="all, if none is named")
    parser.add_argument("--list", action="store_true", help="show the rows, and train nothing")
    parser.add_argument("--table", action="store_true", help="show what there is, in Markdown")
    parser.add_argument("--cells", help="only these, such as lstm,tcn")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce"))
    options = parser.parse_args()
    if unknown := [row for row in options.rows if row not in papers]:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(papers)}")
    if options.list:
        for name, row in papers.items():
            print(f"{name:15s} {', '.join(row['published'])}: {row['what']} ({row['paper']})")
        return
    path = options.out / "reproduce.json"
    if options.table:
        print(table_of(papers, read_figures(path)))
        return
    made = options.out / "data"
    made.mkdir(parents=True, exist_ok=True)
    wanted = options.cells.split(",") if options.cells else None
    pending = deque(
        (name, cell, row)
        for name, cell, row in rows_of(papers, options.rows)
        if wanted is None or cell in wanted
    )
    claims, in_a_row = Claims(), 0  # others' claims met in a row
    while pending:
        name, cell, row = pending.popleft()
        run = options.out / f"{name}-{cell}"
        if not claims.take(run):
            pending.append((name, cell, row))
            in_a_row += 1
            if in_a_row == len(pending):
                print(f"waiting for {in_a_row} that others have claimed", flush=True)
            if in_a_row >= len(pending):
                time.sleep(1)
            continue
        in_a_row = 0
        try:
            with alive(claims):
                if row.get("needs") == "mnist":
                    make_mnist(options.data, made)
                results = train(row, cell, run, options.data, made)
        finally:
            claims.release(run)
        figure = {
            "figure": results["metrics"][row["metric"]],
            "published": row["published"][cell],
            "parameters": results["parameters"],
            "updates": results["updates"],
            "seconds": results["elapsed_seconds"],
            "seed": results["seed"],
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": platform.machine(),
        }
        add(path, f"{name}/{cell}", figure, claims)
        print(
            f"{name} {cell}: {row['metric']} {figure['figure']:.4g}, "
            f"published {row['published'][cell]:g}",
            flush=True,
        )


if __name__ == "__main__":
    main()
