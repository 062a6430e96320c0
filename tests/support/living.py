"""A report of a run as `unrolled inspect` writes it, and what Python says of the same text."""

from pathlib import Path
from typing import Any

from unrolled.inspection.report import Facts, report
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
