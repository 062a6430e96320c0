"""`unrolled train translate`: a translator from pairs of sentences. Options, and what they set."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli.options import (
    BatchSize,
    Cell,
    ClipNorm,
    Dropout,
    Epochs,
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
    training_option,
)

__all__ = ["train_translate"]

_DEFAULT_EPOCHS = 10.0


def train_translate(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="A text file, columns separated by tabs.")
    ],
    source_column: Annotated[
        str, data_option(metavar="COLUMN", help="What is read: its number or name.")
    ] = "1",
    target_column: Annotated[
        str, data_option(metavar="COLUMN", help="What is written: its number or name.")
    ] = "2",
    encoding: Annotated[
        str, data_option(metavar="NAME", help="How the file is encoded.")
    ] = "utf-8",
    tokens: Annotated[str, data_option(metavar="KIND", help="word, bpe or char.")] = "bpe",
    vocabulary_size: Annotated[
        int | None, data_option(help="Most tokens of a language.", show_default="bpe: 4000")
    ] = None,
    limit: Annotated[
        int | None,
        data_option(metavar="N", help="Use N pairs, drawn at random.", show_default="all"),
    ] = None,
    max_characters: Annotated[
        int, data_option(metavar="N", help="Leave out pairs with a longer sentence.")
    ] = 400,
    held_out: HeldOut = 0.05,
    test: TestPart = 0.05,
    cell: Cell = "lstm",
    hidden_size: HiddenSize = 256,
    parameters: Parameters = None,
    layers: Layers = None,
    embedding_size: Annotated[int, model_option(help="Learned features of each token.")] = 128,
    bidirectional: Annotated[
        bool | None,
        model_option(help="Whether the encoder also reads from the end.", show_default="yes"),
    ] = None,
    attention: Annotated[
        str | None,
        model_option(
            metavar="KIND", help="additive, multiplicative or none.", show_default="additive"
        ),
    ] = None,
    delay: Annotated[
        int | None,
        model_option(
            metavar="K",
            help="Instead of an encoder and a decoder: one network, K tokens late.",
            show_default=False,
        ),
    ] = None,
    kernel_size: KernelSize = None,
    dropout: Dropout = 0.3,
    label_smoothing: Annotated[
        float, training_option(metavar="FRACTION", help="Probability asked for all words.")
    ] = 0.1,
    sampling: Annotated[
        float,
        training_option(metavar="P", help="Read the model's own words, in the end with P."),
    ] = 0.0,
    run: RunPath = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    batch_size: BatchSize = 64,
    learning_rate: LearningRate = 2e-3,
    clip_norm: ClipNorm = 1.0,
    patience: Patience = None,
    seed: Seed = 0,
) -> None:
    """Train a translator: a sentence in, another one out.

    Ctrl-C saves, and `unrolled resume` goes on.
    """
    if minutes is None and epochs is None:
        epochs = _DEFAULT_EPOCHS
    from unrolled.cli.session import train_task
    from unrolled.errors import OptionError
    from unrolled.networks.sequence_layers import check_cell
    from unrolled.tasks import task_class
    from unrolled.training import TrainingOptions

    check_cell(cell, kernel_size)
    data: dict[str, Any] = {
        "pairs": str(pairs.resolve()),
        "source_column": source_column,
        "target_column": target_column,
        "encoding": encoding,
        "tokens": tokens,
        "vocabulary_size": vocabulary_size,
        "limit": limit,
        "max_characters": max_characters,
        "held_out": held_out,
        "test": test,
        "seed": seed,
        "label_smoothing": label_smoothing,
    }
    model: dict[str, Any] = {
        "cell": cell,
        "hidden_size": hidden_size,
        "num_layers": layers,
        "embedding_size": embedding_size,
        "dropout": dropout,
        "kernel_size": kernel_size,
    }
    if delay is None:
        task = task_class("translate")
        model["bidirectional"] = bidirectional is not False
        model["attention"] = attention or "additive"
        model["sampling"] = sampling
    else:
        task = task_class("translate_delayed")
        data["delay"] = delay
        given = {"attention": attention, "bidirectional": bidirectional, "sampling": sampling}
        for name in (name for name, value in given.items() if value):
            message = f"--{name} is for an encoder and a decoder, --delay is another network"
            raise OptionError(message, "leave one of the two out")
    training = TrainingOptions(
        minutes=minutes,
        epochs=epochs,
        learning_rate=learning_rate,
        clip_norm=clip_norm,
        patience=patience,
        seed=seed,
    )
    train_task(
        task,
        task.Options(**data),
        run,
        training=training,
        batch_size=batch_size,
        num_parameters=parameters,
        model=model,
    )
