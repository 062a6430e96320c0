"""A page of sections, figures and tables as one HTML file that needs nothing else.

Not here: what is measured and said (`report.py`), how figures look (`figures`).
"""

import base64
import gzip
import html
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from unrolled.inspection.figures.style import plotly_script
from unrolled.inspection.verdict import Said
from unrolled.languages import Phrases

__all__ = ["Page"]


class Page:
    """A page that is written from top to bottom.

    Text arguments are plain text, but for those called `markup`.

    Args:
        title: Of the document.
        say: What it says, in its language.
    """

    def __init__(self, title: str, say: Phrases) -> None:
        self._title = title
        self.say = say
        self._parts: list[str] = []
        self._sections: list[tuple[str, str]] = []

    def header(self, kicker: str, heading: str, facts: dict[str, str]) -> None:
        """Write what is above the first section, and the place of the links to all sections."""
        pairs = "".join(f"<div><dt>{_e(k)}</dt><dd>{_e(v)}</dd></div>" for k, v in facts.items())
        self._parts.append(
            f'<p class="kicker">{_e(kicker)}</p><h1>{_e(heading)}</h1>'
            f'<dl class="facts">{pairs}</dl><!-- sections -->'
        )

    def section(self, heading: str, link: str, markup: str = "") -> None:
        """Begin a section, called `link` in the list of all, with a paragraph."""
        name = f"s{len(self._sections)}"
        self._sections.append((name, link))
        self._parts.append(f'<h2 id="{name}">{_e(heading)}</h2>')
        if markup:
            self.paragraph(markup)

    def subsection(self, heading: str) -> None:
        """Begin a part of a section."""
        self._parts.append(f"<h3>{_e(heading)}</h3>")

    def paragraph(self, markup: str) -> None:
        """Write a paragraph."""
        self._parts.append(f"<p>{markup}</p>")

    def verdict(self, kind: str, said: Said) -> None:
        """Write a verdict, its kind by a sign and a word as well as by a colour."""
        more = f'<p class="advice">{_e(said.advice)}</p>' if said.advice else ""
        mark = f'<span class="mark" aria-hidden="true">{_e(said.mark)}</span>'
        self._parts.append(
            f'<div class="verdict {_e(kind)}">'
            f'<p class="sentence">{mark}{_e(said.sentence)}</p>{more}</div>'
        )

    def figure(self, figure: Any, label: str, markup: str) -> None:
        """Write a plotly figure, what it is for those who cannot see it, and a caption."""
        content = json.loads(figure.to_json())
        content["layout"].pop("template", None)
        least = content["layout"].pop("meta", {}).get("least_width")
        scroll = ' class="scroll" tabindex="0"' if least else ""
        data_least = f' data-least="{least}"' if least else ""
        height = content["layout"]["height"]
        self._parts.append(
            f'<figure><div class="drawn"{data_least}><div{scroll} role="img" '
            f'aria-label="{_e(label)}"><div class="plot" style="min-height:{height}px"></div></div>'
            f'<script type="application/json">{_in_script(content)}</script></div>'
            f"<figcaption>{markup}</figcaption></figure>"
        )

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> None:
        """Write a table whose last `numbers` columns are numbers."""
        words = len(columns) - numbers

        def cells(row: Sequence[str], tag: str) -> str:
            kinds = ["" if i < words else ' class="number"' for i in range(len(row))]
            return "".join(f"<{tag}{k}>{_e(c)}</{tag}>" for k, c in zip(kinds, row, strict=True))

        body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
        self._parts.append(
            f'<div class="scroll" tabindex="0"><table><thead><tr>{cells(columns, "th")}</tr>'
            f"</thead><tbody>{body}</tbody></table></div>"
        )

    def footer(self, paragraphs: Sequence[str]) -> None:
        """Write what is below all sections."""
        self._parts.append(f"<footer>{''.join(f'<p>{_e(p)}</p>' for p in paragraphs)}</footer>")

    def to_html(self) -> str:
        """Return the whole file, plotly.js in it."""
        folder = files("unrolled.inspection")
        css = (folder / "report.css").read_text(encoding="utf-8")
        script = (folder / "report.js").read_text(encoding="utf-8")
        links = "".join(f'<a href="#{name}">{_e(link)}</a>' for name, link in self._sections)
        body = "\n".join(self._parts).replace("<!-- sections -->", f"<nav>{links}</nav>", 1)
        return (
            f'<!doctype html>\n<html lang="{self.say.language}">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<link rel="icon" href="data:,">\n<title>{_e(self._title)}</title>\n'
            f"<style>\n{css}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
            f'<script id="plotly" type="text/plain">{_packed_plotly()}</script>\n'
            f"<script>\n{script}</script>\n</body>\n</html>\n"
        )


@cache
def _packed_plotly() -> str:
    return base64.b64encode(gzip.compress(plotly_script().encode(), mtime=0)).decode()


def _e(text: str) -> str:
    return html.escape(text)


def _in_script(content: Any) -> str:
    """Return JSON that no text in it can end the script with."""
    return json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
