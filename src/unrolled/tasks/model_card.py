"""The README.md of a folder with a trained model: what it is, of what data, what it is worth.

Not here: the folder itself (`runs.py:Loaded.save_pretrained`).
"""

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from torch import nn

from unrolled.metrics import Metric
from unrolled.tasks.task import Task
from unrolled.training import LAST, Run

__all__ = ["model_card"]

_PARTS = {"test": "the test part", "held_out": "the held-out part"}
_MOST_FILES = 10
_NO_LICENCE = (
    "To be filled in by whoever publishes this, with regard to the data: here, and as `license:` "
    "at the top."
)


def model_card(
    run: Run,
    task: Task[Any],
    model: nn.Module,
    results: Mapping[str, Any] | None,
    licence: str | None,
) -> str:
    """Return the text, in Markdown, with the head that model hubs read.

    Args:
        run: Its folder.
        task: What it learned.
        model: With the weights that go with the text.
        results: What results.json says of these weights; None for nothing.
        licence: As hubs name it, "cc-by-4.0"; None where it is to be filled in.
    """
    options, own_cell = task.options.model, run.cell_path.exists()
    cell = options.kind.name
    head = ["library_name: unrolled", *(() if licence is None else (_entry(licence),))]
    head += ["tags:", "- unrolled", f"- {task.name}", f"- {cell}"]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    layers = f"{options.num_layers} x {options.hidden_size} units of {cell}"
    trust = ", trust_code=True" if own_cell else ""
    flag = " --trust-code" if own_cell else ""
    commands = [f"unrolled {each.replace('RUN', 'FOLDER')}{flag}" for each in task.commands]
    warning = "`cell.py` is code, and is run where it is trusted: read it first.\n\n"
    return "\n".join(
        [
            *("---", *head, "---", ""),
            f"# {_plain(run.path.resolve().name)}",
            "",
            f"A model of `unrolled` for its task {task.name}: {layers}, {parameters:,} parameters.",
            "",
            *("## Data", "", *_data(run.config["data"]["files"]), ""),
            *("## Training", "", _training(results), ""),
            *("## Figures", "", *_figures(results), ""),
            *("## How to use", "", f"{warning if own_cell else ''}FOLDER is the one of this file."),
            *("", "```sh", "pip install unrolled", *commands, "```", ""),
            *("```python", "import unrolled", ""),
            *(f'loaded = unrolled.from_pretrained("FOLDER"{trust})', "loaded.model, loaded.task"),
            *("```", "", "## Licence", "", _NO_LICENCE if licence is None else _plain(licence), ""),
        ]
    )


def _entry(licence: str) -> str:
    return f"license: {json.dumps(licence, ensure_ascii=False)}"  # JSON is YAML


def _data(files: list[dict[str, Any]]) -> list[str]:
    """Return the files by name: their folders are those of somebody's computer."""
    if not files:
        return ["No files: made by the program, or given to it in memory."]
    rows = [
        f"| {_plain(PurePath(file['path']).name)} | {file['bytes']:,} | `{file['sha256']}` |"
        for file in files[:_MOST_FILES]
    ]
    others = len(files) - len(rows)
    more = ["", f"And {others:,} more, which config.json lists."] if others else []
    return ["| file | bytes | SHA-256 |", "|---|---:|---|", *rows, *more]


def _training(results: Mapping[str, Any] | None) -> str:
    if results is None:
        return "Not known: the run has not ended, or its weights were changed afterwards."
    metric = results["selected_by"]
    choice = "the last" if metric == LAST else f"chosen by {metric.replace('_', ' ')}, held out"
    of_update = "" if results["kept_update"] is None else f" of update {results['kept_update']:,}"
    seconds = f"{results['elapsed_seconds']:,.0f} s"
    number, seed = results["updates"], results["seed"]
    updates = f"{number:,} update{'s' * (number != 1)}"
    return f"{updates} in {seconds}, seed {seed}. The weights are those{of_update}: {choice}."


def _figures(results: Mapping[str, Any] | None) -> list[str]:
    if results is None or results["part"] not in _PARTS:
        return ["None."]
    labels = {each["name"]: Metric(**each).label for each in results["meanings"]}
    baselines = results["baselines"]
    lines = [f"On {_PARTS[results['part']]} of the data:", ""]
    lines += [f"| | {' | '.join(['model', *map(_plain, baselines)])} |"]
    lines += [f"|---|{'---:|' * (1 + len(baselines))}"]
    for name, value in results["metrics"].items():
        if isinstance(value, int | float):
            others = [_number(figures.get(name)) for figures in baselines.values()]
            label = labels.get(name, name.replace("_", " "))
            lines.append(f"| {' | '.join([label, _number(value), *others])} |")
    if (calibrated := results.get("calibrated")) is not None:
        lines += ["", f"{calibrated[:1].upper()}{calibrated[1:]}."]
    return lines


def _number(value: Any) -> str:
    if not isinstance(value, int | float):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"


def _plain(text: str) -> str:
    """Return a text as one cell of a table, on one line."""
    return " ".join(text.split()).replace("|", "\\|")
