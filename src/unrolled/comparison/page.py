"""A comparison as one HTML page: verdict, table, figures, method. It needs nothing from elsewhere.

What is said is decided in `verdict.py`, what is drawn in `figures.py`.
"""

import html
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from unrolled.comparison.figures import curves, final_values
from unrolled.comparison.gather import Comparison
from unrolled.comparison.metrics import shown, signed
from unrolled.comparison.verdict import best_first, method, shown_p, verdict
from unrolled.data.files import write_atomically
from unrolled.languages import ENGLISH, Phrases
from unrolled.training import writing

__all__ = ["page", "save_page", "table"]

_CONFIG = {"responsive": True, "displayModeBar": False}


def table(comparison: Comparison, language: str = ENGLISH) -> tuple[list[str], list[list[str]]]:
    """Return the heads of a table, and its rows of text, the best contestant first.

    Trivial predictors come last, in the columns that they have.

    Raises:
        OptionError: There is no such language.
    """
    say = Phrases(language, "comparison")
    names = comparison.rows[0].metrics
    others = [m for m in comparison.metrics if m.name in names and m != comparison.metric]
    shown_metrics = [comparison.metric, *others]
    metrics = [metric.name for metric in shown_metrics]
    columns = ["hidden_size", "parameters", "updates", "time", "memory"]
    heads = [say("heads.cell"), *(metric.label for metric in shown_metrics)]
    heads += [say(f"heads.{name}") for name in columns]
    several = any(row.num_seeds != comparison.plan.num_seeds for row in comparison.rows)
    heads += [say("heads.seeds")] if several else []
    lines = []
    for row in best_first(comparison):
        values = [
            say.signs(shown(row.metrics[name], row.spreads.get(name)))
            if name in row.metrics
            else ""
            for name in metrics
        ]
        sizes = (row.hidden_size, row.parameters, row.updates)
        line = [row.contestant, *values, *(say.number(size, ",.0f") for size in sizes)]
        peak = row.peak_memory_bytes
        line += [say.signs(_time(row.elapsed_seconds))]
        line += ["" if peak is None else say.number(peak / 1e6, ",.0f") + " MB"]
        lines.append(line + ([str(row.num_seeds)] if several else []))
    for name, levels in comparison.baselines.items():
        values = [
            say.signs(shown(levels[metric])) if metric in levels else "" for metric in metrics
        ]
        line = [name, *values]
        lines.append(line + [""] * (len(heads) - len(line)))
    return heads, lines


def page(comparison: Comparison, language: str = ENGLISH) -> str:
    """Return the page.

    Args:
        comparison: What came out.
        language: Of what is said; names of metrics and of trivial predictors stay as they are.

    Raises:
        OptionError: plotly is not installed; there is no such language.
    """
    say = Phrases(language, "comparison")
    plan = comparison.plan
    arguments = shlex.join([plan.task, *(_short(argument) for argument in plan.arguments)])
    title = say("title", arguments=arguments)
    heads, lines = table(comparison, language)
    num_cells = len(comparison.rows)
    parts = [
        f"<h1>{_text(title)}</h1>",
        *(f"<p class=verdict>{_text(sentence)}</p>" for sentence in verdict(comparison, language)),
        _table(heads, lines, _caption(say, comparison), quiet_from=num_cells),
        f"<h2>{_text(say('every'))}</h2>",
        _figure(final_values(comparison, language), first=True),
        f"<h2>{_text(say('curves'))}</h2>",
        f"<p>{_text(say('curves_hint'))}</p>",
        "<div class=figures>",
        _figure(curves(comparison, "by updates", language)),
        _figure(curves(comparison, "by time", language)),
        "</div>",
        _pairs(say, comparison),
        f"<h2>{_text(say('how'))}</h2>",
        *(f"<p>{_text(sentence)}</p>" for sentence in method(comparison, language)),
        f"<pre tabindex=0>{html.escape(shlex.join(('unrolled', *plan.command)))}</pre>",
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def save_page(comparison: Comparison, path: Path, language: str = ENGLISH) -> None:
    """Write the page.

    Raises:
        OptionError: plotly is not installed; there is no such language.
        RunError: The file cannot be written.
    """
    content = page(comparison, language).encode(
        "utf-8", "backslashreplace"
    )  # names of files may be neither
    with writing(path, "folder"), write_atomically(path) as file:
        file.write(content)


def _caption(say: Phrases, comparison: Comparison) -> str:
    where = say.of("parts", comparison.part)
    num = comparison.plan.num_seeds
    return say("caption.many" if num > 1 else "caption.one", number=num, part=where)


def _table(
    heads: Sequence[str], lines: Iterable[Sequence[str]], caption: str, quiet_from: int
) -> str:
    rows = []
    for number, line in enumerate(lines):
        first, *rest = (_text(text) for text in line)
        cells = f"<th scope=row>{first}</th>" + "".join(f"<td>{text}</td>" for text in rest)
        rows.append(f"<tr{' class=quiet' if number >= quiet_from else ''}>{cells}</tr>")
    head = "".join(f"<th scope=col>{html.escape(text)}</th>" for text in heads)
    body = "\n".join(rows)
    return (
        "<div class=wide tabindex=0>"
        f"<table>\n<caption>{html.escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _pairs(say: Phrases, comparison: Comparison) -> str:
    """Return all pairs as a table, the surest first; nothing where nothing could be tested."""
    tested = [difference for difference in comparison.differences if difference.p is not None]
    if not tested:
        return ""
    like = best_first(comparison)[0].metrics[comparison.metric.name]
    lines = [
        [
            say("pairs.pair", first=difference.first, second=difference.second),
            say.signs(signed(difference.mean, like)),
            say(
                "pairs.interval",
                low=say.signs(signed(difference.low or 0.0, like)),
                high=say.signs(signed(difference.high or 0.0, like)),
            ),
            say.signs(shown_p(difference.p or 0.0)),
            say("pairs.apart" if difference.is_significant else "pairs.together"),
        ]
        for difference in sorted(tested, key=lambda each: each.p or 0.0)
    ]
    caption = say("pairs.caption", metric=comparison.metric.label)
    drawn = _table(say.all("pairs.heads"), lines, caption, len(lines))
    return f"<h2>{_text(say('pairs.heading'))}</h2>\n{drawn}"


def _figure(figure: Any, *, first: bool = False) -> str:
    """Return a figure as HTML; the first one brings the whole library with it."""
    drawn: str = figure.to_html(full_html=False, include_plotlyjs=first, config=_CONFIG)
    return f"<figure>{drawn}</figure>"


def _text(text: str) -> str:
    """Return text as HTML; a line does not break within an option's name."""
    return re.sub(r"--[\w-]+", r"<span class=option>\g<0></span>", html.escape(text))


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes else f"{seconds:.1f} s"


def _short(argument: str) -> str:
    return Path(argument).name if "/" in argument else argument


_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfcfa; --raised: #ffffff; --ink: #1d2329; --soft: #56616c; --line: #e4e0d8; --accent: #005fa8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161b; --raised: #191e25; --ink: #e7eaee; --soft: #9aa6b2; --line: #2b323b; --accent: #6db6f2;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%;
  font: 17px/1.6 Inter, "Segoe UI", system-ui, -apple-system, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 70rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1, h2 { font-family: Charter, "Iowan Old Style", Georgia, "Times New Roman", serif; font-weight: 600; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.4rem; line-height: 1.25; margin: 3rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; overflow-wrap: anywhere; }
.verdict:first-of-type { font-size: 1.2rem; font-weight: 550; }
.wide { overflow-x: auto; margin-top: 1.4rem; scrollbar-width: thin; }
.wide:focus-visible, pre:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .95rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .5rem; }
th, td { padding: .36rem 1rem .36rem 0; text-align: right; white-space: nowrap; }
thead th { color: var(--soft); font-size: .82rem; font-weight: 500; border-bottom: 1px solid var(--soft); vertical-align: bottom; white-space: normal; }
tbody tr { border-bottom: 1px solid var(--line); }
th:first-child { text-align: left; font-weight: 600; white-space: normal; min-width: 9rem; }
.quiet, .quiet th { color: var(--soft); font-weight: 400; font-style: italic; }
.option { white-space: nowrap; }
figure { margin: 0; min-width: 0; overflow: hidden; }
.figures { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
pre { background: var(--raised); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto; font-size: .9rem; }
/* plotly writes its own colours: ours follow the page */
.js-plotly-plot .main-svg { background: none !important; }
.js-plotly-plot .bg { fill: none !important; }
.js-plotly-plot .xtick text, .js-plotly-plot .ytick text, .js-plotly-plot .legendtext,
.js-plotly-plot .annotation-text, .js-plotly-plot [class*="title"] { fill: var(--soft) !important; }
.js-plotly-plot .crisp { stroke: var(--line) !important; }
.js-plotly-plot .points path[style*="rgb(34, 34, 34)"] { stroke: var(--ink) !important; }
@media (max-width: 56rem) { .figures { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 40rem) {
  body { font-size: 16px; }
  main { padding: 2rem 1rem 3.5rem; }
  h1 { font-size: 1.5rem; }
}
@media print { h2 { break-after: avoid; } figure { break-inside: avoid; } .wide { overflow: visible; } }
"""  # noqa: E501
