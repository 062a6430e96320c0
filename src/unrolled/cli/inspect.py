"""`unrolled inspect`: a look inside a run's model while it reads a text, as one HTML file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unrolled.cli.language import Language, phrases
from unrolled.cli.loading import load_run
from unrolled.cli.terminal import say
from unrolled.cli.trust import TrustCode
from unrolled.errors import OptionError, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unrolled.inspection import Passage, Subject
    from unrolled.inspection.page import Page
    from unrolled.inspection.reading import Reading
    from unrolled.inspection.report import Facts
    from unrolled.languages import Phrases
    from unrolled.tasks import Loaded

__all__ = ["inspect"]


def inspect(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained model.")],
    text: Annotated[str | None, typer.Option(help="Text that the model reads.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="File that it reads.", show_default="the run's held-out part"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="HTML", help="File to write.", show_default="RUN/report.html"),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Another run to compare the gradient with; repeatable."),
    ] = None,
    hold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=X",
            help="Hold a gate or state at X, and show what changes, such as f=1, or c:3,7-9=0 for "
            "units, h@40-=0 from step 40 on; repeatable.",
        ),
    ] = None,
    attribute: Annotated[
        int | None,
        typer.Option(
            metavar="STEP",
            help="Show what the prediction after this step is made of; -1 is the last.",
        ),
    ] = None,
    dynamics: Annotated[
        bool,
        typer.Option("--dynamics", help="Show fixed points and Lyapunov exponents; takes longer."),
    ] = False,
    language: Language = "en",
    trust_code: TrustCode = False,
) -> None:
    r"""Look inside a model: gates, memory, and how far its gradient reaches.

    Writes one HTML file that works without a network. Needs pip install "unrolled\[figures]".
    """
    say_in = phrases(language, "report")
    if text is not None and file is not None:
        raise typer.BadParameter("give --text or --file, one of the two")
    if output is not None and not output.parent.is_dir():
        raise OptionError(f"{field('output')}: there is no folder {output.parent}", "make it first")
    import torch

    from unrolled.data import Source, write_atomically
    from unrolled.errors import DataError, RunError
    from unrolled.inspection.reading import steps_to_measure
    from unrolled.inspection.report import report
    from unrolled.serving.living import page_of
    from unrolled.training import writing

    also = _sections(hold or [], attribute, dynamics)
    loaded = load_run(run, trust_code=trust_code)
    task, options = loaded.task, loaded.task.options
    others = {path.name: _beside(path, loaded, trust_code) for path in beside or []}
    source = None if text is None else Source.text(text)
    if file is not None:
        source = Source.file(file, getattr(options.data, "encoding", "utf-8"))
    examples = loaded.read().held_out if source is None else []
    if source is None and not examples:
        message = f"{run}: held nothing out that could be read"
        raise RunError(message, "give a text or a file: --text or --file")

    def read(subject: "Subject") -> "Iterable[Passage]":
        return subject.passages(examples) if source is None else subject.read(source)

    def held_out(subject: "Subject") -> "Iterable[Passage]":
        try:
            few = loaded.held_out(steps_to_measure(task.steps_backward))
        except (DataError, RunError) as error:
            say(f"the gradient is measured on little: {error.message}", err=True)
            return ()
        return subject.passages(few)

    facts = _facts(loaded, say_in)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = task.subject(task.make_model(options.model).eval())
    written = report(
        task.subject(loaded.model),
        read,
        facts,
        untrained=untrained,
        beside=others,
        held_out=None if source is None else held_out,
        also=also,
        language=say_in.language,
    )
    page, weights = page_of(loaded, written, facts.name, on_held_out=source is None, example=text)
    content = page.encode("utf-8", "backslashreplace")  # names of files may be neither
    output = output or run / "report.html"
    with writing(output, "output"), write_atomically(output) as opened:
        opened.write(content)
    say(f"{output}: {len(content) / 1e6:.1f} MB, open it in a browser; {weights}", err=True)


def _sections(
    hold: list[str], attribute: int | None, dynamics: bool
) -> "list[Callable[[Page, Reading], None]]":
    """Return what writes the sections that were asked for beside those of every report."""
    from unrolled.cli.holds import holds_of
    from unrolled.inspection.doing import write_attribution, write_dynamics, write_held

    sections: list[Callable[[Page, Reading], None]] = []
    if hold:
        holds = holds_of(hold)
        sections.append(lambda page, reading: write_held(page, reading, holds, ", ".join(hold)))
    if attribute is not None:
        sections.append(lambda page, reading: write_attribution(page, reading, attribute))
    return [*sections, write_dynamics] if dynamics else sections


def _beside(path: Path, loaded: "Loaded", trust_code: bool) -> "Subject":
    """Return the subject of a run whose gradient is compared with that of `loaded`."""
    from unrolled.errors import RunError

    other, task = load_run(path, trust_code=trust_code), loaded.task
    if type(other.task) is not type(task) or other.task.to_dict() != task.to_dict():
        message = f"{path}: has other tokens or answers than {loaded.run.path}"
        raise RunError(message, "compare runs on the same data")
    return other.task.subject(other.model)


def _facts(loaded: "Loaded", say_in: "Phrases") -> "Facts":
    from unrolled.inspection.report import Facts
    from unrolled.metrics import find_metric
    from unrolled.training import loss_curves

    task, data, model = loaded.task, loaded.task.options.data, loaded.task.options.model
    units = "facts.units_in_one" if model.num_layers == 1 else "facts.units_in_many"
    files = ", ".join(path.name for path in task.files(data))
    loss = find_metric(task.metrics, "loss")
    return Facts(
        loaded.run.path.resolve().name,
        facts={
            "task": task.name,
            "cell": model.kind.name,
            "units": say_in(units, size=model.hidden_size, number=model.num_layers),
            "data": files or say_in("facts.made_data"),
        },
        wanted=task.steps_backward,
        curves=loss_curves(loaded.run),
        loss_unit=loss.unit if loss else "",
    )
