"""`unrolled train toy`: problems whose chance and solved levels are known. Options."""

from typing import Annotated

import typer

from unrolled.cli.options import (
    BatchSize,
    Cell,
    ClipNorm,
    Dropout,
    HiddenSize,
    KernelSize,
    Layers,
    LearningRate,
    Parameters,
    Patience,
    RunPath,
    Seed,
    data_option,
    model_option,
    training_option,
)

__all__ = ["train_toy"]

_DEFAULT_EPOCHS = 40.0


def train_toy(
    problem: Annotated[
        str,
        typer.Argument(metavar="NAME", help="adding, copy, echo, reber, embedded-reber or hello."),
    ],
    length: Annotated[
        int | None,
        data_option(
            help="adding: values; copy: blanks; echo: symbols.",
            show_default="adding: 200, copy: 100, echo: 100",
        ),
    ] = None,
    delay: Annotated[
        int | None, data_option(help="echo: steps until it comes.", show_default="10")
    ] = None,
    examples: Annotated[int, data_option(help="In each epoch, all of them new.")] = 1600,
    cell: Cell = "lstm",
    hidden_size: HiddenSize = 128,
    parameters: Parameters = None,
    layers: Layers = None,
    kernel_size: KernelSize = None,
    dropout: Dropout = 0.0,
    initialize: Annotated[
        str | None,
        model_option(
            metavar="HOW", help="Of the gates: chrono or forget-bias.", show_default="as torch"
        ),
    ] = None,
    run: RunPath = None,
    minutes: Annotated[
        float | None, training_option(help="Time to train, instead of epochs.")
    ] = None,
    epochs: Annotated[
        float | None,
        training_option(help="Passes over examples.", show_default=f"{_DEFAULT_EPOCHS:g}"),
    ] = None,
    batch_size: BatchSize = 16,
    learning_rate: LearningRate = 5e-3,
    clip_norm: ClipNorm = 1.0,
    patience: Patience = None,
    seed: Seed = 0,
) -> None:
    """Train on a toy problem: made examples, and levels of chance and perfection that are known.

    Which memory a cell has, and which it lacks, shows here within minutes.
    """
    if minutes is None and epochs is None:
        epochs = _DEFAULT_EPOCHS
    from unrolled.cli.session import train_task
    from unrolled.tasks.toy.task import ToyOptions, ToyTask
    from unrolled.training import TrainingOptions

    options = ToyOptions(
        problem=problem, length=length, delay=delay, num_examples=examples, seed=seed
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
        ToyTask,
        options,
        run,
        training=training,
        batch_size=batch_size,
        num_parameters=parameters,
        model={
            "cell": cell,
            "hidden_size": hidden_size,
            "num_layers": layers,
            "dropout": dropout,
            "kernel_size": kernel_size,
            "initialize": initialize,
        },
    )
