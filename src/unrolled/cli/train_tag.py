"""`unrolled train tag`: tags for the words of sentences. Options, and what they set."""

from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli import options

__all__ = ["train_tag"]

_DEFAULT_EPOCHS = 8.0


def train_tag(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CoNLL-U, or CoNLL: one word a line.")
    ],
    column: Annotated[
        str | None,
        options.data_option(
            metavar="NAME",
            help="Of the tags: upos, xpos, ... in CoNLL-U; ner (the last) or a number in CoNLL.",
            show_default="upos, ner",
        ),
    ] = None,
    held_out_file: Annotated[
        Path | None,
        options.data_option(metavar="FILE", help="Chooses the best weights, instead of a part."),
    ] = None,
    test_file: Annotated[
        Path | None,
        options.data_option(metavar="FILE", help="Measured on at the end, instead of a part."),
    ] = None,
    held_out: options.HeldOut = 0.1,
    test: options.TestPart = 0.1,
    encoding: Annotated[
        str, options.data_option(metavar="NAME", help="How the files are encoded.")
    ] = "utf-8",
    cell: options.Cell = "lstm",
    hidden_size: options.HiddenSize = 128,
    parameters: options.Parameters = None,
    layers: options.Layers = None,
    delay: Annotated[
        int | None,
        options.model_option(
            metavar="K",
            help="Read from the first word on alone, and tag a word after reading K more.",
            show_default="read from both ends",
        ),
    ] = None,
    embedding_size: Annotated[
        int, options.model_option(help="Learned features of each word.")
    ] = 100,
    letter_size: Annotated[
        int, options.model_option(help="Features of a word's letters from each end; 0 for none.")
    ] = 50,
    kernel_size: options.KernelSize = None,
    dropout: options.Dropout = 0.33,
    word_dropout: Annotated[
        float, options.model_option(help="Part of the words to take for unknown ones.")
    ] = 0.1,
    run: options.RunPath = None,
    minutes: options.Minutes = None,
    epochs: Annotated[
        float | None,
        options.training_option(
            help="Passes over the data.", show_default=f"{_DEFAULT_EPOCHS:g}, unless minutes"
        ),
    ] = None,
    batch_size: options.BatchSize = 32,
    learning_rate: options.LearningRate = 4e-3,
    clip_norm: options.ClipNorm = 1.0,
    patience: options.Patience = None,
    seed: options.Seed = 0,
) -> None:
    """Train a tagger: sentences in, a tag for every word out.

    Parts of speech from CoNLL-U, named entities (BIO) from CoNLL, or any other column.
    """
    if minutes is None and epochs is None:
        epochs = _DEFAULT_EPOCHS
    from unrolled.cli.session import train_task
    from unrolled.tasks.tag.task import TagOptions, TagTask
    from unrolled.training import TrainingOptions

    data = TagOptions(
        file=str(file.resolve()),
        column=column,
        held_out_file=options.resolved(held_out_file),
        test_file=options.resolved(test_file),
        held_out=held_out,
        test=test,
        encoding=encoding,
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
        TagTask,
        data,
        run,
        training=training,
        batch_size=batch_size,
        num_parameters=parameters,
        model={
            "cell": cell,
            "hidden_size": hidden_size,
            "num_layers": layers,
            "delay": delay,
            "embedding_size": embedding_size,
            "letter_size": letter_size,
            "word_dropout": word_dropout,
            "dropout": dropout,
            "kernel_size": kernel_size,
        },
    )
