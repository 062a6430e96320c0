"""A report of sections, figures and tables as markup, for the page that it is shown on.

Not here: what is measured and said (`report.py`), how figures look (`figures`), and the page, which
draws them (`serving/bundle.py`, `serving/static/figures.js`).
"""

import html
import json
from collections.abc import Sequence
from typing import Any

from unrolled.inspection.verdict import Said
from unrolled.languages import Phrases

__all__ = ["Page", "in_script"]


class Page:
    """A report that is written from top to bottom.

    Text arguments are plain text, but for those called `markup`.

    Args:
        title: Of the document.
        say: What it says, in its language.
    """

    def __init__(self, title: str, say: Phrases) -> None:
        self.title = title
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
        scroll = ' class="scroll" tabindex="0"' if "width" in content["layout"] else ""
        height = content["layout"]["height"]
        self._parts.append(
            f'<figure><div class="drawn"><div{scroll} role="img" '
            f'aria-label="{_e(label)}"><div class="plot" style="min-height:{height}px"></div></div>'
            f'<script type="application/json">{in_script(content)}</script></div>'
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
        self._parts.append(
            f'<div class="foot">{"".join(f"<p>{_e(p)}</p>" for p in paragraphs)}</div>'
        )

    def markup(self) -> str:
        """Return what has been written."""
        links = "".join(f'<a href="#{name}">{_e(link)}</a>' for name, link in self._sections)
        return "\n".join(self._parts).replace("<!-- sections -->", f"<nav>{links}</nav>", 1)


def _e(text: str) -> str:
    return html.escape(text)


def in_script(content: Any) -> str:
    """Return JSON that no text in it can end the script with."""
    return json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
