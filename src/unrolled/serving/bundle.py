"""The page as one HTML file that asks nobody for anything: its modules, its style, what it shows.

The modules are put one after the other, each in a function of its own that returns what it exports.
Only the forms of `import` and `export` that the page uses are understood; others are refused, which
a test would see.
"""

import base64
import gzip
import html
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from unrolled.export.wasm.page import web_file
from unrolled.inspection.page import in_script
from unrolled.serving.assets import load_assets

__all__ = ["modules", "one_file", "packed", "script_of"]

_IMPORT = re.compile(
    r'^import (?:\* as (?P<all>\w+)|\{(?P<some>[^}]*)\}) from "(?P<path>[^"]+)";$', re.M
)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|const|class) (?P<name>\w+))", re.M)
_LEFT = re.compile(r"^\s*(?:import|export)\b", re.M)
_INSTEAD = {"api.js": "living/api.js"}
"""Which module stands for which: what asks the server is what answers within the file."""

_CONTENT = "<!-- content -->"  # where it goes; no script behind it has such a text

# nothing can be loaded or asked for, whatever a script says; WebAssembly is compiled from the file
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)


def one_file(title: str, language: str, report: str) -> Callable[[Mapping[str, Any]], str]:
    """Return what makes the page with a report in it of what it shows.

    Args:
        title: Of the document.
        language: Its code.
        report: The report, as markup.

    Returns:
        A function of what the page asks its server for elsewhere; see `living.py`.
    """
    assets = modules()
    icon = base64.b64encode(assets["icon.svg"].encode()).decode()
    page = assets["index.html"]
    for old, new in (
        ('<html lang="en">', f'<html lang="{language}">'),
        (
            '<meta charset="utf-8">',
            '<meta charset="utf-8">\n'
            f'  <meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        ),
        ("<title>unrolled</title>", f"<title>{html.escape(title)}</title>"),
        ("/static/icon.svg", f"data:image/svg+xml;base64,{icon}"),
        (
            '<link rel="stylesheet" href="/static/style.css">',
            f"<style>\n{assets['style.css']}{assets['report.css']}</style>",
        ),
        ('  <script type="module" src="/static/main.js"></script>\n', ""),
        ('\n    <a href="#lecture" data-word="lecture.name">Lecture</a>', ""),
        ('\n    <a href="/api/openapi.json" data-word="api">API</a>', ""),
        (
            '<main id="view" tabindex="-1"></main>',
            '<main id="view" tabindex="-1"><article class="report" id="report">'
            f"{report}</article></main>",
        ),
        (
            "</body>",
            f'<script type="application/json" id="content">{_CONTENT}</script>\n'
            f'<script type="module">\n{script_of(assets, "main.js")}</script>\n</body>',
        ),
    ):
        assert page.count(old) == 1, old
        page = page.replace(old, new)
    before, _, after = page.rpartition(_CONTENT)
    return lambda content: f"{before}{in_script(content)}{after}"


def packed(content: bytes) -> str:
    """Return bytes compressed, as base64."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def modules() -> dict[str, str]:
    """Return the texts of the page's files by their paths, and what it takes from `export`."""
    texts = {name: asset.content.decode() for name, asset in load_assets().items()}
    others = {"living/unrolled.js": "unrolled.js", "living/encoder.js": "tokens.js"}
    return texts | {name: web_file(other) for name, other in others.items()}


def script_of(assets: Mapping[str, str], first: str) -> str:
    """Return a module and all that it imports as one script.

    Args:
        assets: The modules by their paths.
        first: The path of the module that is run.

    Raises:
        ValueError: A module imports or exports in a way that is not known here, or itself.
    """
    parts: dict[str, str] = {}
    _add(assets, first, parts, ())
    return "const modules = {};\n" + "".join(parts.values())


def _add(
    assets: Mapping[str, str], path: str, parts: dict[str, str], above: tuple[str, ...]
) -> None:
    if path in above:
        raise ValueError(f"{path} imports itself, by {' '.join(above)}")
    if path in parts:
        return
    source = assets[path]
    for match in _IMPORT.finditer(source):
        _add(assets, _resolved(path, match["path"]), parts, (*above, path))
    names = _EXPORT.findall(source)

    def import_of(match: re.Match[str]) -> str:
        module = f"modules[{json.dumps(_resolved(path, match['path']))}]"
        if match["all"]:
            return f"const {match['all']} = {module};"
        return f"const {{{match['some'].replace(' as ', ': ')}}} = {module};"

    source = _EXPORT.sub("", _IMPORT.sub(import_of, source))
    if left := _LEFT.search(source):
        raise ValueError(f"{path}: not understood: {source[left.start() :].splitlines()[0]}")
    text = source.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    parts[path] = (
        f"modules[{json.dumps(path)}] = (() => {{\n{text}return {{ {', '.join(names)} }};\n}})();\n"
    )


def _resolved(path: str, imported: str) -> str:
    """Return the path of a module by how another one names it."""
    folders = path.split("/")[:-1]
    for part in imported.split("/"):
        if part == "..":
            folders.pop()
        elif part != ".":
            folders.append(part)
    path_of_part = "/".join(folders)
    return path_of_part if path.startswith("living/") else _INSTEAD.get(path_of_part, path_of_part)
