"""What the pages and the Makefile say is so: code runs, links lead somewhere, commands exist."""

import ast
import contextlib
import functools
import importlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.core import TyperGroup

from support.notebooks import as_page
from unrolled.cli import catalogue, reference
from unrolled.cli.catalogue import catalogue_page
from unrolled.cli.main import app, train_app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.py")])
FOR_MAINTAINERS = [ROOT / "docs" / "architecture.md", *sorted(ROOT.glob("docs/decisions/*.md"))]

FENCE = re.compile(r"^```(\w*).*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"")
PLACE = re.compile(
    r"([\w-]+(?:/[\w-]+)+\.\w+|options\.py|errors\.py)(?::(\w+))?"
)  # a file, a name in it
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
COMMAND = re.compile(r"(?:^|[\s/])unrolled +([a-z-].*)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    """The page as Markdown; of a notebook what its source says."""
    return as_page(page) if page.suffix == ".py" else page.read_text(encoding="utf-8")


def python_of(text: str) -> str:
    """The page's blocks of Python as one module, each on the lines that it has in the page."""
    lines = [""] * text.count("\n")
    for block in FENCE.finditer(text):
        if block[1] == "python":
            start = text.count("\n", 0, block.start(2))
            code = block[2].splitlines()
            lines[start : start + len(code)] = code
    return "\n".join(lines)


def commands_of(text: str) -> list[str]:
    """The arguments of every `unrolled` command, in blocks that are not Python and in sentences."""
    blocks = "".join(body for language, body in FENCE.findall(text) if language != "python")
    code = [*blocks.replace("\\\n", " ").splitlines(), *INLINE_CODE.findall(FENCE.sub("", text))]
    return [found[1] for line in code if (found := COMMAND.search(line))]


def commands_in(text: str) -> list[list[str]]:
    """The words of all commands of a page, those of other programs too, without comments."""
    blocks = [body for language, body in FENCE.findall(text) if language == "sh"]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    sentences = [shlex.split(each) for each in commands_of(FENCE.sub("", text))]
    return [each for each in words + sentences if each]


APP, TRAINING = map(typer.main.get_command, (app, train_app))


def check_command(arguments: str) -> None:
    """Assert that the subcommand and the options exist; FILE..., [--option] and comments may be."""
    command = APP
    words = shlex.split(re.sub(r"[\[\]]", " ", arguments), comments=True)
    while words and isinstance(command, TyperGroup) and not words[0].startswith("-"):
        word = words.pop(0)
        assert word in command.commands, f"unrolled {arguments}: no command {word!r}"
        command = command.commands[word]
    parameters = list(command.params)
    if command.name == "compare" and words:  # it takes what the training of its task takes
        parameters += TRAINING.commands[words[0]].params
    known = {"--help"}.union(*(p.opts for p in parameters), *(p.secondary_opts for p in parameters))
    for word in words:
        if word in ("|", ">", "&&", ";"):
            break
        if word.startswith("-") and word != "-":  # that is the standard input
            assert word.partition("=")[0] in known, f"unrolled {arguments}: no {word}"


def commands_and_paths(command, path=()):
    """Every command that does something, and the words that call it."""
    if not isinstance(command, TyperGroup):
        return [(command, path)]
    found = [commands_and_paths(each, (*path, name)) for name, each in command.commands.items()]
    own = [(command, path)] if command.invoke_without_command else []
    return [*own, *(pair for pairs in found for pair in pairs)]


COMMANDS = commands_and_paths(APP)
OF_TORCHRUN = {"--nproc-per-node", "--nnodes", "--node-rank", "--max-restarts"}
OF_OTHERS = {"--help", "--version", "--randomly-seed"} | OF_TORCHRUN


@functools.cache
def options_page():
    return reference.reference()


def flags_of(command):
    return {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}


@pytest.fixture(scope="module")
def names_of(tmp_path_factory):
    """Run the Python of a page once; return its names."""

    @functools.cache
    def names(page):
        folder = tmp_path_factory.mktemp(page.stem)
        script = folder / f"{page.stem}.py"
        script.write_text(python_of(text_of(page)), encoding="utf-8")
        with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
            patch.setenv("MPLBACKEND", "agg")  # notebooks draw, and there is no screen
            return runpy.run_path(str(script))

    return names


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_on_a_page_runs(page, names_of):
    names_of(page)


def test_python_of_packages_that_are_not_here_can_be_parsed():
    blocks = [
        (page, block[2])
        for page in PAGES
        for block in FENCE.finditer(text_of(page))
        if block[1] == "py"
    ]
    for page, block in blocks:
        compile(block, str(page), "exec")
    assert [page.name for page, _ in blocks] == 2 * ["coming-from.md"]  # of Keras and darts


def anchors_of(text):
    """The anchors that GitHub gives to the headings of a page; the site gives the same."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", text), re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]
    return {slug if n == 0 else f"{slug}-{n}" for slug in slugs for n in range(slugs.count(slug))}


def lost_links(text, page):
    """The links of a page to files that do not exist, or to headings that no page has."""
    lost = []
    for target in (a or b for a, b in LINK.findall(text)):
        path, _, anchor = target.partition("#")
        if re.match(r"\w+:", target):
            continue
        file = page.parent / path
        if path and not file.exists():
            lost.append(target)
        elif anchor:
            other = file.read_text(encoding="utf-8") if path else text
            lost += [target] * (anchor not in anchors_of(other))
    return lost


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_the_repository_lead_somewhere(page):
    assert lost_links(text_of(page), page) == []


@pytest.mark.parametrize(
    ("page", "translation"),
    [("README.md", "README.pt-BR.md"), ("docs/first-model.md", "docs/pt/first-model.md")],
)
def test_a_translated_page_has_the_commands_and_the_code_of_the_page(page, translation):
    english, other = ((ROOT / each).read_text(encoding="utf-8") for each in (page, translation))
    assert sorted(commands_in(other)) == sorted(commands_in(english))
    assert ast.dump(ast.parse(python_of(other))) == ast.dump(ast.parse(python_of(english)))


def test_weights_of_keras_are_read_as_keras_computes(names_of):
    """One row by the equations of its documentation: gates i, f, c, o, one bias."""
    names = names_of(ROOT / "docs" / "coming-from.md")
    layer, x = names["layer"], names["x"].double().numpy()[0]
    h, c = np.zeros(16), np.zeros(16)
    for step in x:
        gates = step @ names["kernel"] + h @ names["recurrent_kernel"] + names["bias"]
        i, f, o = (1 / (1 + np.exp(-gates.reshape(4, 16)[n])) for n in (0, 1, 3))
        c = f * c + i * np.tanh(gates[32:48])
        h = o * np.tanh(c)
    _, (ours, _) = layer(names["x"], lengths=[50, 7, 31])
    np.testing.assert_allclose(ours[0, 0].detach().numpy(), h, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras, by numpy
def test_the_line_of_keras_computes_what_ours_beside_it_does(names_of, monkeypatch):
    """Where Keras is installed, with whichever of its backends."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    page = ROOT / "docs" / "coming-from.md"
    (line,) = (block[2] for block in FENCE.finditer(text_of(page)) if "keras.layers" in block[2])
    names = names_of(page)
    mask = np.arange(50) < np.array([50, 7, 31])[:, None]
    theirs = {"keras": keras, "x": names["x"].numpy(), "mask": mask}
    exec(line, theirs)
    theirs["layer"].set_weights([names[n] for n in ("kernel", "recurrent_kernel", "bias")])
    exec(line.partition("\n")[2], theirs)
    _, states = names["layer"](names["x"], lengths=[50, 7, 31])
    for name, ours in zip("hc", states, strict=True):
        expected = keras.ops.convert_to_numpy(theirs[name])
        np.testing.assert_allclose(ours[0].detach().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_on_a_page_exist(page):
    for arguments in commands_of(text_of(page)):
        check_command(arguments)


def check_options(text):
    """Assert that some command has each option that the sentences of a page name."""
    known = OF_OTHERS.union(*(flags_of(command) for command, _ in COMMANDS))
    code = INLINE_CODE.findall(FENCE.sub("", text))
    named = {flag for words in code for flag in OPTION.findall(words)}
    assert named <= known, f"no command has {', '.join(sorted(named - known))}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_in_the_sentences_of_a_page_exist(page):
    check_options(text_of(page))


def check_imports(code):
    """Assert that a page imports what a package exports, and nothing from inside one."""
    for node in ast.walk(ast.parse(code)):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else names
        for name in names:
            if name.partition(".")[0] != "unrolled":
                continue
            package = importlib.import_module(name)
            assert hasattr(package, "__path__"), f"{name} is not a package"
            if isinstance(node, ast.ImportFrom):
                hidden = {each.name for each in node.names} - {*package.__all__}
                assert not hidden, f"{name} does not export {', '.join(sorted(hidden))}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_imports_from_packages(page):
    check_imports(python_of(text_of(page)))


def check_places(text):
    """Assert that the files exist that a page names, and what it names in them: `a/b.py:name`."""
    for code in INLINE_CODE.findall(FENCE.sub("", text)):
        if not (place := PLACE.fullmatch(code)):
            continue
        roots = (ROOT, ROOT / "src" / "unrolled")
        path = next((root / place[1] for root in roots if (root / place[1]).is_file()), None)
        assert path is not None, f"there is no {place[1]}"
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if place[2] else ()
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        names = {node.name for node in nodes if isinstance(node, kinds)}
        assert not place[2] or place[2] in names, f"{place[1]} has no {place[2]}"


@pytest.mark.parametrize("page", FOR_MAINTAINERS, ids=name_of)
def test_files_and_functions_on_a_page_for_maintainers_exist(page):
    check_places(page.read_text(encoding="utf-8"))


def names_of_nothing(text: str, files: dict[str, str], classes: dict[str, str]) -> list[str]:
    """The files and the methods between backticks that there are not.

    Args:
        text: With backticks.
        files: The texts of the package's files, by their paths.
        classes: The text of the files with each class.
    """
    names = re.findall(r"`([\w/]+\.\w+)`", text)
    paths = [name for name in names if name.endswith((".py", ".js"))]
    methods = [name.split(".") for name in names if name.partition(".")[0] in classes]
    return [
        *(name for name in paths if not any(f"/{file}".endswith(f"/{name}") for file in files)),
        *(".".join(m) for m in methods if not re.search(rf"\b{m[1]}\b", classes[m[0]])),
    ]


def test_docstrings_and_comments_name_files_and_methods_that_there_are():
    paths = [*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.js")]
    files = {str(path): path.read_text(encoding="utf-8") for path in paths}
    classes: dict[str, str] = {}
    for text in files.values():
        for name in re.findall(r"^class (\w+)", text, re.MULTILINE):
            classes[name] = classes.get(name, "") + re.sub(r"`[^`\n]*`", "", text)
    for path, text in files.items():
        assert names_of_nothing(text, files, classes) == [], path
    lies = names_of_nothing("as `Kernel.run` and `fused.py` do", files, classes)
    assert lies == ["fused.py", "Kernel.run"]
    assert names_of_nothing("as `Kernel.forward` and `kernel.py` do", files, classes) == []


def old_lines_of_diffs(text: str) -> Iterator[tuple[str, str]]:
    """Each line that a diff of the page finds in a file, with the file that was named before it."""
    for block in FENCE.finditer(text):
        if block[1] == "diff":
            *_, file = re.findall(r"`((?:src|tests)/[\w/]+\.\w+)`", text[: block.start()])
            old = (line for line in block[2].splitlines() if line[:1] in (" ", "-"))
            yield from ((file, line[1:].strip()) for line in old)


@pytest.mark.parametrize(
    ("file", "line"), [*old_lines_of_diffs(text_of(ROOT / "docs" / "extending.md"))]
)
def test_a_diff_of_how_to_extend_is_of_what_is_there(file, line):
    assert line in map(str.strip, (ROOT / file).read_text(encoding="utf-8").splitlines())


def test_the_page_of_all_options_is_what_the_commands_say():
    page = ROOT / "docs" / "options.md"
    said = "an option has changed: `make docs` writes docs/options.md again, for you to read"
    assert page.read_text(encoding="utf-8") == options_page(), said


@pytest.mark.parametrize(("command", "path"), COMMANDS, ids=[" ".join(p) for _, p in COMMANDS])
def test_every_option_of_a_command_is_in_its_section(command, path):
    section = options_page().partition(f"\n## unrolled {' '.join(path)}\n")[2].partition("\n## ")[0]
    assert section
    listed = re.findall(r"^\| `([^`]+)`(?:, `([^`]+)`)?", section, re.MULTILINE)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = flags_of(command) - {each.name for each in arguments}
    assert sorted(filter(None, sum(listed, ()))) == sorted(
        [*options, *(each.metavar for each in arguments)]
    )


def test_the_page_of_published_cells_is_what_their_files_say():
    page = ROOT / "docs" / "catalogue.md"
    said = "a cell has changed: `make docs` writes docs/catalogue.md again, for you to read"
    assert page.read_text(encoding="utf-8") == catalogue_page(), said


@pytest.mark.parametrize(
    ("module", "text"), [(catalogue, catalogue_page), (reference, options_page)]
)
def test_make_docs_writes_the_page(module, text, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", [module.__file__, str(page)])
    runpy.run_path(module.__file__, run_name="__main__")  # as `python -m` does
    assert page.read_text(encoding="utf-8") == text()


@pytest.mark.parametrize("text", ["", "book.txt other.txt"], ids=["no text", "two texts"])
@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_commands_of_make_run_exist(text):
    recipe = subprocess.run(
        ["make", "--dry-run", "run", f"TEXT={text}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (arguments,) = commands_of(f"```\n{recipe}```")
    assert arguments.startswith(f"train lm {text or '--standard-library'} --")
    check_command(arguments)


def test_a_page_that_lies_is_caught():
    page = "\n```python\n1 / 0\n```\nSee `unrolled doctor --nonsense`.\n```sh\nunrolled tra lm\n```"
    with pytest.raises(ZeroDivisionError):
        exec(python_of(page), {})
    assert commands_of(page) == ["tra lm", "doctor --nonsense"]
    for command in commands_of(page):
        with pytest.raises(AssertionError, match=f"unrolled {command}: no"):
            check_command(command)
    links = "[a](#a-heading) [b](README.md#more) [c](#more) [d](README.md#nothing) [e](no.md)"
    lost = lost_links(f"# A `heading`\n{links}\n", ROOT / "x.md")
    assert lost == ["#more", "README.md#nothing", "no.md"]
    with pytest.raises(AssertionError, match="no command has --columns"):
        check_options("Widen it by `--columns 3`.\n```sh\nother --colour\n```\n")
    with pytest.raises(AssertionError, match="is not a package"):
        check_imports("from unrolled.tasks.runs import load")
    with pytest.raises(AssertionError, match="does not export text"):
        check_imports("from unrolled.data import text")
    for place in ("`training/metrics/toy.py`", "`options.py:parse_contestants`"):
        with pytest.raises(AssertionError, match=r"there is no|has no"):
            check_places(f"See {place}.")
