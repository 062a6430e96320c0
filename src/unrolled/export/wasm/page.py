"""The example page: the model and what runs it in one HTML file, which opens from a disk.

A browser fetches nothing for such a file, and no module either: so all of it stands in the page.
"""

import json
from pathlib import Path
from typing import Any

from unrolled.languages import language_names, load_words

__all__ = ["CHECKED", "page_of", "script", "scripts_for", "web_file"]

_WEB = Path(__file__).with_name("web")
CHECKED = ("unrolled.js", "writing.js", "pictures.js")
"""What node runs of a page, to compare the numbers."""


def page_of(description: dict[str, Any]) -> str:
    """Return the page of a model.

    Args:
        description: What `Model.load` takes.
    """
    scripts = ["unrolled.js", "tokens.js", *scripts_for(description)]
    if "writing.js" in scripts:
        scripts += ["searching.js", "translating.js"]
    scripts.append("page.js")
    words = {code: load_words(code)["wasm"] for code in language_names()}
    parts = {
        "WORDS": script(words),
        "MODEL": script(description),
        "SCRIPT": "\n".join(map(web_file, scripts)),
    }
    page = web_file("index.html")
    for name, text in parts.items():
        before, after = page.split(f">{name}<" if name != "SCRIPT" else f"\n{name}\n")
        edges = (">", "<") if name != "SCRIPT" else ("\n", "\n")
        page = f"{before}{edges[0]}{text}{edges[1]}{after}"
    return page


def scripts_for(description: dict[str, Any]) -> list[str]:
    """Return the names of what some models need beside what all do, in a page of anybody's too."""
    content = description.get("content", {})
    return [
        *(["writing.js"] if content.get("task") in ("translate", "caption") else []),
        *(["pictures.js"] if description["side"] else []),
        *(["forecast.js"] if "typed" in content else []),
    ]


def web_file(name: str) -> str:
    """Return a file that runs in a page."""
    return _WEB.joinpath(name).read_text(encoding="utf-8")


def script(content: Any) -> str:
    """Return content as JSON that may stand in a script, in a page, too.

    Raises:
        ValueError: NaN or an infinity, for which there is no JSON.
    """
    return json.dumps(content, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
