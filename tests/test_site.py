"""The site has every page, in its navigation and in the reference, and leads where pages lead."""

import importlib
import inspect
import json
import pkgutil
import re
import runpy
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import unrolled
from support.notebooks import as_page

ROOT = Path(__file__).parents[1]
HOOKS = runpy.run_path(str(ROOT / "packaging" / "pages.py"))
DOCS = [str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("docs/**/*.md"))]
PLACES = HOOKS["places_of_the_site"](DOCS)
URIS = {HOOKS["uri_of"](place): place for place in PLACES}
PAGES = [place for place in PLACES if place.endswith((".md", ".ipynb"))]
OF_MAINTAINERS = {"unrolled.cli"}  # its surface is its commands: docs/options.md
REFERENCE = [
    line.removeprefix("::: ")
    for page in sorted(ROOT.glob("docs/api/*.md"))
    for line in page.read_text(encoding="utf-8").splitlines()
    if line.startswith("::: ")
]
MODULES = [name for name in REFERENCE if name == "unrolled" or len({*name.split(".")[-2:]}) == 2]


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without what its tags would call."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
CONFIG = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)


def text_of(place):
    """The page as Markdown; of a notebook what its source says."""
    path = ROOT / place
    if path.suffix == ".ipynb":
        return as_page(path.with_suffix(".py"))
    return path.read_text(encoding="utf-8")


def pages_of(navigation):
    if isinstance(navigation, str):
        return [navigation]
    parts = navigation.values() if isinstance(navigation, dict) else navigation
    return [page for part in parts for page in pages_of(part)]


def test_every_page_is_in_the_navigation_once():
    pages = pages_of(CONFIG["nav"])
    assert len(pages) == len({*pages})
    assert {*pages} == {uri for uri in URIS if uri.endswith(".md")}


@pytest.mark.parametrize("place", PAGES)
def test_links_of_a_page_lead_to_pages_and_files_of_the_site(place):
    text = text_of(place)
    uri = HOOKS["uri_of"](place)
    HOOKS["_places"][uri] = place
    page = SimpleNamespace(file=SimpleNamespace(src_uri=uri))
    before, after = (
        HOOKS["links_of"](each) for each in (text, HOOKS["on_page_markdown"](text, page))
    )
    for old, new in zip(before, after, strict=True):
        target, anchor = HOOKS["target_of"](place, old)
        moved = HOOKS["target_of"](f"docs/{uri}", new)
        if target and not target.startswith("docs/images/"):
            assert moved[0].startswith("docs/"), f"{old} leaves the site"
            assert URIS[moved[0].removeprefix("docs/")] == target
        assert moved[1] == anchor


def test_every_public_package_is_in_the_reference():
    packages = {"unrolled"} | {
        module.name for module in pkgutil.iter_modules(unrolled.__path__, "unrolled.")
    }
    tasks = pkgutil.iter_modules([str(ROOT / "src/unrolled/tasks")], "unrolled.tasks.")
    packages |= {module.name for module in tasks if module.ispkg}
    assert {*REFERENCE} >= packages - OF_MAINTAINERS - {"unrolled.__main__"}
    assert len(REFERENCE) == len({*REFERENCE})


@pytest.mark.parametrize("name", MODULES)
def test_what_the_reference_leaves_out_of_a_package_is_named_there(name):
    """It leaves out modules, and what is called as the module that it stands in."""
    package = importlib.import_module(name)
    files = {module.name for module in pkgutil.iter_modules(getattr(package, "__path__", []))}
    for public in package.__all__:
        value = getattr(package, public)
        if inspect.ismodule(value):
            assert value.__name__ in REFERENCE
        elif public in files:
            assert f"{name}.{public}.{public}" in REFERENCE


def test_what_is_fetched_is_seen():
    fetched = HOOKS["FETCHED"]
    for tag in ('<script src="https://a/b.js">', "<link rel=stylesheet href=//a/b.css>"):
        assert fetched.search(tag)
    assert not fetched.search('<a href="https://a"><img src="images/a.png"><script src="a.js">')


def test_a_bar_within_code_is_read_as_github_reads_it():
    HOOKS["_places"]["cells.md"] = "docs/cells.md"
    page = SimpleNamespace(file=SimpleNamespace(src_uri="cells.md"))
    text = (
        "| `X\\|none` | [a](../examples/hello.py) |\n\n```sh\necho `a\\|b` [a](../README.md)\n```\n"
    )
    assert HOOKS["on_page_markdown"](text, page) == text.replace("\\|none", "|none").replace(
        "../examples/hello.py", "examples/hello.py.md"
    )


@pytest.mark.parametrize("place", PAGES)
def test_lists_are_lists_for_markdown_in_python_too(place):
    """GitHub takes a list without a blank line before it, and one that is two blanks further in."""
    text = "".join(HOOKS["FENCE"].split(text_of(place))[::2])
    before = ""
    for line in text.splitlines():
        item = re.match(r"( *)(?:[-*]|\d+\.) ", line)
        if item and len(item[1]) < 8:
            assert len(item[1]) % 4 == 0, f"further in by other than 4: {line}"
            follows = before == "" or re.match(r" *(?:[-*]|\d+\.) |  ", before)
            assert follows, f"no blank line before: {line}"
        before = line


def test_sizes_are_those_that_were_measured_of_every_extra():
    script = runpy.run_path(str(ROOT / "packaging" / "sizes.py"))
    results = json.loads(script["RESULTS"].read_text(encoding="utf-8"))
    page = script["PAGE"].read_text(encoding="utf-8")
    assert script["with_table"](page, results) == page
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].keys() - script["NOT_FOR_USERS"]
    assert results["sets"].keys() == {"core", *extras}
