"""`unrolled train classify`: a class for each text or series of numbers. Options, what they set."""

from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli.options import (
    BatchSize,
    Bidirectional,
    Cell,
    ClipNorm,
    Dropout,
    HeldOut,
    HiddenSize,
    KernelSize,
    Layers,
    LearningRate,
    Minutes,
    Parameters,
    Patience,
    RunPath,
    Seed,
    TestPart,
    data_option,
    model_option,
    resolved,
    training_option,
)

__all__ = ["train_classify"]

_LEAST_EPOCHS = 5
_LEAST_UPDATES = 600


def train_classify(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="A table, a .ts file, or a text file for each class: CLASS=FILE.",
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        data_option("--input", metavar="COLUMN", help="Of the text; with --id, of numbers."),
    ] = None,
    target: Annotated[
        str | None, data_option(metavar="COLUMN", help="Of the class.", show_default=False)
    ] = None,
    id: Annotated[
        str | None,
        data_option("--id", metavar="COLUMN", help="Whose step a row is: the rows are numbers."),
    ] = None,
    time: Annotated[
        str | None, data_option("--time", metavar="COLUMN", help="Puts the steps in order.")
    ] = None,
    held_out_file: Annotated[
        Path | None, data_option(metavar="FILE", help="Instead of a part of the data.")
    ] = None,
    test_file: Annotated[
        Path | None, data_option(metavar="FILE", help="Instead of a part of the data.")
    ] = None,
    held_out: HeldOut = 0.1,
    test: TestPart = 0.1,
    tokens: Annotated[
        str | None, data_option(metavar="KIND", help="word, char or bpe.", show_default="word")
    ] = None,
    vocabulary_size: Annotated[
        int | None, data_option(help="How many tokens, for bpe.", show_default="2048")
    ] = None,
    min_count: Annotated[int, data_option(help="How often a known word must occur.")] = 2,
    lowercase: Annotated[
        bool, data_option("--lowercase/--keep-case", help="Whether A is read as a.")
    ] = True,
    max_length: Annotated[
        int, data_option(metavar="N", help="Characters or steps that are read.")
    ] = 5000,
    class_weights: Annotated[
        str, data_option(metavar="KIND", help="none, or balanced: rare classes count more.")
    ] = "none",
    encoding: Annotated[
        str, data_option(metavar="NAME", help="How the files are encoded.")
    ] = "utf-8",
    cell: Cell = "lstm",
    bidirectional: Bidirectional = True,
    pooling: Annotated[
        str, model_option(metavar="KIND", help="last, mean, max or attention.")
    ] = "max",
    hidden_size: HiddenSize = 64,
    parameters: Parameters = None,
    layers: Layers = None,
    embedding_size: Annotated[int, model_option(help="Learned features of each token.")] = 128,
    kernel_size: KernelSize = None,
    dropout: Dropout = 0.5,
    token_dropout: Annotated[float, model_option(help="Part of the tokens to hide.")] = 0.0,
    evidence: Annotated[
        bool,
        model_option(help="Whether each token also speaks for the classes by itself."),
    ] = True,
    run: RunPath = None,
    epochs: Annotated[
        float | None,
        training_option(
            help="Passes over the data.",
            show_default=f"{_LEAST_EPOCHS}, more if that is below {_LEAST_UPDATES} updates",
        ),
    ] = None,
    minutes: Minutes = None,
    batch_size: BatchSize = 32,
    learning_rate: LearningRate = 2e-3,
    weight_decay: Annotated[float, training_option(help="Pull of the weights to zero.")] = 0.01,
    clip_norm: ClipNorm = 1.0,
    patience: Patience = None,
    seed: Seed = 0,
) -> None:
    """Train a classifier: the class of a text, or of a sequence of numbers.

    reviews.csv --input text --target stars, or neg=reviews.neg pos=reviews.pos, or a .ts file, or
    runs.csv --id case --time t --target activity. Ctrl-C saves, and `unrolled resume` goes on.
    """
    from unrolled.cli.session import train_task
    from unrolled.tasks.classify.options import ClassifyOptions, named_files
    from unrolled.tasks.classify.task import ClassifyTask
    from unrolled.training import TrainingOptions

    paths, classes = named_files(files)
    options = ClassifyOptions(
        files=paths,
        classes=classes,
        inputs=tuple(inputs or ()),
        target=target,
        id=id,
        time=time,
        held_out_file=resolved(held_out_file),
        test_file=resolved(test_file),
        held_out=held_out,
        test=test,
        seed=seed,
        tokens=tokens,
        bpe_size=vocabulary_size,
        lowercase=lowercase,
        min_count=min_count,
        max_length=max_length,
        class_weights=class_weights,
        encoding=encoding,
    )

    def training(num_examples: int) -> TrainingOptions:
        updates_per_epoch = -(-num_examples // batch_size)
        enough = max(_LEAST_EPOCHS, _LEAST_UPDATES / updates_per_epoch)
        return TrainingOptions(
            epochs=round(enough) if epochs is None and minutes is None else epochs,
            minutes=minutes,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            patience=patience,
            seed=seed,
        )

    train_task(
        ClassifyTask,
        options,
        run,
        training=training,
        batch_size=batch_size,
        num_parameters=parameters,
        model={
            "cell": cell,
            "bidirectional": bidirectional,
            "pooling": pooling,
            "hidden_size": hidden_size,
            "num_layers": layers,
            "embedding_size": embedding_size,
            "kernel_size": kernel_size,
            "dropout": dropout,
            "token_dropout": token_dropout,
            "evidence": evidence,
        },
    )
