"""`unrolled train caption`: words for pictures or recordings. Options, and what they set."""

from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli.options import (
    BatchSize,
    Bidirectional,
    Cell,
    ClipNorm,
    Dropout,
    Epochs,
    HiddenSize,
    KernelSize,
    Layers,
    LearningRate,
    Minutes,
    Parameters,
    Patience,
    RunPath,
    Seed,
    data_option,
    model_option,
    resolved,
)

__all__ = ["train_caption"]

_DEFAULT_MINUTES = 5.0


def train_caption(
    table: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="CSV, TSV, JSON lines or Parquet, a row a caption."),
    ],
    media: Annotated[
        str,
        data_option(
            metavar="COLUMN",
            help="Paths of pictures or of recordings; a;b are two recordings joined.",
        ),
    ],
    text: Annotated[str, data_option(metavar="COLUMN", help="The words.")],
    folder: Annotated[
        Path | None,
        data_option(metavar="DIR", help="Where the paths start.", show_default="that of TABLE"),
    ] = None,
    held_out: Annotated[
        float | None,
        data_option(
            metavar="FRACTION",
            help="Part of the data that chooses the best weights.",
            show_default="0.1",
        ),
    ] = None,
    test: Annotated[
        float | None,
        data_option(
            metavar="FRACTION",
            help="Part of the data to measure on at the end.",
            show_default="0.1",
        ),
    ] = None,
    held_out_file: Annotated[
        Path | None, data_option(metavar="TABLE", help="Instead of a part of TABLE.")
    ] = None,
    test_file: Annotated[
        Path | None, data_option(metavar="TABLE", help="Instead of a part of TABLE.")
    ] = None,
    split_by: Annotated[
        str,
        data_option(
            metavar="WHAT",
            help="What is never in two parts: text (equal captions), media, or a column's values.",
        ),
    ] = "text",
    encoding: Annotated[str, data_option(metavar="NAME", help="Of the tables.")] = "utf-8",
    picture_size: Annotated[int, data_option(help="Pixels of each side of a picture.")] = 32,
    rate: Annotated[int, data_option(help="Samples a second of a recording.")] = 16_000,
    max_seconds: Annotated[float, data_option(help="The longest recording.")] = 60.0,
    augment: Annotated[
        bool, data_option(help="Change what is read a little, differently each time.")
    ] = True,
    flip: Annotated[
        bool, data_option(help="Mirror pictures too; not for letters or flags.")
    ] = False,
    cell: Cell = "lstm",
    hidden_size: HiddenSize = 128,
    parameters: Parameters = None,
    layers: Layers = None,
    bidirectional: Bidirectional = True,
    attention: Annotated[
        str, model_option(metavar="KIND", help="additive, multiplicative or none.")
    ] = "multiplicative",
    summary: Annotated[
        bool, model_option(help="Start the words from a summary of what is seen or heard.")
    ] = True,
    frames_per_step: Annotated[int, model_option(help="10 ms of sound that are read at once.")] = 3,
    channels: Annotated[int, model_option(help="Width of the picture encoder's first stage.")] = 32,
    kernel_size: KernelSize = None,
    dropout: Dropout = 0.2,
    label_smoothing: Annotated[
        float, model_option(help="Part of the probability for other words than the right one.")
    ] = 0.0,
    run: RunPath = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    batch_size: BatchSize = 64,
    learning_rate: LearningRate = 3e-3,
    clip_norm: ClipNorm = 1.0,
    patience: Patience = None,
    seed: Seed = 0,
) -> None:
    """Train a captioner: a picture or a recording in, words out.

    Ctrl-C saves, and `unrolled resume` goes on.
    """
    if minutes is None and epochs is None:
        minutes = _DEFAULT_MINUTES
    from unrolled.cli.session import train_task
    from unrolled.tasks.caption.reader import CaptionOptions
    from unrolled.tasks.caption.task import CaptionTask
    from unrolled.training import TrainingOptions

    options = CaptionOptions(
        path=str(table.resolve()),
        media=media,
        text=text,
        folder=resolved(folder),
        held_out=held_out,
        test=test,
        held_out_path=resolved(held_out_file),
        test_path=resolved(test_file),
        split_by=split_by,
        encoding=encoding,
        picture_size=picture_size,
        rate=rate,
        max_seconds=max_seconds,
        augment=augment,
        flip=flip,
        label_smoothing=label_smoothing,
        seed=seed,
    )
    training = TrainingOptions(
        minutes=minutes,
        epochs=epochs,
        learning_rate=learning_rate,
        clip_norm=clip_norm,
        patience=patience,
        seed=seed,
    )
    train_task(
        CaptionTask,
        options,
        run,
        training=training,
        batch_size=batch_size,
        num_parameters=parameters,
        model={
            "attention": attention,
            "summary": summary,
            "cell": cell,
            "hidden_size": hidden_size,
            "num_layers": layers,
            "bidirectional": bidirectional,
            "frames_per_step": frames_per_step,
            "channels": channels,
            "dropout": dropout,
            "kernel_size": kernel_size,
        },
    )
