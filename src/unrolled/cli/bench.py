"""`unrolled bench`: the layers against their peers. Options, the display, the results file."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unrolled.cli.terminal import say

if TYPE_CHECKING:
    from rich.console import Console

    from unrolled.benchmark.lines import Progress
    from unrolled.benchmark.report import Table

__all__ = ["bench"]

_STYLES = {"met": "green", "missed": "bold red", "failed": "bold red", "": ""}
_LARGEST_LOAD = 0.5
_PACKAGES = ("unrolled", "torch", "numpy", "onnxruntime", "onnx", "jax", "jaxlib")
_LEGEND = (
    "Medians and half the width of their middle half. Under a peer: its time by ours, above 1 ours "
    "is faster; ✓ reaches our target, < misses the one named. tuned: by an allocator that keeps "
    "large buffers, both of us."
)


def bench(
    only: Annotated[
        str, typer.Option(metavar="TEXT", help="Only the lines that contain this text.")
    ] = "",
    seconds: Annotated[
        float, typer.Option(help="Seconds to measure each line for; slow ones take longer.")
    ] = 4.0,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of every contestant.", show_default="as torch chooses"),
    ] = None,
    peers: Annotated[
        str, typer.Option(metavar="A,B,...", help="Peers to measure against.")
    ] = "torch,tuned,compiled,onnxruntime,jax",
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes, to check that everything works.")
    ] = False,
    neighbour: Annotated[
        bool,
        typer.Option("--neighbour", help="Also measure beside a process that keeps a core busy."),
    ] = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="Also measure the peak memory of a long training.")
    ] = False,
    results: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write all figures to, as JSON.")
    ] = None,
    list_lines: Annotated[
        bool, typer.Option("--list", help="List the lines and their peers, and measure nothing.")
    ] = False,
) -> None:
    r"""Measure the layers against torch, torch.compile, ONNX Runtime and JAX.

    Contestants take turns, each in a process of its own. All lines take about an hour.
    The peers that torch does not bring: pip install "unrolled\[bench]".
    """
    from unrolled.benchmark import Settings, all_works
    from unrolled.benchmark.experiments import busy_title, busy_work, memory_title, memory_work
    from unrolled.benchmark.grid import PROCESSES, missing, peers_of, process_of
    from unrolled.errors import OptionError

    processes = frozenset(filter(None, peers.split(",")))
    if unknown := processes - PROCESSES.keys():
        raise OptionError(f"--peers: no peer {min(unknown)!r}", f"there are {', '.join(PROCESSES)}")
    if seconds <= 0:
        raise OptionError(f"--seconds must be above 0, got {seconds}", "4 is enough")
    if threads is not None and threads < 1:
        raise OptionError(f"--threads must be at least 1, got {threads}", "leave it out")
    if results is not None and not results.parent.is_dir():
        raise OptionError(f"--results: there is no folder {results.parent}", "make it")
    works = [work for work in all_works(quick=quick) if only in work.title]
    experiments = {}
    if neighbour and only in busy_title(work := busy_work(quick=quick)):
        experiments["busy"] = work
    if memory and only in memory_title(work := memory_work(quick=quick)):
        experiments["memory"] = work
    if list_lines:
        for work in works:
            named = [peer for peer in peers_of(work) if process_of(peer) in processes]
            say(f"{work.title:<60}{'; '.join(named)}")
        titles = {"busy": busy_title, "memory": memory_title}
        for name, work in experiments.items():
            say(f"{titles[name](work):<60}torch.nn")
        return
    if not works and not experiments:
        raise OptionError(f"--only: no line contains {only!r}", "unrolled bench --list names them")

    from unrolled.cli.progress import make_console

    console = make_console()
    for process in sorted(processes):
        if packages := missing(process):
            message = f"{process} is left out: {', '.join(packages)} not installed"
            console.print(f'{message}; pip install "unrolled[bench]"')
    import torch

    settings = Settings(threads or torch.get_num_threads(), seconds, processes)
    _run(console, settings, works, experiments, results)


def _run(
    console: "Console",
    settings: Any,
    works: list[Any],
    experiments: dict[str, Any],
    file: Path | None,
) -> None:
    """Measure everything, write the file after each line, and print the tables."""
    from unrolled.benchmark import measure, report
    from unrolled.benchmark.experiments import measure_busy, measure_memory
    from unrolled.benchmark.worker import WorkerError

    measurements: dict[str, Any] = {"machine": _machine(console, settings), "lines": []}
    for line in report.describe(measurements["machine"]).splitlines():
        console.print(line)
    total = len(works) + len(experiments)
    try:
        for number, work in enumerate(works, 1):
            with _shown(console, f"{number}/{total} {work.title}") as progress:
                measurements["lines"].append(report.line_as_json(measure(work, settings, progress)))
            _keep(file, measurements)
        for number, (name, work) in enumerate(experiments.items(), len(works) + 1):
            with _shown(console, f"{number}/{total} {name}: {work.title}") as progress:
                try:
                    if name == "busy":
                        busy = measure_busy(work, settings, progress)
                        measurements[name] = report.busy_as_json(busy)
                    else:
                        measurements[name] = report.memory_as_json(measure_memory(work, settings))
                except WorkerError as error:
                    console.print(f"{name}: {error}", style="bold red")
            _keep(file, measurements)
    except KeyboardInterrupt:
        _print(measurements, interrupted=True)
        raise typer.Exit(130) from None
    _print(measurements)


def _machine(console: "Console", settings: Any) -> dict[str, Any]:
    import torch

    from unrolled.benchmark.lines import measure_peak
    from unrolled.benchmark.machine import available_cores, caches, load, processor, versions
    from unrolled.benchmark.worker import WorkerError

    load_before, peak = load(), {}
    if load_before is not None and load_before > _LARGEST_LOAD:
        console.print(f"this machine is busy (load {load_before:.1f}): timings will be unreliable")
    try:
        peak = measure_peak(settings.num_threads)
    except WorkerError as error:
        console.print(f"no share of the peak: {error}")
    return {
        "processor": processor(),
        "cores": available_cores(),
        "data_caches": caches(),
        "vector_extensions": torch.backends.cpu.get_cpu_capability(),
        "threads": settings.num_threads,
        "seconds": settings.seconds,
        "load_before": load_before,
        "peak_gflops": peak,
        "versions": versions(_PACKAGES),
    }


@contextmanager
def _shown(console: "Console", title: str) -> Iterator["Progress"]:
    """Show what is being measured: a line that changes in a terminal, one line anywhere else."""
    from unrolled.benchmark.lines import in_silence

    if not console.is_interactive:
        console.print(title)
        yield in_silence
        return
    with console.status(title) as status:
        yield lambda text: status.update(f"{title}: {text}")


def _keep(file: Path | None, measurements: dict[str, Any]) -> None:
    if file is None:
        return
    from unrolled.data.files import write_atomically
    from unrolled.errors import RunError

    try:
        with write_atomically(file) as opened:
            opened.write(json.dumps(measurements, indent=1).encode() + b"\n")
    except OSError as error:
        raise RunError(f"{file}: {error.strerror}") from error


def _print(measurements: dict[str, Any], *, interrupted: bool = False) -> None:
    """Print the tables on stdout: with lines and colours in a terminal, as Markdown elsewhere."""
    from unrolled.benchmark import report
    from unrolled.cli.progress import plain_console

    tables, foot = report.tables(measurements), report.summary(measurements)
    if interrupted:
        foot.append("interrupted: what is above is what was measured")
    if not sys.stdout.isatty():
        say(f"{report.describe(measurements['machine'])}\n\n{_LEGEND}\n")
        say(report.as_markdown(tables))
        say("\n" + "\n".join(foot))
        return
    console = plain_console()
    for table in tables:
        console.print(_as_rich(table))
    console.print(_LEGEND, style="dim")
    for line in foot:
        console.print(line, style="bold")


def _as_rich(table: "Table") -> Any:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for index, column in enumerate(table.columns):
        drawn.add_column(column, justify="right" if index else "left", no_wrap=not index)
    for row in table.rows:
        drawn.add_row(*(Text(entry.text, style=_STYLES[entry.standing]) for entry in row))
    return drawn
