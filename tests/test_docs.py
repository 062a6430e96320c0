"""What the pages and the Makefile say is so: code runs, links lead somewhere, commands exist."""

import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from unrolled.cli.main import app, train_app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

FENCE = re.compile(r"^```(\w*).*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"")
COMMAND = re.compile(r"(?:^|[\s/])unrolled +([a-z-].*)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


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


def check_command(arguments: str) -> None:
    """Assert that the subcommand and the options exist; FILE..., [--option] and comments may be."""
    command = typer.main.get_command(app)
    words = shlex.split(re.sub(r"[\[\]]", " ", arguments), comments=True)
    while words and isinstance(command, TyperGroup) and not words[0].startswith("-"):
        word = words.pop(0)
        assert word in command.commands, f"unrolled {arguments}: no command {word!r}"
        command = command.commands[word]
    parameters = list(command.params)
    if command.name == "compare" and words:  # it takes what the training of its task takes
        training = typer.main.get_command(train_app).commands[words[0]]
        parameters += training.params
    known = {"--help"}.union(*(p.opts for p in parameters), *(p.secondary_opts for p in parameters))
    for word in words:
        if word in ("|", ">", "&&", ";"):
            break
        if word.startswith("-") and word != "-":  # that is the standard input
            assert word.partition("=")[0] in known, f"unrolled {arguments}: no {word}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_on_a_page_runs(page, tmp_path, monkeypatch):
    code = python_of(page.read_text(encoding="utf-8"))
    if not code.strip():
        return
    script = tmp_path / f"{page.stem}.py"
    script.write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_the_repository_lead_somewhere(page):
    targets = [a or b for a, b in LINK.findall(page.read_text(encoding="utf-8"))]
    local = [target.partition("#")[0] for target in targets if not re.match(r"\w+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_on_a_page_exist(page):
    for arguments in commands_of(page.read_text(encoding="utf-8")):
        check_command(arguments)


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
