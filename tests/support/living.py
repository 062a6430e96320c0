"""A report of a run as `unrolled inspect` writes it, and what Python says of the same text."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from unrolled.inspection.page import Page
from unrolled.inspection.report import Facts, Report, report
from unrolled.languages import Phrases
from unrolled.serving.bundle import modules, script_of
from unrolled.serving.living import page_of
from unrolled.tasks import Loaded, load

PLAY = "".join(f"{name}:\nO, {name.lower()}! What is it?\n\n" for name in ("ALL", "BRUTUS") * 12)


def loaded_run(path: Path) -> Loaded:
    """Return a run, whoever's cell it has."""
    return load(path, trust_code=True)


def file_of(loaded: Loaded, text: str = PLAY, language: str = "en", **more: Any) -> tuple[str, str]:
    """Return the file of a language model, and what is said of the model in it."""
    known, _ = loaded.task.readable(text)
    written = report(
        loaded.task.subject(loaded.model),
        lambda subject: subject.passages([known]),
        Facts(loaded.run.path.name, curves={"held out": [(0, 4.0), (9, 2.0)]}),
        beside={"same": loaded.task.subject(loaded.model)},
        language=language,
    )
    return page_of(loaded, written, loaded.run.path.name, on_held_out=True, **more)


def bare_file(loaded: Loaded) -> str:
    """Return the file of a run with an empty report, which is made at once."""
    page = Page("bare", Phrases("en", "report"))
    return page_of(loaded, Report(page, None), loaded.run.path.name, on_held_out=True)[0]


def content_of(page: str) -> dict[str, Any]:
    """Return what a file has for its page: the run, its model, the words."""
    (found,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page)
    return json.loads(found)


def asked(page: str, *questions: tuple[str, dict[str, Any]]) -> list[Any]:
    """Return what answers in a file says, run by node: {"failed": code} where it refuses.

    Args:
        page: The file.
        questions: Which function of `living/api.js`, and what it is given.
    """
    script = f"""
        const content = {json.dumps(json.dumps(content_of(page)))};
        globalThis.document = {{ getElementById: () => ({{ textContent: content }}) }};
        {script_of(modules(), "living/api.js")}
        const api = modules["living/api.js"];
        const told = [];
        for (const [name, question] of {json.dumps(questions)}) {{
          try {{
            if (name === "generate") {{
              told.push([]);
              const lines = api.generate(question, new AbortController().signal);
              for await (const line of lines) told.at(-1).push(line);
            }} else told.push(await api[name]({{ run: "run", ...question }}));
          }} catch (error) {{
            told.push({{ failed: error.code ?? String(error.stack) }});
          }}
        }}
        console.log(JSON.stringify(told));
    """
    command = ["node", "--input-type=module"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def same(found, expected, tolerance=2e-6, share=1e-6):
    """Whether both are alike in all their names and texts, and nearly so in their numbers."""
    if isinstance(expected, dict):
        assert {*found} == {*expected}
        for name, value in expected.items():
            same(found[name], value, tolerance, share)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for mine, value in zip(found, expected, strict=True):
            same(mine, value, tolerance, share)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=tolerance, rel=share)
    else:
        assert found == expected
