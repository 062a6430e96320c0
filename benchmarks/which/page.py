"""The page of what `run.py` trained, and its figures, from the file of results alone.

Where the results are of a part of what `run.py` would train, the page says which.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from curves import svg
from ranks import LEVEL, agreement, mean_ranks, ranks, smallest_difference, told_apart

from unrolled.data.files import write_atomically

NAME = "which-cell.md"
FINDINGS = Path(__file__).parent / "findings.md"
CONTROL = "lstm"
SEEDS = 3
HIGHER = ("accuracy", "correct_sums", "macro_f1")
_BEGIN = """# Which cell?

<!-- Made of benchmarks/results/which.json by the last command below. Edit neither. -->

Every [published cell](catalogue.md) on the same data, at the same budget of parameters and
updates, with `tcn` and `dense`, a network without memory, beside them. One command, which goes on
where it stopped, and shares its trainings among computers that see the same folder:

```sh
python benchmarks/which/run.py --data DATA --out runs/which --seeds 3
python benchmarks/which/run.py --out runs/which --gather benchmarks/results/which.json
python benchmarks/which/run.py --write DIR
```

With the same seed all cells have the same split and the same batches. Each has as many hidden
units as the budget allows, and the task's default learning rate, which suits some better than
others. The budgets are small: what is compared is who learns soonest, and not where each would end.
Cells are ranked by the held-out part, which also chose the weights that are kept; the test part,
where there is one, stands beside it and ranks nothing. Spread is the standard deviation over seeds;
seconds are the processor's, of a whole training with its reading and its evaluations, with one
thread; those of a process that was killed are not among them.
"""


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Write the page into a folder, and its figures into a folder `images` of that."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / NAME) as file:
        file.write(page(results).encode())
    for name in _shown(results):
        with write_atomically(folder / "images" / f"which-{name}.svg") as file:
            file.write(figure(results, name).encode())


def page(results: Mapping[str, Any]) -> str:
    """Return the page in Markdown."""
    parts = [_BEGIN, _run(results), _findings(results), _overall(results)]
    parts += [_section(results, name) for name in _shown(results)]
    return "\n".join(part for part in parts if part)


def figure(results: Mapping[str, Any], name: str) -> str:
    """Return the learning curves of a data set."""
    one, trained = results["sets"][name], results["trainings"][name]
    curves = {cell: _mean_curve(list(by_seed.values())) for cell, by_seed in trained.items()}
    order = [cell for cell, _ in _ordered(results, name)]
    known = [cell for cell in (CONTROL, "gru", "dense") if cell in curves]
    named = list(dict.fromkeys([*order[:4], *known]))
    return svg(curves, named, "updates", f"{one['unit']}, held out")


def better(one: Mapping[str, Any]) -> str:
    """Return which way the metric of a data set is better."""
    return "higher" if one["metric"] in HIGHER else "lower"


def _shown(results: Mapping[str, Any]) -> list[str]:
    """Return the data sets that every cell was trained on, with a seed at least."""
    return [name for name in results["trainings"] if blocks(results, name)]


def blocks(results: Mapping[str, Any], name: str) -> list[dict[str, float]]:
    """Return the ranks of all cells for each seed of a data set that all of them have."""
    trained, cells = results["trainings"].get(name, {}), results["cells"]
    if any(cell not in trained for cell in cells):
        return []
    seeds = sorted(set.intersection(*(set(trained[cell]) for cell in cells)))
    way = better(results["sets"][name])
    return [
        ranks({cell: _mean([trained[cell][seed]["held_out"]]) for cell in cells}, way)
        for seed in seeds
    ]


def _run(results: Mapping[str, Any]) -> str:
    """Return what was run and what was not."""
    about, cells = results["about"], results["cells"]
    lines = ["## What was run", ""]
    total = sum(len(seeds) for of_set in results["trainings"].values() for seeds in of_set.values())
    every = SEEDS * len(cells) * len(results["sets"])
    lines.append(
        f"{total:,} of {every:,} trainings, {about['from']} to {about['to']}, torch "
        f"{about['torch']}, {about['machine']}, one thread, on a machine that had other work."
    )
    if absent := results.get("absent"):
        lines[-1] += f" Not among the cells: {', '.join(map(_linked, absent))}."
    lines += ["", "| data | what is learned | parameters | cells with seed 0, 1, 2 | not run |"]
    lines.append("|---|---|---:|---|---|")
    for name, one in results["sets"].items():
        trained = results["trainings"].get(name, {})
        counts = [
            sum(str(seed) in trained.get(cell, {}) for cell in cells) for seed in range(SEEDS)
        ]
        shown = ", ".join(str(count) for count in counts) + f" of {len(cells)}"
        missing = SEEDS * len(cells) - sum(counts)
        is_shown = name in _shown(results)
        title = f"[{one['title']}](#{_anchor(one['title'])})" if is_shown else one["title"]
        lines.append(
            f"| {title} | {one['what']} | {one['parameters']:,} | {shown} | {missing or ''} |"
        )
    return "\n".join([*lines, ""])


def _findings(results: Mapping[str, Any]) -> str:
    """Return what people saw in the results of a day, where these are still of that day."""
    head, _, text = FINDINGS.read_text(encoding="utf-8").partition("\n\n")
    return f"## What surprised\n\n{text}" if head == f"<!-- {_day(results)} -->" else ""


def _day(results: Mapping[str, Any]) -> str:
    return str(results["about"]["to"])


def _overall(results: Mapping[str, Any]) -> str:
    """Return what all data sets together say."""
    lines = ["## Over all data sets", ""]
    by_set = {name: blocks(results, name) for name in results["sets"]}
    whole = {name: mean_ranks(of_set) for name, of_set in by_set.items() if of_set}
    if len(whole) < 2:
        had = len(whole) or "none"
        lines.append(
            "An order over data sets needs two of them that every cell was trained on; there is "
            f"{had}. A data set whose cells were not all trained has no table: of some cells alone "
            "it would say which were begun with, and not which is better."
        )
        return "\n".join([*lines, ""])
    again = [ranks(means, "lower") for means in whole.values()]
    means, (w, p) = mean_ranks(again), agreement(again)
    least = smallest_difference(len(means), len(again), len(means) - 1)
    titles = [results["sets"][name]["title"] for name in whole]
    apart = told_apart(means, len(again), CONTROL)
    lines.append(
        f"Ranks on {', '.join(titles)}, which all cells were trained on. The data sets agree on "
        f"the order with Kendall's W = {w:.2f} (0: not at all, 1: wholly; Friedman's p {_p(p)}). "
        f"From `{CONTROL}`, rank {means[CONTROL]:.1f}, {_told(apart, least)} (Holm's procedure "
        f"over {len(means) - 1} differences, {LEVEL:.0%}; Demšar 2006)."
    )
    lines += ["", f"| | cell | mean rank | {' | '.join(titles)} |"]
    lines.append("|---:|---|---:|" + "---:|" * len(whole))
    for place, cell in enumerate(sorted(means, key=lambda cell: means[cell]), 1):
        each = " | ".join(f"{of_set[cell]:.0f}" for of_set in again)
        lines.append(f"| {place} | {_linked(cell)} | {means[cell]:.1f} | {each} |")
    return "\n".join([*lines, ""])


def _section(results: Mapping[str, Any], name: str) -> str:
    one = results["sets"][name]
    ordered = _ordered(results, name)
    lines = [
        f"## {one['title']}",
        "",
        f"{one['what'][0].upper()}{one['what'][1:]}. Ranked by {one['unit']}, "
        f"{better(one)} is better.",
        "",
        "```sh",
        f"unrolled compare {one['command']} \\",
        f"    --cells {CONTROL},gru --parameters {one['parameters']} --seeds 3",
        "```",
        "",
        f"![Learning curves on {one['title']}](images/which-{name}.svg)",
        "",
        *_words(results, name, ordered),
        "",
        "| | cell | held out | test | seeds | hidden size | parameters | updates | seconds | MB |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for place, (cell, trainings) in enumerate(ordered, 1):
        test = [each["test"] for each in trainings if "test" in each]
        first = trainings[0]
        lines.append(
            f"| {place} | {_linked(cell)} | {_spread([each['held_out'] for each in trainings])} | "
            f"{_spread(test)} | {len(trainings)} | {first['hidden_size']:,} | "
            f"{first['parameters']:,} | "
            f"{fmean(each['updates'] for each in trainings):,.0f} | "
            f"{_mean_seconds(trainings)} | "
            f"{max(each['megabytes'] for each in trainings)} |"
        )
    return "\n".join([*lines, ""])


def _words(results: Mapping[str, Any], name: str, ordered: Any) -> Iterator[str]:
    """Yield what the table says, and what it does not."""
    places = {cell: place for place, (cell, _) in enumerate(ordered, 1)}
    if CONTROL in places:
        place = f"number {places[CONTROL]} of {len(places)}"
        yield f"`{ordered[0][0]}` is first and `{CONTROL}` {place}."
    if "dense" in places:
        worse = len(places) - places["dense"]
        yield f"{worse} are behind `dense`, which has no memory."
    of_seeds = blocks(results, name)
    if len(of_seeds) < 2:
        yield "Fewer than two seeds have all cells: no order here can be told from luck."
        return
    w, p = agreement(of_seeds)
    means = mean_ranks(of_seeds)
    apart = told_apart(means, len(of_seeds), CONTROL)
    least = smallest_difference(len(means), len(of_seeds), len(means) - 1)
    yield (
        f"The {len(of_seeds)} seeds agree on the order with Kendall's W = {w:.2f} (Friedman's p "
        f"{_p(p)}). By its mean rank, from `{CONTROL}` {_told(apart, least)}."
    )


def _told(apart: Sequence[str], least: float) -> str:
    """Return which cells can be told apart, or how far apart they would have to be."""
    if apart:
        return f"{', '.join(f'`{cell}`' for cell in apart)} can be told apart"
    return f"no cell can be told apart: mean ranks would have to be {least:.0f} apart"


def _ordered(results: Mapping[str, Any], name: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the cells of a data set with their trainings, the best mean first."""
    trained = {cell: list(seeds.values()) for cell, seeds in results["trainings"][name].items()}
    means = {cell: _mean([each["held_out"] for each in of]) for cell, of in trained.items()}
    order = ranks(means, better(results["sets"][name]))
    return sorted(trained.items(), key=lambda pair: order[pair[0]])


def _mean(figures: Sequence[float | None]) -> float:
    """Return the mean of what there is of every seed; not a number where one diverged."""
    return fmean(math.nan if figure is None else figure for figure in figures)


def _mean_curve(trainings: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    return [
        (points[0][0], _mean([figure for _, figure in points]))
        for points in zip(*(each["curve"] for each in trainings), strict=False)
    ]


def _spread(figures: Sequence[float | None]) -> str:
    if not figures:
        return ""
    known = [figure for figure in figures if figure is not None]
    if len(known) < len(figures):
        return f"{len(figures) - len(known)} diverged"
    spread = f" ± {stdev(known):.4f}" if len(known) > 1 else ""
    return f"{fmean(known):.4f}{spread}"


def _mean_seconds(trainings: Sequence[Mapping[str, Any]]) -> str:
    known = [each["seconds"] for each in trainings if each["seconds"] is not None]
    return f"{fmean(known):.1f}" if known else ""


def _linked(cell: str) -> str:
    return cell if cell in ("tcn", "dense") else f"[{cell}](catalogue.md#{cell})"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def _anchor(title: str) -> str:
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")
