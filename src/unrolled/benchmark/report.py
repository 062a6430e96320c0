"""The results: as JSON to keep, and as tables to read, one a section.

A table is made from the JSON, so that a file that was kept gives the same table again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from unrolled.benchmark.experiments import Busy, Memory
from unrolled.benchmark.grid import OURS
from unrolled.benchmark.lines import Line
from unrolled.benchmark.targets import LEAST_SHARE, largest_memory, largest_slowdown, target

__all__ = [
    "Entry",
    "Table",
    "as_markdown",
    "busy_as_json",
    "describe",
    "line_as_json",
    "memory_as_json",
    "summary",
    "tables",
]

Json = dict[str, Any]

_SMALLEST_SIZE_OF_SHARE = 256  # H from which a share of the peak is asked for


@dataclass(frozen=True)
class Entry:
    """A cell of a table: its text, and how it stands to its target, if it has one."""

    text: str
    standing: Literal["met", "missed", "failed", ""] = ""


@dataclass(frozen=True)
class Table:
    """A section: its title, the names of its columns, its rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Entry]]


def line_as_json(line: Line) -> Json:
    """Return everything that was measured of a work, with its targets."""
    ratios = {peer: line.ratio(peer) for peer in line.peers}
    goals = {
        peer: _goal(ratio, at_least=target(line.work, peer))
        for peer, ratio in ratios.items()
        if target(line.work, peer) is not None
    }
    share = line.share_of_peak
    if share is not None and line.work.hidden_size >= _SMALLEST_SIZE_OF_SHARE:
        goals["peak"] = _goal(share, at_least=LEAST_SHARE)
    return {
        "title": line.work.title,
        "section": line.work.section,
        "label": line.work.label,
        "work": asdict(line.work),
        "milliseconds": {name: asdict(times) for name, times in line.times.items()},
        "ratio": {peer: ratio for peer, ratio in ratios.items() if ratio is not None},
        "peak_gflops": line.peak_gflops,
        "share_of_peak": share,
        "prepare_seconds": line.prepare_seconds,
        "failures": line.failures,
        "targets": goals,
    }


def busy_as_json(busy: Busy) -> Json:
    """Return what was measured beside a busy process."""
    slowdown = {name: busy.slowdown(name) for name in busy.alone}
    return {
        "title": busy.title,
        "work": asdict(busy.work),
        "milliseconds": {
            "alone": {name: asdict(times) for name, times in busy.alone.items()},
            "beside": {name: asdict(times) for name, times in busy.beside.items()},
        },
        "slowdown": slowdown,
        "targets": _ours_at_most(slowdown[OURS], largest_slowdown(busy.work)),
    }


def memory_as_json(memory: Memory) -> Json:
    """Return what was measured of memory."""
    return {
        "title": memory.title,
        "work": asdict(memory.work),
        "peak_bytes": memory.peak_bytes,
        "ratio": memory.ratio,
        "targets": _ours_at_most(memory.ratio, largest_memory(memory.work)),
    }


def _ours_at_most(value: float, at_most: float | None) -> Json:
    return {} if at_most is None else {OURS: _goal(value, at_most=at_most)}


def _goal(
    value: float | None, *, at_least: float | None = None, at_most: float | None = None
) -> Json:
    """Return a target, and whether it is met: no value does not meet it."""
    if at_most is not None:
        return {"at_most": at_most, "met": value is not None and value <= at_most}
    assert at_least is not None
    return {"at_least": at_least, "met": value is not None and value >= at_least}


def tables(results: Json) -> list[Table]:
    """Return the tables of a results file."""
    sections: dict[str, list[Json]] = {}
    for line in results["lines"]:
        sections.setdefault(line["section"], []).append(line)
    shown_tables = [_section(title, lines) for title, lines in sections.items()]
    if busy := results.get("busy"):
        shown_tables.append(_busy_table(busy))
    if memory := results.get("memory"):
        shown_tables.append(_memory_table(memory))
    return shown_tables


def _section(title: str, lines: Sequence[Json]) -> Table:
    peers = list(dict.fromkeys(peer for line in lines for peer in _peers(line)))
    has_peak = any(line["share_of_peak"] is not None for line in lines)
    columns = ["", f"{OURS}, ms", *(["of peak"] if has_peak else []), *peers]
    return Table(title, columns, [_row(line, peers, has_peak) for line in lines])


def _peers(line: Json) -> list[str]:
    own = (OURS, f"{OURS}, tuned", "peak")
    return [name for name in {**line["ratio"], **line["failures"]} if name not in own]


def _row(line: Json, peers: Sequence[str], has_peak: bool) -> list[Entry]:
    row = [Entry(line["label"]), _time(line)]
    if has_peak:
        share = line["share_of_peak"]
        goal = line["targets"].get("peak")
        row.append(_against(share and f"{share:.0%}", goal, lambda least: f"{least:.0%}"))
    for peer in peers:
        ratio = line["ratio"].get(peer)
        if ratio is None and peer in line["failures"]:
            row.append(Entry("failed", "failed"))
        else:
            row.append(_against(ratio and f"{ratio:.2f}", line["targets"].get(peer)))
    return row


def _time(line: Json) -> Entry:
    """Return our median and how far the middle half reaches around it."""
    if OURS not in line["milliseconds"]:
        return Entry("failed", "failed")
    times = line["milliseconds"][OURS]
    spread = (times["quartiles"][1] - times["quartiles"][0]) / times["median"]
    return Entry(f"{_number(times['median'])} ±{spread / 2:.0%}")


def _against(text: str | None, goal: Json | None, shown: Any = "{:g}".format) -> Entry:
    """Return a figure, marked by how it stands to its target; a missed target is named."""
    if text is None or goal is None:
        return Entry(text or "")
    if goal["met"]:
        return Entry(f"{text} ✓", "met")
    sign, value = ("<", goal["at_least"]) if "at_least" in goal else (">", goal["at_most"])
    return Entry(f"{text} {sign} {shown(value)}", "missed")


def _number(milliseconds: float) -> str:
    """Return three digits that count."""
    digits = 1 if milliseconds >= 100 else 2 if milliseconds >= 1 else 4
    return f"{milliseconds:,.{digits}f}"


def _busy_table(busy: Json) -> Table:
    columns = ["", "alone, ms", "beside it, ms", "slowdown"]
    rows = [
        [
            Entry(name),
            Entry(_number(busy["milliseconds"]["alone"][name]["median"])),
            Entry(_number(busy["milliseconds"]["beside"][name]["median"])),
            _against(f"{slowdown:.2f}", busy["targets"].get(name)),
        ]
        for name, slowdown in busy["slowdown"].items()
    ]
    return Table(busy["title"], columns, rows)


def _memory_table(memory: Json) -> Table:
    ratio = _against(f"{memory['ratio']:.2f}", memory["targets"].get(OURS))
    rows = [
        [Entry(name), Entry(f"{size / 2**20:,.0f}"), ratio if name == OURS else Entry("")]
        for name, size in memory["peak_bytes"].items()
    ]
    return Table(memory["title"], ["", "MiB above inputs and weights", "of torch.nn's"], rows)


def summary(results: Json) -> list[str]:
    """Return the foot of the tables: how many targets are met, which are missed, what failed."""
    parts = [*results["lines"], *(results[key] for key in ("busy", "memory") if key in results)]
    goals = [
        (part["title"], name, goal) for part in parts for name, goal in part["targets"].items()
    ]
    lines = []
    if goals:
        met = sum(goal["met"] for _, _, goal in goals)
        lines.append(f"{met} of {len(goals)} targets met")
        lines += [f"missed: {title}, {name}" for title, name, goal in goals if not goal["met"]]
    for part in results["lines"]:
        for name, reason in part["failures"].items():
            lines.append(f"failed: {part['title']}, {name}: {reason}")
    return lines


def as_markdown(tables: Iterable[Table]) -> str:
    """Return tables as Markdown."""
    return "\n\n".join(
        "\n".join(
            [
                f"**{table.title}**",
                "",
                _markdown_row(table.columns),
                "|" + "|".join(["---", *["---:"] * (len(table.columns) - 1)]) + "|",
                *(_markdown_row([entry.text for entry in row]) for row in table.rows),
            ]
        )
        for table in tables
    )


def _markdown_row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def describe(machine: Mapping[str, Any]) -> str:
    """Return the machine and the libraries of a results file in a line or two."""
    versions = machine["versions"]
    names = ", ".join(f"{name} {number}" for name, number in versions.items())
    peak = ", ".join(f"{gflops:.0f} on {n}" for n, gflops in machine["peak_gflops"].items())
    return (
        f"{machine['processor']}, {machine['vector_extensions']}, {machine['cores']} cores, "
        f"{machine['threads']} threads; FMA peak {peak or 'unknown'} (GFLOP/s on cores)\n{names}"
    )
