"""The example page: the model and what runs it in one HTML file, which opens from a disk.

A browser fetches nothing for such a file, and no module either: so all of it stands in the page.
"""

import json
from pathlib import Path
from typing import Any

from unrolled.languages import language_names, load_words

__all__ = ["page_of", "script", "web_file"]

_WEB = Path(__file__).with_name("web")


def page_of(description: dict[str, Any]) -> str:
    """Return the page of a model.

    Args:
        description: What `Model.load` takes.
    """
    is_typed = "typed" in description.get("content", {})
    scripts = ("unrolled.js", "tokens.js", *(["forecast.js"] * is_typed), "page.js")
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


def web_file(name: str) -> str:
    """Return a file that runs in a page."""
    return _WEB.joinpath(name).read_text(encoding="utf-8")


def script(content: Any) -> str:
    """Return content as JSON that may stand in a script, in a page, too."""
    return json.dumps(content, ensure_ascii=True).replace("<", "\\u003c")
