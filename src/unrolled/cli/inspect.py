"""`unrolled inspect`: a look inside a run's model while it reads a text, as one HTML file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["inspect"]


def inspect(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a trained language model.")
    ],
    text: Annotated[str | None, typer.Option(help="What the model reads.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="A file that it reads.", show_default="the run's held-out text"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="HTML", help="Where to.", show_default="RUN/report.html")
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Another run to compare the gradient with; repeatable."),
    ] = None,
) -> None:
    r"""Look inside a language model: gates, memory, and how far its gradient reaches.

    Writes one HTML file that works without a network. Needs pip install "unrolled\[figures]".
    """
    if text is not None and file is not None:
        raise typer.BadParameter("give --text or --file, one of the two")
    from unrolled.data import read_text
    from unrolled.data.files import write_atomically
    from unrolled.errors import RunError
    from unrolled.inspection.report import Subject, report
    from unrolled.tasks.lm.task import held_out_text, load_language_model
    from unrolled.training import loss_curves
    from unrolled.training.run import Run, writing

    model, vocabulary, config = load_language_model(run)
    others = {}
    for path in beside or []:
        other, other_vocabulary, _ = load_language_model(path)
        if other_vocabulary.to_dict() != vocabulary.to_dict():
            raise RunError(
                f"{path}: has another vocabulary than {run}", "compare runs on the same text"
            )
        others[path.name] = other
    if file is not None:
        text = read_text([file], config["data"]["encoding"])
    elif text is None:
        text = held_out_text(config)
    data = config["data"]
    subject = Subject(
        run.resolve().name,
        model,
        vocabulary,
        facts={"trained on": ", ".join(Path(file["path"]).name for file in data["files"])},
        wanted=data["k2"] or data["k1"],
        curves=loss_curves(Run.open(run)),
        beside=others,
    )
    page = report(subject, text).encode()
    output = output or run / "report.html"
    with writing(output), write_atomically(output) as opened:
        opened.write(page)
    typer.echo(f"{output}: {len(page) / 1e6:.1f} MB, open it in a browser", file=sys.stderr)
