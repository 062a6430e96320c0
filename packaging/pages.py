"""Hooks of mkdocs: README.md, and what else pages link to outside docs/, becomes part of the site.

README.md is the first page. Markdown, code and notebooks that a page links to come along as pages,
everything else as files. Not for what pages say, nor for their order: that is mkdocs.yml.
"""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
AT_HOME = {"README.md": "index.md", "README.pt-BR.md": "pt/index.md"}
LANGUAGES = {".c": "c", ".py": "python"}
NOTEBOOK = ".ipynb"

FENCE = re.compile(r"(^```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"(?<=\]\()[^)\s]+(?=\))|(?<=href=\")[^\"]+|(?<=src=\")[^\"]+")
CODE_IN_A_TABLE = re.compile(r"`[^`\n]*\\\|[^`\n]*`")
FETCHED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>")

_places: dict[str, str] = {}  # of every page of the site, by its address: where it is here


def uri_of(place):
    """Return the source address in the site of a file, which is given from the root."""
    if place in AT_HOME:
        return AT_HOME[place]
    suffix = ".md" if Path(place).suffix in {*LANGUAGES, NOTEBOOK} else ""
    return place.removeprefix("docs/") + suffix


def target_of(place, link):
    """Return the file that a page's link leads to, from the root, and its anchor; "" for others."""
    path, hash_sign, anchor = link.partition("#")
    if re.match(r"\w+:|//", link) or not path:
        return "", ""
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), path)), hash_sign + anchor


def links_of(text):
    """Return what a page of Markdown links to, in its order."""
    return [link for part in FENCE.split(text)[::2] for link in TARGET.findall(part)]


def places_of_the_site(pages):
    """Return these pages, README.md, and all that can be reached from them, each from the root."""
    waiting, found = [*AT_HOME, *pages], []
    while waiting:
        place = waiting.pop(0)
        if place in found or not (ROOT / place).is_file():
            continue
        found.append(place)
        if place.endswith(".md"):
            links = links_of((ROOT / place).read_text(encoding="utf-8"))
            waiting += [target for link in links if (target := target_of(place, link)[0])]
    return found


def page_and_pictures(notebook):
    """Yield name and content of what a notebook is in the site: its page, then its pictures."""
    from nbconvert import MarkdownExporter

    named = {"unique_key": notebook.stem}  # what the names of its pictures begin with
    text, resources = MarkdownExporter().from_filename(str(notebook), resources=named)
    yield f"{notebook.name}.md", text
    yield from resources["outputs"].items()


def on_files(files, config):
    """Add what lies outside docs/."""
    from mkdocs.structure.files import File

    own = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    for place in places_of_the_site(own):
        uri, file = uri_of(place), ROOT / place
        _places[uri] = place
        if place.startswith("docs/"):
            continue
        if language := LANGUAGES.get(file.suffix):
            code = file.read_text(encoding="utf-8")
            text = f"# {place}\n\n````{language}\n{code}````\n"
            files.append(File.generated(config, uri, content=text))
        elif file.suffix == NOTEBOOK:
            for name, content in page_and_pictures(file):
                files.append(File.generated(config, f"notebooks/{name}", content=content))
        else:
            files.append(File.generated(config, uri, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown, page, **_):
    """Lead links to where their targets are in the site, and read tables as GitHub does."""
    here = page.file.src_uri

    def moved(link):
        target, anchor = target_of(_places[here], link[0])
        if not target:
            return link[0]
        return posixpath.relpath(uri_of(target), posixpath.dirname(here) or ".") + anchor

    parts = FENCE.split(markdown)
    for index in range(0, len(parts), 2):
        text = TARGET.sub(moved, parts[index])
        parts[index] = CODE_IN_A_TABLE.sub(lambda code: code[0].replace(r"\|", "|"), text)
    return "".join(parts)


def on_post_page(output, page, **_):
    """Refuse a page that fetches anything when it is read."""
    from mkdocs.exceptions import PluginError

    if fetched := FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri} fetches {fetched[0]}")
    return output
